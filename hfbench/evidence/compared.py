"""Records -> what the models achieved and which of them can be distinguished. No torch here."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from hfbench.errors import RecordError, UserError
from hfbench.evidence.collapse import collapsed_runs
from hfbench.evidence.fairness import evaluation_hash
from hfbench.evidence.floor import (
    always_the_same,
    commonest_class,
    floor_outputs,
    is_floor,
    name_of_floor,
)
from hfbench.evidence.folds import load_run_predictions
from hfbench.evidence.judge import (
    Difference,
    Interval,
    JudgedRow,
    Judgement,
    Table,
    intervals,
    judge,
    letters_of,
)
from hfbench.evidence.stats import ALPHA, VarianceSplit, holm, split_variance
from hfbench.metrics.built_in import DEFAULTS
from hfbench.metrics.estimate import UndefinedMeasureError
from hfbench.metrics.registry import (
    METRICS,
    AnswerKind,
    Metric,
    ProblemType,
    Scores,
    find_metric,
    metrics_of,
    score,
)
from hfbench.metrics.threshold import shift
from hfbench.records.asked import Asked
from hfbench.records.record_file import WHAT_TO_DO
from hfbench.records.schema import (
    ClassificationRecord,
    Compared,
    ControlRecord,
    FailedRecord,
    PredictionsRecord,
    PretrainingRecord,
    TaskData,
)

if TYPE_CHECKING:
    from hfbench.evidence.tuning import Tuning

_NO_PROBABILITIES = "its answers are labels, without probabilities"
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


@dataclass(frozen=True)
class Pair:
    """Two models on the same examples."""

    first: ModelRuns
    second: ModelRuns
    difference: Difference
    """By how much the first is better, with its interval and its family's p-value."""

    @property
    def differ(self) -> bool:
        """Whether the two can be distinguished."""
        return self.difference.differ

    @property
    def p_value(self) -> float:
        """Adjusted for its family."""
        return self.difference.adjusted_p


@dataclass(frozen=True)
class Floor:
    """A model against guessing and against always giving the same answer."""

    chance: float | None
    """Accuracy of guessing, 1 / number of labels; None of any other measure."""
    above_chance: bool
    """Whether it is distinguished from guessing, upwards; a test of the floor's family."""
    below_chance: bool
    """Whether it is distinguished from guessing, downwards, and right less than half as often."""
    label: str
    """The answer: the commonest class or set of labels of the training examples, or their mean."""
    value: float | None
    """Of the measure, of always giving that answer; None where it has no number."""
    majority: Difference | None
    """How much better the model is than always answering ``label``; None for a row that just does
    that, and where it has no number."""
    p_majority: float
    """Adjusted after Holm for all models, and not below that of guessing."""
    is_same: bool
    """Whether the model just does that."""

    @property
    def above_majority(self) -> bool:
        """Whether it is distinguished from always answering ``label``, upwards."""
        return self.majority is not None and self.majority.mean > 0 and self.p_majority < ALPHA


@dataclass(frozen=True)
class Standing:
    """Models that were trained on as many examples, the best first."""

    models: list[ModelRuns]
    """Those without a finished run stand last."""
    pairs: list[Pair]
    """All that answered the same examples, the better first: a family of tests."""
    questions: list[Pair]
    """Those that the recipe asks: another family."""
    best: list[str]
    """The 95 % confidence set for the best; empty where models answered different examples."""
    letters: dict[str, str]
    """Model -> groups; models that share a letter cannot be distinguished."""
    floors: dict[str, Floor]
    table: Table | None
    """Answers of all that have a result; None where models answered different examples."""
    metric: Metric
    """By which models are ranked."""
    columns: list[Metric]
    """The other measures, each a column."""

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
    unfinished: dict[str, int]
    """Model -> runs that are left out because folds are missing."""
    tuning: "Tuning | None" = None
    """How settings of the models were chosen; None where they were not."""

    @property
    def title_of_others(self) -> str:
        """What the table of the other measures is called."""
        is_single = self.task is None or self.task.problem_type == "single_label_classification"
        return "Confidence" if is_single else "Other measures"

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
    metric, columns = _measures(loaded, asked)
    loaded = [replace(model, metric=metric) for model in loaded]
    by_examples: dict[str, list[ModelRuns]] = {}
    for model in loaded:
        if model.finished:
            by_examples.setdefault(evaluation_hash(model.finished[0]), []).append(model)
    judged = [_Judged.of(models, asked) for models in by_examples.values()]
    found = {row.name: row for part in judged for row in part.rows()}
    measured = {
        name: both
        for models in by_examples.values()
        for name, both in measure_all(models, columns).items()
    }
    models = [
        replace(
            model,
            judged=found.get(model.name),
            measured=measured.get(model.name, ({}, {}))[0],
            left_out=measured.get(model.name, ({}, {}))[1],
        )
        for model in loaded
    ]
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
        metric=metric,
        columns=columns,
    )


def _measures(models: Sequence[ModelRuns], asked: Asked) -> tuple[Metric, list[Metric]]:
    """By which to rank, and the other columns.

    Raises:
        UserError: if one that the recipe names is not known, or has no meaning.
    """
    finished = [model for model in models if model.finished]
    if not finished:
        return METRICS[asked.metric or "accuracy"], []
    task = finished[0].finished[0].task
    kind: AnswerKind = task.problem_type

    def find(name: str, key: str) -> Metric:
        return find_metric(name, kind, task.labels, key)

    metric = find(asked.metric or DEFAULTS[task.problem_type], "task.metric")
    further = [find(name, "task.metrics") for name in asked.metrics]
    columns = {found.name: found for found in [*metrics_of(kind), *further]}
    return metric, [found for name, found in columns.items() if name != metric.name]


