"""Metrics of a classifier as `evaluate.Metric` classes that need no network; bits per byte.

`evaluate.load("accuracy")` asks the Hub for a script; a class of one's own is used as it is.
"""

import math
from typing import Any

import datasets
import evaluate
import numpy as np

from hfbench.calibration import negative_log_likelihood

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


def classification_metrics(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """``loss`` (mean negative log-likelihood in nats), ``accuracy`` and ``f1_macro``.

    Args:
        logits: shape (examples, labels); the prediction is the highest, the first among equals.
        labels: shape (examples,).
    """
    metrics = evaluate.combine([Accuracy(keep_in_memory=True), MacroF1(keep_in_memory=True)])
    scores = metrics.compute(predictions=logits.argmax(-1), references=labels)
    return {"loss": negative_log_likelihood(logits, labels), **scores}


def bits_per_byte(loss: float, tokens: int, num_bytes: int) -> float:
    """A language model's total negative log-likelihood in bits, for each byte of the text.

    Unlike the loss of a token it can be compared between tokenizers.

    Args:
        loss: mean over the predicted tokens, in nats.
        tokens: the number of predicted tokens.
        num_bytes: of the text that they stand for; see `data.tokenize.predicted_bytes`.
    """
    return loss * tokens / math.log(2) / num_bytes
