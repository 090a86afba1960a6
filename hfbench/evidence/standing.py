"""The models of records, judged by the recipe's measure. No torch here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hfbench.errors import UserError
from hfbench.evidence.compared import Floor, Pair, Standing
from hfbench.evidence.difference import Difference, Interval
from hfbench.evidence.fairness import evaluation_hash
from hfbench.evidence.floor import (
    floor_outputs,
    name_of_floor,
)
from hfbench.evidence.judge import JudgedRow, Judgement, intervals, judge, letters_of
from hfbench.evidence.model_runs import ModelRuns, Result, by_model, load_runs
from hfbench.evidence.stats import ALPHA, holm
from hfbench.metrics.built_in import DEFAULTS
from hfbench.metrics.estimate import UndefinedMeasureError
from hfbench.metrics.registry import (
    METRICS,
    AnswerKind,
    Metric,
    find_metric,
    metrics_of,
)
from hfbench.records.asked import Asked

_MAJORITY = "always the commonest class"  # no name of a model, which has no spaces


def stand(records: Sequence[Result], results: Path, asked: Asked | None = None) -> Standing:
    """The models of ``records``, judged; ``asked``: what the recipe wants to know of them."""
    asked = asked or Asked()
    loaded = [load_runs(runs, results) for runs in by_model(records).values()]
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
        best_set=judged[0].judgement.best if len(judged) == 1 else [],
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
        "pretrainings": {m.name: m.pretrainings for m in models if m.pretrainings is not None},
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
