"""Intervals for accuracies measured on few examples with few seeds."""

import math

import numpy as np
from scipy.special import stdtrit


def accuracy_interval(correct: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Interval for the mean accuracy of a model over evaluation examples *and* seeds.

    Args:
        correct: shape (runs, examples), whether run ``r`` is right about example ``i``. The runs
            differ in their seed and share the examples.
        confidence: in (0, 1).

    Returns:
        Lower and upper bound, fractions in [0, 1].

    With one run it is Wilson's interval. With several, examples and seeds are crossed random
    effects: the variance of the mean is estimated from the mean squares of the two-way table
    (Searle, Casella and McCulloch 1992, ch. 4), its degrees of freedom after Satterthwaite (1946),
    and Wilson's interval is taken at the number of independent examples that has this variance,
    with Student's t in the place of the normal quantile (as Korn and Graubard 1998 for surveys).
    """
    runs, examples = correct.shape
    mean = float(correct.mean())
    effective, degrees = float(examples), math.inf
    if runs > 1:
        variance, degrees = _variance_of_mean(correct.astype(float))
        # all alike (0 % or 100 %): no variance to estimate from; the runs then count as one
        if variance > 0 and 0 < mean < 1:
            effective = min(mean * (1 - mean) / variance, float(examples * runs))
    quantile = float(stdtrit(degrees, (1 + confidence) / 2))
    return wilson_interval(mean, effective, quantile)


def wilson_interval(share: float, examples: float, quantile: float) -> tuple[float, float]:
    """Wilson's score interval (1927) for a share of ``examples``; ``quantile`` 1.96 for 95 %."""
    square = quantile**2 / examples
    centre = (share + square / 2) / (1 + square)
    half = (
        quantile / (1 + square) * math.sqrt(share * (1 - share) / examples + square / examples / 4)
    )
    return max(0.0, centre - half), min(1.0, centre + half)


def _variance_of_mean(table: np.ndarray) -> tuple[float, float]:
    """Variance of the grand mean of a (runs, examples) table and its degrees of freedom."""
    runs, examples = table.shape
    mean, by_run, by_example = table.mean(), table.mean(1), table.mean(0)
    residual = table - by_run[:, None] - by_example[None, :] + mean
    degrees = np.array([runs - 1, examples - 1, (runs - 1) * (examples - 1)])
    squares = np.array(
        [
            examples * np.square(by_run - mean).sum(),
            runs * np.square(by_example - mean).sum(),
            np.square(residual).sum(),
        ]
    )
    # E[ms_runs] + E[ms_examples] - E[ms_residual] = runs * examples * Var(grand mean)
    weighted = squares / degrees * np.array([1, 1, -1])
    total = weighted.sum()
    if total <= 0:
        return 0.0, math.inf
    variance = total / (runs * examples)
    return float(variance), float(total**2 / np.square(weighted / np.sqrt(degrees)).sum())
