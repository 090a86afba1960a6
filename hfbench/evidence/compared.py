"""Records -> what the models achieved and which of them can be told apart. No torch here."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from hfbench.errors import RecordError
from hfbench.evidence.collapse import collapsed_runs
from hfbench.evidence.fairness import evaluation_hash
from hfbench.evidence.judge import Difference, JudgedRow, Judgement, Table, judge, letters_of
from hfbench.evidence.stats import ALPHA, VarianceSplit, holm, split_variance
from hfbench.metrics.registry import Scores, score
from hfbench.records.asked import Asked
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
    judged: JudgedRow | None = None
    """What can be said of its accuracy; None if every run failed."""

    @cached_property
    def predicted(self) -> np.ndarray:
        """Predicted classes, shape (runs, examples)."""
        return self.logits.argmax(-1)

    @cached_property
    def correct(self) -> np.ndarray:
        """Whether each prediction is right, shape (runs, examples)."""
        return self.predicted == self.labels

    @property
    def seeds(self) -> list[int | None]:
        """Of the finished runs; [None] for a control, in which nothing is random."""
        return [record.seed for record in self.finished]

    @cached_property
    def collapsed(self) -> np.ndarray:
        """Whether each run gives one answer or never left that level, shape (runs,).

        None of a control, which does what it is for.
        """
        if not self.trained:
            return np.zeros(len(self.finished), dtype=bool)
        return collapsed_runs(self.predicted, self.labels, self.commonest)

    @property
    def counted(self) -> np.ndarray:
        """Right or not in the runs that trained, or in all where none did, (runs, examples)."""
        return self.correct if self.collapsed.all() else self.correct[~self.collapsed]

    @property
    def accuracy(self) -> float:
        """Mean over examples and the runs that trained; NaN if every run failed."""
        return self.judged.mean if self.judged else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy over examples and seeds."""
        return (self.judged.low, self.judged.high) if self.judged else (math.nan, math.nan)

    @cached_property
    def variance(self) -> VarianceSplit | None:
        """Where the uncertainty of the accuracy comes from; None with a single run."""
        return split_variance(self.counted)

    @property
    def commonest(self) -> int:
        """The class that the training examples have most of, the first among equals."""
        task = self.finished[0].task
        return int(np.argmax([task.splits["train"].label_counts[label] for label in task.labels]))

    @property
    def is_majority(self) -> bool:
        """Whether every run gives the commonest class to every example."""
        return bool((self.predicted == self.commonest).all())

    @cached_property
    def scores(self) -> list[Scores]:
        """What the metrics say of each run, from its predictions."""
        return [score("single_label_classification", logits, self.labels) for logits in self.logits]

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
    def runs(self) -> str:
        """Those whose mean is shown, and of how many where some collapsed or failed."""
        total = len(self.finished) + len(self.failed)
        counted = len(self.finished) - int(self.collapsed.sum())
        return str(total) if counted == total else f"{counted} of {total}"


@dataclass(frozen=True)
class Pair:
    """Two models on the same examples."""

    first: ModelRuns
    second: ModelRuns
    difference: Difference
    """The first minus the second, with its interval and its family's p-value."""

    @property
    def differ(self) -> bool:
        """Whether the two can be told apart."""
        return self.difference.differ

    @property
    def p_value(self) -> float:
        """Adjusted for its family."""
        return self.difference.adjusted_p


@dataclass(frozen=True)
class Floor:
    """A model against guessing and against always giving the commonest class."""

    chance: float
    """Accuracy of guessing: 1 / number of labels."""
    above_chance: bool
    """Whether it is told apart from guessing, upwards; a test of the floor's family."""
    below_chance: bool
    """Whether it is told apart from guessing, downwards, and right less than half as often."""
    label: str
    """The commonest class of the training examples."""
    majority: Difference | None
    """Its accuracy minus that of always answering ``label``; None for a row that just does that."""
    p_majority: float
    """Adjusted after Holm for all models, and not below that of guessing."""

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
    """All that answered the same examples, the more accurate first: a family of tests."""
    questions: list[Pair]
    """Those that the recipe asks: another family."""
    best: list[str]
    """The 95 % confidence set for the best; empty where models answered different examples."""
    letters: dict[str, str]
    """Model -> groups; models that share a letter cannot be told apart."""
    floors: dict[str, Floor]
    table: Table | None
    """Answers of all that have a result; None where models answered different examples."""

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
    asked: list[Asked]
    """What was asked of it, and when, the first first; empty where nothing was kept."""

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


