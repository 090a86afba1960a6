"""What a comparison found, in sentences: each number in them is one of the comparison's."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from hfbench.evidence.answer import answer, question, verdict
from hfbench.evidence.classes import ClassRow, measure_classes
from hfbench.evidence.compared import ComparedModels
from hfbench.evidence.data_notes import describe_data, shared_parts, truncations
from hfbench.evidence.footnotes import footnotes
from hfbench.evidence.notes import (
    assumption,
    class_notes,
    confidence_notes,
    cost_notes,
    curve_note,
    notes_of,
    on_the_same_examples,
    slice_notes,
)
from hfbench.evidence.slices import Part, cut_slices, find_turns
from hfbench.evidence.tuning_words import tuning_notes
from hfbench.evidence.use import use_notes
from hfbench.evidence.words import enumerate_names, few_names, gap_text
from hfbench.metrics.registry import metrics_of
from hfbench.records.schema import FailedRecord, PretrainingRecord

LOST_BY_CHOICE = (
    "Distinguished with the settings that were chosen, and not if they were chosen anew"
)


@dataclass(frozen=True)
class Findings:
    """What a comparison found, in words: made once, for each thing that is written of it."""

    comparison: ComparedModels
    question: str
    """What was asked."""
    answer: list[str]
    """To the questions, which model is best, and what must be known beside it: three sentences or
    fewer."""
    verdicts: list[str]
    """What is shown of each question that the recipe asks; empty where it asks none."""
    questions: str
    """How to read that, and which questions wait for results; empty where nothing is asked."""
    data: str
    """The data in a sentence or two."""
    footnotes: dict[str, str]
    """Model -> its numbered footnote: what differs, what it saw before, what failed and why."""
    cautions: list[str]
    """What the models did not see, or saw before: how texts were cut, which of their parts and
    groups stand in training, too; that intervals rest on an assumption. Said on the terminal as
    well."""
    notes: list[str]
    """What the columns mean, and what cannot be concluded."""
    cost: list[str]
    """What the columns of cost mean."""
    use: list[str]
    """Of what it costs to ask a model: whether a cheaper one would do, and what the columns mean;
    empty where none was measured."""
    confidence: list[str]
    """What the columns of the metrics mean, and which have no number and why."""
    class_notes: list[str]
    """How to read the table of classes, and which are too small."""
    parts: list[Part]
    """The parts of the recipe's slices."""
    slice_notes: list[str]
    """Where the order of models turns, and how to read the tables of slices."""
    tuning: list[str]
    """How settings were chosen and how sure that is; empty where they were not."""
    curve: list[str]
    """What the learning curve shows and how to read it; empty where there is none."""
    pretraining: list[str]
    """A line for each pretraining."""

    @classmethod
    def of(cls, comparison: ComparedModels) -> "Findings":
        """Of all that it has."""
        together = on_the_same_examples(comparison)
        parts = cut_slices(together) if together and together[0].slices else []
        turns = find_turns(parts)
        return cls(
            comparison=comparison,
            question=question(comparison),
            answer=answer(comparison, turns),
            verdicts=[verdict(pair) for pair in comparison.questions],
            questions=_about_questions(comparison),
            data=describe_data(comparison),
            footnotes=footnotes(comparison),
            cautions=[
                *truncations(comparison.finished),
                *shared_parts(comparison.finished),
                *filter(None, [assumption(comparison.finished)]),
            ],
            notes=notes_of(comparison),
            cost=cost_notes(comparison),
            use=use_notes(comparison),
            confidence=confidence_notes(comparison),
            class_notes=class_notes(together),
            parts=parts,
            slice_notes=slice_notes(comparison.metric, parts, turns),
            tuning=tuning_notes(comparison, comparison.tuning) if comparison.tuning else [],
            curve=[*_curve_findings(comparison), curve_note(comparison)]
            if comparison.curve
            else [],
            pretraining=[describe_pretraining(record) for record in comparison.pretraining],
        )

    @cached_property
    def classes(self) -> list[ClassRow]:
        """Each class of each model; empty of a regression, and where examples differ."""
        return measure_classes(on_the_same_examples(self.comparison))

    @property
    def all_notes(self) -> list[str]:
        """Those of models, data and columns: what stands below the first table."""
        return [*self.footnotes.values(), *self.cautions, *self.notes]


def _about_questions(comparison: ComparedModels) -> str:
    """How to read what is shown of them, and which wait; empty where nothing is asked."""
    lines = []
    if comparison.questions:
        answered = "the answered" if comparison.waiting else "all"
        lines.append(
            f"Intervals are for {answered} questions together (Holm's method, 5 % error), and not "
            "corrected for the other pairs."
        )
        if margin := comparison.questions[0].difference.margin:
            gap = gap_text(comparison.metric, margin)
            lines.append(f"The margin, a difference that matters, is {gap}.")
    tuning = comparison.tuning
    lost = [pair for pair in comparison.questions if tuning and tuning.loses_by_choice(pair)]
    if lost:
        names = [f"{pair.first.name} minus {pair.second.name}" for pair in lost]
        lines.append(f"{LOST_BY_CHOICE}: {enumerate_names(names)}.")
    if waiting := comparison.waiting:
        lines.append(waiting_text(waiting, [model.name for model in comparison.finished]))
    return " ".join(lines)


def waiting_text(waiting: Sequence[tuple[str, str]], finished: Collection[str]) -> str:
    """How many questions have no answer yet, and whose results they wait for."""
    lacking = dict.fromkeys(name for pair in waiting for name in pair if name not in finished)
    many = "1 question waits" if len(waiting) == 1 else f"{len(waiting)} questions wait"
    return (
        f"{many} for the results of {few_names(list(lacking))}; with these, the intervals of all "
        "get wider."
    )


def describe_pretraining(record: PretrainingRecord | FailedRecord) -> str:
    """One pretraining in a line."""
    name = record.model if record.seed is None else f"{record.model}, seed {record.seed}"
    if isinstance(record, FailedRecord):
        return f"{name}: failed ({record.failure.message})"
    found, training = record.metrics["validation"], record.training
    losses = record.training_losses
    begins = f"training loss from {losses[0]:.2f} to {losses[-1]:.2f}, " if losses else ""
    lowest = min(record.curves["validation"], key=lambda point: point["loss"], default=None)
    if lowest and lowest["loss"] < 0.99 * found["loss"]:
        begins += f"lowest validation loss {lowest['loss']:.3f} at step {lowest['step']:,.0f}, "
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
        f"{name}: {record.corpus.source}, {record.corpus.examples['train']:,} training "
        f"examples, {training.steps:,} steps of {training.batch}; {begins}"
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
    return lines or [f"With {sizes[-1]:,} training examples no two models can be distinguished."]
