"""The comparison as tables: on the terminal, as Markdown, CSV and LaTeX. No torch here."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from hfbench.errors import UserError, nearest
from hfbench.evidence import markdown
from hfbench.evidence.classes import FEW, MEASURES
from hfbench.evidence.compared import ComparedModels, ModelRuns, Standing
from hfbench.evidence.findings import QUESTIONS_NOTE, Findings
from hfbench.evidence.judge import Interval
from hfbench.evidence.text_table import TextTable
from hfbench.evidence.tuning_words import trials_csv_lines, tuning_table
from hfbench.evidence.use import three_digits, use_of
from hfbench.evidence.words import ends_text, p_text, signed_gap, value_text
from hfbench.metrics.registry import METRICS, Metric
from hfbench.records.schema import ModelFacts
from hfbench.records.use import UseFacts
from hfbench.system.files import atomic


@dataclass(frozen=True)
class Row:
    """One model's line. Shares are fractions in [0, 1]; None where there is no value.

    The measures are over the runs that trained, all other means over the finished runs.
    """

    model: str
    value: float | None
    """Of the measure by which models are ranked; its column has the measure's name."""
    low: float | None
    """Lower end of the 95 % interval over examples and seeds."""
    high: float | None
    group: str
    """Models that share a letter cannot be distinguished."""
    may_be_best: bool | None
    """Whether it is in the 95 % confidence set for the best."""
    seed_sd: float | None
    """Standard deviation of the measure over seeds, as all rows let believe; 0 for a control."""
    above_majority: float | None
    """By how much it is better than always giving the commonest answer."""
    p_majority: float | None
    """After Holm, for all rows against it and against guessing; None where nothing is claimed."""
    above_chance: bool | None
    """Distinguished from guessing, upwards; None for a measure other than the accuracy."""
    runs: int
    failed: int
    collapsed: int
    """Runs that learnt nothing; the measures are of the others, if there are any."""
    examples: int
    """Evaluation examples of each run."""
    scores: dict[str, Interval | None]
    """Every other measure, with its interval: three columns each."""
    parameters: int | None
    body_parameters: int | None
    """Without those of embeddings."""
    train_tokens: float | None
    """Seen in training, repetitions included, padding apart."""
    train_flops: float | None
    train_seconds: float | None
    tokens_per_second: float | None
    peak_memory_bytes: float | None
    use: UseFacts | None = field(metadata={"column": False})
    """What it costs to ask it: columns of the CSV, where any row was measured."""
    notes: str
    """The footnote: what differs in more than the model, what failed."""
    measures: list[Metric] = field(metadata={"column": False})
    """The one by which models are ranked, and the others."""


@dataclass(frozen=True)
class Column:
    """A column for people."""

    title: str
    text: Callable[[Row], str]
    """Of a row that has a result."""


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _majority(row: Row) -> str:
    if row.above_majority is None:
        return ""
    gap = signed_gap(row.measures[0], row.above_majority)
    return gap if row.p_majority is None else f"{gap} {p_text(row.p_majority)}"


def _interval(row: Row) -> str:
    return ends_text(row.measures[0], row.low or 0, row.high or 0)


def _runs(row: Row) -> str:
    counted, total = row.runs - row.collapsed, row.runs + row.failed
    return str(total) if counted == total else f"{counted} of {total}"


def _scaled(value: float | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:.3g}"


_COLUMNS = {
    "interval": Column("95 % interval", _interval),
    "group": Column("group", lambda row: row.group),
    "majority": Column("vs majority", _majority),
    "runs": Column("runs", _runs),
    "examples": Column("n", lambda row: f"{row.examples:,}"),
    "parameters": Column("parameters", lambda row: _number(row.parameters, ",")),
    "body_parameters": Column(
        "without embeddings", lambda row: _number(row.body_parameters, ",")
    ),
    "train_tokens": Column("training tokens", lambda row: _number(row.train_tokens, ",.0f")),
    "train_flops": Column("training TFLOP", lambda row: _scaled(row.train_flops, 1e12)),
    "train_seconds": Column("train s", lambda row: _number(row.train_seconds, ",.1f")),
    "tokens_per_second": Column("tokens/s", lambda row: _number(row.tokens_per_second, ",.0f")),
    "peak_memory": Column("peak MiB", lambda row: _scaled(row.peak_memory_bytes, 2**20)),
    "latency_p50": Column("ms a text", lambda row: _of_use(row, "latency_p50", 1e-3)),
    "latency_p95": Column("slowest in 20", lambda row: _of_use(row, "latency_p95", 1e-3)),
    "texts_per_second": Column("texts/s", lambda row: _rate(row.use)),
    "disk_bytes": Column("MiB on disk", lambda row: _of_use(row, "disk_bytes", 2**20)),
    "memory_bytes": Column("MiB in use", lambda row: _of_use(row, "memory_bytes", 2**20)),
}  # fmt: skip
MAIN = ("measure", "interval", "group", "majority", "runs", "examples")
"""The columns of the first table; ``measure`` is the one by which models are ranked."""
COST = (
    "parameters", "body_parameters", "train_tokens", "train_flops", "train_seconds",
    "tokens_per_second", "peak_memory",
)  # fmt: skip


