"""A difference on several tasks as one: over these tasks, and over tasks like these.

Over *these* tasks, the mean of the differences is what it is of them alone: its error comes from
the examples and the seeds of each task, which are independent of the other tasks'. Over tasks *like
these*, the tasks are drawn as well: the differences vary around a mean by more than their own
errors (a random-effects model), and with few tasks little is known of how much.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from hfbench.evidence.mixture import Mixture

FEWEST_TASKS = 5
"""Of which a difference over tasks like them is told. With k tasks its interval has k - 1 degrees
of freedom, and how much tasks vary is known to within a factor of three at best below five."""

_COMPONENTS = 64
_NOTHING = 1e-12  # weight of a component that plays no part
_STEPS = 100


def mean_of(tasks: Sequence[Mixture]) -> Mixture:
    """The mean of independent estimates, each of a task."""
    centre = float(np.mean([task.centre for task in tasks]))
    variances, weights = _merge(tasks[0].variances, tasks[0].weights)
    for task in tasks[1:]:
        sums = np.add.outer(variances, task.variances).ravel()
        variances, weights = _merge(sums, np.multiply.outer(weights, task.weights).ravel())
    return Mixture(centre, variances / len(tasks) ** 2, weights)


def _merge(variances: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As few components as are kept, each between two of them so that the mean variance stays."""
    counts = weights > _NOTHING
    variances, weights = variances[counts], weights[counts] / weights[counts].sum()
    low, high = variances.min(), variances.max()
    if high <= low * (1 + 1e-9):
        return np.array([weights @ variances]), np.ones(1)
    nodes = np.geomspace(low, high, _COMPONENTS)
    above = np.clip(np.searchsorted(nodes, variances), 1, _COMPONENTS - 1)
    share = np.clip((variances - nodes[above - 1]) / (nodes[above] - nodes[above - 1]), 0, 1)
    merged = np.bincount(above - 1, weights * (1 - share), _COMPONENTS)
    return nodes, merged + np.bincount(above, weights * share, _COMPONENTS)


@dataclass(frozen=True)
class RandomEffects:
    """The mean difference over tasks like those that were compared."""

    mean: float
    standard_error: float
    """After Hartung and Knapp (2001)."""
    tau: float
    """Standard deviation of the differences of tasks, their own errors apart."""
    tasks: int

    @property
    def p_value(self) -> float:
        """Two-sided, for a mean of 0."""
        if self.standard_error == 0:
            return 1.0 if self.mean == 0 else 0.0
        return 2 * float(stdtr(self.tasks - 1, -abs(self.mean) / self.standard_error))

    def half_width(self, level: float) -> float:
        """Of the interval that leaves the mean out with probability ``level``."""
        return -float(stdtrit(self.tasks - 1, level / 2)) * self.standard_error


def random_effects(differences: np.ndarray, variances: np.ndarray) -> RandomEffects:
    """Pool the differences of tasks, which are drawn from all tasks like them.

    How much tasks vary is estimated after Paule and Mandel (1982); the error of the mean is that of
    Hartung and Knapp (2001) and of Sidik and Jonkman (2002), whose interval is Student's t with one
    degree of freedom fewer than there are tasks. It keeps its level where DerSimonian and Laird's
    (1986), the normal's, does not (IntHout, Ioannidis and Borm 2014).

    Args:
        differences: of each task, shape (tasks,), two or more.
        variances: of each difference, from the examples and seeds of its task; above 0.
    """
    tau2 = _paule_mandel(differences, variances)
    weights = 1 / (variances + tau2)
    mean = float(weights @ differences / weights.sum())
    spread = float(weights @ np.square(differences - mean)) / (len(differences) - 1)
    return RandomEffects(mean, math.sqrt(spread / weights.sum()), math.sqrt(tau2), len(differences))


def _paule_mandel(differences: np.ndarray, variances: np.ndarray) -> float:
    """The tau^2 at which the weighted sum of squares is what it is to be, or 0 if none is.

    The sum falls with tau^2 and is convex: Newton's steps from 0 stay below the root.
    """
    tau2 = 0.0
    for _ in range(_STEPS):
        weights = 1 / (variances + tau2)
        squares = np.square(differences - weights @ differences / weights.sum())
        excess = float(weights @ squares) - (len(differences) - 1)
        slope = float(np.square(weights) @ squares)
        if excess <= 1e-10 * len(differences) or slope == 0:
            break
        tau2 += excess / slope
    return tau2
