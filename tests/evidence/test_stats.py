import itertools

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm, permutation_test, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint, proportions_ztest

from hfbench.evidence.stats import (
    accuracy_interval,
    accuracy_p_value,
    group_letters,
    holm,
    mcnemar,
    mean_squares,
    paired_difference,
    split_variance,
    variance_of_mean,
    wilson_interval,
)


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


SMALL = [(120, 3, 0.6, 0.8, 0.1), (120, 5, 0.6, 0.3, 0.3), (50, 5, 0.9, 0.5, 0.1)]
LARGE = list(itertools.product([60, 120, 500], [3, 5, 10], [0.55, 0.8, 0.95], [0.2, 0.5], [0, 0.1]))


def coverage(examples, runs, accuracy, shared, seed_sd, draws):
    rng = np.random.default_rng([examples, runs, int(1000 * accuracy)])
    (tables,) = latent_tables(
        rng, [accuracy], runs=runs, examples=examples, shared=shared, seed_sd=seed_sd, draws=draws
    )
    intervals = np.array([accuracy_interval(table) for table in tables])
    return np.mean((intervals[:, 0] <= accuracy) & (accuracy <= intervals[:, 1]))


@pytest.mark.parametrize(("examples", "runs", "accuracy", "shared", "seed_sd"), SMALL)
def test_interval_covers_the_true_accuracy_about_95_times_in_100(
    examples, runs, accuracy, shared, seed_sd
):
    assert 0.92 <= coverage(examples, runs, accuracy, shared, seed_sd, 1000) <= 0.985


def test_interval_of_a_difference_covers_and_does_not_need_as_many_runs_of_both():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(600):
        (first,), (second,) = latent_tables(
            rng, [0.75, 0.65], runs=5, examples=120, shared=0.5, seed_sd=0.1
        )
        found = paired_difference(first, second[:3])
        covered += found.low <= 0.1 <= found.high
    assert 0.93 <= covered / 600 <= 0.985


@pytest.mark.slow
def test_interval_covers_on_the_whole_grid(capsys):
    found = np.array([coverage(*setting, 3000) for setting in LARGE])
    with capsys.disabled():
        print(f"\ncoverage: {found.min():.3f} to {found.max():.3f}, mean {found.mean():.3f}; ")
        print(f"within 0.93 to 0.97: {np.mean((found >= 0.93) & (found <= 0.97)):.2f}")
    assert 0.95 <= found.mean() <= 0.965
    assert found.min() >= 0.92
    assert found.max() <= 0.985


@pytest.mark.parametrize(("n", "accuracy"), [(20, 0.9), (30, 0.95), (120, 0.55), (120, 0.97)])
def test_single_run_covers_95_in_100_on_average_over_accuracies_nearby(n, accuracy):
    # exact: a sum over the binomial distribution, and its mean, since n is a lattice
    counts = np.arange(n + 1)
    intervals = np.array([accuracy_interval(np.arange(n)[None] < count) for count in counts])
    near = np.linspace(accuracy - 0.03, min(accuracy + 0.03, 0.99), 50)
    covered = [
        binom.pmf(counts, n, p)[(intervals[:, 0] <= p) & (p <= intervals[:, 1])].sum() for p in near
    ]
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize(("right", "n", "share"), [(70, 120, 0.5), (3, 30, 1 / 3), (66, 120, 0.55)])
def test_against_chance_one_run_is_the_score_test_of_statsmodels(right, n, share):
    expected = proportions_ztest(right, n, value=share, prop_var=share)[1]
    assert accuracy_p_value(np.arange(n)[None] < right, share) == pytest.approx(expected, abs=1e-9)


def test_test_against_a_share_and_interval_agree():
    rng = np.random.default_rng(0)
    (tables,) = latent_tables(rng, [0.6], runs=4, examples=60, shared=0.5, seed_sd=0.1, draws=200)
    for table in tables:
        low, high = accuracy_interval(table)
        assert (accuracy_p_value(table, 0.5) < 0.05) == (not low <= 0.5 <= high)


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


def test_letters_join_just_what_cannot_be_told_apart():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        names = [f"m{i}" for i in range(rng.integers(1, 8))]
        p_values = {pair: rng.random() ** 4 for pair in itertools.combinations(names, 2)}
        letters = dict(zip(names, group_letters(names, p_values), strict=True))
        for (one, other), p_value in p_values.items():
            assert bool(set(letters[one]) & set(letters[other])) == (p_value >= 0.05)
        assert "a" in letters[names[0]]


