"""The comparison as one HTML file that needs nothing else: no network, no script to be read."""

import base64
import hashlib
import io
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from hfbench.evidence.classes import MEASURES, ClassRow
from hfbench.evidence.compared import ComparedModels, Pair
from hfbench.evidence.families import FAMILIES
from hfbench.evidence.figures import ACCENT, DRAWN, FAINT, INK, WIDE, WIDTH, Plot, save_figure
from hfbench.evidence.findings import Findings
from hfbench.evidence.flips import (
    FlipCounts,
    Flips,
    common_seeds,
    count_by_label,
    count_by_length,
    find_flips,
    right_label,
)
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.parts_table import curve_questions, curve_table, slice_table
from hfbench.evidence.plots import PAIRS, draw_plots
from hfbench.evidence.rows import COST, MAIN, USE, build_rows, text_table
from hfbench.evidence.stats import VarianceSplit
from hfbench.evidence.tuning_words import tuning_table
from hfbench.evidence.words import p_text, signed_gap
from hfbench.metrics.calibration import class_scores, confusion_matrix
from hfbench.records.schema import Record
from hfbench.system.files import atomic

_MATRIX = 30
"""Classes of which a matrix can be read."""
_ROWS = 1_000
"""Of a table that has several for each model; of more, those of the best models are shown."""
_UNFOLDED = 4
"""Models whose matrices fit a page beside the rest."""
_LISTED = 100
"""Flipped examples that are listed for a pair of models."""


@dataclass(frozen=True)
class _ClassTable:
    """A model's answers by class, over all its runs."""

    model: str
    confusion: list[list[int]]
    """Rows: right class; columns: predicted class."""
    shares: list[list[float]]
    """Of the right class, fractions in [0, 1]."""
    scores: list[Any]


@dataclass(frozen=True)
class _FlipLine:
    """An example that one model fixes or breaks."""

    id: str
    label: str
    text: str | None
    words: int | None
    fixed: int
    broken: int
    stable: bool


@dataclass(frozen=True)
class _FlipTable:
    """What a model fixes and breaks relative to the best."""

    flips: Flips
    counts: list[FlipCounts]
    """By label and, where there are texts, by length."""
    lines: list[_FlipLine]
    left_out: int

    @property
    def fixed(self) -> str:
        """Of one run on average, and the range of the runs."""
        return _mean_and_range([test.only_first for test in self.flips.by_seed])

    @property
    def broken(self) -> str:
        """As ``fixed``."""
        return _mean_and_range([test.only_second for test in self.flips.by_seed])

    @property
    def stable_fixed(self) -> int:
        """Examples that every run fixes."""
        return int((self.flips.fixed == len(self.flips.seeds)).sum())

    @property
    def stable_broken(self) -> int:
        """Examples that every run breaks."""
        return int((self.flips.broken == len(self.flips.seeds)).sum())


def _mean_and_range(counts: list[int]) -> str:
    mean = f"{np.mean(counts):.0f}"
    return mean if len(set(counts)) == 1 else f"{mean} ({min(counts)}-{max(counts)})"


def write_report(findings: Findings, results: Path, texts: Mapping[str, str] | None = None) -> Path:
    """Write ``report.html`` into the results folder; the same bytes each time.

    Args:
        findings: what to report.
        results: the folder.
        texts: id -> text of the evaluation examples, to be shown with the flips; by default no text
            is in the report, since it may not be ours to copy.
    """
    path = results / "report.html"
    with atomic(path) as temporary:
        temporary.write_text(render_report(findings, texts), encoding="utf-8", newline="\n")
    return path


def render_report(findings: Findings, texts: Mapping[str, str] | None = None) -> str:
    """The page. All that comes from records or data is escaped."""
    folder = files("hfbench.evidence") / "templates"
    script = (folder / "report.js").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["percent"] = lambda share: f"{100 * share:.0f} %"
    environment.filters["p"] = p_text
    rows, comparison = build_rows(findings), findings.comparison
    environment.filters["signed"] = partial(signed_gap, comparison.metric)
    template = environment.from_string((folder / "report.html.j2").read_text("utf-8"))
    task, records = comparison.task, _records(comparison)
    best = {model.name for model in comparison.models[:DRAWN]}
    return template.render(
        comparison=comparison,
        labels=task.labels if task else [],
        findings=findings,
        measure=comparison.metric.label,
        unit=" in points" if comparison.metric.is_percentage else "",
        main=text_table(rows, MAIN, findings.footnotes),
        cost=text_table(rows, COST, {}),
        use=text_table(rows, USE, {}),
        confidence=text_table(rows, [metric.name for metric in comparison.columns], {}),
        curve=curve_table(comparison) if comparison.curve else None,
        curve_questions=curve_questions(comparison) if comparison.curve else None,
        tuning=tuning_table(comparison, comparison.tuning) if comparison.tuning else None,
        plots=both_widths(draw_plots(comparison, WIDE), draw_plots(comparison, WIDTH)),
        pairs=_pairs(comparison),
        pairs_fit=len(comparison.pairs) <= PAIRS,
        variances=_variances(comparison),
        class_rows=[
            (row.label, row.examples, row.model, [_ends_of(row, name) for name in MEASURES])
            for row in findings.classes
            if len(findings.classes) <= _ROWS or row.model in best
        ],
        slices={
            name: slice_table(findings, name)
            for name in dict.fromkeys(part.slice for part in findings.parts)
        },
        classes=[
            _class_table(model)
            for model in comparison.finished[:DRAWN]
            if model.kind == "single_label_classification" and model.logits.shape[-1] <= _MATRIX
        ],
        unfolded=_UNFOLDED,
        detailed=DRAWN,
        flips=_flip_tables(comparison, texts),
        with_texts=texts is not None,
        records=[record for record in records if len(records) <= _ROWS or _is_among(record, best)],
        all_records=len(records),
        script=Markup(script),  # ours; its hash is in the page's security policy
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup((folder / "report.css").read_text("utf-8")),
    )


