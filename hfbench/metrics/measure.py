"""Every registered metric of a run, as curves and records hold them."""

from collections.abc import Collection

import numpy as np

from hfbench.metrics.built_in import LOSSES
from hfbench.metrics.registry import METRICS, Metric, ProblemType, score, warn_of
from hfbench.metrics.scores import mean_loss


def classification_metrics(
    logits: np.ndarray,
    labels: np.ndarray,
    kind: ProblemType = "single_label_classification",
    thresholds: list[float] | None = None,
    also: Collection[Metric] = (),
) -> dict[str, float]:
    """The metrics of ``kind``, and those of ``also``; that which is the loss of training by the
    name ``loss``.

    Of a metric that gives no number, a warning says why. For the arrays see `Metric.compute`, for
    ``thresholds`` `threshold.shift`.
    """
    if kind != "single_label_classification" or thresholds or also:
        scores = score(kind, logits, labels, also, thresholds)
        warn_of(scores.left_out)
        loss = METRICS[LOSSES[kind]]
        others = {name: value for name, value in scores.values.items() if name != loss.name}
        return {"loss": float(loss.compute(logits, labels)), **others}
    from hfbench.metrics.evaluate_metric import ClassificationMetrics

    metrics = ClassificationMetrics(keep_in_memory=True)
    found = metrics.compute(predictions=logits, references=labels)
    return {"loss" if name == "nll" else name: value for name, value in found.items()}


def language_model_metrics(losses: np.ndarray, tokens: np.ndarray) -> dict[str, float]:
    """``loss`` (nats a token) and every registered metric of a language model.

    Args:
        losses: sum of the tokens' losses of each row, shape (rows,).
        tokens: how many tokens of each row were predicted, shape (rows,).
    """
    scores = score("language model", losses, tokens)
    warn_of(scores.left_out)
    return {"loss": mean_loss(losses, tokens), **scores.values}