def turned(metric: Metric) -> tuple[float, float]:
    """The bounds of scores of which higher is better."""
    low, high = metric.bounds
    return (low, high) if metric.higher_is_better else (-high, -low)


def judging(models: Sequence[ModelRuns], metric: Metric) -> dict[str, Any]:
    """What `judge` and `intervals` are to know of models with a result, beside their scores."""
    groups, labels = models[0].groups, models[0].labels
    return {
        "controls": [model.name for model in models if model.seeds == [None]],
        "collapsed": {model.name: model.collapsed.tolist() for model in models},
        "clusters": groups,
        "bounds": turned(metric),
        "weight": metric.weight(labels) if metric.weight else None,
        "folds": models[0].folds,
    }


def measure_all(
    models: Sequence[ModelRuns], columns: Sequence[Metric]
) -> dict[str, tuple[dict[str, Interval], dict[str, str]]]:
    """Model -> other measures with their intervals, and why others have no number.

    Args:
        models: with a result, of the same examples.
        columns: the measures.
    """
    found: dict[str, tuple[dict[str, Interval], dict[str, str]]] = {
        m.name: ({}, {}) for m in models
    }
    for metric in columns:
        scores = {}
        for model in models:
            try:
                scores[model.name] = model.pseudo_values_of(metric)
            except UndefinedMeasureError as error:
                found[model.name][1][metric.name] = str(error)
            except Exception as error:  # it is anybody's code, and may raise anything
                found[model.name][1][metric.name] = f"{type(error).__name__}: {error}"
        known = [model for model in models if model.name in scores]
        if not known:
            continue
        for name, interval in intervals(scores, **judging(known, metric)).items():
            found[name][0][metric.name] = interval if metric.higher_is_better else -interval
    return found


def _rank(model: ModelRuns) -> tuple[float, str]:
    if not model.finished:
        return math.inf, model.name
    return (-model.value if model.metric.higher_is_better else model.value), model.name


def _load_runs(records: Sequence[_Row], results: Path) -> ModelRuns:
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


@dataclass(frozen=True)
class _Judged:
    """Models that answered the same examples."""

    models: list[ModelRuns]
    judgement: Judgement

    @classmethod
    def of(cls, models: list[ModelRuns], asked: Asked) -> "_Judged":
        """Of models with a result.

        Raises:
            UserError: if the measure has no number.
        """
        metric, scores = models[0].metric, {}
        for model in models:
            try:
                scores[model.name] = model.pseudo_values
            except UndefinedMeasureError as error:
                raise UserError(
                    f"task.metric: {metric.name} of {model.name} has no number: {error}; choose "
                    "another measure"
                ) from None
        return cls(
            models,
            judge(
                scores,
                margin=asked.margin,
                looks=max(len(asked.looks), 1),
                questions=asked.about(model.name for model in models),
                **judging(models, metric),
            ),
        )

    def rows(self) -> list[JudgedRow]:
        """With the measure's own sign."""
        rows = self.judgement.rows
        if self.models[0].metric.higher_is_better:
            return rows
        return [  # 0 has no sign
            replace(row, mean=0.0 - row.mean, low=0.0 - row.high, high=0.0 - row.low)
            for row in rows
        ]

    def floors(self) -> dict[str, Floor]:
        """Each model against guessing and the commonest answer: a family of tests."""
        table, first = self.judgement.table, self.models[0]
        assert table is not None  # all of its models have a result
        metric, task = first.metric, first.finished[0].task
        chance = 1 / len(task.labels) if metric.name == "accuracy" else None
        p_chance = np.zeros(len(table.rows)) if chance is None else table.p_of_share(chance)
        # who is better than the commonest class is better than guessing, too: a row is claimed to
        # be the one only where it is the other, and counts once
        of_chance = dict(zip(table.number, holm(table.looks * p_chance), strict=True))
        guessing = dict(zip(table.number, p_chance, strict=True))
        always = self._always()
        tested = [m.name for m in self.models if not m.is_majority and always is not None]
        majority: dict[str, tuple[Difference, float]] = {}
        if always is not None:
            with_floor = table.and_control(_MAJORITY, always)
            against = with_floor.compare([(name, _MAJORITY) for name in tested])
            p_majority = [
                max(found.p_value, guessing[name]) if found.mean > 0 else found.p_value
                for name, found in zip(tested, against, strict=True)
            ]
            adjusted = holm(np.multiply(table.looks, p_majority))
            majority = dict(zip(tested, zip(against, adjusted, strict=True), strict=True))
        sign = 1 if metric.higher_is_better else -1
        return {
            model.name: Floor(
                chance,
                chance is not None
                and bool(of_chance[model.name] < ALPHA)
                and table.means[table.number[model.name]] > chance,
                chance is not None
                and bool(of_chance[model.name] < ALPHA)
                and table.means[table.number[model.name]] < chance / 2,
                name_of_floor(task),
                None if always is None else sign * float(always.mean()),
                majority=majority.get(model.name, (None, 1.0))[0],
                p_majority=majority.get(model.name, (None, 1.0))[1],
                is_same=model.is_majority,
            )
            for model in self.models
        }

    def _always(self) -> np.ndarray | None:
        """Scores of always giving the commonest answer, shape (examples,); None without any."""
        first = self.models[0]
        outputs = floor_outputs(first.finished[0].task, len(first.labels))
        metric = first.metric
        try:
            found = metric.pseudo_values(outputs, first.labels)
        except Exception:  # a measure of anybody's, which has a number of every model
            return None
        found = found if metric.higher_is_better else -found
        return found if np.isfinite(found).all() else None
