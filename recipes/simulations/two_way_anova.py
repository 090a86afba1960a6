"""Intervals and tests by the two-way analysis of variance alone, each row by itself.

What hfbench did before it learnt the seeds' variance from the whole table, and what simulations
and tests compare with: another route to the same numbers where runs are many. The variance of a
mean comes from the mean squares of the two-way table (runs, examples), its degrees of freedom after
Satterthwaite (1946), its interval with Student's t. With two or three runs it is too sure: where
runs happen to differ less than their noise, it takes the seeds' variance for 0.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from hfbench.evidence.stats import ALPHA, mean_squares, wilson_interval


@dataclass(frozen=True)
class Difference:
    """The mean accuracy of one model minus that of another, on the same examples."""

    mean: float
    """Fraction in [-1, 1]."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    p_value: float
    """Two-sided, for no difference; below 0.05 just where the interval excludes 0."""

    def __neg__(self) -> "Difference":
        """The other model minus this one."""
        return Difference(-self.mean, -self.high, -self.low, self.p_value)


@dataclass(frozen=True, eq=False)
class Answers:
    """What is asked of a model's right answers for each of its paired differences."""

    runs: int
    right: np.ndarray
    """How many runs are right about each example, shape (examples,)."""
    accuracy: float
    seed_variance: tuple[float, float] | None
    """See `seed_variance`; None with a single run."""

    @classmethod
    def of(cls, correct: np.ndarray) -> "Answers":
        """Of ``correct``, shape (runs, examples)."""
        seeds = seed_variance(correct) if len(correct) > 1 else None
        return cls(len(correct), correct.sum(0), float(correct.mean()), seeds)


def accuracy_interval(correct: np.ndarray, confidence: float = 1 - ALPHA) -> tuple[float, float]:
    """Interval for the mean accuracy of a model over evaluation examples *and* seeds.

    Wilson's interval (1927) at the number of independent examples that has the variance of the
    mean, as Korn and Graubard (1998) do for surveys; with one run, Wilson's interval as it is.

    Args:
        correct: shape (runs, examples), whether run ``r`` is right about example ``i``. The runs
            differ in their seed and share the examples.
        confidence: in (0, 1).

    Returns:
        Lower and upper bound, fractions in [0, 1].
    """
    effective, degrees = _effective_examples(correct)
    quantile = float(stdtrit(degrees, (1 + confidence) / 2))
    return wilson_interval(float(correct.mean()), effective, quantile)


def paired_difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """Accuracy of ``first`` minus that of ``second``.

    Its variance is that of the examples' differences (means over runs) and what the seeds of each
    model add, estimated for each model by itself. With a single run of both it is the adjusted Wald
    interval of Bonett and Price (2012), as if two more examples had been answered, each rightly by
    one of the two; so it is for the examples' part where all of them differ alike.

    Args:
        first: shape (runs, examples), whether a run is right about an example.
        second: the same examples; its runs need not be as many. A model with a single run adds no
            variance of seeds, as is right for a control only.
    """
    return difference_of_answers(Answers.of(first), Answers.of(second))


def difference_of_answers(first: Answers, second: Answers) -> Difference:
    """As `paired_difference`, where a model is in many pairs."""
    # whole numbers first: examples that differ alike must do so to the last bit
    table = first.right * second.runs - second.right * first.runs
    table = table / (first.runs * second.runs)
    if first.runs == second.runs == 1 or np.ptp(table) == 0:
        table = np.append(table, [1.0, -1.0])
        parts = [(float(table.var() / table.size), math.inf)]
    else:
        parts = [(float(table.var(ddof=1) / table.size), float(table.size - 1))]
    parts += [model.seed_variance for model in (first, second) if model.seed_variance]
    variance, degrees = _add_variances(parts)
    mean, error = float(table.mean()), math.sqrt(variance)
    half = float(stdtrit(degrees, 1 - ALPHA / 2)) * error
    return Difference(
        mean=first.accuracy - second.accuracy,
        low=max(-1.0, mean - half),
        high=min(1.0, mean + half),
        p_value=_two_sided(mean / error, degrees),
    )


def _two_sided(statistic: float, degrees: float) -> float:
    return float(2 * stdtr(degrees, -abs(statistic)))


def _effective_examples(correct: np.ndarray) -> tuple[float, float]:
    """How many independent examples have this variance of the mean, and degrees of freedom."""
    runs, examples = correct.shape
    mean = float(correct.mean())
    if runs > 1 and examples > 1:
        variance, degrees = variance_of_mean(*mean_squares(correct), runs, examples)
        # all alike (0 % or 100 %): no variance to estimate from; the runs then count as one
        if variance > 0:
            return min(mean * (1 - mean) / variance, float(examples * runs)), degrees
    return float(examples), math.inf


def seed_variance(correct: np.ndarray) -> tuple[float, float]:
    """What the seeds add to the variance of a mean, and its degrees of freedom.

    Two or more runs; 0 where, by chance, runs differ less than their noise on the examples.
    """
    runs, examples = correct.shape
    ms_runs, _, ms_rest = mean_squares(correct)
    excess = max(ms_runs - ms_rest, 0.0)
    if excess == 0:
        return 0.0, math.inf
    # Satterthwaite: the excess is as uncertain as the mean square that it is a part of
    return excess / (runs * examples), (runs - 1) * (excess / ms_runs) ** 2


def _add_variances(parts: list[tuple[float, float]]) -> tuple[float, float]:
    """Sum of independent estimates (variance, degrees of freedom) and Satterthwaite's degrees."""
    total = sum(variance for variance, _ in parts)
    spread = sum(variance**2 / degrees for variance, degrees in parts)
    return total, total**2 / spread if spread else math.inf


def variance_of_mean(
    ms_runs: float, ms_examples: float, ms_rest: float, runs: int, examples: int
) -> tuple[float, float]:
    """Variance of the mean of a (runs, examples) table and its degrees of freedom.

    E[ms_runs + ms_examples - ms_rest] = runs * examples * Var(mean). Where a mean square is
    below the rest's, by chance, its effect is taken to be none: the other's then stands alone,
    which errs on the wide side.
    """
    if ms_rest >= min(ms_runs, ms_examples):
        largest, degrees = max((ms_runs, runs - 1), (ms_examples, examples - 1))
        return largest / (runs * examples), float(degrees)
    total = ms_runs + ms_examples - ms_rest
    spread = (
        ms_runs**2 / (runs - 1)
        + ms_examples**2 / (examples - 1)
        + ms_rest**2 / ((runs - 1) * (examples - 1))
    )
    return total / (runs * examples), total**2 / spread
