"""Measures of predicted numbers: outputs of shape (examples, 1), labels of shape (examples,)."""

import numpy as np

from hfbench.metrics.estimate import Estimate, UndefinedMeasureError


def pearson(outputs: np.ndarray, labels: np.ndarray) -> Estimate:
    """Correlation of predictions and labels; 0 where all predictions are equal.

    Influence after Devlin, Gnanadesikan and Kettenring (1975).
    """
    return _correlation(outputs[:, 0].astype(np.float64), labels)


def spearman(outputs: np.ndarray, labels: np.ndarray) -> Estimate:
    """Correlation of the ranks of predictions and labels, those of equal values their mean.

    An example's influence is that of its two ranks on their correlation, and that of its presence
    on the ranks of all others (Croux and Dehon 2010). 0 where all predictions are equal.
    """
    x, y = outputs[:, 0].astype(np.float64), labels
    u, v = _ranks(x), _ranks(y)
    fixed = _correlation(u, v)
    if x.max() == x.min():
        return fixed
    a, b = u.var(), v.var()
    of_covariance = _raised(x, v) + _raised(y, u)
    of_variances = _raised(x, u) / a + _raised(y, v) / b
    moved = of_covariance / np.sqrt(a * b) - fixed.value * of_variances
    return Estimate(fixed.value, fixed.influence + moved)


def rmse(outputs: np.ndarray, labels: np.ndarray) -> Estimate:
    """Root of the mean squared error."""
    squares = np.square(outputs[:, 0].astype(np.float64) - labels)
    value = float(np.sqrt(squares.mean()))
    if value == 0:
        return Estimate.of_mean(squares)
    return Estimate(value, (squares - squares.mean()) / (2 * value))


def mse(outputs: np.ndarray, labels: np.ndarray) -> Estimate:
    """Mean squared error, the loss of a regression."""
    return Estimate.of_mean(np.square(outputs[:, 0].astype(np.float64) - labels))


def mae(outputs: np.ndarray, labels: np.ndarray) -> Estimate:
    """Mean absolute error."""
    return Estimate.of_mean(np.abs(outputs[:, 0].astype(np.float64) - labels))


def r2(outputs: np.ndarray, labels: np.ndarray) -> Estimate:
    """1 less the squared error as a share of the labels' variance; below 0 where it is larger."""
    _refuse_constant(labels)
    squares = np.square(outputs[:, 0].astype(np.float64) - labels)
    deviations = np.square(labels - labels.mean())
    share = squares.mean() / deviations.mean()
    return Estimate(float(1 - share), (share * deviations - squares) / deviations.mean())


def _correlation(x: np.ndarray, y: np.ndarray) -> Estimate:
    _refuse_constant(y)
    if x.max() == x.min():  # as Matthews' correlation of one answer to all
        return Estimate.of_mean(np.zeros(len(y)))
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()
    value = float(np.clip((x * y).mean(), -1, 1))
    return Estimate(value, x * y - value / 2 * (np.square(x) + np.square(y)))


def _refuse_constant(labels: np.ndarray) -> None:
    if labels.max() == labels.min():
        raise UndefinedMeasureError("the labels are all equal")


def _ranks(values: np.ndarray) -> np.ndarray:
    """Middle ranks as shares, in (0, 1); their mean is one half."""
    ordered = np.sort(values)
    left, right = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return (left + right) / 2 / len(values)


def _raised(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How much the mean of ranks times weights changes with the share of each example.

    It raises those above it by 1 and its equals by one half; less the mean of that.
    """
    levels, number = np.unique(values, return_inverse=True)
    at = np.bincount(number, weights - weights.mean(), len(levels)) / len(values)
    above = at.sum() - np.cumsum(at)
    raised = (above + at / 2)[number]
    return raised - raised.mean()
