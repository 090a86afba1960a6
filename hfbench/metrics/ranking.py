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
    """Mean over the positive examples of the precision at their score (no interpolation).

    The influence is the jackknife's (Tukey 1958), of each example left out once: with few positive
    examples the derivative is too small by much.
    """
    number_positive = int(positive.sum())
    if number_positive == 0:
        raise UndefinedMeasureError("no label is of this class")
    levels, number = np.unique(-scores, return_inverse=True)  # the highest score first
    own = np.bincount(number, positive, len(levels))  # positives at each level
    above, found = np.cumsum(np.bincount(number, minlength=len(levels))), np.cumsum(own)
    terms = own * found / above  # of the sum of precisions, by level
    value = float(terms.sum()) / number_positive
    higher = np.cumsum(terms) - terms
    # an example that is left out is one less at its own level and above all lower ones
    others = np.maximum(above - 1, 1)
    without_negative = own * found / others
    without_positive = own * (found - 1) / others
    own_without_positive = (own - 1) * (found - 1) / others
    sum_negative = higher + without_negative[::-1].cumsum()[::-1]
    lower = without_positive[::-1].cumsum()[::-1] - without_positive
    sum_positive = higher + own_without_positive + lower
    left_out = np.where(
        positive,
        sum_positive[number] / max(number_positive - 1, 1),
        sum_negative[number] / number_positive,
    )
    if number_positive == 1:  # nothing is left to measure
        left_out[positive] = value
    influence = (len(scores) - 1) * (value - left_out)
    return Estimate(value, influence - influence.mean())


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
