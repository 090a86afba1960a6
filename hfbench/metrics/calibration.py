"""What a classifier's answers look like: their confidence, and each class by itself."""

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

BINS = 10
"""Equally wide bins of the probability of the predicted class, over [0, 1]."""


@dataclass(frozen=True)
class Reliability:
    """Confidence and accuracy by bin; each array has the shape (bins,)."""

    examples: np.ndarray
    confidence: np.ndarray
    """Mean probability of the predicted class; NaN in an empty bin."""
    accuracy: np.ndarray
    """Share of right predictions; NaN in an empty bin."""


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of one class, fractions in [0, 1]; 0 where nothing was predicted."""

    precision: float
    recall: float
    f1: float


def brier_score(logits: np.ndarray, labels: np.ndarray) -> float:
    """Brier's score (1950): squared distance of the probabilities to the answer, in [0, 2].

    Args:
        logits: shape (examples, labels).
        labels: shape (examples,).
    """
    answer = np.eye(logits.shape[-1])[labels]
    return float(np.square(_probabilities(logits) - answer).sum(-1).mean())


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray) -> float:
    """How far confidence and accuracy are apart (Guo et al. 2017), over `BINS` bins, in [0, 1]."""
    bins = reliability(logits, labels)
    gaps = np.abs(bins.confidence - bins.accuracy)
    return float(np.nansum(gaps * bins.examples) / len(labels))


def error_if_calibrated(logits: np.ndarray) -> float:
    """The expected calibration error that answers are to be expected to have by chance alone.

    As if each were right with its own probability: then it is 0 with endless examples, and above
    with few, where the sums of the bins are nearly normal.

    Args:
        logits: shape (examples, labels).
    """
    confidence = _probabilities(logits).max(-1)
    variances = np.bincount(bin_of(confidence), confidence * (1 - confidence), BINS)
    return float(np.sqrt(2 * variances / np.pi).sum() / len(logits))


def reliability(logits: np.ndarray, labels: np.ndarray) -> Reliability:
    """Of one run, or of several runs whose examples are strung together."""
    probabilities = _probabilities(logits)
    confidence, right = probabilities.max(-1), logits.argmax(-1) == labels
    number = bin_of(confidence)
    examples = np.bincount(number, minlength=BINS)
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin
        return Reliability(
            examples=examples,
            confidence=np.bincount(number, confidence, BINS) / examples,
            accuracy=np.bincount(number, right, BINS) / examples,
        )


def bin_of(confidence: np.ndarray) -> np.ndarray:
    """Number of the bin of each probability, from 0."""
    return np.minimum((confidence * BINS).astype(int), BINS - 1)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    return softmax(logits.astype(np.float64), axis=-1)


def confusion_matrix(predicted: np.ndarray, labels: np.ndarray, num_labels: int) -> np.ndarray:
    """Counts of shape (num_labels, num_labels): right class, predicted class."""
    pairs = labels * num_labels + predicted
    return np.bincount(pairs, minlength=num_labels**2).reshape(num_labels, num_labels)


def class_scores(confusion: np.ndarray) -> list[ClassScores]:
    """Of each class, from its confusion matrix (right, predicted)."""
    hits, right, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    return [
        ClassScores(
            precision=float(h / p) if p else 0.0,
            recall=float(h / r) if r else 0.0,
            f1=float(2 * h / (r + p)) if r + p else 0.0,
        )
        for h, r, p in zip(hits, right, predicted, strict=True)
    ]
