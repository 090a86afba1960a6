"""A line of the table for each model, and the columns that there are. No torch here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from hfbench.errors import UserError, nearest
from hfbench.evidence.compared import ComparedModels
from hfbench.evidence.difference import Interval
from hfbench.evidence.findings import Findings
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.text_table import TextTable
from hfbench.evidence.use import three_digits, use_of
from hfbench.evidence.words import ends_text, p_text, signed_gap
from hfbench.metrics.registry import METRICS, Metric
from hfbench.records.schema import ModelFacts
from hfbench.records.use import UseFacts


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
        return with_interval(metric, found)

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


def all_values(findings: Findings) -> list[dict[str, Any]]:
    """Of each row its columns by name; what it costs to ask it where that was measured of one."""
    rows = build_rows(findings)
    is_measured = any(row.use for row in rows)
    return [row_values(row) | (_use_values(row) if is_measured else {}) for row in rows]


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
        may_be_best=model.name in comparison.best_set,
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


def with_interval(metric: Metric, found: Interval | None) -> str:
    if found is None:
        return "\u2013"
    return f"{metric.text(found.mean)} ({ends_text(metric, found.low, found.high)})"
