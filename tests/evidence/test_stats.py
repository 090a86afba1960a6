import numpy as np
import pytest
from scipy.stats import beta, binomtest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from hfbench.evidence.stats import (
    ALPHA,
    at_most,
    holm,
    holm_levels,
    mcnemar,
    split_variance,
    wilson_interval,
)


@pytest.mark.parametrize(("right", "n"), [(80, 120), (0, 5), (7, 7), (471, 872), (1, 3)])
def test_a_share_has_the_wilson_interval_of_statsmodels(right, n):
    expected = proportion_confint(right, n, method="wilson")
    assert wilson_interval(right / n, n) == pytest.approx(expected, abs=1e-7)


def test_intervals_of_the_study_are_those_it_should_have_given():
    # SPEC: 66.67 % and 54.17 % of 120 or 240 examples
    expected = {(80, 120): (57.8, 74.5), (65, 120): (45.3, 62.8)}
    expected |= {(160, 240): (60.5, 72.3), (130, 240): (47.8, 60.4)}
    for (right, n), (low, high) in expected.items():
        assert [round(100 * bound, 1) for bound in wilson_interval(right / n, n)] == [low, high]


def test_a_rate_is_bounded_as_clopper_and_pearson_do():
    # the figures of the issue: 0 of 3 may be 63 %, 0 of 10 may be 26 %
    assert [round(100 * at_most(0, n)) for n in (3, 10)] == [63, 26]
    for count, trials in [(1, 3), (2, 5), (9, 10)]:
        assert at_most(count, trials) == pytest.approx(
            beta.ppf(0.95, count + 1, trials - count), abs=1e-12
        )
        interval = binomtest(count, trials, alternative="less").proportion_ci(0.95)
        assert at_most(count, trials) == pytest.approx(interval.high, abs=1e-6)
    assert at_most(5, 5) == 1


def test_the_level_of_holm_rejects_just_what_its_adjusted_p_values_do():
    for seed in range(200):
        p_values = np.random.default_rng(seed).random(8) ** 4
        rejected = np.array(holm(p_values)) < ALPHA
        assert ((p_values < holm_levels(p_values)) == rejected).all()
    assert holm_levels([0.001, 0.2]).tolist() == [ALPHA / 2, ALPHA]
    assert holm_levels([]).tolist() == []


@pytest.mark.parametrize("seed", range(5))
def test_mcnemar_is_that_of_statsmodels(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.random((2, 60)) < [[0.7], [0.5]]
    cells = [
        [np.sum(first & second), np.sum(first & ~second)],
        [np.sum(~first & second), np.sum(~first & ~second)],
    ]
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (cells[0][1], cells[1][0])
    expected = statsmodels_mcnemar(cells, exact=True).pvalue
    assert found.p_value == pytest.approx(expected, abs=1e-9)


def test_mcnemar_of_the_study_spans_what_was_said():
    # 80 and 65 right of 120: all that one has right the other has, too; or they overlap least
    runs = [np.arange(120) < 80, np.arange(120) < 65]
    assert (
        mcnemar(*runs).p_value
        == pytest.approx(binomtest(15, 15).pvalue)
        == pytest.approx(6e-5, rel=0.1)
    )
    apart = [np.arange(120) < 80, np.arange(120) >= 55]
    assert mcnemar(*apart).p_value == pytest.approx(0.15, abs=0.01)
    assert mcnemar(runs[0], runs[0]).p_value == 1


def test_holm_is_that_of_statsmodels():
    for seed in range(20):
        p_values = np.random.default_rng(seed).random(7) ** 3
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-9)
    assert holm([]) == []


def test_variance_is_split_as_it_was_made():
    rng = np.random.default_rng(0)
    splits = []
    for _ in range(300):
        table = rng.normal(0, 1, (6, 1)) * 0.1 + rng.normal(0, 1, 200) + rng.normal(0, 1, (6, 200))
        split = split_variance(table)
        splits.append((split.examples, split.seeds, split.rest))
    # parts of the variance of the mean: 1/200, 0.01/6, 1/1200
    true = np.array([1 / 200, 0.01 / 6, 1 / 1200])
    assert np.mean(splits, 0) == pytest.approx(true / true.sum(), abs=0.04)
    assert np.sum(splits, 1) == pytest.approx(1)
    assert split_variance(np.ones((1, 5))) is None
    assert split_variance(np.ones((3, 5))) is None