USE = ("latency_p50", "latency_p95", "texts_per_second", "disk_bytes", "memory_bytes")
"""What it costs to ask a model, see `records.use`."""


def _of_use(row: Row, name: str, unit: float) -> str:
    return "" if row.use is None else three_digits(getattr(row.use, name) / unit)


def _rate(use: UseFacts | None) -> str:
    return "" if use is None else f"{use.texts_per_second:,.0f} (by {use.batch})"


def columns(measures: Sequence[Metric]) -> dict[str, Column]:
    """Every column that there is, by name; the first of ``measures`` is also called ``measure``."""
    first, *others = measures
    main = Column(first.title, lambda row: first.text(row.value or 0))
    known = {"measure": main, first.name: main, **_COLUMNS}
    return known | {metric.name: _score_column(metric) for metric in others}


def _score_column(metric: Metric) -> Column:
    """With the interval in brackets."""

    def text(row: Row) -> str:
        found = row.scores[metric.name]
        return _with_interval(metric, found)

    return Column(metric.title, text)


def check_columns(names: Sequence[str]) -> list[str]:
    """Those of ``names`` that are measures.

    Raises:
        UserError: for a name that is no column.
    """
    known = ["measure", *METRICS, *_COLUMNS]
    for name in names:
        if name.partition(":")[0] not in known:
            raise UserError(
                f"--columns: no column {name!r}{nearest(name, known)} (known: {', '.join(known)})"
            )
    return [name for name in names if name.partition(":")[0] in METRICS]


def build_rows(findings: Findings) -> list[Row]:
    """A row for each model, in the comparison's order."""
    notes_of = {name: mark.partition(": ")[2] for name, mark in findings.footnotes.items()}
    comparison = findings.comparison
    return [_row(m, comparison, notes_of.get(m.name, "")) for m in comparison.models]


def row_values(row: Row) -> dict[str, Any]:
    """Column of the CSV -> value: the row's fields, each measure by its own name."""
    values: dict[str, Any] = {}
    for entry in fields(Row):
        value = getattr(row, entry.name)
        if entry.name == "scores":
            for name, found in row.scores.items():
                values[name] = found and found.mean
                values[f"{name}_low"] = found and found.low
                values[f"{name}_high"] = found and found.high
        elif entry.name == "value":
            values[row.measures[0].name] = value
        elif entry.metadata.get("column", True):
            values[entry.name] = value
    return values


def _use_values(row: Row) -> dict[str, Any]:
    return {name: row.use and getattr(row.use, name) for name in USE}


def write_table(findings: Findings, results: Path, names: Sequence[str] = MAIN) -> list[Path]:
    """Write README.md, and CSV and LaTeX files that are named by the measure (``accuracy.csv``);
    the same bytes each time. Those of a measure that was asked for before are removed.

    Args:
        findings: what to write.
        results: the folder.
        names: the columns of the first table, see `columns`.
    """
    comparison = findings.comparison
    stem = file_stem(comparison.metric.name)
    outputs = {
        results / "README.md": as_markdown(findings, names),
        results / f"{stem}.csv": as_csv(findings),
        results / f"{stem}.tex": as_latex(findings, names),
    }
    if shows_classes(findings):
        outputs[results / "classes.csv"] = classes_csv(findings)
    if findings.parts:
        outputs[results / "slices.csv"] = slices_csv(findings)
    if comparison.tuning:
        outputs[results / "trials.csv"] = _csv(trials_csv_lines(comparison.tuning))
    for path, text in outputs.items():
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    for before in {file_stem(entry.metric) for entry in comparison.asked if entry.metric} - {stem}:
        for ending in ("csv", "tex"):
            (results / f"{before}.{ending}").unlink(missing_ok=True)
    return list(outputs)