def stand(records: Sequence[_Row], results: Path, asked: Asked | None = None) -> Standing:
    """The models of ``records``, judged; ``asked``: what the recipe wants to know of them."""
    asked = asked or Asked()
    loaded = [_load_runs(runs, results) for runs in by_model(records).values()]
    by_examples: dict[str, list[ModelRuns]] = {}
    for model in loaded:
        if model.finished:
            by_examples.setdefault(evaluation_hash(model.finished[0]), []).append(model)
    judged = [_Judged.of(models, asked) for models in by_examples.values()]
    found = {row.name: row for part in judged for row in part.judgement.rows}
    models = [replace(model, judged=found.get(model.name)) for model in loaded]
    models.sort(key=_rank)
    by_name = {model.name: model for model in models}
    names = [model.name for model in models if model.finished]
    pairs = [pair for part in judged for pair in part.judgement.pairs]
    questions = [pair for part in judged for pair in part.judgement.questions]
    return Standing(
        models=models,
        pairs=[Pair(by_name[p.first], by_name[p.second], p) for p in pairs],
        questions=[Pair(by_name[p.first], by_name[p.second], p) for p in questions],
        best=judged[0].judgement.best if len(judged) == 1 else [],
        letters=dict(zip(names, letters_of(names, pairs), strict=True)),
        floors={name: floor for part in judged for name, floor in part.floors().items()},
        table=judged[0].judgement.table if len(judged) == 1 else None,
    )


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


@dataclass(frozen=True)
class _Judged:
    """Models that answered the same examples."""

    models: list[ModelRuns]
    judgement: Judgement

    @classmethod
    def of(cls, models: list[ModelRuns], asked: Asked) -> "_Judged":
        """Of models with a result."""
        return cls(
            models,
            judge(
                {model.name: model.correct for model in models},
                margin=asked.margin,
                looks=max(len(asked.looks), 1),
                questions=asked.about(model.name for model in models),
                controls=[model.name for model in models if model.seeds == [None]],
                collapsed={model.name: model.collapsed.tolist() for model in models},
            ),
        )

    def floors(self) -> dict[str, Floor]:
        """Each model against guessing and the commonest class: a family of tests."""
        table = self.judgement.table
        assert table is not None  # all of its models have a result
        first = self.models[0]
        chance, always = 1 / first.logits.shape[-1], first.labels == first.commonest
        with_floor = table.and_control(_MAJORITY, always.astype(float))
        tested = [model.name for model in self.models if not model.is_majority]
        against = with_floor.compare([(name, _MAJORITY) for name in tested])
        p_chance = table.p_of_share(chance)
        # who is better than the commonest class is better than guessing, too: a row is claimed to
        # be the one only where it is the other, and counts once
        of_chance = dict(zip(table.number, holm(table.looks * p_chance), strict=True))
        guessing = dict(zip(table.number, p_chance, strict=True))
        p_majority = [
            max(found.p_value, guessing[name]) if found.mean > 0 else found.p_value
            for name, found in zip(tested, against, strict=True)
        ]
        majority = dict(
            zip(
                tested,
                zip(against, holm(np.multiply(table.looks, p_majority)), strict=True),
                strict=True,
            )
        )
        return {
            row.name: Floor(
                chance,
                of_chance[row.name] < ALPHA and row.mean > chance,
                of_chance[row.name] < ALPHA and row.mean < chance / 2,
                first.finished[0].task.labels[first.commonest],
                *majority.get(row.name, (None, 1.0)),
            )
            for row in self.judgement.rows
        }
