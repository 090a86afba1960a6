"""Metrics of a classifier as an `evaluate.Metric` class that needs no network.

`evaluate.load("accuracy")` asks the Hub for a script; a class of one's own is used as it is. It is
one class, and not two in `evaluate.combine`, because the way through Arrow that evaluate takes is
most of the time of a small evaluation. It has a module of its own because importing evaluate takes
half a second, which a run need not spend before its first step.
"""

from typing import Any

import datasets
import evaluate
import numpy as np


class ClassificationMetrics(evaluate.Metric):
    """Accuracy and macro F1, in [0, 1].

    Macro F1 is the mean over the classes among the references of each class's F1. A class that is
    never predicted counts 0. Classes that do not occur among the references are left out, so that
    the mean is over the same classes for every model.
    """

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.__doc__ or "",
            citation="Sokolova and Lapalme (2009), A systematic analysis of performance measures",
            inputs_description="predictions and references: class numbers of each example",
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        predicted, right = np.asarray(predictions), np.asarray(references)
        scores = []
        for label in np.unique(right):
            hits = np.sum((predicted == label) & (right == label))
            scores.append(2 * hits / (np.sum(predicted == label) + np.sum(right == label)))
        return {"accuracy": float(np.mean(predicted == right)), "f1_macro": float(np.mean(scores))}
