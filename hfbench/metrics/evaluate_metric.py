"""The metrics of a classifier as an `evaluate.Metric` class that needs no network.

`evaluate.load("accuracy")` asks the Hub for a script; a class of one's own is used as it is. It is
one class, and not several in `evaluate.combine`, because the way through Arrow that evaluate takes
is most of the time of a small evaluation. It has a module of its own because importing evaluate
takes half a second, which a run need not spend before its first step.
"""

from typing import Any

import datasets
import evaluate
import numpy as np

from hfbench.metrics.registry import score, warn_of


class ClassificationMetrics(evaluate.Metric):
    """Every registered metric of a classifier; of one that gives no number a warning says why."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.__doc__ or "",
            citation="Sokolova and Lapalme (2009), A systematic analysis of performance measures",
            inputs_description="predictions: each example's logits; references: class numbers",
            features=datasets.Features(
                {
                    "predictions": datasets.Sequence(datasets.Value("float32")),
                    "references": datasets.Value("int64"),
                }
            ),
        )

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        logits, labels = np.asarray(predictions, dtype=np.float32), np.asarray(references)
        scores = score("single_label_classification", logits, labels)
        warn_of(scores.left_out)
        return scores.values