def file_stem(measure: str) -> str:
    """What the files of a table by this measure are called, without their ending."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", measure)


def as_markdown(findings: Findings, names: Sequence[str] = MAIN) -> str:
    """A page for people."""
    rows, comparison = build_rows(findings), findings.comparison
    lines = [
        f"# {markdown.escape(comparison.recipe)}",
        "<!-- generated from records/ by `hfbench table`; do not edit -->",
        markdown.escape(" ".join(findings.answer)),
        markdown.escape(findings.data),
        _markdown(text_table(rows, names, findings.footnotes)),
        markdown.bullets(findings.all_notes),
    ]
    if findings.verdicts:
        lines += ["## What was asked", markdown.bullets(findings.verdicts), QUESTIONS_NOTE]
    if comparison.tuning:
        table = tuning_table(comparison, comparison.tuning)
        lines += _section("Tuning", table, findings.tuning)
    if comparison.finished:
        lines += _section("Cost", text_table(rows, COST, {}), findings.cost)
        if findings.use:
            lines += _section("Cost of use", text_table(rows, USE, {}), findings.use)
        others = text_table(rows, [metric.name for metric in comparison.columns], {})
        lines += _section(comparison.title_of_others, others, findings.confidence)
    if shows_classes(findings):
        lines += _section("Classes", class_table(findings), findings.class_notes)
    if findings.parts:
        lines.append("## Slices")
        lines += [_markdown(slice_table(findings, name)) for name in _slice_names(findings)]
        lines.append(markdown.bullets(findings.slice_notes))
    if comparison.curve:
        lines += _section("Learning curve", curve_table(comparison), findings.curve)
    if findings.pretraining:
        lines += ["## Pretraining", markdown.bullets(findings.pretraining)]
    return "\n\n".join(lines) + "\n"


def _section(title: str, table: TextTable, notes: Sequence[str]) -> list[str]:
    return [f"## {title}", _markdown(table), markdown.bullets(notes)]


def as_csv(findings: Findings) -> str:
    """For programs, all columns: fractions in [0, 1], an empty field where there is no value."""
    return _csv(all_values(findings))


def all_values(findings: Findings) -> list[dict[str, Any]]:
    """Of each row its columns by name; what it costs to ask it where that was measured of one."""
    rows = build_rows(findings)
    is_measured = any(row.use for row in rows)
    return [row_values(row) | (_use_values(row) if is_measured else {}) for row in rows]


def shows_classes(findings: Findings) -> bool:
    """Whether classes have a section of their own: a few, of more than two; or they are asked for.

    All are in the report in any case.
    """
    comparison = findings.comparison
    if comparison.task is None or comparison.task.problem_type == "regression":
        return False
    asked = {metric.name.partition(":")[0] for metric in (comparison.metric, *comparison.columns)}
    labels = len(comparison.task.labels)
    is_few = labels <= FEW and (
        labels > 2 or comparison.task.problem_type == "multi_label_classification"
    )
    return bool((is_few or {*MEASURES} & asked) and findings.classes)


def class_table(findings: Findings) -> TextTable:
    """F1 of each class by model: of many classes the worst ones."""
    labels = list(dict.fromkeys(row.label for row in findings.classes))[:FEW]
    counts = {row.label: row.examples for row in findings.classes}
    found = {(row.model, row.label): row.measured for row in findings.classes}
    metric = METRICS["f1"]
    header = ["F1 of", *(f"{label} (n {counts[label]:,})" for label in labels)]
    names = [model.name for model in findings.comparison.finished]
    return TextTable(
        header,
        [
            [n, *(_with_interval(metric, found[n, label].get("f1")) for label in labels)]
            for n in names
        ],
    )


def slice_table(findings: Findings, name: str) -> TextTable:
    """The measure by part of one slice: a line for each model."""
    comparison = findings.comparison
    parts = [part for part in findings.parts if part.slice == name]
    header = [name, *(f"{part.value} (n {part.examples:,})" for part in parts)]
    return TextTable(
        header,
        [
            [m.name, *(_with_interval(comparison.metric, p.measured.get(m.name)) for p in parts)]
            for m in comparison.finished
        ],
    )


def _slice_names(findings: Findings) -> list[str]:
    return list(dict.fromkeys(part.slice for part in findings.parts))


def _with_interval(metric: Metric, found: Interval | None) -> str:
    if found is None:
        return "\u2013"
    return f"{metric.text(found.mean)} ({ends_text(metric, found.low, found.high)})"


def classes_csv(findings: Findings) -> str:
    """A line for each model and class: precision, recall and F1 with their intervals."""
    lines = [
        {"label": row.label, "examples": row.examples, "model": row.model, **_three(row.measured)}
        for row in findings.classes
    ]
    return _csv(lines)


def slices_csv(findings: Findings) -> str:
    """A line for each part and model: the measure with its interval, and what it is below the best.

    ``below_best`` is by how much the model that is best overall is better on this part.
    """
    name, lines = findings.comparison.metric.name, []
    for part in findings.parts:
        below = {found.second: found for found in part.against_best}
        for model, found in part.measured.items():
            gap = below.get(model)
            values: dict[str, Any] = {
                "slice": part.slice, "value": part.value, "examples": part.examples,
                "model": model, name: found.mean, "low": found.low, "high": found.high,
                "below_best": gap and gap.mean, "below_best_low": gap and gap.low,
                "below_best_high": gap and gap.high, "p_value": gap and gap.p_value,
            }  # fmt: skip
            lines.append(values)
    return _csv(lines)


def _three(measured: Mapping[str, Interval]) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for name in MEASURES:
        found = measured.get(name)
        values[name] = found.mean if found else None
        values[f"{name}_low"] = found.low if found else None
        values[f"{name}_high"] = found.high if found else None
    return values


def _csv(lines: Sequence[Mapping[str, Any]]) -> str:
    """Six decimals: further ones differ between versions of NumPy and SciPy."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(lines[0] if lines else [])
    for line in lines:
        writer.writerow([f"{v:.6f}" if isinstance(v, float) else v for v in line.values()])
    return text.getvalue()


