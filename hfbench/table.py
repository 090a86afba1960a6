"""Records -> the comparison table, on the terminal, as Markdown and as CSV. No torch here."""

import csv
import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from hfbench.errors import UserError
from hfbench.record import Record, load_predictions, load_records
from hfbench.stats import accuracy_interval

_COLUMNS = (
    "model",
    "parameters",
    "accuracy %",
    "95 % interval",
    "runs",
    "n",
    "macro F1",
    "train s",
)


@dataclass(frozen=True)
class Row:
    """One model's line. Shares are fractions in [0, 1]; None where every run failed."""

    model: str
    parameters: int | None
    accuracy: float | None
    """Mean over the runs."""
    low: float | None
    """Lower end of the 95 % interval over examples and seeds."""
    high: float | None
    runs: int
    """Finished runs."""
    failed: int
    """Failed runs."""
    examples: int
    """Evaluation examples of each run."""
    f1_macro: float | None
    """Mean over the runs."""
    train_seconds: float | None
    """Mean over the runs."""
    differences: list[str] = field(default_factory=list)
    """What else than the model differs from the other rows."""


@dataclass(frozen=True)
class ComparisonTable:
    """All that is shown of a results folder."""

    recipe: str
    data: str
    rows: list[Row]
    notes: list[str]
    pretraining: list[str]


def build_table(results: Path) -> ComparisonTable:
    """The table of a results folder, from its records alone; the most accurate model first.

    Raises:
        UserError: if there are no records of a comparison, or if the models were evaluated on
            different examples, which no table can compare.
        RecordError: if a record or its predictions cannot be read.
    """
    records = load_records(results)
    compared = [record for record in records if record.kind == "classification"]
    if not compared:
        raise UserError(f"{results}: no model was compared yet; run `hfbench compare`")
    _refuse_different_examples([r for r in compared if r.status == "finished"], results)
    models = list(dict.fromkeys(record.model for record in compared))
    differences = _differences(compared)
    rows = [
        _row([r for r in compared if r.model == model], results, differences.get(model, []))
        for model in models
    ]
    rows.sort(key=lambda row: (-(row.accuracy if row.accuracy is not None else -1), row.model))
    pretraining = [record for record in records if record.kind == "pretraining"]
    return ComparisonTable(
        recipe=compared[0].recipe,
        data=_describe_data(compared),
        rows=rows,
        notes=_notes(compared),
        pretraining=[_describe_pretraining(record) for record in pretraining],
    )


def write_table(table: ComparisonTable, results: Path) -> list[Path]:
    """Write README.md and accuracy.csv into the results folder; the same bytes each time."""
    outputs = {results / "README.md": as_markdown(table), results / "accuracy.csv": as_csv(table)}
    for path, text in outputs.items():
        path.write_text(text, encoding="utf-8", newline="\n")
    return list(outputs)


def as_markdown(table: ComparisonTable) -> str:
    """A page for people; percentages."""
    header = "| " + " | ".join(_COLUMNS) + " |"
    rule = "| --- |" + " ---: |" * (len(_COLUMNS) - 1)
    lines = [
        f"# {table.recipe}",
        "",
        "<!-- generated from records/ by `hfbench table`; do not edit -->",
        "",
        table.data,
        "",
        header,
        rule,
    ]
    footnotes = _footnotes(table)
    for row in table.rows:
        cells = _cells(row, footnotes)
        cells[0] = cells[0].replace("|", "\\|")
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"- {note}" for note in [*footnotes.values(), *table.notes])]
    if table.pretraining:
        lines += ["", "## Pretraining", "", *(f"- {line}" for line in table.pretraining)]
    return "\n".join(lines) + "\n"


