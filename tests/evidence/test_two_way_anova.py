import numpy as np
import pytest
from scipy.stats import norm, permutation_test, ttest_rel
from two_way_anova import accuracy_interval, paired_difference, variance_of_mean

from hfbench.evidence.stats import mean_squares, wilson_interval


def latent_tables(rng, accuracies, *, runs, examples, shared, seed_sd, common=0.5, draws=1):
    """Correct or not, shape (models, draws, runs, examples).

    A latent normal: a part that the runs of a model share (the example; ``common`` of it all models
    share), the seed, and the rest.
    """
    everyone = rng.normal(size=(draws, 1, examples))
    tables = []
    for accuracy in accuracies:
        own = rng.normal(size=(draws, 1, examples))
        latent = np.sqrt(shared) * (np.sqrt(common) * everyone + np.sqrt(1 - common) * own)
        latent = latent + np.sqrt(1 - shared) * rng.normal(size=(draws, runs, examples))
        latent = latent + seed_sd * rng.normal(size=(draws, runs, 1))
        tables.append(latent + norm.ppf(accuracy) * np.sqrt(1 + seed_sd**2) > 0)
    return np.stack(tables)


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
    estimates = [variance_of_mean(*mean_squares(table), runs, examples)[0] for table in tables]
    assert np.mean(estimates) == pytest.approx(true, rel=0.05)


def test_two_way_bootstrap_agrees_where_runs_and_examples_are_many():
    # Owen's pigeonhole bootstrap; with few runs it is too narrow, which is why it is not used
    rng = np.random.default_rng(0)
    (table,) = latent_tables(rng, [0.7], runs=60, examples=600, shared=0.7, seed_sd=0.2)[0]
    runs, examples = table.shape
    means = []
    for _ in range(2000):
        of_run = rng.multinomial(runs, np.full(runs, 1 / runs)) / runs
        of_example = rng.multinomial(examples, np.full(examples, 1 / examples)) / examples
        means.append(of_run @ table @ of_example)
    low, high = accuracy_interval(table)
    assert np.quantile(means, [0.025, 0.975]) == pytest.approx([low, high], abs=0.15 * (high - low))


def test_one_run_has_the_adjusted_interval_of_its_counts():
    # Bonett and Price (2012), from the counts of the 2 x 2 table
    only_first, only_second, n = 1, 7, 21
    first = np.arange(n)[None] < only_first
    second = (np.arange(n)[None] >= only_first) & (np.arange(n)[None] < only_first + only_second)
    p12, p21 = (only_first + 1) / (n + 2), (only_second + 1) / (n + 2)
    error = np.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
    found = paired_difference(first, second)
    half = norm.ppf(0.975) * error
    assert (found.low, found.high) == pytest.approx((p12 - p21 - half, p12 - p21 + half), abs=1e-9)
    assert found.mean == pytest.approx(-6 / 21)


def test_runs_that_are_all_alike_have_the_paired_t_test_over_examples():
    rng = np.random.default_rng(0)
    one, other = rng.random(200) < 0.7, rng.random(200) < 0.6
    found = paired_difference(np.stack([one] * 3), np.stack([other] * 3))
    expected = ttest_rel(one.astype(float), other.astype(float))
    assert found.p_value == pytest.approx(expected.pvalue, abs=1e-9)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_p_value_of_a_difference_agrees_with_a_permutation_of_examples():
    rng = np.random.default_rng(2)
    first, second = latent_tables(rng, [0.75, 0.65], runs=4, examples=300, shared=0.9, seed_sd=0.0)[
        :, 0
    ]
    difference = first.mean(0) - second.mean(0)
    permuted = permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=20_000,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    found = paired_difference(first, second)
    assert found.p_value == pytest.approx(permuted.pvalue, rel=0.25)


def test_models_that_answer_alike_do_not_differ_and_still_have_an_interval():
    table = np.random.default_rng(0).random((3, 50)) < 0.7
    found = paired_difference(table, table)
    assert found.mean == 0
    assert found.p_value == 1
    assert found.low == -found.high < 0


def test_interval_of_a_difference_and_its_p_value_agree():
    rng = np.random.default_rng(1)
    first, second = latent_tables(
        rng, [0.7, 0.6], runs=3, examples=80, shared=0.5, seed_sd=0.1, draws=300
    )
    for one, other in zip(first, second, strict=True):
        found = paired_difference(one, other)
        assert (found.p_value < 0.05) == (not found.low <= 0 <= found.high)
