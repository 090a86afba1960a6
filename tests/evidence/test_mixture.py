import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint, proportions_ztest

from hfbench.evidence.mixture import (
    half_width,
    median_and_interval,
    score_interval,
    score_p_value,
    two_sided,
)

VARIANCES = np.array([[0.01, 0.04, 1.0]])
WEIGHTS = np.array([[0.5, 0.4, 0.1]])
NONE, ALL = np.zeros((1, 1)), np.ones((1, 1))


def test_tails_are_those_of_draws_from_the_mixture():
    rng = np.random.default_rng(0)
    which = rng.choice(3, p=WEIGHTS[0], size=400_000)
    drawn = np.abs(np.sqrt(VARIANCES[0, which]) * rng.normal(size=which.size))
    for distance in (0.1, 0.3, 1.0):
        found = two_sided(np.array([-distance]), VARIANCES, WEIGHTS)[0]
        assert found == pytest.approx(np.mean(drawn >= distance), abs=0.003)
    width = half_width(np.array([0.05]), VARIANCES, WEIGHTS)[0]
    assert width == pytest.approx(np.quantile(drawn, 0.95), rel=0.02)


@pytest.mark.parametrize("level", [0.9, 0.05, 1e-4, 1e-9])
def test_width_and_tail_are_each_other_s_inverse(level):
    width = half_width(np.array([level]), VARIANCES, WEIGHTS)
    assert two_sided(width, VARIANCES, WEIGHTS)[0] == pytest.approx(level, rel=1e-6)


def test_of_one_component_it_is_the_normal_distribution():
    width = half_width(np.array([0.05]), np.array([[4.0]]), ALL)[0]
    assert width == pytest.approx(2 * norm.ppf(0.975))


@pytest.mark.parametrize(("right", "n"), [(80, 120), (0, 5), (7, 7), (471, 872), (1, 3)])
def test_a_share_without_seeds_has_wilson_s_interval(right, n):
    found = score_interval(np.array([right / n]), np.array([n]), NONE, ALL, 0.05)
    expected = proportion_confint(right, n, method="wilson")
    assert [end[0] for end in found] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("right", "n"), [(80, 100), (971, 1000)])
def test_a_variance_that_shrinks_towards_the_ends_is_that_of_so_many_answers_more(right, n):
    share = np.array([right / n])
    variances = np.array([[share[0] * (1 - share[0]) / n]])
    found = score_interval(share, np.array([1e12]), variances, ALL, 0.05, shrinking=True)
    expected = proportion_confint(right, n, method="wilson")
    assert [end[0] for end in found] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("right", "n", "share"), [(70, 120, 0.5), (3, 30, 1 / 3), (66, 120, 0.55)])
def test_against_a_share_it_is_the_score_test_of_statsmodels(right, n, share):
    found = score_p_value(np.array([right / n]), np.array([share]), np.array([n]), NONE, ALL)
    expected = proportions_ztest(right, n, value=share, prop_var=share)[1]
    assert found[0] == pytest.approx(expected, abs=1e-9)


def test_chances_are_those_of_draws():
    # X has sd 0.1 or 0.5; its mean is about 0.1, with a variance that goes with the sd
    sd, variances, weights = np.array([0.1, 0.5]), np.array([0.01, 0.09]), np.array([0.7, 0.3])
    rng = np.random.default_rng(0)
    which = rng.choice(2, p=weights, size=200_000)
    means = 0.1 + np.sqrt(variances[which]) * rng.normal(size=which.size)
    expected = np.quantile(norm.cdf(means / sd[which]), [0.5, 0.025, 0.975])
    assert median_and_interval(sd, 0.1, variances, weights, 0.05) == pytest.approx(
        expected, abs=0.01
    )
