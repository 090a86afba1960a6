"""The comparison as tables: on the terminal, as Markdown, CSV and LaTeX. No torch here."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from hfbench.errors import UserError, nearest
from hfbench.evidence import markdown
from hfbench.evidence.comparison import Comparison, ModelRuns, Standing
from hfbench.evidence.findings import (
    CONFIDENCE_NOTES,
    CURVE_NOTES,
    answer,
    cost_notes,
    curve_findings,
    describe_data,
    describe_pretraining,
    footnotes,
    notes,
    p_text,
)
from hfbench.records.schema import ModelFacts, Record
from hfbench.system.files import atomic


@dataclass(frozen=True)
class Row:
    """One model's line. Shares are fractions in [0, 1]; None where there is no value.

    Means are over the finished runs.
    """

    model: str
    accuracy: float | None
    low: float | None
    """Lower end of the 95 % interval over examples and seeds."""
    high: float | None
    group: str
    """Models that share a letter cannot be told apart."""
    above_majority: float | None
    """Accuracy minus that of always giving the commonest class."""
    p_majority: float | None
    """After Holm, together with the pairs."""
    above_chance: bool | None
    """Told apart from guessing, upwards."""
    runs: int
    failed: int
    one_class_runs: int
    """Runs that predict the same class for every example."""
    examples: int
    """Evaluation examples of each run."""
    f1_macro: float | None
    nll: float | None
    brier: float | None
    ece: float | None
    parameters: int | None
    body_parameters: int | None
    """Without those of embeddings."""
    train_tokens: float | None
    """Seen in training, repetitions included, padding apart."""
    train_flops: float | None
    train_seconds: float | None
    tokens_per_second: float | None
    peak_memory_bytes: float | None
    notes: str
    """The footnote: what differs in more than the model, what failed."""


@dataclass(frozen=True)
class Cells:
    """A table as texts."""

    header: list[str]
    rows: list[list[str]]
    """Each as long as the header; the first cell names the row."""


@dataclass(frozen=True)
class Column:
    """A column for people."""

    title: str
    text: Callable[[Row], str]
    """Of a row that has a result."""


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _majority(row: Row) -> str:
    if row.above_majority is None or row.p_majority is None:
        return ""
    return f"{100 * row.above_majority:+.1f} {p_text(row.p_majority)}"


def _runs(row: Row) -> str:
    return f"{row.runs} of {row.runs + row.failed}" if row.failed else str(row.runs)


def _scaled(value: float | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:.3g}"


COLUMNS = {
    "accuracy": Column("accuracy %", lambda row: f"{100 * (row.accuracy or 0):.2f}"),
    "interval": Column(
        "95 % interval", lambda row: f"{100 * (row.low or 0):.1f}-{100 * (row.high or 0):.1f}"
    ),
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
    "f1_macro": Column("macro F1", lambda row: _number(row.f1_macro, ".3f")),
    "nll": Column("NLL", lambda row: _number(row.nll, ".3f")),
    "brier": Column("Brier", lambda row: _number(row.brier, ".3f")),
    "ece": Column("ECE", lambda row: _number(row.ece, ".3f")),
}  # fmt: skip
ACCURACY = ("accuracy", "interval", "group", "majority", "runs", "examples")
COST = (
    "parameters", "body_parameters", "train_tokens", "train_flops", "train_seconds",
    "tokens_per_second", "peak_memory",
)  # fmt: skip
CONFIDENCE = ("f1_macro", "nll", "brier", "ece")


def check_columns(names: Sequence[str]) -> Sequence[str]:
    """``names`` as they are.

    Raises:
        UserError: for a name that is no column.
    """
    for name in names:
        if name not in COLUMNS:
            known = ", ".join(COLUMNS)
            raise UserError(
                f"--columns: no column {name!r}{nearest(name, COLUMNS)} (known: {known})"
            )
    return names


def build_rows(comparison: Comparison) -> list[Row]:
    """A row for each model, in the comparison's order."""
    marks = footnotes(comparison)
    notes_of = {name: mark.partition(": ")[2] for name, mark in marks.items()}
    return [_row(m, comparison, notes_of.get(m.name, "")) for m in comparison.models]


