import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from hfbench.evidence.best import best_p_values


def p_greater(means, covariance):
    """One-sided p that the column is no better than the line, of normal means."""
    means = np.asarray(means, dtype=float)
    variances = np.diag(covariance)[:, None] + np.diag(covariance) - 2 * covariance
    z = (means[None, :] - means[:, None]) / np.sqrt(np.maximum(variances, 1e-12))
    return norm.sf(z)


def test_of_two_it_is_the_one_sided_test():
    covariance = np.diag([1.0, 4.0])
    p_values = p_greater([0.0, 3.0], covariance)
    found = best_p_values(p_values, covariance)
    assert found[0] == pytest.approx(norm.sf(3 / np.sqrt(5)), rel=1e-3)
    assert found[1] > 0.9


@pytest.mark.parametrize("rows", [3, 5, 12])
def test_independent_rows_have_the_max_t_of_equal_correlations(rows):
    # differences from one row are correlated by a half: then nothing is given away
    covariance = np.eye(rows)
    means = np.array([0.0, 2.2, *[0.3] * (rows - 2)])
    correlation = np.full((rows - 1, rows - 1), 0.5) + 0.5 * np.eye(rows - 1)
    largest = 2.2 / np.sqrt(2)
    normal = multivariate_normal(np.zeros(rows - 1), correlation, seed=0)
    expected = 1 - normal.cdf(np.full(rows - 1, largest))
    found = best_p_values(p_greater(means, covariance), covariance)
    assert found[0] == pytest.approx(expected, abs=2e-3)


def test_other_correlations_make_it_more_careful_never_less():
    rng = np.random.default_rng(0)
    for _ in range(20):
        factor = rng.normal(size=(6, 3))
        covariance = factor @ factor.T + np.diag(rng.random(6) + 0.2)
        means = rng.normal(size=6) * 2
        p_values = p_greater(means, covariance)
        found = best_p_values(p_values, covariance)
        row = int(np.argmin(means))
        others = np.delete(np.arange(6), row)
        contrast = np.eye(6)[others] - np.eye(6)[row]
        of_differences = contrast @ covariance @ contrast.T
        sd = np.sqrt(np.diag(of_differences))
        drawn = rng.multivariate_normal(np.zeros(5), of_differences, size=20_000) / sd
        largest = -norm.ppf(p_values[row, others].min())
        exact = np.mean(drawn.max(1) >= largest)
        assert found[row] >= exact - 0.01
        assert found[row] <= min(1, 5 * p_values[row, others].min()) + 0.01  # Bonferroni's


def test_the_best_is_in_the_set_in_95_tables_of_100():
    rng = np.random.default_rng(1)
    covariance = np.diag(rng.random(8) + 0.5)
    true = np.array([1.0, 1.0, 0.9, 0.5, 0, 0, -1, -3])
    kept = 0
    for _ in range(600):
        means = rng.multivariate_normal(true, covariance)
        kept += best_p_values(p_greater(means, covariance), covariance)[0] >= 0.05
    assert 0.93 <= kept / 600 <= 0.99


def test_a_single_row_is_the_best():
    assert best_p_values(np.ones((1, 1)), np.ones((1, 1))).tolist() == [1.0]
