"""Logits and labels -> a classifier's metrics; a loss -> bits per byte."""

import math

import numpy as np
from scipy.special import log_softmax


def classification_metrics(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """``loss`` (mean negative log-likelihood in nats), ``accuracy`` and ``f1_macro``.

    Args:
        logits: shape (examples, labels); the prediction is the highest, the first among equals.
        labels: shape (examples,).
    """
    from hfbench.metrics.evaluate_metric import ClassificationMetrics

    metrics = ClassificationMetrics(keep_in_memory=True)
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


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the examples of -log softmax(logits)[label], in nats."""
    return float(negative_log_likelihoods(logits[None], labels)[0])


def negative_log_likelihoods(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Shape (runs,), of logits of shape (runs, examples, labels)."""
    log_probabilities = log_softmax(logits.astype(np.float64), axis=-1)
    return -np.take_along_axis(log_probabilities, labels[None, :, None], -1)[..., 0].mean(-1)
