"""Several tasks in one table: where each model stands on each, and over all of them. No torch here.

Each task is a results folder, which stays as it is; models are the same by name. Over the tasks go
the models that have a result on each: one that lacks a task is shown where it has one.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from hfbench.errors import UserError
from hfbench.evidence.comparison import Comparison, load_comparison
from hfbench.evidence.crossed import Table
from hfbench.evidence.difference import Difference
from hfbench.evidence.fairness import evaluation_hash
from hfbench.evidence.mixture import Mixture, aligned, half_width, two_sided
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.pooled import FEWEST_TASKS, RandomEffects, mean_of, random_effects
from hfbench.evidence.ranks import RankTests, compare_ranks, rank, rank_intervals
from hfbench.evidence.stats import ALPHA, holm, holm_levels
from hfbench.evidence.tuning import hangs_on_choice
from hfbench.metrics.registry import Metric


@dataclass(frozen=True, eq=False)
class TaskResults:
    """A comparison as one task of several."""

    name: str
    comparison: Comparison
    table: Table
    """The answers of its models with a result, turned so that higher is better."""

    @property
    def metric(self) -> Metric:
        """By which its models are ranked."""
        return self.comparison.metric

    @cached_property
    def models(self) -> dict[str, ModelRuns]:
        """By name; also those of which every run failed."""
        return {model.name: model for model in self.comparison.models}

    def values(self, names: Sequence[str]) -> np.ndarray:
        """Of models that have a result; higher is better; shape (models,)."""
        return self.table.means[self._rows(names)]

    def covariance(self, names: Sequence[str]) -> np.ndarray:
        """Of these values, shape (models, models)."""
        rows = self._rows(names)
        return self.table.covariance[np.ix_(rows, rows)]

    def _rows(self, names: Sequence[str]) -> list[int]:
        return [self.table.number[name] for name in names]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class OverallRow:
    """A model over all tasks. None where it has no result on some task, or there is no mean."""

    model: str
    mean: Interval | None
    """Of its values on these tasks."""
    rank: Interval | None
    """Average over the tasks; 1 is best."""
    best_in: int | None
    """Tasks on which no model has a better value."""
    may_be_best_in: int | None
    """Tasks on which it is in the 95 % confidence set for the best."""


@dataclass(frozen=True)
class PooledPair:
    """Two models over all tasks: the first minus the second, above 0 where the first is better."""

    first: str
    second: str
    by_task: list[float]
    """The difference on each task."""
    told_apart: list[int]
    """On each task whether the two are distinguished there: 1 the first is better, -1, or 0."""
    these: Difference | None
    """The mean over these tasks; None where measures of different scales have none."""
    like_these: Difference | None
    """The mean over tasks like these; None as well where there are too few tasks."""
    effects: RandomEffects | None
    """What ``like_these`` follows from."""

    @property
    def wins(self) -> int:
        """Tasks on which the first has the better value."""
        return sum(difference > 0 for difference in self.by_task)

    @property
    def losses(self) -> int:
        """Tasks on which the second has."""
        return sum(difference < 0 for difference in self.by_task)


@dataclass(frozen=True, eq=False)
class Overall:
    """Models over several tasks."""

    name: str
    """The recipe's, or that of the folder the page is for."""
    tasks: list[TaskResults]
    rows: list[OverallRow]
    """The best first: by the mean, or by the average rank where there is no mean. Models that lack
    a task stand last."""
    pairs: list[PooledPair]
    """Of all models that have a result on each task, the better first."""
    questions: list[PooledPair]
    """Those that every task's recipe asks: a family of their own, which is not corrected for all
    the pairs."""
    tests: RankTests | None
    """None with fewer than three such models."""

    @property
    def waiting(self) -> list[tuple[str, str]]:
        """Questions of every task's recipe about a model without a result on some task."""
        asked = [task.comparison.asked for task in self.tasks]
        if not all(asked):
            return []
        first, *others = ([*of_task[-1].waiting(self.complete)] for of_task in asked)
        return [pair for pair in first if all(pair in of_task for of_task in others)]

    def loses_by_choice(self, pair: PooledPair) -> bool:
        """Whether the two are distinguished over these tasks, and would not be if the choices of
        settings, on each task another, counted as chance.
        """
        if pair.these is None:
            return False
        tunings = [tuning for task in self.tasks if (tuning := task.comparison.tuning)]
        sds = [tuning.choice_sd(pair.first, pair.second) for tuning in tunings]
        return hangs_on_choice(pair.these, math.hypot(*sds) / len(self.tasks))

    @property
    def complete(self) -> list[str]:
        """Models with a result on each task, the best first."""
        return [row.model for row in self.rows if row.rank is not None]

    @property
    def has_mean(self) -> bool:
        """Whether the measures of all tasks are of one scale."""
        return of_one_scale([task.metric for task in self.tasks])


