"""Every registered metric of a run, as curves and records hold them."""

import numpy as np

from hfbench.metrics.registry import score, warn_of
from hfbench.metrics.scores import mean_loss


def classification_metrics(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Every registered metric; the negative log-likelihood by its name in training, ``loss``.

    Of a metric that gives no number, a warning says why.

    Args:
        logits: shape (examples, labels); the prediction is the highest, the first among equals.
        labels: shape (examples,).
    """
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
