"""Measures of the probabilities that a classifier gives."""

import numpy as np
from scipy.special import expit, log_softmax, softmax

from hfbench.metrics.calibration import bin_of
from hfbench.metrics.estimate import Estimate


def nll(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Mean over the examples of -log softmax(logits)[label], in nats."""
    log_probabilities = log_softmax(logits.astype(np.float64), axis=-1)
    return Estimate.of_mean(-np.take_along_axis(log_probabilities, labels[:, None], -1)[:, 0])


def brier(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Brier's score (1950): squared distance of the probabilities to the answer, in [0, 2]."""
    answer = np.eye(logits.shape[-1])[labels]
    probabilities = softmax(logits.astype(np.float64), axis=-1)
    return Estimate.of_mean(np.square(probabilities - answer).sum(-1))


def ece(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Expected calibration error: sum over bins of |sum of (confidence - right)| / examples.

    With the sign of its bin each example's gap is its share of the sum.
    """
    confidence = softmax(logits.astype(np.float64), axis=-1).max(-1)
    gaps = confidence - (logits.argmax(-1) == labels)
    number = bin_of(confidence)
    return Estimate.of_mean(np.sign(np.bincount(number, gaps))[number] * gaps)


def nll_of_labels(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Binary cross-entropy of multi-label answers: mean over labels and examples, in nats."""
    logits = logits.astype(np.float64)
    return Estimate.of_mean((np.logaddexp(0, logits) - labels * logits).mean(-1))


def brier_of_labels(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Of multi-label answers: squared distance of each probability to 0 or 1, in [0, 1]."""
    return Estimate.of_mean(np.square(expit(logits.astype(np.float64)) - labels).mean(-1))
