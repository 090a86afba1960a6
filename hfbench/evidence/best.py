"""Which rows may be the best: a confidence set."""

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

_POINTS = np.linspace(-8, 8, 401)
_WEIGHTS = np.exp(-np.square(_POINTS) / 2) / np.exp(-np.square(_POINTS) / 2).sum()
_LARGEST = 0.99  # correlation: beyond it, the points are too few


def best_p_values(p_greater: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """For each row the p-value of "no other is better"; shape (rows,).

    Those of 0.05 and more are a 95 % confidence set for the best (Hsu 1984): the one that is best
    is left out by the largest of its one-sided tests against all others, at most once in 20 tables.
    That largest is corrected for how many there are and for how they hang together (max-T, with
    each test's p-value turned into a normal deviate; Conneely and Boehnke 2007). Correlations
    rho_jk are replaced by smaller ones of the form l_j l_k, by which the p-value can but grow
    (Slepian 1962) and becomes an integral in one dimension (Dunnett 1955).

    Args:
        p_greater: one-sided p-value that the column's row is no better than the line's,
            shape (rows, rows); the diagonal is not read.
        covariance: of the rows' means, shape (rows, rows).
    """
    rows = len(p_greater)
    if rows == 1:
        return np.ones(1)
    return np.array([_best_p(p_greater[row], covariance, row) for row in range(rows)])


def levels_against_all(covariance: np.ndarray, alpha: float) -> np.ndarray:
    """Of each row the level at which to test it against each other one; shape (rows,).

    All of a row's one-sided tests together then have the error ``alpha``, by the same max-T as
    `best_p_values`.

    Args:
        covariance: of the rows' means, shape (rows, rows), of two rows or more.
        alpha: below 0.5.
    """
    rows = len(covariance)
    found = []
    for row in range(rows):
        loadings = _loadings(covariance, row, np.delete(np.arange(rows), row))
        # between those of a single test and of Bonferroni
        low, high = -ndtri(alpha), -ndtri(alpha / (2 * rows))
        largest = brentq(lambda z, own=loadings: _exceeds(z, own) - alpha, low - 0.1, high)
        found.append(ndtr(-largest))
    return np.array(found)


def _best_p(p_greater: np.ndarray, covariance: np.ndarray, row: int) -> float:
    others = np.delete(np.arange(len(p_greater)), row)
    largest = -ndtri(np.clip(p_greater[others].min(), 1e-300, 1.0 - 1e-16))
    found = _exceeds(largest, _loadings(covariance, row, others))
    return float(np.clip(found, p_greater[others].min(), 1.0))


def _exceeds(largest: float, loadings: np.ndarray) -> float:
    """Probability that any of the normal deviates with these loadings is above ``largest``."""
    rest = np.sqrt(1 - np.square(loadings))
    below = ndtr((largest - loadings * _POINTS[:, None]) / rest).prod(1)
    return float(1 - _WEIGHTS @ below)


def _loadings(covariance: np.ndarray, row: int, others: np.ndarray) -> np.ndarray:
    """One factor by which the differences of ``others`` from ``row`` are at most as correlated."""
    from_row = covariance[others, row]
    between = covariance[np.ix_(others, others)] + covariance[row, row]
    between = between - from_row[:, None] - from_row[None, :]
    sd = np.sqrt(np.maximum(np.diag(between), 1e-300))
    correlation = between / sd[:, None] / sd[None, :]
    return np.sqrt(np.clip(correlation.min(1), 0.0, _LARGEST))