def write_table(
    comparison: Comparison, results: Path, columns: Sequence[str] = ACCURACY
) -> list[Path]:
    """Write README.md, accuracy.csv and accuracy.tex; the same bytes each time."""
    outputs = {
        results / "README.md": as_markdown(comparison, columns),
        results / "accuracy.csv": as_csv(comparison),
        results / "accuracy.tex": as_latex(comparison, columns),
    }
    for path, text in outputs.items():
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return list(outputs)


def as_markdown(comparison: Comparison, columns: Sequence[str] = ACCURACY) -> str:
    """A page for people."""
    rows, marks = build_rows(comparison), footnotes(comparison)
    lines = [
        f"# {markdown.escape(comparison.recipe)}",
        "<!-- generated from records/ by `hfbench table`; do not edit -->",
        markdown.escape(" ".join(answer(comparison))),
        markdown.escape(describe_data(comparison)),
        _markdown(table_cells(rows, columns, marks)),
        markdown.bullets([*marks.values(), *notes(comparison)]),
    ]
    if comparison.finished:
        lines += [
            "## Cost",
            _markdown(table_cells(rows, COST, {})),
            markdown.bullets(cost_notes(comparison)),
        ]
        lines += [
            "## Confidence",
            _markdown(table_cells(rows, CONFIDENCE, {})),
            markdown.bullets(CONFIDENCE_NOTES),
        ]
    if comparison.curve:
        lines += [
            "## Learning curve",
            _markdown(curve_cells(comparison)),
            markdown.bullets([*curve_findings(comparison), *CURVE_NOTES]),
        ]
    if comparison.pretraining:
        lines += [
            "## Pretraining",
            markdown.bullets([describe_pretraining(r) for r in comparison.pretraining]),
        ]
    return "\n\n".join(lines) + "\n"


