"""What a comparison found, in sentences: each number in them is one of the comparison's."""

from collections.abc import Sequence
from dataclasses import dataclass

from hfbench.evidence.answer import answer, question
from hfbench.evidence.compared import ComparedModels, ModelRuns
from hfbench.evidence.data_notes import describe_data, shared_parts, trained_on, truncations
from hfbench.evidence.footnotes import footnotes
from hfbench.evidence.words import enumerate_names, percent
from hfbench.metrics.registry import METRICS, metrics_of
from hfbench.recipe.types import Selection
from hfbench.records.schema import ClassificationRecord, FailedRecord, PretrainingRecord

_SELECTION: dict[Selection, str] = {
    "last": "after the last step",
    "best_loss": "with the weights that had the lowest validation loss",
    "best_accuracy": "with the weights that had the highest validation accuracy",
}
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
            question=question(comparison),
            answer=answer(comparison),
            data=describe_data(comparison),
            footnotes=footnotes(comparison),
            cautions=[*truncations(comparison.finished), *shared_parts(comparison.finished)],
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
    lines += filter(None, [trained_on(finished)])
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
    ]


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
    return (
        f"{record.model}: {record.corpus.source}, {record.corpus.examples['train']:,} training "
        f"examples, {training.steps:,} steps of {training.batch}; training loss from {first:.2f}, "
        f"validation loss {found['loss']:.3f}{told}; "
        f"{training.train_seconds:.0f} s, {training.flops / 1e12:.3g} TFLOP"
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


def _trained(models: Sequence[ModelRuns]) -> list[ClassificationRecord]:
    return [record for model in models for record in model.trained]
