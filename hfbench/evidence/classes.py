"""Each class by itself: precision, recall and F1 with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hfbench.evidence.difference import Interval
from hfbench.evidence.judge import intervals
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.standing import judging
from hfbench.metrics.estimate import UndefinedMeasureError
from hfbench.metrics.registry import METRICS, measure_of_class

MEASURES = ("precision", "recall", "f1")
ENOUGH = 20
"""Evaluation examples of a class whose own interval says something."""
FEW = 6
"""Classes that a table shows in the order of the data; of more, the worst come first."""
MOST = 24
"""Classes that are measured: of more, the worst ones."""


@dataclass(frozen=True)
class ClassRow:
    """A model on one class."""

    label: str
    examples: int
    """Evaluation examples of the class."""
    model: str
    measured: dict[str, Interval]
    """precision, recall, f1; without those that have no number."""


def measure_classes(models: Sequence[ModelRuns]) -> list[ClassRow]:
    """Each class of each model; of more than `FEW` classes the worst first.

    That is the class with the lowest mean F1 of all models; within a class, models keep their
    order.

    Args:
        models: with a result, of the same examples; empty of a regression.
    """
    if not models or models[0].kind == "regression":
        return []
    labels = models[0].finished[0].task.labels
    numbers = list(range(len(labels)))
    if len(labels) > FEW:
        worst = {number: _mean_f1(number, models) for number in numbers}
        numbers = sorted(numbers, key=lambda number: worst[number])[:MOST]
    return [row for number in numbers for row in _measure(number, labels[number], models)]


def too_small(models: Sequence[ModelRuns]) -> list[str]:
    """Classes with too few evaluation examples for an interval of their own, with how many."""
    if not models or models[0].kind == "regression":
        return []
    labels = models[0].finished[0].task.labels
    counts = [_count(models[0].labels, number) for number in range(len(labels))]
    return [
        f"{label} ({count})" for label, count in zip(labels, counts, strict=True) if count < ENOUGH
    ]


def _measure(number: int, label: str, models: Sequence[ModelRuns]) -> list[ClassRow]:
    rows = {
        model.name: ClassRow(label, _count(models[0].labels, number), model.name, {})
        for model in models
    }
    for name in MEASURES:
        metric = measure_of_class(METRICS[name], number, label)
        try:
            scores = {model.name: model.pseudo_values_of(metric) for model in models}
        except UndefinedMeasureError:  # no example is of this class
            continue
        for model, interval in intervals(scores, **judging(models, metric)).items():
            rows[model].measured[name] = interval
    return list(rows.values())


def _count(labels: np.ndarray, number: int) -> int:
    return int((labels == number).sum() if labels.ndim == 1 else labels[:, number].sum())


def _mean_f1(number: int, models: Sequence[ModelRuns]) -> float:
    """Of all models; 2 of a class that no example has."""
    metric = measure_of_class(METRICS["f1"], number, "")
    try:
        return float(np.mean([model.pseudo_values_of(metric).mean() for model in models]))
    except UndefinedMeasureError:
        return 2.0
