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
from hfbench.evidence.compared import ComparedModels, ModelRuns, Standing
from hfbench.evidence.findings import QUESTIONS_NOTE, Findings
from hfbench.evidence.words import decimal, p_text
from hfbench.metrics.registry import METRICS, Metric, metrics_of
from hfbench.records.schema import ModelFacts
from hfbench.system.files import atomic


@dataclass(frozen=True)
class Row:
    """One model's line. Shares are fractions in [0, 1]; None where there is no value.

    The accuracy is over the runs that trained, all other means over the finished runs.
    """

    model: str
    accuracy: float | None
    low: float | None
    """Lower end of the 95 % interval over examples and seeds."""
    high: float | None
    group: str
    """Models that share a letter cannot be told apart."""
    may_be_best: bool | None
    """Whether it is in the 95 % confidence set for the best."""
    seed_sd: float | None
    """Standard deviation of its accuracy over seeds, as all rows let believe; 0 for a control."""
    above_majority: float | None
    """Accuracy minus that of always giving the commonest class."""
    p_majority: float | None
    """After Holm, for all rows against it and against guessing."""
    above_chance: bool | None
    """Told apart from guessing, upwards."""
    runs: int
    failed: int
    collapsed: int
    """Runs that learnt nothing; the accuracy is of the others, if there are any."""
    examples: int
    """Evaluation examples of each run."""
    scores: dict[str, float | None]
    """Metric -> mean; of each but the accuracy."""
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
class TextTable:
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
    return f"{decimal(row.above_majority, '+.1f')} {p_text(row.p_majority)}"


def _runs(row: Row) -> str:
    counted, total = row.runs - row.collapsed, row.runs + row.failed
    return str(total) if counted == total else f"{counted} of {total}"


def _scaled(value: float | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:.3g}"


_COLUMNS = {
    "accuracy": Column(
        METRICS["accuracy"].title, lambda row: METRICS["accuracy"].text(row.accuracy or 0)
    ),
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
}  # fmt: skip
ACCURACY = ("accuracy", "interval", "group", "majority", "runs", "examples")
COST = (
    "parameters", "body_parameters", "train_tokens", "train_flops", "train_seconds",
    "tokens_per_second", "peak_memory",
)  # fmt: skip


def columns() -> dict[str, Column]:
    """Every column that there is, by name."""
    return _COLUMNS | {name: _score_column(METRICS[name]) for name in confidence()}


def confidence() -> list[str]:
    """The columns of the metrics, but for the accuracy, which has more than one."""
    return [
        metric.name
        for metric in metrics_of("single_label_classification")
        if metric.name != "accuracy"
    ]


def _score_column(metric: Metric) -> Column:
    def text(row: Row) -> str:
        value = row.scores[metric.name]
        return "" if value is None else metric.text(value)

    return Column(metric.title, text)


def check_columns(names: Sequence[str]) -> Sequence[str]:
    """``names`` as they are.

    Raises:
        UserError: for a name that is no column.
    """
    known = columns()
    for name in names:
        if name not in known:
            raise UserError(
                f"--columns: no column {name!r}{nearest(name, known)} (known: {', '.join(known)})"
            )
    return names


def build_rows(findings: Findings) -> list[Row]:
    """A row for each model, in the comparison's order."""
    notes_of = {name: mark.partition(": ")[2] for name, mark in findings.footnotes.items()}
    comparison = findings.comparison
    return [_row(m, comparison, notes_of.get(m.name, "")) for m in comparison.models]


def row_values(row: Row) -> dict[str, Any]:
    """Column of the CSV -> value: the row's fields, and each metric by its own name."""
    values: dict[str, Any] = {}
    for field in fields(Row):
        value = getattr(row, field.name)
        values |= value if field.name == "scores" else {field.name: value}
    return values


def write_table(findings: Findings, results: Path, names: Sequence[str] = ACCURACY) -> list[Path]:
    """Write README.md, accuracy.csv and accuracy.tex; the same bytes each time.

    Args:
        findings: what to write.
        results: the folder.
        names: the columns of the first table, see `columns`.
    """
    outputs = {
        results / "README.md": as_markdown(findings, names),
        results / "accuracy.csv": as_csv(findings),
        results / "accuracy.tex": as_latex(findings, names),
    }
    for path, text in outputs.items():
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return list(outputs)


def as_markdown(findings: Findings, names: Sequence[str] = ACCURACY) -> str:
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
    if comparison.finished:
        lines += _section("Cost", text_table(rows, COST, {}), findings.cost)
        lines += _section("Confidence", text_table(rows, confidence(), {}), findings.confidence)
    if comparison.curve:
        lines += _section("Learning curve", curve_table(comparison), findings.curve)
    if findings.pretraining:
        lines += ["## Pretraining", markdown.bullets(findings.pretraining)]
    return "\n\n".join(lines) + "\n"


def _section(title: str, table: TextTable, notes: Sequence[str]) -> list[str]:
    return [f"## {title}", _markdown(table), markdown.bullets(notes)]


def as_csv(findings: Findings) -> str:
    """For programs, all columns: fractions in [0, 1], an empty field where there is no value.

    Six decimals: further ones differ between versions of NumPy and SciPy.
    """
    lines = [row_values(row) for row in build_rows(findings)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(lines[0])
    for line in lines:
        writer.writerow([f"{v:.6f}" if isinstance(v, float) else v for v in line.values()])
    return text.getvalue()


def as_latex(findings: Findings, names: Sequence[str] = ACCURACY) -> str:
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


def print_table(findings: Findings, console: Console, names: Sequence[str] = ACCURACY) -> None:
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
    if not model.finished:
        nothing: dict[str, Any] = dict.fromkeys([field.name for field in fields(Row)])
        counts = {"runs": 0, "failed": len(model.failed), "collapsed": 0, "examples": 0}
        known = {"model": model.name, "group": "", "scores": dict.fromkeys(confidence()), **counts}
        return Row(**{**nothing, **known, "notes": note})
    floor, facts = comparison.floors[model.name], model.finished[0].model_facts
    return Row(
        model=model.name,
        accuracy=model.accuracy,
        low=model.interval[0],
        high=model.interval[1],
        group=comparison.letters[model.name],
        may_be_best=model.name in comparison.best,
        seed_sd=model.judged.seed_sd if model.judged else None,
        above_majority=floor.majority.mean if floor.majority else None,
        p_majority=floor.p_majority if floor.majority else None,
        above_chance=floor.above_chance,
        runs=len(model.finished),
        failed=len(model.failed),
        collapsed=int(model.collapsed.sum()),
        examples=len(model.labels),
        scores={name: model.mean_score(name) for name in confidence()},
        parameters=facts.parameters,
        body_parameters=_body_parameters(facts),
        train_seconds=model.mean_seconds,
        **_cost(model),
        notes=note,
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
    known = columns()
    shown = {name: known[name] for name in names}
    header = ["model", *(column.title for column in shown.values())]
    return TextTable(header, [_texts(row, shown, marks) for row in rows])


def _texts(row: Row, shown: dict[str, Column], marks: dict[str, str]) -> list[str]:
    """The cells of a row; one whose runs all failed shows how many they were."""
    mark = marks.get(row.model, "").partition(" ")[0]
    name = f"{row.model} {mark}".strip()
    if row.accuracy is None:
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
    low, high = model.interval
    interval = f"{100 * low:.1f}-{100 * high:.1f}"
    return f"{100 * model.accuracy:.1f} ({interval}) {standing.letters[model.name]}"


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
