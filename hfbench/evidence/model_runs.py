"""The runs of one model with their answers, as its records hold them. No torch here."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from hfbench.errors import RecordError, UserError
from hfbench.evidence.collapse import collapsed_runs
from hfbench.evidence.difference import Interval
from hfbench.evidence.floor import (
    always_the_same,
    commonest_class,
    is_floor,
)
from hfbench.evidence.folds import load_run_predictions
from hfbench.evidence.judge import JudgedRow
from hfbench.evidence.stats import VarianceSplit, split_variance
from hfbench.metrics.estimate import UndefinedMeasureError
from hfbench.metrics.registry import (
    METRICS,
    Metric,
    ProblemType,
    Scores,
    score,
)
from hfbench.metrics.threshold import shift
from hfbench.records.record_file import WHAT_TO_DO
from hfbench.records.schema import (
    ClassificationRecord,
    Compared,
    ControlRecord,
    FailedRecord,
    PredictionsRecord,
)

_NO_PROBABILITIES = "its answers are labels, without probabilities"


Result = Compared | FailedRecord
_AnyResult = TypeVar("_AnyResult", bound=Result)


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
    metric: Metric = METRICS["accuracy"]
    """The one by which models are ranked."""
    groups: np.ndarray | None = None
    """What each example belongs to (`group_column`), shape (examples,); None: they are
    independent."""
    slices: dict[str, np.ndarray] = field(default_factory=dict)
    """Name -> the value of each example, shape (examples,)."""
    judged: JudgedRow | None = None
    """What can be said of its measure; None if every run failed."""
    measured: dict[str, Interval] = field(default_factory=dict)
    """Other measures, those that have a number."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Other measures -> why they have none."""

    def __repr__(self) -> str:
        """In a line, without its answers."""
        value = f", {self.metric.label} {self.metric.text(self.value)}" if self.judged else ""
        return f"<ModelRuns {self.name}: {self.runs} runs{value}>"

    @property
    def kind(self) -> ProblemType:
        """What the model was asked."""
        return self.finished[0].task.problem_type

    @property
    def folds(self) -> int | None:
        """In how many each run answered the examples; None: one model answered them all."""
        fold = self.finished[0].task.fold
        return fold.folds if fold else None

    @cached_property
    def predicted(self) -> np.ndarray:
        """Classes, shape (runs, examples); multi-label: whether each label is given, (runs,
        examples, labels); of a regression the numbers, (runs, examples).
        """
        decided = np.stack(
            [
                shift(run, record.thresholds)
                for record, run in zip(self.finished, self.logits, strict=True)
            ]
        )
        if self.kind == "multi_label_classification":
            return decided > 0
        return decided[..., 0] if self.kind == "regression" else decided.argmax(-1)

    @cached_property
    def correct(self) -> np.ndarray:
        """Whether each prediction is right, shape (runs, examples); multi-label: all its labels.

        Raises:
            UserError: of a regression, where none is.
        """
        if self.kind == "regression":
            raise UserError(f"{self.name}: a predicted number is neither right nor wrong")
        found = self.predicted == self.labels
        return found.all(-1) if found.ndim == 3 else found

    @cached_property
    def scores(self) -> list[Scores]:
        """What the metrics say of each run, from its predictions."""
        return self.scores_with([])

    def scores_with(self, also: Sequence[Metric]) -> list[Scores]:
        """As `scores`, by these measures, too."""
        found = [
            score(self.kind, run, self.labels, [self.metric, *also], record.thresholds)
            for record, run in zip(self.finished, self.logits, strict=True)
        ]
        if not self.gives_labels:
            return found
        unknown = {metric.name: _NO_PROBABILITIES for metric in METRICS.values() if
                   metric.of_probabilities}  # fmt: skip
        return [
            Scores(
                {name: value for name, value in one.values.items() if name not in unknown},
                {**one.left_out, **unknown},
            )
            for one in found
        ]

    @property
    def gives_labels(self) -> bool:
        """Whether its answers are labels without probabilities."""
        return any(
            isinstance(record, PredictionsRecord) and record.answers.form == "labels"
            for record in self.finished
        )

    @cached_property
    def pseudo_values(self) -> np.ndarray:
        """Of its measure, of which higher is better, shape (runs, examples)."""
        return self.pseudo_values_of(self.metric)

    def pseudo_values_of(self, metric: Metric) -> np.ndarray:
        """Of any measure, shape (runs, examples); see `Metric.pseudo_values`.

        Raises:
            UndefinedMeasureError: if it has no number, or none for every example.
        """
        if metric.of_probabilities and self.gives_labels:
            raise UndefinedMeasureError(_NO_PROBABILITIES)
        found = np.stack(
            [
                metric.pseudo_values(metric.seen(run, record.thresholds), self.labels)
                for record, run in zip(self.finished, self.logits, strict=True)
            ]
        )
        if not np.isfinite(found).all():
            raise UndefinedMeasureError(f"it is {found.mean()}")
        return found if metric.higher_is_better else -found

    @property
    def seeds(self) -> list[int | None]:
        """Of the finished runs; [None] for a control, in which nothing is random."""
        return [record.seed for record in self.finished]

    @property
    def pretrainings(self) -> list[int] | None:
        """Of each finished run, the seed of the pretraining that it started from, -1 without one;
        None where none was pretrained here.
        """
        entries = [record.settings["models"][0].get("pretrain") for record in self.finished]
        if not any(entries):
            return None
        return [
            (entry.get("seeds") or [entry.get("seed", 0)])[0] if entry else -1 for entry in entries
        ]

    @cached_property
    def collapsed(self) -> np.ndarray:
        """Whether each run gives one answer or never left that level, shape (runs,).

        None of a control, which does what it is for.
        """
        if not self.trained:
            return np.zeros(len(self.finished), dtype=bool)
        if self.kind != "single_label_classification":
            return always_the_same(self.predicted)
        return collapsed_runs(self.predicted, self.labels, self.commonest)

    @property
    def counted(self) -> np.ndarray:
        """Pseudo-values of the runs that trained, or of all where none did, (runs, examples)."""
        values = self.pseudo_values
        return values if self.collapsed.all() else values[~self.collapsed]

    @property
    def value(self) -> float:
        """Of its measure: the mean over the runs that trained; NaN if every run failed."""
        return self.judged.mean if self.judged else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of that, over examples and seeds."""
        return (self.judged.low, self.judged.high) if self.judged else (math.nan, math.nan)

    @cached_property
    def variance(self) -> VarianceSplit | None:
        """Where the uncertainty of its measure comes from; None with a single run."""
        return split_variance(self.counted)

    @property
    def commonest(self) -> int:
        """The class that the training examples have most of, the first among equals."""
        return commonest_class(self.finished[0].task)

    @property
    def is_majority(self) -> bool:
        """Whether every run answers as one does that never reads a text."""
        return is_floor(self.predicted, self.finished[0].task)

    @property
    def trained(self) -> list[ClassificationRecord]:
        """The finished runs that trained a network: none of a control, a probe or a prompt."""
        return [record for record in self.finished if isinstance(record, ClassificationRecord)]

    @property
    def is_control(self) -> bool:
        """Whether it has no network at all."""
        return all(isinstance(record, ControlRecord) for record in self.finished)

    @property
    def mean_seconds(self) -> float | None:
        """Of one training or fit; None of what hfbench did not run."""
        seconds = [record.learning_seconds for record in self.finished]
        known = [one for one in seconds if one is not None]
        return float(np.mean(known)) if known else None

    @property
    def runs(self) -> str:
        """Those whose mean is shown, and of how many where some collapsed or failed."""
        total = len(self.finished) + len(self.failed)
        counted = len(self.finished) - int(self.collapsed.sum())
        return str(total) if counted == total else f"{counted} of {total}"

    @property
    def lost(self) -> str | None:
        """``2 of 10 runs did not train``, and how many failed; None where all trained."""
        total = len(self.finished) + len(self.failed)
        counts = {"did not train": int(self.collapsed.sum()), "failed": len(self.failed)}
        told = [f"{count} of {total} runs {what}" for what, count in counts.items() if count]
        return "; ".join(told) or None


def by_model(records: Iterable[_AnyResult]) -> dict[str, list[_AnyResult]]:
    models: dict[str, list[_AnyResult]] = {}
    for record in records:
        models.setdefault(record.model, []).append(record)
    return models


def load_runs(records: Sequence[Result], results: Path) -> ModelRuns:
    finished = [record for record in records if isinstance(record, Compared)]
    finished.sort(key=lambda record: -1 if record.seed is None else record.seed)
    failed = [record for record in records if isinstance(record, FailedRecord)]
    name = records[0].model
    if not finished:
        nothing = np.empty(0)
        return ModelRuns(name, finished, failed, nothing, nothing, np.empty((0, 0, 0)))
    split = finished[0].task.evaluation_split
    predictions = load_run_predictions(finished, results, split)
    first = predictions[0]
    for record, one in zip(finished, predictions, strict=True):
        if not all(np.array_equal(one[key], first[key]) for key in ("id", "label")):
            raise RecordError(
                f"{results}: the predictions of {record.stem} have other examples or labels than "
                f"those of {finished[0].stem}; {WHAT_TO_DO}"
            )
    logits = np.stack([one["logits"] for one in predictions])
    return ModelRuns(
        name,
        finished,
        failed,
        first["id"],
        first["label"],
        logits,
        groups=_clusters(first.get("group")),
        slices={
            key.removeprefix("slice."): values
            for key, values in first.items()
            if key.startswith("slice.")
        },
    )


def _clusters(groups: np.ndarray | None) -> np.ndarray | None:
    """None where each example is a group of its own, or all are one, of which nothing follows."""
    if groups is None or len(np.unique(groups)) in (1, len(groups)):
        return None
    return groups
