"""Parts of tests and intervals: families of tests, shares, mean squares of runs and examples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, betaincinv

ALPHA = 0.05
"""The error allowed: that an interval misses, and that any test of a table is wrong."""


@dataclass(frozen=True)
class VarianceSplit:
    """Where the variance of a mean accuracy comes from; three shares that add up to 1."""

    examples: float
    """That these examples were drawn and not others."""
    seeds: float
    """That some seeds give better models than others."""
    rest: float
    """That seeds err on different examples."""


@dataclass(frozen=True)
class McNemar:
    """The examples that just one of two runs answers rightly, and their exact test."""

    only_first: int
    only_second: int
    p_value: float


def wilson_interval(
    share: float, examples: float, quantile: float = 1.959964
) -> tuple[float, float]:
    """Wilson's score interval (1927) for a share of ``examples``, at 95 % by default."""
    square = quantile**2 / examples
    centre = (share + square / 2) / (1 + square)
    half = (
        quantile / (1 + square) * math.sqrt(share * (1 - share) / examples + square / examples / 4)
    )
    # it holds the share, also where rounding says otherwise: at 0 and 1
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def at_most(count: int, trials: int) -> float:
    """The 95 % upper bound of a rate, of which ``count`` of ``trials`` were seen.

    Exact (Clopper and Pearson 1934), to one side: 0 of 3 may be as many as 63 %.
    """
    return 1.0 if count == trials else float(betaincinv(count + 1, trials - count, 1 - ALPHA))


def split_variance(correct: np.ndarray) -> VarianceSplit | None:
    """Shares of the variance of the mean of ``correct``, shape (runs, examples).

    None with a single run, which cannot tell them apart, or where nothing varies.
    """
    runs, examples = correct.shape
    if runs == 1 or examples == 1:
        return None
    ms_runs, ms_examples, ms_rest = mean_squares(correct)
    parts = np.array(
        [max(ms_examples - ms_rest, 0.0), max(ms_runs - ms_rest, 0.0), ms_rest], dtype=float
    )
    if parts.sum() == 0:
        return None
    return VarianceSplit(*(float(part) for part in parts / parts.sum()))


def mcnemar(first: np.ndarray, second: np.ndarray) -> McNemar:
    """McNemar's exact test of two runs; ``first``, ``second``: right or not, shape (examples,)."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    # binomtest's two-sided p at one half, without the half second that scipy.stats takes to import
    p_value = min(1.0, 2 * float(bdtr(min(only_first, only_second), discordant, 0.5)))
    return McNemar(only_first, only_second, p_value)


def holm(p_values: Sequence[float] | np.ndarray) -> list[float]:
    """Holm's (1979) adjusted p-values: reject those below alpha, and it holds for all together."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors)
    result = np.empty(len(p_values))
    result[order] = np.minimum(adjusted, 1.0)
    return result.tolist()


def holm_levels(p_values: Sequence[float] | np.ndarray, alpha: float = ALPHA) -> np.ndarray:
    """The level at which Holm's method tests each p-value: rejected just where it is below that.

    Those that are not rejected are all tested at the level where the method stopped.
    """
    p_values = np.asarray(p_values, dtype=float)
    order = np.argsort(p_values, kind="stable")
    levels = alpha / np.arange(len(p_values), 0, -1)
    kept = p_values[order] >= levels
    if kept.any():
        levels[kept.argmax() :] = levels[kept.argmax()]
    result = np.empty(len(p_values))
    result[order] = levels
    return result


def mean_squares(table: np.ndarray) -> tuple[float, float, float]:
    """Mean squares of runs, of examples and of the rest, of a (runs, examples) table.

    From sums, which are whole for right and wrong answers: where two mean squares are equal, as
    with a single error in all, no rounding may decide which is the larger.
    """
    runs, examples = table.shape
    table = table * 1  # numbers in place of True and False
    total = table.sum() ** 2
    of_runs = runs * np.square(table.sum(1)).sum()
    of_examples = examples * np.square(table.sum(0)).sum()
    rest = runs * examples * np.square(table).sum() - of_runs - of_examples + total
    size = runs * examples
    return (
        float((of_runs - total) / (size * (runs - 1))),
        float((of_examples - total) / (size * (examples - 1))),
        float(rest / (size * (runs - 1) * (examples - 1))),
    )
