"""Records -> what the models achieved and which of them can be told apart. No torch here."""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from hfbench.errors import RecordError
from hfbench.evidence.fairness import evaluation_hash
from hfbench.evidence.stats import (
    ALPHA,
    Answers,
    Difference,
    VarianceSplit,
    accuracy_interval,
    accuracy_p_value,
    difference_of_answers,
    group_letters,
    holm,
    split_variance,
)
from hfbench.metrics.registry import Scores, score
from hfbench.records.consistency import misfit
from hfbench.records.predictions import load_all_predictions
from hfbench.records.schema import (
    ClassificationRecord,
    Compared,
    FailedRecord,
    PretrainingRecord,
    TaskData,
)
from hfbench.records.store import WHAT_TO_DO

if TYPE_CHECKING:
    pass

_MAJORITY = "always the commonest class"  # no name of a model, which has no spaces
_Row = Compared | FailedRecord
_AnyRow = TypeVar("_AnyRow", bound=_Row)


@dataclass(frozen=True, eq=False)
class ModelRuns:
    """The runs of one model with their answers to the evaluation examples."""

    name: str
    finished: list[Compared]
    """In the order of their seeds; all arrays below follow it."""
    failed: list[FailedRecord]
    ids: np.ndarray
    """Shape (examples,)."""
    labels: np.ndarray
    """The right classes, shape (examples,)."""
    logits: np.ndarray
    """Shape (runs, examples, labels)."""

    @cached_property
    def predicted(self) -> np.ndarray:
        """Predicted classes, shape (runs, examples)."""
        return self.logits.argmax(-1)

    @cached_property
    def correct(self) -> np.ndarray:
        """Whether each prediction is right, shape (runs, examples)."""
        return self.predicted == self.labels

    @cached_property
    def answers(self) -> Answers:
        """The right answers, for paired differences."""
        return Answers.of(self.correct)

    @property
    def seeds(self) -> list[int | None]:
        """Of the finished runs; [None] for a control, in which nothing is random."""
        return [record.seed for record in self.finished]

    @cached_property
    def accuracy(self) -> float:
        """Mean over runs and examples; NaN if every run failed."""
        return float(self.correct.mean()) if self.finished else math.nan

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy over examples and seeds."""
        return accuracy_interval(self.correct)

    @cached_property
    def variance(self) -> VarianceSplit | None:
        """Where the uncertainty of the accuracy comes from; None with a single run."""
        return split_variance(self.correct)

    @cached_property
    def scores(self) -> list[Scores]:
        """What the metrics say of each run, from its predictions."""
        return [score("classifier", logits, self.labels) for logits in self.logits]

    def mean_score(self, metric: str) -> float | None:
        """Over the runs; None if of any run the metric gave no number."""
        values = [scores.values.get(metric) for scores in self.scores]
        known = [value for value in values if value is not None]
        return float(np.mean(known)) if values and len(known) == len(values) else None

    @property
    def trained(self) -> list[ClassificationRecord]:
        """The finished runs that trained a network: none of a control."""
        return [record for record in self.finished if isinstance(record, ClassificationRecord)]

    @property
    def mean_seconds(self) -> float:
        """Of one training or fit."""
        seconds = [
            record.training.train_seconds
            if isinstance(record, ClassificationRecord)
            else record.fit_seconds
            for record in self.finished
        ]
        return float(np.mean(seconds))

    @property
    def one_class_runs(self) -> int:
        """Runs that predict the same class for every example."""
        return int((self.predicted == self.predicted[:, :1]).all(1).sum())

    @property
    def runs(self) -> str:
        """Finished runs, and of how many where some failed."""
        total = len(self.finished) + len(self.failed)
        return f"{len(self.finished)} of {total}" if self.failed else str(total)


@dataclass(frozen=True)
class Pair:
    """Two models on the same examples; the first is the more accurate."""

    first: ModelRuns
    second: ModelRuns
    difference: Difference
    p_value: float
    """Adjusted after Holm for all pairs of the table."""

    @property
    def differ(self) -> bool:
        """Whether the two can be told apart."""
        return self.p_value < ALPHA


@dataclass(frozen=True)
class Floor:
    """A model against guessing and against always giving the commonest class."""

    chance: float
    """Accuracy of guessing: 1 / number of labels."""
    above_chance: bool
    """Whether it is told apart from guessing, upwards (Holm's correction for all models)."""
    below_chance: bool
    """Whether it is told apart from guessing, downwards, and right less than half as often."""
    label: str
    """The commonest class of the training examples."""
    majority: Difference | None
    """Its accuracy minus that of always answering ``label``; None for a row that just does that."""
    p_majority: float
    """Adjusted after Holm together with the pairs of the table."""

    @property
    def above_majority(self) -> bool:
        """Whether it is told apart from always answering ``label``, upwards."""
        return self.majority is not None and self.majority.mean > 0 and self.p_majority < ALPHA


@dataclass(frozen=True)
class Standing:
    """Models that were trained on as many examples, the most accurate first."""

    models: list[ModelRuns]
    """Those without a finished run stand last."""
    pairs: list[Pair]
    letters: dict[str, str]
    """Model -> groups; models that share a letter cannot be told apart."""
    floors: dict[str, Floor]

    @property
    def finished(self) -> list[ModelRuns]:
        """The models with a result."""
        return [model for model in self.models if model.finished]


@dataclass(frozen=True)
class ComparedModels(Standing):
    """All that the records of a results folder say about its models."""

    recipe: str
    differences: dict[str, list[str]]
    """Model -> in what else than the model its runs differ from the others, in words."""
    curve: dict[int, Standing]
    """Training examples -> standing, of a learning curve; empty where there is none."""
    pretraining: list[PretrainingRecord | FailedRecord]

    @property
    def task(self) -> TaskData | None:
        """The data; None if every run failed."""
        finished = [record for model in self.models for record in model.finished]
        return finished[0].task if finished else None


def by_model(records: Iterable[_AnyRow]) -> dict[str, list[_AnyRow]]:
    models: dict[str, list[_AnyRow]] = {}
    for record in records:
        models.setdefault(record.model, []).append(record)
    return models


def stand(records: Sequence[_Row], results: Path) -> Standing:
    models = [_load_runs(runs, results) for runs in by_model(records).values()]
    models.sort(key=_rank)
    finished = [model for model in models if model.finished]
    if not finished:
        return Standing(models, [], {}, {})
    # the floor is tested in the same family as the pairs, where no row of the table is the floor
    floor = next((m for m in finished if _always_majority(m)), None) or _majority(finished[0])
    tested = finished if floor in finished else sorted([*finished, floor], key=_rank)
    pairs = _compare_pairs(tested)
    p_values = {(pair.first.name, pair.second.name): pair.p_value for pair in pairs}
    names = [model.name for model in finished]
    letters = dict(zip(names, group_letters(names, p_values), strict=True))
    shown = [pair for pair in pairs if {pair.first.name, pair.second.name} <= {*names}]
    return Standing(models, shown, letters, _floors(finished, floor, pairs))


def _rank(model: ModelRuns) -> tuple[float, str]:
    return (-model.accuracy if model.finished else math.inf, model.name)


def _load_runs(records: Sequence[_Row], results: Path) -> ModelRuns:
    finished = [record for record in records if isinstance(record, Compared)]
    finished.sort(key=lambda record: -1 if record.seed is None else record.seed)
    failed = [record for record in records if isinstance(record, FailedRecord)]
    name = records[0].model
    if not finished:
        nothing = np.empty(0)
        return ModelRuns(name, finished, failed, nothing, nothing, np.empty((0, 0, 0)))
    split = finished[0].task.evaluation_split
    predictions = load_all_predictions(finished, results, split)
    first = predictions[0]
    for record, one in zip(finished, predictions, strict=True):
        problem = misfit(record, one)
        if not problem and not all(np.array_equal(one[key], first[key]) for key in ("id", "label")):
            problem = f"other examples or labels than those of {finished[0].stem}"
        if problem:
            raise RecordError(
                f"{results}: the predictions of {record.stem} have {problem}; {WHAT_TO_DO}"
            )
    logits = np.stack([one["logits"] for one in predictions])
    return ModelRuns(name, finished, failed, first["id"], first["label"], logits)


def _compare_pairs(models: list[ModelRuns]) -> list[Pair]:
    """All pairs that answered the same examples, with Holm's adjusted p-values."""
    pairs = [
        (first, second, difference_of_answers(first.answers, second.answers))
        for first, second in itertools.combinations(models, 2)
        if evaluation_hash(first.finished[0]) == evaluation_hash(second.finished[0])
    ]
    adjusted = holm([difference.p_value for _, _, difference in pairs])
    return [Pair(*pair, p_value) for pair, p_value in zip(pairs, adjusted, strict=True)]


def _floors(models: list[ModelRuns], floor: ModelRuns, pairs: list[Pair]) -> dict[str, Floor]:
    chance = 1 / models[0].logits.shape[-1]
    p_chance = holm([accuracy_p_value(model.correct, chance) for model in models])
    label = floor.finished[0].task.labels[floor.predicted[0, 0]]
    against = {}
    for pair in pairs:
        if pair.second is floor and not _always_majority(pair.first):
            against[pair.first.name] = (pair.difference, pair.p_value)
        elif pair.first is floor and not _always_majority(pair.second):
            against[pair.second.name] = (-pair.difference, pair.p_value)
    return {
        model.name: Floor(
            chance, p < ALPHA and model.accuracy > chance,
            p < ALPHA and model.accuracy < chance / 2, label,
            *against.get(model.name, (None, 1.0)),
        )
        for model, p in zip(models, p_chance, strict=True)
    }  # fmt: skip


def _majority(model: ModelRuns) -> ModelRuns:
    """As if a model had always given the commonest class of ``model``'s training examples."""
    logits = np.zeros((1, *model.logits.shape[1:]))
    logits[..., _commonest(model)] = 1
    return replace(model, name=_MAJORITY, logits=logits)


def _always_majority(model: ModelRuns) -> bool:
    return bool((model.predicted == _commonest(model)).all())


def _commonest(model: ModelRuns) -> int:
    """The first among equals."""
    task = model.finished[0].task
    return int(np.argmax([task.splits["train"].label_counts[label] for label in task.labels]))
