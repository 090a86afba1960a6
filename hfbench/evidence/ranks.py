"""Ranks of models over tasks, and the classical tests of them (Demsar 2006).

Demsar: Statistical comparisons of classifiers over multiple data sets, JMLR 7. Ranks have no unit,
so that tasks of any measures go together; and they know nothing of how sure a rank is.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc, fdtrc
from scipy.stats import rankdata

from hfbench.evidence.stats import ALPHA

REPETITIONS = 10_000
"""Of draws of the values, by which the interval of an average rank is told."""
_SEED = 0
_DECIMALS = 9  # sums in another order must not make two equal values differ


def rank(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis: the highest is 1, equal ones share theirs."""
    return rankdata(-np.asarray(values).round(_DECIMALS), axis=-1)


@dataclass(frozen=True)
class RankTests:
    """Whether the average ranks of models differ at all, and by how much two must."""

    average: np.ndarray
    """Shape (models,)."""
    chi_square: float
    """Friedman's (1937), corrected for ties."""
    p_chi_square: float
    f_value: float
    """Iman and Davenport's (1980), which is less conservative."""
    p_value: float
    """Of ``f_value``."""
    critical_difference: float
    """Nemenyi's (1963): two average ranks that are further apart differ, with 5 % error for all
    pairs together."""


def compare_ranks(values: np.ndarray) -> RankTests:
    """Friedman's test and Nemenyi's critical difference.

    Args:
        values: of which higher is better, shape (tasks, models): two tasks and three models or
            more.
    """
    tasks, models = values.shape
    ranks = rank(values)
    average = ranks.mean(0)
    spread = np.square(ranks - (models + 1) / 2).sum()
    if spread == 0:  # all models are equal on all tasks
        return RankTests(average, 0.0, 1.0, 0.0, 1.0, critical_difference(tasks, models))
    chi_square = float(
        tasks**2 * (models - 1) * np.square(average - (models + 1) / 2).sum() / spread
    )
    most = tasks * (models - 1)
    rest = most - chi_square
    f_value = math.inf if rest < 1e-9 * most else (tasks - 1) * chi_square / rest
    return RankTests(
        average=average,
        chi_square=chi_square,
        p_chi_square=float(chdtrc(models - 1, chi_square)),
        f_value=f_value,
        p_value=0.0
        if math.isinf(f_value)
        else float(fdtrc(models - 1, (models - 1) * (tasks - 1), f_value)),
        critical_difference=critical_difference(tasks, models),
    )


def critical_difference(tasks: int, models: int) -> float:
    """Nemenyi's, of average ranks, with 5 % error for all pairs together."""
    from scipy.stats import studentized_range  # here: it takes its time

    quantile = float(studentized_range.ppf(1 - ALPHA, models, np.inf)) / math.sqrt(2)
    return quantile * math.sqrt(models * (models + 1) / (6 * tasks))


def rank_intervals(values: np.ndarray, covariances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of the average ranks: lower and upper ends, shape (models,).

    In each of `REPETITIONS` the values of each task are drawn anew, as other examples and seeds of
    the same task would give them: a parametric bootstrap. The tasks stay: of what the ranks would
    be on others, it says nothing.

    Args:
        values: of which higher is better, shape (tasks, models).
        covariances: of the values of each task, shape (tasks, models, models).
    """
    generators = np.random.default_rng(_SEED).spawn(len(values))
    drawn = np.zeros((REPETITIONS, values.shape[1]))
    for of_task, covariance, rng in zip(values, covariances, generators, strict=True):
        normal = rng.standard_normal((REPETITIONS, values.shape[1]))
        drawn += rank(of_task + normal @ _root(covariance).T)
    low, high = np.quantile(drawn / len(values), [ALPHA / 2, 1 - ALPHA / 2], axis=0)
    return low, high


def _root(covariance: np.ndarray) -> np.ndarray:
    """Its lower Cholesky factor, also where rows answer alike and it is singular.

    Unlike an eigenvector, it has one sign everywhere: the same records give the same numbers.
    """
    rest = np.array(covariance, dtype=float)
    root = np.zeros_like(rest)
    least = 1e-9 * np.diag(rest).max(initial=0.0)
    for j in range(len(rest)):
        if rest[j, j] > least:
            root[:, j] = rest[:, j] / math.sqrt(rest[j, j])
            rest = rest - np.outer(root[:, j], root[:, j])
    return root
