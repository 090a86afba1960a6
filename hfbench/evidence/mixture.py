"""Tests and intervals where the variance is known by its distribution only: mixtures of normals.

Each function takes variances and their weights with the mixture's components in the last axis; the
weights add up to 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

_ENOUGH = 1e-10
_ROOM = 1e-12  # from 0 and 1, where a share has no variance


@dataclass(frozen=True, eq=False)
class Mixture:
    """What is known of an estimate: normal around ``centre``, with one of several variances."""

    centre: float
    variances: np.ndarray
    """Above 0, shape (components,)."""
    weights: np.ndarray
    """Of the variances; they add up to 1."""

    @property
    def variance(self) -> float:
        """Mean of the variances."""
        return float(self.weights @ self.variances)


def aligned(mixtures: Sequence[Mixture]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres, shape (n,); variances and weights, shape (n, components).

    Of one that has fewer components than others, the rest have no weight.
    """
    components = max(len(mixture.variances) for mixture in mixtures)
    variances = np.ones((len(mixtures), components))
    weights = np.zeros((len(mixtures), components))
    for row, mixture in enumerate(mixtures):
        variances[row, : len(mixture.variances)] = mixture.variances
        weights[row, : len(mixture.weights)] = mixture.weights
    return np.array([mixture.centre for mixture in mixtures]), variances, weights


def two_sided(distance: np.ndarray, variances: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Probability to be ``distance`` or more from the mean, either way.

    Args:
        distance: shape (n,).
        variances: above 0, shape (n, components).
        weights: shape (n, components).
    """
    tails = weights * ndtr(-np.abs(distance)[..., None] / np.sqrt(variances))
    return np.minimum(2 * tails.sum(-1), 1.0)


def half_width(level: np.ndarray, variances: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The distance that has `two_sided` probability ``level``, shape (n,), in (0, 1).

    Newton's method, from the left of the root: the probability is convex in the distance, so that
    no step passes it.
    """
    sd = np.sqrt(variances)
    start = -ndtri(level / 2) * np.where(weights > 0, sd, np.inf).min(-1)
    width = start
    for _ in range(100):
        z = width[..., None] / sd
        excess = 2 * (weights * ndtr(-z)).sum(-1) - level
        slope = 2 * (weights * np.exp(-np.square(z) / 2) / sd).sum(-1) / np.sqrt(2 * np.pi)
        step = excess / slope
        width = np.maximum(width + step, start)
        if np.all(step <= _ENOUGH * width):
            break
    return width


def score_p_value(
    share: np.ndarray,
    true: np.ndarray,
    examples: np.ndarray,
    variances: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """Two-sided p of the hypothesis that a share is ``true``: Wilson's test (1927), with more.

    Args:
        share: that was found, shape (n,).
        true: in (0, 1), shape (n,).
        examples: independent ones that have the variance of the share, shape (n,).
        variances: beside the examples', shape (n, components).
        weights: shape (n, components).
    """
    of_examples = np.maximum(true * (1 - true) / examples, 1e-300)[..., None]
    return two_sided(share - true, of_examples + variances, weights)


def score_interval(
    share: np.ndarray,
    examples: np.ndarray,
    variances: np.ndarray,
    weights: np.ndarray,
    level: float,
    *,
    shrinking: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """All shares that `score_p_value` leaves at ``level`` or above: lower and upper ends, (n,).

    Args:
        share: that was found, shape (n,).
        examples: independent ones that have the variance of the share, shape (n,).
        variances: beside the examples', shape (n, components).
        weights: of these, shape (n, components).
        level: of the test.
        shrinking: whether ``variances`` shrink towards the ends as that of an answer does: they are
            then those at the share that was found, moved from its end as Agresti and Coull (1998)
            do.
    """
    moved = (share * examples + 2) / (examples + 4)

    def end(outer: float) -> np.ndarray:
        outside, inside = np.full_like(share, outer), share
        for _ in range(45):
            middle = (outside + inside) / 2
            factor = middle * (1 - middle) / (moved * (1 - moved)) if shrinking else np.ones(1)
            there = factor[:, None] * variances
            kept = score_p_value(share, middle, examples, there, weights) >= level
            outside, inside = np.where(kept, outside, middle), np.where(kept, middle, inside)
        # within rounding of 0 or 1 it is that
        return np.where(np.abs(inside - outer) < _ROOM, outer, inside)

    return end(0.0), end(1.0)


def median_and_interval(
    of_sd: np.ndarray, mean: float, variances: np.ndarray, weights: np.ndarray, level: float
) -> tuple[float, float, float]:
    """Median and interval of P(X > 0), where X has an uncertain mean and an uncertain variance.

    Args:
        of_sd: standard deviation of X in each component, shape (components,).
        mean: estimate of X's mean.
        variances: of that estimate in each component, above 0.
        weights: of the components.
        level: outside of the interval.
    """
    found = []
    for share in (0.5, level / 2, 1 - level / 2):
        low, high = -40.0, 40.0
        for _ in range(80):
            middle = (low + high) / 2
            below = weights @ ndtr((of_sd * middle - mean) / np.sqrt(variances))
            low, high = (middle, high) if below < share else (low, middle)
        found.append(float(ndtr(low)))
    return found[0], found[1], found[2]
