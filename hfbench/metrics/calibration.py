"""What a classifier's answers look like: their confidence, and each class by itself."""

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from hfbench.metrics.scores import negative_log_likelihoods

BINS = 10
"""Equally wide bins of the probability of the predicted class, over [0, 1]."""


@dataclass(frozen=True)
class Calibration:
    """How far probabilities can be trusted; means over the examples."""

    nll: float
    """See `negative_log_likelihood`."""
    brier: float
    """Brier's score (1950): squared distance of the probabilities to the answer, in [0, 2]."""
    ece: float
    """Expected calibration error (Guo et al. 2017), over `BINS` bins of equal width, in [0, 1]."""


@dataclass(frozen=True)
class Reliability:
    """Confidence and accuracy by bin; each array has the shape (bins,), or (runs, bins)."""

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


def calibration(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """Of one run; ``logits`` of shape (examples, labels), ``labels`` (examples,)."""
    return calibrations(logits[None], labels)[0]


def calibrations(logits: np.ndarray, labels: np.ndarray) -> list[Calibration]:
    """Of each of several runs; ``logits`` of shape (runs, examples, labels)."""
    probabilities = softmax(logits.astype(np.float64), axis=-1)
    answer = np.eye(logits.shape[-1])[labels]
    bins = _bin(probabilities, logits.argmax(-1) == labels)
    gaps = np.abs(bins.confidence - bins.accuracy)
    scores = zip(
        negative_log_likelihoods(logits, labels),
        np.square(probabilities - answer).sum(-1).mean(-1),
        np.nansum(gaps * bins.examples, axis=-1) / len(labels),
        strict=True,
    )
    return [Calibration(float(nll), float(brier), float(ece)) for nll, brier, ece in scores]


def reliability(logits: np.ndarray, labels: np.ndarray) -> Reliability:
    """Of one run, or of several runs whose examples are strung together."""
    probabilities = softmax(logits.astype(np.float64), axis=-1)
    bins = _bin(probabilities[None], (logits.argmax(-1) == labels)[None])
    return Reliability(bins.examples[0], bins.confidence[0], bins.accuracy[0])


def _bin(probabilities: np.ndarray, right: np.ndarray) -> Reliability:
    """By run, of probabilities (runs, examples, labels) and what is right, (runs, examples)."""
    runs, confidence = len(right), probabilities.max(-1)
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)  # of the bin, within its run
    number = (number + BINS * np.arange(runs)[:, None]).ravel()

    def add_up(values: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(number, values, BINS * runs).reshape(runs, BINS)

    examples = add_up()
    with np.errstate(invalid="ignore"):  # 0 / 0 in an empty bin
        return Reliability(
            examples=examples,
            confidence=add_up(confidence.ravel()) / examples,
            accuracy=add_up(right.ravel()) / examples,
        )


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
