"""Metrics of a classifier as `evaluate.Metric` classes that need no network.

`evaluate.load("accuracy")` asks the Hub for a script; a class of one's own is used as it is. They
have a module of their own because importing evaluate takes half a second, which a run need not
spend before its first step.
"""

from typing import Any

import datasets
import evaluate
import numpy as np

_CITATION = "Sokolova and Lapalme (2009), A systematic analysis of performance measures"


class _ClassificationMetric(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.__doc__ or "",
            citation=_CITATION,
            inputs_description="predictions and references: class numbers of each example",
            features=datasets.Features(
                {"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}
            ),
        )


class Accuracy(_ClassificationMetric):
    """Share of the examples whose predicted class is the right one, in [0, 1]."""

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {"accuracy": float(np.mean(np.equal(predictions, references)))}


class MacroF1(_ClassificationMetric):
    """Mean over the classes among the references of each class's F1, in [0, 1].

    A class that is never predicted counts 0. Classes that do not occur among the references are
    left out, so that the mean is over the same classes for every model.
    """

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        predicted, right = np.asarray(predictions), np.asarray(references)
        scores = []
        for label in np.unique(right):
            hits = np.sum((predicted == label) & (right == label))
            scores.append(2 * hits / (np.sum(predicted == label) + np.sum(right == label)))
        return {"f1_macro": float(np.mean(scores))}
