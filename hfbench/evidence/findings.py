"""What a comparison found, in sentences: each number in them is one of the comparison's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hfbench.evidence.compared import ComparedModels, Floor, ModelRuns, Pair
from hfbench.metrics.registry import METRICS, metrics_of
from hfbench.recipe.types import Selection, Truncation
from hfbench.records.schema import (
    NEAR_SHARE,
    RUN,
    ClassificationRecord,
    ControlRecord,
    FailedRecord,
    Overlap,
    PretrainingRecord,
    TaskData,
    Tokens,
)

_SELECTION: dict[Selection, str] = {
    "last": "after the last step",
    "best_loss": "with the weights that had the lowest validation loss",
    "best_accuracy": "with the weights that had the highest validation accuracy",
}
KEPT: dict[Truncation, str] = {
    "head": "the beginning",
    "tail": "the end",
    "head_tail": "beginning and end",
}
_NAMED = 6
"""Models that the best one beats and a sentence may name; the table has them all."""

_LABELS = 12
"""Classes that a sentence names; the report has them all."""

_PARTS = {"text": "the first text", "text_pair": "the second text"}

_BULLET = 200
"""Letters of short sentences that stand in one line of notes."""


@dataclass(frozen=True)
class Findings:
    """What a comparison found, in words: made once, for each thing that is written of it."""

    comparison: ComparedModels
    question: str
    """What was asked."""
    answer: list[str]
    """What is to be said: about the best model, and about the floor. Two sentences or fewer."""
    data: str
    """The data in a sentence or two."""
    footnotes: dict[str, str]
    """Model -> its numbered footnote: what differs, what it saw before, what failed and why."""
    cautions: list[str]
    """What the models did not see, or saw before: how texts were cut, which of their parts and
    groups stand in training, too. Said on the terminal as well."""
    notes: list[str]
    """What the columns mean, and what cannot be concluded."""
    cost: list[str]
    """What the columns of cost mean."""
    confidence: list[str]
    """What the columns of the metrics mean, and which have no number and why."""
    curve: list[str]
    """What the learning curve shows and how to read it; empty where there is none."""
    pretraining: list[str]
    """A line for each pretraining."""

    @classmethod
    def of(cls, comparison: ComparedModels) -> "Findings":
        """Of all that it has."""
        return cls(
            comparison=comparison,
            question=_question(comparison),
            answer=_answer(comparison),
            data=_describe_data(comparison),
            footnotes=_footnotes(comparison),
            cautions=[*_truncation(comparison.finished), *_shared_parts(comparison.finished)],
            notes=_notes(comparison),
            cost=_cost_notes(comparison),
            confidence=_confidence_notes(comparison),
            curve=[*_curve_findings(comparison), CURVE_NOTE] if comparison.curve else [],
            pretraining=[describe_pretraining(record) for record in comparison.pretraining],
        )

    @property
    def all_notes(self) -> list[str]:
        """Those of models, data and columns: what stands below the first table."""
        return [*self.footnotes.values(), *self.cautions, *self.notes]


def _question(comparison: ComparedModels) -> str:
    number = len(comparison.models)
    source = comparison.task.source if comparison.task else "the data"
    return f"Which of these {number} models classifies {source} best, and how sure is that?"


def _answer(comparison: ComparedModels) -> list[str]:
    finished = comparison.finished
    if not finished:
        return ["No run of any model finished."]
    return [_about_the_best(comparison), _about_the_floor(comparison)]


def _footnotes(comparison: ComparedModels) -> dict[str, str]:
    marks: dict[str, str] = {}
    for model in comparison.models:
        reasons = list(comparison.differences.get(model.name, []))
        reasons += filter(None, [one_class(model)] if model.trained else [])
        reasons += filter(None, [_pretrained_on(model), _unfair(model), _unknown(model)])
        reasons += dict.fromkeys(note for r in model.finished for note in r.model_facts.notes)
        if model.finished and comparison.floors[model.name].below_chance:
            reasons.append(_below_chance(model, comparison.floors[model.name]))
        if model.failed:
            left_out = "run is" if len(model.failed) == 1 else "runs are"
            reasons.append(f"{len(model.failed)} {left_out} left out: {'; '.join(failures(model))}")
        if reasons:
            marks[model.name] = f"[{len(marks) + 1}] {model.name}: {'; '.join(reasons)}"
    return marks


def _notes(comparison: ComparedModels) -> list[str]:
    finished = comparison.finished
    if not finished:
        return []
    selections = {record.training.selection for record in _trained(finished)}
    selected = enumerate_names([text for rule, text in _SELECTION.items() if rule in selections])
    label = comparison.floors[finished[0].name].label
    lines = [
        f"accuracy: mean over the runs{', ' if selected else ''}{selected}.",
        "95 % interval: for the accuracy over examples and seeds (Wilson's for a single run; with "
        "several, at the effective number of examples that a two-way analysis of variance gives).",
        "group: models that share a letter cannot be told apart (paired differences over examples "
        f"and seeds; Holm's correction, error 5 % for all {len(comparison.pairs)} pairs and the "
        "floor together).",
        f'vs majority: points above always answering "{label}", with p after Holm.',
    ]
    lines += filter(None, [_trained_on(finished)])
    if any(model.seeds == [None] for model in finished):
        lines.append("A control runs once: nothing in it is random.")
    guessing = [m.name for m in finished if not comparison.floors[m.name].above_chance]
    if guessing:
        chance = percent(comparison.floors[guessing[0]].chance)  # the labels are the same for all
        lines.append(
            f"Not shown to be better than guessing ({chance}): {enumerate_names(guessing)}."
        )
    single = [m.name for m in finished if m.trained and len(m.finished) == 1]
    if single:
        lines.append(
            f"One seed only ({enumerate_names(single)}): intervals and groups say nothing about "
            "other seeds."
        )
    return lines


def _trained_on(models: list[ModelRuns]) -> str | None:
    """How many evaluation examples are training examples; None where that was not counted."""
    counts = [count for model in models for count in _overlaps(model)]
    if not counts:
        return None
    line = f"{_overlap(counts, 'the training data')}."
    if short := max(count.short for count in counts):
        line += f" {short:,} of fewer than {RUN} words were compared as a whole only."
    return line


def _truncation(models: list[ModelRuns]) -> list[str]:
    """Which rows cut how many texts; nothing where no text was cut."""
    rows: dict[str, list[str]] = {}
    for model in models:
        for text in dict.fromkeys(map(_cut_texts, model.trained)):
            rows.setdefault(text or "no text", []).append(model.name)
    if not rows.keys() - {"no text"}:
        return []
    whole = [model.name for model in models if not model.trained]
    parts = [f"{text} ({enumerate_names(names)})" for text, names in rows.items()]
    parts += [f"controls read whole texts ({enumerate_names(whole)})"] if whole else []
    return [f"truncation: {'; '.join(parts)}."]


def _cut_texts(record: ClassificationRecord) -> str:
    """The texts that a run cut; empty where it cut none."""
    sizes = {name: split.examples for name, split in record.task.splits.items()}
    kept = record.settings.get("task", {}).get("truncation", "head")
    cut = describe_cut(record.training.tokens, sizes, record.model_facts.max_length)
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
        share = f", {percent(sum(cut) / all_tokens)} of all tokens cut off"
    return f"{enumerate_names(counts)} texts cut at {max_length} tokens{share}"


def _shared_parts(models: list[ModelRuns]) -> list[str]:
    """Texts of pairs, and groups, that stand in training, too: the most of any run."""
    counts = [count for model in models for count in _overlaps(model)]
    tasks = [r.settings.get("task", {}) for m in models for r in m.finished]
    is_given = not any(task.get("validation_size") for task in tasks)  # and no key would part it
    advice = "" if is_given else ": `task.group_column` keeps such examples together"
    lines = []
    for part, words in _PARTS.items():
        found = [(count.parts[part], count.examples) for count in counts if count.parts]
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


def _overlaps(model: ModelRuns) -> list[Overlap]:
    """Of each run, on the split that is shown, where it was counted."""
    tasks = [record.task for record in model.finished]
    return [task.overlap[task.evaluation_split] for task in tasks if task.overlap]


def _below_chance(model: ModelRuns, floor: Floor) -> str:
    """That it does worse than guessing, which has a cause, and where to look for it."""
    line = f"right far less often than guessing ({percent(floor.chance)})"
    if any(sum((count.parts or {}).values()) or count.groups for count in _overlaps(model)):
        return (
            f"{line}: likely because evaluation examples share texts or groups with training "
            "examples of other labels (task.group_column keeps them together)"
        )
    return (
        f"{line}: are labels swapped between the splits, or are rows that belong together parted "
        "(task.group_column)?"
    )


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


def _pretrained_on(model: ModelRuns) -> str | None:
    """How many evaluation examples its pretraining corpus has; None where it has none."""
    counts = [
        record.corpus_overlap[record.task.evaluation_split]
        for record in model.trained
        if record.corpus_overlap
    ]
    if not any(count.exact + count.near for count in counts):
        return None
    return _overlap(counts, "its pretraining corpus")


def _unfair(model: ModelRuns) -> str | None:
    """That nobody looked whether its architecture compares fairly; None where hfbench did."""
    entries = [record.settings["models"][0] for record in model.finished]
    if not any(entry.get("unfair") for entry in entries):
        return None
    return "its architecture was not asked whether it compares fairly (unfair: true)"


def _overlap(counts: Sequence[Overlap], place: str) -> str:
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


def _cost_notes(comparison: ComparedModels) -> list[str]:
    trainings = [record.training for record in _trained(comparison.finished)]
    devices = sorted({training.device for training in trainings})
    memory = sorted({training.peak_memory_of for training in trainings})
    return [
        "Means over the runs of one training each; pretraining is not included.",
        "training tokens: seen in all epochs, padding apart; TFLOP: forward and backward passes "
        "for them, counted operator by operator.",
        f"train s: evaluations apart{', on ' if devices else ''}{enumerate_names(devices)}; "
        f"peak MiB: of {enumerate_names(memory) or 'nothing trained'}.",
        *_not_recorded(comparison.finished),
    ]


def _not_recorded(models: list[ModelRuns]) -> list[str]:
    """What records of trained models lack, a line for each reason."""
    rows: dict[str, list[str]] = {}
    for model in models:
        reasons = {f"{k} ({why})" for r in model.trained for k, why in r.not_recorded.items()}
        for reason in sorted(reasons):
            rows.setdefault(reason, []).append(model.name)
    return [f"Not recorded of {enumerate_names(names)}: {why}." for why, names in rows.items()]


CURVE_NOTE = (
    "Accuracy %, 95 % interval and group by number of training examples: nested subsets, "
    "stratified by label, others for each seed; groups hold within a row."
)


def _confidence_notes(comparison: ComparedModels) -> list[str]:
    lines = ["Means over the runs."]
    for note in filter(None, [metric.note for metric in metrics_of("classifier")]):
        if len(lines[-1]) + len(note) < _BULLET:
            lines[-1] += f" {note}"
        else:
            lines.append(note)
    missing = [
        f"{METRICS[metric].title}: no number of {model.name} ({reason})."
        for model in comparison.finished
        for scores in model.scores
        for metric, reason in scores.left_out.items()
    ]
    return [*lines, *dict.fromkeys(missing)]


def _describe_data(comparison: ComparedModels) -> str:
    task = comparison.task
    if task is None:
        return "No run finished."
    parts = [f"{data.examples:,} {split}" for split, data in task.splits.items()]
    revision = f" at {task.revision[:12]}" if task.revision else ""
    return (
        f"Data: {task.source}{revision}; {', '.join(parts)} examples; "
        f"labels {list_labels(task.labels)}. Accuracy is on the {task.evaluation_split} examples."
        f"{_left_out(task)}"
    )


def _left_out(task: TaskData) -> str:
    if not task.left_out:
        return ""
    rows, classes = sum(task.left_out.values()), len(task.left_out)
    return (
        f" Left out, as too small: {classes} class{'es' if classes > 1 else ''} of {rows:,} rows "
        f"({list_labels(list(task.left_out))})."
    )


def list_labels(labels: Sequence[str]) -> str:
    """All names, or of many the first and how many there are."""
    if len(labels) <= _LABELS:
        return ", ".join(labels)
    return f"{', '.join(labels[: _LABELS - 2])}, ... ({len(labels)} in all)"


def describe_pretraining(record: PretrainingRecord | FailedRecord) -> str:
    """One pretraining in a line."""
    if isinstance(record, FailedRecord):
        return f"{record.model}: failed ({record.failure.message})"
    found, training = record.metrics["validation"], record.training
    first = record.curves["train"][0]["loss"]
    further = [
        f"{metric.title} {metric.text(found[metric.name])}"
        for metric in metrics_of("language model")
        if metric.name in found
    ]
    if "bits_per_byte" in found:
        further.append(f"{found['bits_per_byte']:.3f} bits per byte")
    told = f" ({', '.join(further)})" if further else ""
    operations = "" if training.flops is None else f", {training.flops / 1e12:.3g} TFLOP"
    return (
        f"{record.model}: {record.corpus.source}, {record.corpus.examples['train']:,} training "
        f"examples, {training.steps:,} steps of {training.batch}; training loss from {first:.2f}, "
        f"validation loss {found['loss']:.3f}{told}; "
        f"{training.train_seconds:.0f} s{operations}"
    )


def _curve_findings(comparison: ComparedModels) -> list[str]:
    """From how many training examples on which model beats which, at every larger size, too."""
    sizes = list(comparison.curve)
    told = {
        size: {(p.first.name, p.second.name) for p in standing.pairs if p.differ}
        for size, standing in comparison.curve.items()
    }
    lines = []
    for first, second in sorted(told[sizes[-1]]):
        lasting = [
            size
            for number, size in enumerate(sizes)
            if all((first, second) in told[larger] for larger in sizes[number:])
        ]
        lines.append(f"{first} beats {second} from {lasting[0]:,} training examples on.")
    return lines or [f"With {sizes[-1]:,} training examples no model is told from another."]


def percent(share: float) -> str:
    """A fraction as a percentage with one decimal."""
    return f"{100 * share:.1f} %"


def points(difference: float, low: float, high: float) -> str:
    """A difference of accuracies and its interval, in percentage points."""
    return f"{100 * difference:.1f} points (95 % interval {100 * low:.1f} to {100 * high:.1f})"


def p_text(p_value: float) -> str:
    """A p-value with three decimals, at least."""
    return "p <0.001" if p_value < 0.001 else f"p {p_value:.3f}"


def enumerate_names(names: Sequence[str]) -> str:
    """``a``; ``a and b``; ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _about_the_best(comparison: ComparedModels) -> str:
    best = comparison.finished[0]
    leads = f"{best.name} is the most accurate ({percent(best.accuracy)})"
    pairs = [pair for pair in comparison.pairs if pair.first is best]
    alike = [pair.second.name for pair in pairs if not pair.differ]
    beaten = [pair for pair in pairs if pair.differ]
    if not pairs:
        return f"{leads}; there is no other model to compare it with."
    if not beaten:
        return f"{leads}, but it cannot be told from any other: {enumerate_names(alike)}."
    if alike:
        leads += f", but it cannot be told from {enumerate_names(alike)}"
    nearest = min(beaten, key=lambda pair: pair.difference.mean)
    return f"{leads}; it beats {_beaten(nearest, beaten)}."


