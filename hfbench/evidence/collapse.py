"""Runs that learnt nothing: distinguished from the others, and never averaged with them."""

import numpy as np

_FAR = 5.0
"""Standard errors of the difference of two runs on the same examples, at most."""


def collapsed_runs(predicted: np.ndarray, labels: np.ndarray, commonest: int) -> np.ndarray:
    """Whether each run gives one answer only, or never left what that would score; shape (runs,).

    A run that gives more than one answer counts as collapsed where it is no better than always
    giving the commonest class and, by five standard errors and more, worse than the model's median
    run: no run is left out because it is a little worse than others.

    Args:
        predicted: classes, shape (runs, examples).
        labels: the right classes, shape (examples,).
        commonest: the class that training has most of.
    """
    one_answer = (predicted == predicted[:, :1]).all(1)
    right = (predicted == labels).mean(1)
    floor = (labels == commonest).mean()
    return one_answer | ((right <= floor) & (right < np.median(right) - _FAR * _error(labels)))


def _error(labels: np.ndarray) -> float:
    # of two runs that differ on every second example, the most that is usual
    return float(np.sqrt(0.5 / len(labels)))