def as_latex(findings: Findings, names: Sequence[str] = MAIN) -> str:
    r"""A ``table`` environment for ``\usepackage{booktabs}``, with its notes."""
    table = text_table(build_rows(findings), names, findings.footnotes)
    rule = " \\\\"
    lines = [
        "% generated from records/ by `hfbench table`; needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{latex(findings.data)}}}",
        f"\\begin{{tabular}}{{l{'r' * len(names)}}}",
        "\\toprule",
        " & ".join(map(latex, table.header)) + rule,
        "\\midrule",
        *(" & ".join(map(latex, texts)) + rule for texts in table.rows),
        "\\bottomrule",
        "\\end{tabular}",
        "\\par\\smallskip\\footnotesize\\raggedright",
        *(f"{latex(note)}\\par" for note in findings.all_notes),
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def print_table(findings: Findings, console: Console, names: Sequence[str] = MAIN) -> None:
    """The answer, the rows and their footnotes on the terminal; the default fits 80 columns."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    shown.add_column("model", overflow="fold", min_width=16)
    table = text_table(build_rows(findings), names, findings.footnotes)
    for title in table.header[1:]:
        # narrow columns leave the room to the names
        *upper, lower = title.rsplit(" ", 1)
        shown.add_column("\n".join([*upper, lower]), justify="right", no_wrap=True)
    for texts in table.rows:
        shown.add_row(*texts)
    console.print(f"\n{findings.data}\n", markup=False, highlight=False)
    console.print(shown)
    asked = ["", *findings.verdicts] if findings.verdicts else []
    for line in [*findings.footnotes.values(), *findings.cautions, *asked, "", *findings.answer]:
        console.print(line, markup=False, highlight=False)


def _row(model: ModelRuns, comparison: ComparedModels, note: str) -> Row:
    measures = [comparison.metric, *comparison.columns]
    if not model.finished:
        nothing: dict[str, Any] = dict.fromkeys([entry.name for entry in fields(Row)])
        counts = {"runs": 0, "failed": len(model.failed), "collapsed": 0, "examples": 0}
        scores = {metric.name: None for metric in comparison.columns}
        known = {"model": model.name, "group": "", "scores": scores, "measures": measures, **counts}
        return Row(**{**nothing, **known, "notes": note})
    floor, facts = comparison.floors[model.name], model.finished[0].model_facts
    return Row(
        model=model.name,
        value=model.value,
        low=model.interval[0],
        high=model.interval[1],
        group=comparison.letters[model.name],
        may_be_best=model.name in comparison.best,
        seed_sd=model.judged.seed_sd if model.judged else None,
        above_majority=floor.majority.mean if floor.majority else None,
        p_majority=floor.p_majority if floor.majority and not floor.majority.withheld else None,
        above_chance=None if floor.chance is None else floor.above_chance,
        runs=len(model.finished),
        failed=len(model.failed),
        collapsed=int(model.collapsed.sum()),
        examples=len(model.labels),
        scores={metric.name: model.measured.get(metric.name) for metric in comparison.columns},
        parameters=facts.parameters,
        body_parameters=_body_parameters(facts),
        train_seconds=model.mean_seconds,
        **_cost(model),
        use=use_of(model),
        notes=note,
        measures=measures,
    )


def _body_parameters(facts: ModelFacts) -> int | None:
    if facts.parameters is None or facts.embedding_parameters is None:
        return None
    return facts.parameters - facts.embedding_parameters


def _cost(model: ModelRuns) -> dict[str, float | None]:
    """What is known of networks alone."""
    trainings = [record.training for record in model.trained]
    if not trainings:
        names = ("train_tokens", "train_flops", "tokens_per_second", "peak_memory_bytes")
        return dict.fromkeys(names)
    tokens = [training.tokens_seen for training in trainings]
    return {
        "train_tokens": float(np.mean(tokens)),
        "train_flops": _mean_flops([training.flops for training in trainings]),
        "tokens_per_second": sum(tokens) / sum(training.train_seconds for training in trainings),
        "peak_memory_bytes": float(max(training.peak_memory_bytes for training in trainings)),
    }


def _mean_flops(counts: Sequence[int | None]) -> float | None:
    """None where those of any run could not be counted."""
    known = [count for count in counts if count is not None]
    return float(np.mean(known)) if len(known) == len(counts) else None


def text_table(rows: list[Row], names: Sequence[str], marks: dict[str, str]) -> TextTable:
    """The texts of a table with a line for each model; ``marks``: model -> footnote."""
    known = columns(rows[0].measures)
    shown = {name: known[name] for name in names}
    header = ["model", *(column.title for column in shown.values())]
    return TextTable(header, [_texts(row, shown, marks) for row in rows])


def _texts(row: Row, shown: dict[str, Column], marks: dict[str, str]) -> list[str]:
    """The cells of a row; one whose runs all failed shows how many they were."""
    mark = marks.get(row.model, "").partition(" ")[0]
    name = f"{row.model} {mark}".strip()
    if row.value is None:
        return [name, *(_runs(row) if column == "runs" else "" for column in shown)]
    return [name, *(column.text(row) for column in shown.values())]


def curve_table(comparison: ComparedModels) -> TextTable:
    """The texts of a learning curve: a line for each size, a column for each model."""
    names = [model.name for model in comparison.models]
    lines = []
    for size, standing in comparison.curve.items():
        found = {model.name: model for model in standing.finished}
        texts = [_curve_text(found[name], standing) if name in found else "" for name in names]
        lines.append([f"{size:,}", *texts])
    return TextTable(["training examples", *names], lines)


def _curve_text(model: ModelRuns, standing: Standing) -> str:
    value = value_text(model.metric, model.value).removesuffix(" %")
    interval = ends_text(model.metric, *model.interval)
    return f"{value} ({interval}) {standing.letters[model.name]}"


def _markdown(table: TextTable) -> str:
    return markdown.table(table.header, table.rows)


def latex(text: str) -> str:
    """``text`` on one line with LaTeX's special characters and ligatures undone."""
    special = {char: f"\\{char}" for char in "&%$#_{}"}
    special |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    special |= {"`": r"\textasciigrave{}"}
    apart = re.sub(r"([-',])(?=\1)", r"\1\0", markdown.one_line(text))  # "--" would be a dash
    return "".join(special.get(char, char) for char in apart).replace("\0", "{}")
