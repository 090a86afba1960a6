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
        variance, estimated = _variance_of_mean(correct.astype(float))
        # all alike (0 % or 100 %): no variance to estimate from; the runs then count as one
        if variance > 0:
            effective, degrees = mean * (1 - mean) / variance, estimated
            effective = min(effective, float(examples * runs))
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
    """Variance of the grand mean of a (runs, examples) table and its degrees of freedom.

    E[ms_runs + ms_examples - ms_residual] = runs * examples * Var(mean). Where a mean square is
    below the residual's, by chance, its effect is taken to be none: the other's then stands alone,
    which errs on the wide side.
    """
    runs, examples = table.shape
    mean, by_run, by_example = table.mean(), table.mean(1), table.mean(0)
    residual = table - by_run[:, None] - by_example[None, :] + mean
    ms_runs = examples * np.square(by_run - mean).sum() / (runs - 1)
    ms_examples = runs * np.square(by_example - mean).sum() / (examples - 1)
    ms_residual = np.square(residual).sum() / ((runs - 1) * (examples - 1))
    if ms_residual >= min(ms_runs, ms_examples):
        largest = max((ms_runs, runs - 1), (ms_examples, examples - 1))
        return float(largest[0] / (runs * examples)), float(largest[1])
    total = ms_runs + ms_examples - ms_residual
    spread = (
        ms_runs**2 / (runs - 1)
        + ms_examples**2 / (examples - 1)
        + ms_residual**2 / ((runs - 1) * (examples - 1))
    )
    return float(total / (runs * examples)), float(total**2 / spread)
