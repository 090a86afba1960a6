"""Measures of the order in which a classifier puts examples: AUROC, average precision, LRAP."""

from collections.abc import Callable

import numpy as np
from scipy.special import softmax

from hfbench.metrics.estimate import Estimate, UndefinedMeasureError

_Binary = Callable[[np.ndarray, np.ndarray], Estimate]
"""Of scores and whether each example is positive, both of shape (examples,)."""


def auroc(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Mean over the classes among the labels of each one's area under the ROC curve, against all
    others, by its probability.
    """
    return _mean_over_classes(*_one_against_rest(logits, labels), binary_auroc)


def average_precision(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Mean over the classes among the labels of each one's average precision, against all others,
    by its probability.
    """
    return _mean_over_classes(*_one_against_rest(logits, labels), binary_average_precision)


def auroc_of_labels(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Of multi-label answers: mean over the labels that some examples have and others have not."""
    return _mean_over_classes(logits, labels == 1, binary_auroc)


def average_precision_of_labels(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Of multi-label answers: mean over the labels that some example has."""
    return _mean_over_classes(logits, labels == 1, binary_average_precision)


def label_ranking(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Label ranking average precision: of each label that an example has, the share of the labels
    at or above it that the example has, too; 1 for an example with all labels or none.
    """
    above = logits[:, None, :] >= logits[:, :, None]  # (examples, label, at or above it)
    has = labels == 1
    shares = (above & has[:, None, :]).sum(-1) / above.sum(-1)
    number = has.sum(-1)
    some = (number > 0) & (number < labels.shape[1])
    means = (shares * has).sum(-1) / np.maximum(number, 1)
    return Estimate.of_mean(np.where(some, means, 1.0))


def binary_auroc(scores: np.ndarray, positive: np.ndarray) -> Estimate:
    """Probability that a positive example has a higher score than a negative one; ties count half.

    The influence is that of DeLong, DeLong and Clarke-Pearson's (1988) placements.
    """
    highs, lows = np.sort(scores[positive]), np.sort(scores[~positive])
    share = positive.mean()
    if share in (0, 1):
        raise UndefinedMeasureError("all labels are of one class")
    # of a positive: negatives below it; of a negative: positives above it
    placement = np.where(positive, _below(lows, scores), 1 - _below(highs, scores))
    value = float(placement[positive].mean())
    return Estimate(value, (placement - value) / np.where(positive, share, 1 - share))


def binary_average_precision(scores: np.ndarray, positive: np.ndarray) -> Estimate:
    """Mean over the positive examples of the precision at their score (no interpolation)."""
    share = positive.mean()
    if share == 0:
        raise UndefinedMeasureError("no label is of this class")
    examples = len(scores)
    levels, number = np.unique(-scores, return_inverse=True)  # the highest score first
    positives = np.bincount(number, positive, len(levels))
    at_or_above = np.cumsum(np.bincount(number, minlength=len(levels))) / examples
    found = np.cumsum(positives) / examples
    precision = found / at_or_above  # (levels,)
    value = float((positives * precision).sum() / positives.sum())
    # an example changes the precision at its own level and at all lower ones
    lower = (positives / examples / at_or_above)[::-1].cumsum()[::-1]
    lower_found = (positives / examples * precision / at_or_above)[::-1].cumsum()[::-1]
    influence = positive * (precision[number] - value) + positive * lower[number]
    return Estimate(value, (influence - lower_found[number]) / share)


def _below(ordered: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Share of ``ordered`` that is below each score; equal ones count half."""
    left, right = (np.searchsorted(ordered, scores, side) for side in ("left", "right"))
    return (left + right) / 2 / len(ordered)


def _one_against_rest(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(np.unique(labels)) < 2:
        raise UndefinedMeasureError("all labels are of one class")
    probabilities = softmax(logits.astype(np.float64), axis=-1)
    return probabilities, labels[:, None] == np.arange(logits.shape[-1])


def _mean_over_classes(scores: np.ndarray, positive: np.ndarray, measure: _Binary) -> Estimate:
    """Over the columns of ``scores`` for which ``measure`` has a meaning."""
    found = []
    for column, is_positive in zip(scores.T, positive.T, strict=True):
        try:
            found.append(measure(column, is_positive))
        except UndefinedMeasureError:
            continue
    if not found:
        raise UndefinedMeasureError("no label is there in some examples and not in others")
    return Estimate(
        float(np.mean([one.value for one in found])),
        np.mean([one.influence for one in found], axis=0),
    )
