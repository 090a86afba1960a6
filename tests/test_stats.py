import numpy as np
import pytest
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

from hfbench.stats import _variance_of_mean, accuracy_interval, wilson_interval


@pytest.mark.parametrize(("right", "n"), [(80, 120), (0, 5), (7, 7), (471, 872), (1, 3)])
def test_one_run_has_the_wilson_interval_of_statsmodels(right, n):
    expected = proportion_confint(right, n, method="wilson")
    assert accuracy_interval(np.arange(n)[None] < right) == pytest.approx(expected, abs=1e-9)


def test_intervals_of_the_study_are_those_it_should_have_given():
    # SPEC: 66.67 % and 54.17 % of 120 or 240 examples
    expected = {(80, 120): (57.8, 74.5), (65, 120): (45.3, 62.8)}
    expected |= {(160, 240): (60.5, 72.3), (130, 240): (47.8, 60.4)}
    for (right, n), (low, high) in expected.items():
        interval = accuracy_interval(np.arange(n)[None] < right)
        assert [round(100 * bound, 1) for bound in interval] == [low, high]


def test_runs_that_agree_on_every_example_count_as_one():
    one = np.random.default_rng(0).random((1, 200)) < 0.7
    many = np.repeat(one, 4, axis=0)
    low, high = accuracy_interval(many)
    expected = accuracy_interval(one)
    # Student's t at n - 1 degrees of freedom and the unbiased variance: a hair wider
    assert low == pytest.approx(expected[0], abs=2e-3)
    assert high == pytest.approx(expected[1], abs=2e-3)
    assert high - low >= expected[1] - expected[0]


def test_runs_that_agree_on_nothing_count_each():
    table = np.random.default_rng(0).random((10, 400)) < 0.7
    low, high = accuracy_interval(table)
    single = wilson_interval(table.mean(), 400, 1.96)
    assert 0.2 < (high - low) / (single[1] - single[0]) < 0.6


def test_runs_of_guesses_have_no_absurd_interval():
    # a residual that is by chance above an effect's mean square must not blow the interval up
    for seed in range(300):
        table = np.random.default_rng(seed).random((3, 80)) < 0.5
        low, high = accuracy_interval(table)
        assert high - low < 0.75


def test_seeds_that_differ_widen_the_interval():
    rng = np.random.default_rng(0)
    shares = np.array([0.5, 0.7, 0.9])
    differing = rng.random((3, 500)) < shares[:, None]
    low, high = accuracy_interval(differing)
    assert high - low > 0.5  # three seeds 20 points apart say little about the next


def test_perfect_and_hopeless_runs_have_the_wilson_interval_of_one_run():
    for share in (0, 1):
        table = np.full((3, 50), bool(share))
        expected = proportion_confint(50 * share, 50, method="wilson")
        assert accuracy_interval(table) == pytest.approx(expected, abs=0.002)


def test_variance_of_the_mean_is_that_of_simulated_tables():
    rng = np.random.default_rng(0)
    runs, examples, sd_run, sd_example, sd_rest = 4, 30, 0.3, 0.5, 1.0
    true = sd_run**2 / runs + sd_example**2 / examples + sd_rest**2 / (runs * examples)
    tables = (
        rng.normal(0, sd_run, (4000, runs, 1))
        + rng.normal(0, sd_example, (4000, 1, examples))
        + rng.normal(0, sd_rest, (4000, runs, examples))
    )
    assert tables.mean((1, 2)).var() == pytest.approx(true, rel=0.1)
    estimates = [_variance_of_mean(table)[0] for table in tables]
    assert np.mean(estimates) == pytest.approx(true, rel=0.05)


@pytest.mark.parametrize(
    ("examples", "runs", "accuracy", "shared", "seed_sd"),
    [(120, 3, 0.6, 0.8, 0.1), (120, 5, 0.6, 0.3, 0.3), (50, 5, 0.9, 0.5, 0.1)],
)
def test_interval_covers_the_true_accuracy_about_95_times_in_100(
    examples, runs, accuracy, shared, seed_sd
):
    # latent normal: a part that the runs share (the example), the seed, and the rest
    rng = np.random.default_rng(0)
    mean = norm.ppf(accuracy) * np.sqrt(1 + seed_sd**2)
    covered = 0
    for _ in range(1000):
        latent = rng.normal(size=examples) * np.sqrt(shared)
        latent = latent + rng.normal(size=(runs, examples)) * np.sqrt(1 - shared)
        latent = latent + rng.normal(size=(runs, 1)) * seed_sd
        low, high = accuracy_interval(latent + mean > 0)
        covered += low <= accuracy <= high
    assert 0.92 <= covered / 1000 <= 0.99