def both_widths(wide: list[Plot], narrow: list[Plot]) -> dict[str, tuple[str, Markup, Markup]]:
    """Name -> description, the figure as wide as the page, and the one for a phone."""
    return {
        one.name: (one.alt, inline_svg(one), inline_svg(other))
        for one, other in zip(wide, narrow, strict=True)
    }


def inline_svg(plot: Plot) -> Markup:
    """The figure as an element of the page that takes the page's colours.

    Its letters were escaped by matplotlib; the description is escaped here.
    """
    buffer = io.StringIO()
    save_figure(plot, buffer, format="svg", transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.S)
    # numbered by matplotlib in every figure anew; those that are referred to are hashes
    svg = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", svg)
    svg = _name_clip_paths(svg, f"{plot.name} {plot.figure.get_figwidth()}")
    for family in FAMILIES:
        svg = svg.replace(family.color, f"var(--{family.name})")
    for colour, name in ((INK, "currentColor"), (FAINT, "var(--faint)"), (ACCENT, "var(--accent)")):
        svg = svg.replace(colour, name)
    svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', r"<svg \1 LABEL>", svg, count=1)
    label = Markup('role="img" aria-label="{}" xmlns="http://www.w3.org/2000/svg" {}').format(
        plot.alt, Markup('xmlns:xlink="http://www.w3.org/1999/xlink"')
    )
    return Markup(svg.replace("LABEL", label, 1))


def _name_clip_paths(svg: str, salt: str) -> str:
    """By what they say: matplotlib's names depend on last bits, in which processors differ."""
    for name, content in re.findall(r'<clipPath id="(\w+)">(.*?)</clipPath>', svg, flags=re.S):
        svg = svg.replace(name, f"p{hashlib.sha256((salt + content).encode()).hexdigest()[:10]}")
    return svg


def _pairs(comparison: ComparedModels) -> list[Pair]:
    """All, or those of the best model where they are too many."""
    if len(comparison.pairs) <= _ROWS:
        return comparison.pairs
    best = comparison.finished[0]
    return [pair for pair in comparison.pairs if pair.first is best]


def _is_among(record: Record, models: Collection[str]) -> bool:
    """Whether it is of one of these models, or has no result that a table shows."""
    return record.model in models or record.kind == "pretraining" or record.status == "failed"


def _variances(comparison: ComparedModels) -> list[tuple[str, VarianceSplit]]:
    return [(m.name, m.variance) for m in comparison.finished if m.variance is not None]


def _class_table(model: ModelRuns) -> _ClassTable:
    number, labels = model.logits.shape[-1], np.tile(model.labels, len(model.finished))
    confusion = confusion_matrix(model.predicted.ravel(), labels, number)
    totals = confusion.sum(1, keepdims=True)
    shares = confusion / totals.clip(min=1)
    return _ClassTable(model.name, confusion.tolist(), shares.tolist(), class_scores(confusion))


def _ends_of(row: ClassRow, name: str) -> str:
    found = row.measured.get(name)
    return "" if found is None else f"{found.mean:.3f} ({found.low:.3f}-{found.high:.3f})"


def _flip_tables(comparison: ComparedModels, texts: Mapping[str, str] | None) -> list[_FlipTable]:
    """Each other model against the best that answered the same examples."""
    if not comparison.finished or comparison.finished[0].kind == "regression":
        return []
    best = comparison.finished[0]
    others = [pair.second for pair in comparison.pairs if pair.first is best]
    others = [model for model in others if common_seeds(best, model)]
    return [_flip_table(find_flips(best, other), texts) for other in others]


def _flip_table(flips: Flips, texts: Mapping[str, str] | None) -> _FlipTable:
    counts = count_by_label(flips) + (count_by_length(flips, texts) if texts else [])
    lines = []
    for number in flips.examples[:_LISTED]:
        example = str(flips.first.ids[number])
        text = texts[example] if texts is not None else None
        line = _FlipLine(
            id=example,
            label=right_label(flips, number),
            text=text,
            words=len(text.split()) if text is not None else None,
            fixed=int(flips.fixed[number]),
            broken=int(flips.broken[number]),
            stable=flips.is_stable(number),
        )
        lines.append(line)
    return _FlipTable(flips, counts, lines, len(flips.examples) - len(lines))


def _records(comparison: ComparedModels) -> list[Record]:
    """Of every run that the report is about, learning curve and pretraining included."""
    standings = [comparison, *comparison.curve.values()]
    records: dict[str, Record] = {
        record.stem: record
        for standing in standings
        for model in standing.models
        for record in [*model.finished, *model.failed]
    }
    records |= {record.stem: record for record in comparison.pretraining}
    return [records[stem] for stem in sorted(records)]