def test_letters_of_a_known_display():
    # best and middle alike, middle and worst alike, best and worst not
    p_values = {("x", "y"): 0.4, ("y", "z"): 0.4, ("x", "z"): 0.01}
    assert group_letters(["x", "y", "z"], p_values) == ["a", "ab", "b"]
    assert group_letters(["x", "y"], {}) == ["a", "a"]


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


def family_wise_errors(draws, runs, seed_sd):
    """How often any of the 15 pairs of six equally good models is told apart."""
    rng = np.random.default_rng([runs, draws])
    tables = latent_tables(
        rng, [0.65] * 6, runs=runs, examples=120, shared=0.5, seed_sd=seed_sd, draws=draws
    )
    errors = 0
    for draw in range(draws):
        pairs = itertools.combinations(tables[:, draw], 2)
        errors += min(holm([paired_difference(*pair).p_value for pair in pairs])) < 0.05
    return errors


@pytest.mark.parametrize("runs", [1, 5])
def test_models_that_are_equal_are_told_apart_in_at_most_5_tables_of_100(runs):
    errors = family_wise_errors(300, runs, 0.1 if runs > 1 else 0.0)
    assert binomtest(errors, 300, 0.05, alternative="greater").pvalue > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("accuracies", [(0.55, 0.55), (0.7, 0.6), (0.95, 0.93)])
@pytest.mark.parametrize("runs", [1, 3, 5, 10])
def test_interval_of_a_difference_covers_on_the_whole_grid(runs, accuracies, capsys):
    found = []
    for examples, shared, common, seed_sd in itertools.product(
        [60, 120, 500], [0.2, 0.8], [0.3, 0.9], [0.0, 0.1] if runs > 1 else [0.0]
    ):
        rng = np.random.default_rng([runs, examples])
        first, second = latent_tables(
            rng, accuracies, runs=runs, examples=examples, shared=shared, seed_sd=seed_sd,
            common=common, draws=2000,
        )  # fmt: skip
        true = accuracies[0] - accuracies[1]
        pairs = [paired_difference(*pair) for pair in zip(first, second, strict=True)]
        found.append(np.mean([pair.low <= true <= pair.high for pair in pairs]))
    with capsys.disabled():
        print(f"\n{runs} runs, {accuracies}: {min(found):.3f} to {max(found):.3f}")
    assert min(found) >= 0.93
    assert max(found) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize(
    ("runs", "seed_sd"),
    [(1, 0.0), (3, 0.0), (3, 0.1), (5, 0.0), (5, 0.1), (5, 0.3), (10, 0.1), (10, 0.3)],
)
def test_family_wise_error_is_held(runs, seed_sd, capsys):
    errors = family_wise_errors(3000, runs, seed_sd)
    with capsys.disabled():
        print(f"\nfamily-wise error, {runs} runs, seed sd {seed_sd}: {errors / 3000:.4f}")
    assert binomtest(errors, 3000, 0.05, alternative="greater").pvalue > 0.001


def bootstrap_interval(rng, table):
    """Examples and seeds resampled together (Owen 2007), percentiles."""
    runs, examples = table.shape
    of_runs = rng.multinomial(runs, np.full(runs, 1 / runs), size=400) / runs
    of_examples = rng.multinomial(examples, np.full(examples, 1 / examples), size=400) / examples
    return np.quantile(((of_runs @ table) * of_examples).sum(1), [0.025, 0.975])


@pytest.mark.slow
def test_a_bootstrap_of_examples_and_seeds_covers_less_evenly(capsys):
    ours, theirs = [], []
    for runs, examples, seed_sd in itertools.product([3, 5], [30, 120], [0.0, 0.3]):
        rng = np.random.default_rng([runs, examples])
        (tables,) = latent_tables(
            rng, [0.55], runs=runs, examples=examples, shared=0.5, seed_sd=seed_sd, draws=1000
        )
        for found, interval in (
            (ours, accuracy_interval),
            (theirs, lambda table, rng=rng: bootstrap_interval(rng, table)),
        ):
            intervals = np.array([interval(table) for table in tables])
            found.append(np.mean((intervals[:, 0] <= 0.55) & (intervals[:, 1] >= 0.55)))
    with capsys.disabled():
        print(f"\ncoverage: ours {min(ours):.3f} to {max(ours):.3f}, ", end="")
        print(f"of a bootstrap {min(theirs):.3f} to {max(theirs):.3f}")
    assert min(theirs) < min(ours) - 0.02
    assert max(theirs) > max(ours)
