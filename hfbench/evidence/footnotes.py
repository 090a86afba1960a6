"""Footnotes of models: what differs, what it saw before, what failed and why."""

from hfbench.evidence.compared import ComparedModels, Floor, ModelRuns
from hfbench.evidence.data_notes import describe_overlap, overlaps
from hfbench.evidence.words import percent
from hfbench.records.schema import ControlRecord


def footnotes(comparison: ComparedModels) -> dict[str, str]:
    marks: dict[str, str] = {}
    for model in comparison.models:
        reasons = list(comparison.differences.get(model.name, []))
        reasons += filter(None, [one_class(model)] if model.trained else [])
        reasons += filter(None, [_pretrained_on(model), _unfair(model), _unknown(model)])
        if model.finished and comparison.floors[model.name].below_chance:
            reasons.append(_below_chance(model, comparison.floors[model.name]))
        if model.failed:
            left_out = "run is" if len(model.failed) == 1 else "runs are"
            reasons.append(f"{len(model.failed)} {left_out} left out: {'; '.join(failures(model))}")
        if reasons:
            marks[model.name] = f"[{len(marks) + 1}] {model.name}: {'; '.join(reasons)}"
    return marks


def one_class(model: ModelRuns) -> str | None:
    """A warning where runs give the same answer to every example."""
    if not model.one_class_runs:
        return None
    return f"{model.one_class_runs} of {len(model.finished)} runs predict one class only"


def failures(model: ModelRuns) -> list[str]:
    """Each failed run with its reason."""
    lines = []
    for record in model.failed:
        step = f" at step {record.failure.step}" if record.failure.step is not None else ""
        seed = "" if record.seed is None else f"seed {record.seed} "
        lines.append(f"{seed}failed{step} ({record.failure.type}: {record.failure.message})")
    return lines


def _pretrained_on(model: ModelRuns) -> str | None:
    """How many evaluation examples its pretraining corpus has; None where it has none."""
    counts = [
        record.corpus_overlap[record.task.evaluation_split]
        for record in model.trained
        if record.corpus_overlap
    ]
    if not any(count.exact + count.near for count in counts):
        return None
    return describe_overlap(counts, "its pretraining corpus")


def _unfair(model: ModelRuns) -> str | None:
    """That nobody looked whether its architecture compares fairly; None where hfbench did."""
    entries = [record.settings["models"][0] for record in model.finished]
    if not any(entry.get("unfair") for entry in entries):
        return None
    return "its architecture was not asked whether it compares fairly (unfair: true)"


def _unknown(model: ModelRuns) -> str | None:
    """Of a control: how many evaluation texts have nothing that it knows; None where all have."""
    counts = [
        (record.unknown_texts[record.task.evaluation_split], len(model.labels))
        for record in model.finished
        if isinstance(record, ControlRecord) and record.unknown_texts
    ]
    if not any(number for number, _ in counts):
        return None
    number, examples = max(counts)
    return (
        f"{number:,} of {examples:,} evaluation texts ({percent(number / examples)}) have nothing "
        "that training texts have"
    )


def _below_chance(model: ModelRuns, floor: Floor) -> str:
    """That it does worse than guessing, which has a cause, and where to look for it."""
    line = f"right far less often than guessing ({percent(floor.chance)})"
    if any(sum((count.parts or {}).values()) or count.groups for count in overlaps(model)):
        return (
            f"{line}: likely because evaluation examples share texts or groups with training "
            "examples of other labels (task.group_column keeps them together)"
        )
    return (
        f"{line}: are labels swapped between the splits, or are rows that belong together parted "
        "(task.group_column)?"
    )