def as_csv(table: ComparisonTable) -> str:
    """For programs: fractions in [0, 1], an empty field where there is no value.

    Six decimals: further ones differ between versions of NumPy and SciPy.
    """
    names = ["model", "parameters", "accuracy", "low", "high", "runs", "failed", "examples"]
    names += ["f1_macro", "train_seconds"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in table.rows:
        values = (getattr(row, name) for name in names)
        writer.writerow([f"{v:.6f}" if isinstance(v, float) else v for v in values])
    return text.getvalue()


def print_table(table: ComparisonTable, console: Console) -> None:
    """The same rows and notes on the terminal; fits 80 columns."""
    shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    shown.add_column(_COLUMNS[0], overflow="fold", min_width=16)
    for name in _COLUMNS[1:]:
        # narrow columns leave the room to the names
        *upper, lower = name.rsplit(" ", 1)
        shown.add_column("\n".join([*upper, lower]), justify="right", no_wrap=True)
    footnotes = _footnotes(table)
    for row in table.rows:
        shown.add_row(*_cells(row, footnotes))
    console.print(f"\n{table.data}", markup=False, highlight=False)
    console.print(shown)
    for note in footnotes.values():
        console.print(note, markup=False, highlight=False)


def _row(records: list[Record], results: Path, differences: list[str]) -> Row:
    finished = [record for record in records if record.status == "finished"]
    model, failed = records[0].model, len(records) - len(finished)
    if not finished:
        return Row(model, None, None, None, None, 0, failed, 0, None, None, differences)
    task = finished[0].task
    assert task is not None
    split = task.evaluation_split
    predictions = [load_predictions(record, results, split) for record in finished]
    correct = np.stack([p["logits"].argmax(-1) == p["label"] for p in predictions])
    low, high = accuracy_interval(correct)
    facts = finished[0].model_facts
    seconds = [r.training.train_seconds if r.training else r.fit_seconds or 0.0 for r in finished]
    return Row(
        model=model,
        parameters=facts.parameters if facts else None,
        accuracy=float(correct.mean()),
        low=low,
        high=high,
        runs=len(finished),
        failed=failed,
        examples=correct.shape[1],
        f1_macro=float(np.mean([record.metrics[split]["f1_macro"] for record in finished])),
        train_seconds=float(np.mean(seconds)),
        differences=differences,
    )


def _refuse_different_examples(records: list[Record], results: Path) -> None:
    by_hash: dict[tuple[str, str], str] = {}
    for record in records:
        assert record.task is not None
        split = record.task.evaluation_split
        content = (split, record.task.splits[split].content_hash)
        by_hash.setdefault(content, record.stem)
    if len(by_hash) > 1:
        (first, _), (second, _) = list(by_hash)[:2]
        names = list(by_hash.values())
        raise UserError(
            f"{results}: {names[0]} was evaluated on other examples ({first}) than {names[1]} "
            f"({second}); they cannot stand in one table: run the older one again (--rerun)"
        )


def _differences(records: list[Record]) -> dict[str, list[str]]:
    """Model -> what differs from what most of the models have, apart from the model itself."""
    facts: dict[str, dict[str, object]] = {}
    for record in records:
        if record.training and record.task:
            facts[record.model] = {
                "training examples": record.task.splits["train"].examples,
                "training data": record.task.splits["train"].content_hash[:8],
                "optimizer steps": record.training.steps,
                "batch": record.training.batch,
                "processes": record.training.world_size,
                "optimizer": record.training.optimizer,
                "device": record.training.device,
            }
    differences: dict[str, list[str]] = {}
    for name in next(iter(facts.values()), {}):
        usual = Counter(str(values[name]) for values in facts.values()).most_common(1)[0][0]
        for model, values in facts.items():
            if str(values[name]) != usual:
                differences.setdefault(model, []).append(f"{name} {values[name]}, not {usual}")
    return differences


def _footnotes(table: ComparisonTable) -> dict[str, str]:
    """Model -> its numbered footnote."""
    notes: dict[str, str] = {}
    for row in table.rows:
        reasons = list(row.differences)
        if row.failed:
            reasons.append(f"{row.failed} of {row.runs + row.failed} runs failed and are left out")
        if reasons:
            notes[row.model] = f"[{len(notes) + 1}] {row.model}: {'; '.join(reasons)}"
    return notes


def _cells(row: Row, footnotes: dict[str, str]) -> list[str]:
    mark = footnotes.get(row.model, "").partition(" ")[0]
    name = f"{row.model} {mark}".strip()
    runs = f"{row.runs} of {row.runs + row.failed}" if row.failed else str(row.runs)
    if row.accuracy is None or row.low is None or row.high is None or row.f1_macro is None:
        return [name, "", "", "", runs, "", "", ""]
    return [
        name,
        "" if row.parameters is None else f"{row.parameters:,}",
        f"{100 * row.accuracy:.2f}",
        f"{100 * row.low:.1f}-{100 * row.high:.1f}",
        runs,
        f"{row.examples:,}",
        f"{100 * row.f1_macro:.2f}",
        f"{row.train_seconds:.1f}",
    ]


def _describe_data(records: list[Record]) -> str:
    task = next((record.task for record in records if record.task), None)
    if task is None:
        return "No run finished."
    parts = [f"{data.examples:,} {split}" for split, data in task.splits.items()]
    revision = f" at {task.revision[:12]}" if task.revision else ""
    return (
        f"Data: {task.source}{revision}; {', '.join(parts)} examples; "
        f"labels {', '.join(task.labels)}. Accuracy is on the {task.evaluation_split} examples."
    )


def _notes(records: list[Record]) -> list[str]:
    devices = sorted({r.training.device for r in records if r.training})
    trained_on = f" on {', '.join(devices)}" if devices else ""
    return [
        "accuracy and macro F1: mean over the runs, after the last step; F1 times 100.",
        "95 % interval: for the accuracy over examples and seeds (Wilson's for a single run; with "
        "several, at the effective number of examples that a two-way analysis of variance gives).",
        "A control runs once: nothing in it is random.",
        f"train s: mean seconds of a run{trained_on}, evaluations apart; pretraining not included.",
        *_truncations(records),
    ]


def _truncations(records: list[Record]) -> list[str]:
    """A line for each model and split with texts that were cut; all seeds see the same."""
    lines = {}
    for record in records:
        if record.training and record.task and record.model_facts:
            for split, tokens in record.training.tokens.items():
                if tokens.truncated_examples:
                    examples = record.task.splits[split].examples
                    lines[record.model, split] = (
                        f"{record.model}: {tokens.truncated_examples:,} of {examples:,} {split} "
                        f"texts were truncated at {record.model_facts.max_length} tokens."
                    )
    return list(lines.values())


def _describe_pretraining(record: Record) -> str:
    if record.failure or not record.training or not record.corpus:
        reason = record.failure.message if record.failure else "no result"
        return f"{record.model}: failed ({reason})"
    metrics, training = record.metrics["validation"], record.training
    first = record.curves["train"][0]["loss"]
    return (
        f"{record.model}: {record.corpus.source}, {record.corpus.examples['train']:,} training "
        f"examples, {training.steps:,} steps of {training.batch}; training loss from {first:.2f}, "
        f"validation loss {metrics['loss']:.3f} (perplexity {metrics['perplexity']:.2f}); "
        f"{training.train_seconds:.0f} s"
    )
