"""What is to be said of the data: its size, and what models did not see, or saw before."""

from collections.abc import Mapping, Sequence

from hfbench.evidence.compared import ComparedModels
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.words import enumerate_names, list_labels, percent
from hfbench.recipe.types import Truncation
from hfbench.records.data import NEAR_SHARE, RUN, Overlap, TaskData
from hfbench.records.schema import Compared, ControlRecord, Tokens

KEPT: dict[Truncation, str] = {
    "head": "the beginning",
    "tail": "the end",
    "head_tail": "beginning and end",
}
_PARTS = {"text": "the first text", "text_pair": "the second text"}


def describe_data(comparison: ComparedModels) -> str:
    task = comparison.task
    if task is None:
        return "No run finished."
    revision = f" at {task.revision[:12]}" if task.revision else ""
    label = comparison.metric.label
    return (
        f"Data: {task.source}{revision}; {sizes(task)} examples; {what_is_asked(task)}. "
        f"{label[:1].upper()}{label[1:]} is on {_evaluated(task)}."
        f"{_left_out(task)}"
    )


def sizes(task: TaskData) -> str:
    """How many examples there are, before the word "examples"."""
    if not task.fold:
        return ", ".join(f"{data.examples:,} {split}" for split, data in task.splits.items())
    times = "" if task.fold.repeats == 1 else f", {task.fold.repeats} times"
    return f"{task.fold.folds} folds{times} of {task.fold.whole.examples:,}"


def _evaluated(task: TaskData) -> str:
    if task.fold:
        return "all of them, each answered by models that were trained on the other folds"
    return f"the {task.evaluation_split} examples"


def what_is_asked(task: TaskData) -> str:
    """The labels, or the numbers, in words."""
    if task.problem_type == "regression":
        target = task.splits[task.evaluation_split].target
        assert target is not None
        return f"numbers from {target.low:.4g} to {target.high:.4g}"
    several = ", any number of them" if task.problem_type == "multi_label_classification" else ""
    return f"labels {list_labels(task.labels)}{several}"


def _left_out(task: TaskData) -> str:
    if not task.left_out:
        return ""
    rows, classes = sum(task.left_out.values()), len(task.left_out)
    return (
        f" Left out, as too small: {classes} class{'es' if classes > 1 else ''} of {rows:,} rows "
        f"({list_labels(list(task.left_out))})."
    )


def trained_on(models: list[ModelRuns]) -> str | None:
    """How many evaluation examples are training examples; None where that was not counted."""
    counts = [count for model in models for count in overlaps(model)]
    if not counts:
        return None
    line = f"{describe_overlap(counts, 'the training data')}."
    if short := max(count.short for count in counts):
        line += f" {short:,} of fewer than {RUN} words were compared as a whole only."
    return line


def truncations(models: list[ModelRuns]) -> list[str]:
    """Which rows cut how many texts; nothing where no text was cut."""
    rows: dict[str, list[str]] = {}
    for model in models:
        for text in dict.fromkeys(_cut_texts(r) for r in model.finished if r.cut_tokens):
            rows.setdefault(text or "no text", []).append(model.name)
    if not rows.keys() - {"no text"}:
        return []
    whole = [m.name for m in models if isinstance(m.finished[0], ControlRecord)]
    parts = [f"{text} ({enumerate_names(names)})" for text, names in rows.items()]
    parts += [f"controls read whole texts ({enumerate_names(whole)})"] if whole else []
    return [f"truncation: {'; '.join(parts)}."]


def _cut_texts(record: Compared) -> str:
    """The texts that a run cut; empty where it cut none."""
    sizes = {name: split.examples for name, split in record.task.splits.items()}
    kept = record.settings.get("task", {}).get("truncation", "head")
    cut = describe_cut(record.cut_tokens or {}, sizes, record.model_facts.max_length)
    return f"{cut}; kept: {KEPT[kept]}" if cut and kept != "head" else cut


def describe_cut(
    tokens: Mapping[str, Tokens], sizes: Mapping[str, int], max_length: int | None
) -> str:
    """How many texts are cut, and what share of all tokens; empty where none is.

    Args:
        tokens: by split.
        sizes: examples by split.
        max_length: tokens at which they are cut.
    """
    counts = [
        f"{found.truncated_examples:,} of {sizes[split]:,} {split}"
        for split, found in tokens.items()
        if found.truncated_examples
    ]
    if not counts:
        return ""
    cut = [found.cut for found in tokens.values() if found.cut is not None]
    share = ""
    if len(cut) == len(tokens):  # not of records from before it was counted
        all_tokens = sum(found.total for found in tokens.values()) + sum(cut)
        share = f", {percent(sum(cut) / max(all_tokens, 1))} of all tokens cut off"
    return f"{enumerate_names(counts)} texts cut at {max_length} tokens{share}"


def shared_parts(models: list[ModelRuns]) -> list[str]:
    """Texts of pairs, and groups, that stand in training, too: the most of any run."""
    counts = [count for model in models for count in overlaps(model)]
    tasks = [r.settings.get("task", {}) for m in models for r in m.finished]
    keys = ("validation_size", "folds")  # of a given split no key would part such rows
    is_given = not any(task.get(key) for task in tasks for key in keys)
    advice = "" if is_given else ": `task.group_column` keeps such examples together"
    lines = []
    for part, words in _PARTS.items():
        parts = [(count.parts or {}, count.examples) for count in counts]
        found = [(texts[part], examples) for texts, examples in parts if part in texts]
        if number := max(found, default=(0, 0))[0]:
            lines.append(
                f"{number:,} of {max(found)[1]:,} evaluation examples have {words} of a training "
                f"example, beside another{advice}."
            )
    groups = [(count.groups, count.examples) for count in counts if count.groups]
    if groups:
        number, examples = max(groups)
        lines.append(
            f"{number:,} of {examples:,} evaluation examples are of a group that training has, too."
        )
    return lines


def overlaps(model: ModelRuns) -> list[Overlap]:
    """Of each run, on the split that is shown, where it was counted."""
    tasks = [record.task for record in model.finished]
    return [task.overlap[task.evaluation_split] for task in tasks if task.overlap]


def describe_overlap(counts: Sequence[Overlap], place: str) -> str:
    """The most of any run, where a learning curve gives each seed a subset of its own."""
    most = max(counts, key=lambda count: count.exact + count.near)
    number = most.exact + most.near
    up_to = "" if all(count == most for count in counts) else "up to "
    kinds = [f"{most.exact:,} word for word"] if most.exact else []
    if most.near:
        words = f"{100 * NEAR_SHARE:.0f} % of the words or more"
        kinds.append(f"{most.near:,} nearly, with {words} in runs of {RUN} that occur there")
    return (
        f"{up_to}{number:,} of {most.examples:,} evaluation examples "
        f"{'is' if number == 1 else 'are'} also in {place}"
        f"{' (' if kinds else ''}{', '.join(kinds)}{')' if kinds else ''}"
    )
