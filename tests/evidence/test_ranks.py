"""Ranks and their tests, against scipy, Demsar's example and plain drawing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import f, friedmanchisquare, rankdata

from hfbench.evidence.ranks import compare_ranks, critical_difference, rank, rank_intervals

# Demsar (2006), table 6: four variants of C4.5 on 14 data sets, as ranks
DEMSAR = np.array(
    [
        (4, 3, 2, 1), (1, 2, 3, 4), (4, 1, 2, 3), (4, 1, 3, 2), (4, 2, 3, 1), (1, 2.5, 4, 2.5),
        (3, 2, 4, 1), (2.5, 2.5, 4, 1), (4, 3, 2, 1), (2.5, 2.5, 2.5, 2.5), (4, 2.5, 1, 2.5),
        (3, 2, 4, 1), (4, 1, 2, 3), (3, 1, 4, 2),
    ]
)  # fmt: skip


def test_demsars_example_comes_out():
    found = compare_ranks(-DEMSAR)
    assert found.average == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert found.critical_difference == pytest.approx(1.25, abs=5e-3)
    # he does not correct for ties, which makes his 9.28 and 3.69 a little smaller
    chi_square = 12 * 14 / 20 * (np.square(found.average).sum() - 4 * 25 / 4)
    assert chi_square == pytest.approx(9.28, abs=5e-3)
    assert 9.28 < found.chi_square < 9.28 * 1.15
    assert 13 * chi_square / (14 * 3 - chi_square) == pytest.approx(3.69, abs=5e-3)
    assert 3.69 < found.f_value < 3.69 * 1.2


@pytest.mark.parametrize(
    ("models", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)]
)
def test_critical_values_are_those_of_his_table(models, q):
    scale = np.sqrt(models * (models + 1) / 6 / 30)
    assert critical_difference(30, models) / scale == pytest.approx(q, abs=2e-3)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(2, 10), st.integers(3, 7)).flatmap(
        lambda shape: arrays(float, shape, elements=st.integers(0, 8).map(lambda n: n / 8))
    )
)
def test_friedmans_test_is_scipys(values):
    found = compare_ranks(values)
    assert np.array_equal(rank(values), np.array([rankdata(-row) for row in values]))
    if (values == values[:, :1]).all():
        assert (found.chi_square, found.p_value) == (0.0, 1.0)
        return
    theirs = friedmanchisquare(*values.T)
    assert found.chi_square == pytest.approx(theirs.statistic, rel=1e-9, abs=1e-9)
    assert found.p_chi_square == pytest.approx(theirs.pvalue, abs=1e-9)
    if np.isfinite(found.f_value):
        tasks, models = values.shape
        degrees = models - 1, (models - 1) * (tasks - 1)
        assert found.p_value == pytest.approx(f.sf(found.f_value, *degrees), abs=1e-9)


def test_the_interval_of_a_rank_is_that_of_drawing_values_again():
    """Against numpy's own multivariate normal and a count of who is better."""
    rng = np.random.default_rng(0)
    values = np.array([[0.80, 0.78, 0.60], [0.55, 0.60, 0.58]])
    mix = rng.normal(0, 0.01, (2, 3, 3))
    covariances = mix @ mix.transpose(0, 2, 1) + 1e-4 * np.eye(3)
    low, high = rank_intervals(values, covariances)
    drawn = [
        rng.multivariate_normal(v, c, 20_000) for v, c in zip(values, covariances, strict=True)
    ]
    ranks = np.mean([1 + (d[:, None, :] > d[:, :, None]).sum(2) for d in drawn], axis=0)
    expected = np.quantile(ranks, [0.025, 0.975], axis=0)
    assert np.abs(np.array([low, high]) - expected).max() <= 0.5  # a step of the average of two


def test_models_that_answer_alike_share_their_rank_in_every_draw():
    covariance = np.array([[[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]])
    low, high = rank_intervals(np.array([[0.0, 0.0, 100.0]]), covariance)
    assert low.tolist() == high.tolist() == [2.5, 2.5, 1.0]