def of_one_scale(metrics: Sequence[Metric]) -> bool:
    """Whether values may be averaged: shares and correlations, of which 1 is the best."""
    return all(metric.higher_is_better and metric.bounds[1] == 1 for metric in metrics)


def load_overall(folders: Sequence[Path], name: str) -> Overall:
    """Compare the models of several results folders, each a task, from their records alone.

    Args:
        folders: with ``records/``, two or more, of different evaluation examples.
        name: what the page is called.

    Raises:
        UserError: if two folders are of the same examples, if models of one were evaluated on
            different examples, or if no model has a result in all of them.
        RecordError: if a record or its predictions cannot be read.
    """
    if len(folders) < 2:
        raise UserError("two results folders or more are needed, each of another task")
    names = _names(folders)
    return compare_tasks({n: load_comparison(f) for n, f in zip(names, folders, strict=True)}, name)


def compare_tasks(comparisons: dict[str, Comparison], name: str) -> Overall:
    """As `load_overall`, of comparisons by the names of their tasks."""
    tasks = [_task(task, comparison) for task, comparison in comparisons.items()]
    _refuse_same_examples(tasks)
    everywhere = dict.fromkeys(model for task in tasks for model in task.models)
    complete = [m for m in everywhere if all(m in task.table.number for task in tasks)]
    if not complete:
        raise UserError(
            f"no model has a result in all of {', '.join(comparisons)}: models are the same where "
            "their names are"
        )
    means = of_one_scale([task.metric for task in tasks])
    rows = _rows(tasks, complete, means)
    order = [row.model for row in rows]
    return Overall(
        name=name,
        tasks=tasks,
        rows=[*rows, *(OverallRow(m, *[None] * 4) for m in everywhere if m not in complete)],
        pairs=_pairs(tasks, list(itertools.combinations(order, 2)), means),
        questions=_pairs(tasks, _asked_everywhere(tasks, complete), means),
        tests=compare_ranks(_values(tasks, order)) if len(order) > 2 else None,
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' paths that differ."""
    resolved = [folder.resolve() for folder in folders]
    if len({*resolved}) < len(resolved):
        raise UserError("a results folder is there more than once")
    for parts in range(1, max(len(path.parts) for path in resolved) + 1):
        names = ["/".join(path.parts[-parts:]) for path in resolved]
        if len({*names}) == len(names):
            return names
    raise AssertionError("paths that differ have ends that differ")


def _task(name: str, comparison: Comparison) -> TaskResults:
    if comparison.table is None:
        if comparison.finished:
            raise UserError(
                f"{name}: its models were evaluated on different examples, and can stand side by "
                "side there, but not over several tasks. Run the older ones again (--rerun)"
            )
        raise UserError(f"{name}: no model has a result that could be compared with another's")
    return TaskResults(name, comparison, comparison.table)


def _refuse_same_examples(tasks: Sequence[TaskResults]) -> None:
    seen: dict[str, str] = {}
    for task in tasks:
        found = evaluation_hash(task.comparison.finished[0].finished[0])
        if (other := seen.setdefault(found, task.name)) != task.name:
            raise UserError(
                f"{other} and {task.name} were evaluated on the same examples: they are one task, "
                "which would count twice"
            )


def _values(tasks: Sequence[TaskResults], models: Sequence[str]) -> np.ndarray:
    return np.stack([task.values(models) for task in tasks])


def _rows(tasks: Sequence[TaskResults], models: Sequence[str], means: bool) -> list[OverallRow]:
    values = _values(tasks, models)
    ranks = rank(values)
    covariances = np.stack([task.covariance(models) for task in tasks])
    low, high = rank_intervals(values, covariances)
    rows = [
        OverallRow(
            model,
            _mean(tasks, model) if means else None,
            Interval(float(ranks[:, place].mean()), float(low[place]), float(high[place])),
            int((values.max(1) <= values[:, place] + 1e-9).sum()),
            sum(model in task.comparison.best_set for task in tasks),
        )
        for place, model in enumerate(models)
    ]
    return sorted(rows, key=_order)


def _order(row: OverallRow) -> tuple[float, float, str]:
    assert row.rank is not None
    return (-row.mean.value if row.mean else 0.0, row.rank.value, row.model)


def _mean(tasks: Sequence[TaskResults], model: str) -> Interval:
    found = mean_of([task.table.mixture_of(model) for task in tasks])
    (half,) = half_width(np.array([ALPHA]), found.variances[None], found.weights[None])
    least = float(np.mean([task.metric.bounds[0] for task in tasks]))
    low, high = np.clip([found.centre - half, found.centre + half], least, 1.0).tolist()
    return Interval(found.centre, low, high)


def _asked_everywhere(
    tasks: Sequence[TaskResults], complete: Sequence[str]
) -> list[tuple[str, str]]:
    asked = [
        [(pair.first.name, pair.second.name) for pair in task.comparison.questions]
        for task in tasks
    ]
    common = {frozenset(pair) for pair in asked[0]}.intersection(
        *({frozenset(pair) for pair in of_task} for of_task in asked[1:])
    )
    return [pair for pair in asked[0] if frozenset(pair) in common and {*pair} <= {*complete}]


def _pairs(
    tasks: Sequence[TaskResults], names: Sequence[tuple[str, str]], means: bool
) -> list[PooledPair]:
    """A family of differences, tested together."""
    if not names:
        return []
    models = list(dict.fromkeys(name for pair in names for name in pair))
    margins = [asked[-1].margin for task in tasks if (asked := task.comparison.asked)]
    margin = margins[0] if len(margins) == len(tasks) and len({*margins}) == 1 else None
    of_tasks = [task.table.mixtures(names) for task in tasks]
    mixtures = list(zip(*of_tasks, strict=True))  # of each pair, on each task
    told = [_told_apart(task) for task in tasks]
    values = [dict(zip(models, task.values(models), strict=True)) for task in tasks]
    unknown = [_seeds_unknown(tasks, pair) for pair in names]
    these = _over_these(names, [mean_of(found) for found in mixtures], unknown) if means else []
    these = [replace(found, margin=margin) for found in these]
    effects = [_effects(found) for found in mixtures] if len(tasks) >= FEWEST_TASKS else []
    like = _over_like_these(names, effects) if means else []
    return [
        PooledPair(
            one,
            other,
            by_task=[float(of_task[one] - of_task[other]) for of_task in values],
            told_apart=[of_task.get((one, other), 0) for of_task in told],
            these=these[number] if means else None,
            like_these=like[number] if like else None,
            effects=effects[number] if like else None,
        )
        for number, (one, other) in enumerate(names)
    ]


def _effects(of_tasks: Sequence[Mixture]) -> RandomEffects:
    return random_effects(
        np.array([mixture.centre for mixture in of_tasks]),
        np.array([mixture.variance for mixture in of_tasks]),
    )


def _told_apart(task: TaskResults) -> dict[tuple[str, str], int]:
    told = {}
    for pair in task.comparison.pairs:
        better = int(math.copysign(1, pair.difference.mean)) if pair.differ else 0
        told[pair.first.name, pair.second.name] = better
        told[pair.second.name, pair.first.name] = -better
    return told


def _seeds_unknown(tasks: Sequence[TaskResults], pair: tuple[str, str]) -> bool:
    """Whether on some task nothing shows how much the seeds of one of the two matter."""
    return any(
        bool(task.table.seeds_unknown[task.table.number[name]]) for task in tasks for name in pair
    )


def _over_these(
    names: Sequence[tuple[str, str]], found: Sequence[Mixture], unknown: Sequence[bool]
) -> list[Difference]:
    centres, variances, weights = aligned(found)
    p_values = np.where(unknown, 1.0, two_sided(centres, variances, weights))
    alone = half_width(np.full(len(names), ALPHA), variances, weights)
    together = half_width(holm_levels(p_values), variances, weights)
    together[np.array(unknown)] = math.inf
    return [
        replace(_difference(pair, *values), withheld=is_unknown)
        for is_unknown, pair, *values in zip(
            unknown, names, centres, alone, p_values, holm(p_values), together, strict=True
        )
    ]


def _over_like_these(
    names: Sequence[tuple[str, str]], effects: Sequence[RandomEffects]
) -> list[Difference]:
    if not effects:
        return []
    p_values = [one.p_value for one in effects]
    levels = holm_levels(p_values)
    return [
        _difference(pair, one.mean, one.half_width(ALPHA), p, adjusted, one.half_width(level))
        for pair, one, p, adjusted, level in zip(
            names, effects, p_values, holm(p_values), levels, strict=True
        )
    ]


def _difference(
    pair: tuple[str, str], mean: float, half: float, p: float, adjusted: float, together: float
) -> Difference:
    ends = np.clip([mean - half, mean + half, mean - together, mean + together], -1.0, 1.0)
    low, high, family_low, family_high = ends.tolist()
    return Difference(
        *pair, float(mean), low, high, float(p), float(adjusted), family_low, family_high
    )