def as_csv(comparison: Comparison) -> str:
    """For programs, all columns: fractions in [0, 1], an empty field where there is no value.

    Six decimals: further ones differ between versions of NumPy and SciPy.
    """
    names = [field.name for field in fields(Row)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in build_rows(comparison):
        values = (getattr(row, name) for name in names)
        writer.writerow([f"{v:.6f}" if isinstance(v, float) else v for v in values])
    return text.getvalue()


def as_latex(comparison: Comparison, columns: Sequence[str] = ACCURACY) -> str:
    r"""A ``table`` environment for ``\usepackage{booktabs}``, with its notes."""
    marks = footnotes(comparison)
    cells = table_cells(build_rows(comparison), columns, marks)
    rule = " \\\\"
    lines = [
        "% generated from records/ by `hfbench table`; needs \\usepackage{booktabs}",
        "\\begin{table}",
        "\\centering",
        f"\\caption{{{_latex(describe_data(comparison))}}}",
        f"\\begin{{tabular}}{{l{'r' * len(columns)}}}",
        "\\toprule",
        " & ".join(map(_latex, cells.header)) + rule,
        "\\midrule",
        *(" & ".join(map(_latex, texts)) + rule for texts in cells.rows),
        "\\bottomrule",
        "\\end{tabular}",
        "\\par\\smallskip\\footnotesize\\raggedright",
        *(f"{_latex(note)}\\par" for note in [*marks.values(), *notes(comparison)]),
        "\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def print_table(
    comparison: Comparison, console: Console, columns: Sequence[str] = ACCURACY
) -> None:
    """The answer, the rows and their footnotes on the terminal; the default fits 80 columns."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    shown.add_column("model", overflow="fold", min_width=16)
    for name in columns:
        # narrow columns leave the room to the names
        *upper, lower = COLUMNS[name].title.rsplit(" ", 1)
        shown.add_column("\n".join([*upper, lower]), justify="right", no_wrap=True)
    marks = footnotes(comparison)
    for row in build_rows(comparison):
        shown.add_row(*_texts(row, columns, marks))
    console.print(f"\n{describe_data(comparison)}\n", markup=False, highlight=False)
    console.print(shown)
    for line in [*marks.values(), "", *answer(comparison)]:
        console.print(line, markup=False, highlight=False)


def _row(model: ModelRuns, comparison: Comparison, note: str) -> Row:
    if not model.finished:
        nothing: dict[str, Any] = dict.fromkeys([field.name for field in fields(Row)])
        counts = {"runs": 0, "failed": len(model.failed), "one_class_runs": 0, "examples": 0}
        return Row(**{**nothing, "model": model.name, "group": "", **counts, "notes": note})
    floor, facts = comparison.floors[model.name], model.finished[0].model_facts
    scores = model.calibrations
    split = _split(model.finished[0])
    return Row(
        model=model.name,
        accuracy=model.accuracy,
        low=model.interval[0],
        high=model.interval[1],
        group=comparison.letters[model.name],
        above_majority=floor.majority.mean if floor.majority else None,
        p_majority=floor.p_majority if floor.majority else None,
        above_chance=floor.above_chance,
        runs=len(model.finished),
        failed=len(model.failed),
        one_class_runs=model.one_class_runs,
        examples=len(model.labels),
        f1_macro=float(np.mean([record.metrics[split]["f1_macro"] for record in model.finished])),
        nll=float(np.mean([score.nll for score in scores])),
        brier=float(np.mean([score.brier for score in scores])),
        ece=float(np.mean([score.ece for score in scores])),
        parameters=facts.parameters if facts else None,
        body_parameters=_body_parameters(facts),
        **_cost(model.finished),
        notes=note,
    )


def _body_parameters(facts: ModelFacts | None) -> int | None:
    if facts is None or facts.parameters is None or facts.embedding_parameters is None:
        return None
    return facts.parameters - facts.embedding_parameters


def _cost(records: list[Record]) -> dict[str, float | None]:
    trainings = [record.training for record in records if record.training]
    if not trainings:
        seconds = float(np.mean([record.fit_seconds or 0.0 for record in records]))
        names = ("train_tokens", "train_flops", "tokens_per_second", "peak_memory_bytes")
        return {**dict.fromkeys(names), "train_seconds": seconds}
    tokens = [training.tokens_seen for training in trainings]
    seconds_each = [training.train_seconds for training in trainings]
    return {
        "train_tokens": float(np.mean(tokens)),
        "train_flops": float(np.mean([training.flops for training in trainings])),
        "train_seconds": float(np.mean(seconds_each)),
        "tokens_per_second": sum(tokens) / sum(seconds_each),
        "peak_memory_bytes": float(max(training.peak_memory_bytes for training in trainings)),
    }


def _split(record: Record) -> str:
    assert record.task is not None
    return record.task.evaluation_split


def _texts(row: Row, columns: Sequence[str], marks: dict[str, str]) -> list[str]:
    """The cells of a row; one whose runs all failed shows how many they were."""
    mark = marks.get(row.model, "").partition(" ")[0]
    name = f"{row.model} {mark}".strip()
    if row.accuracy is None:
        return [name, *(_runs(row) if column == "runs" else "" for column in columns)]
    return [name, *(COLUMNS[column].text(row) for column in columns)]


def table_cells(rows: list[Row], columns: Sequence[str], marks: dict[str, str]) -> Cells:
    """The texts of a table with a line for each model."""
    header = ["model", *(COLUMNS[name].title for name in columns)]
    return Cells(header, [_texts(row, columns, marks) for row in rows])


def curve_cells(comparison: Comparison) -> Cells:
    """The texts of a learning curve: a line for each size, a column for each model."""
    names = [model.name for model in comparison.models]
    lines = []
    for size, standing in comparison.curve.items():
        found = {model.name: model for model in standing.finished}
        texts = [_curve_text(found[name], standing) if name in found else "" for name in names]
        lines.append([f"{size:,}", *texts])
    return Cells(["training examples", *names], lines)


def _curve_text(model: ModelRuns, standing: Standing) -> str:
    low, high = model.interval
    interval = f"{100 * low:.1f}-{100 * high:.1f}"
    return f"{100 * model.accuracy:.1f} ({interval}) {standing.letters[model.name]}"


def _markdown(cells: Cells) -> str:
    return markdown.table(cells.header, cells.rows)


def _latex(text: str) -> str:
    """``text`` on one line with LaTeX's special characters and ligatures undone."""
    special = {char: f"\\{char}" for char in "&%$#_{}"}
    special |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
    special |= {"`": r"\textasciigrave{}"}
    apart = re.sub(r"([-',])(?=\1)", r"\1\0", markdown.one_line(text))  # "--" would be a dash
    return "".join(special.get(char, char) for char in apart).replace("\0", "{}")