def _beaten(nearest: Pair, beaten: list[Pair]) -> str:
    difference = nearest.difference
    by = f"{nearest.second.name} by {points(difference.mean, difference.low, difference.high)}"
    others = [pair.second.name for pair in beaten if pair is not nearest]
    if not others:
        return by
    listed = enumerate_names(others) if len(others) <= _NAMED else f"{len(others)} others"
    return f"{by} and, by more, {listed}"


def _about_the_floor(comparison: ComparedModels) -> str:
    floors = {
        model.name: comparison.floors[model.name]
        for model in comparison.finished
        if comparison.floors[model.name].majority is not None
    }
    if not floors:
        return "Every model gives one answer only."
    label = next(iter(floors.values())).label
    floor = f'always answering "{label}"'
    no_better = [name for name, found in floors.items() if not found.above_majority]
    if not no_better:
        others = "other " if len(floors) < len(comparison.finished) else ""
        return f"Every {others}model is better than {floor}."
    if len(no_better) == len(floors) > 1:
        return f"No model is shown to be better than {floor}."
    verb = "is" if len(no_better) == 1 else "are"
    return f"{enumerate_names(no_better)} {verb} not shown to be better than {floor}."


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


def _trained(models: Sequence[ModelRuns]) -> list[ClassificationRecord]:
    return [record for model in models for record in model.trained]
