import numpy as np
import pytest
from scipy.stats import binomtest, norm

from hfbench.evidence.judge import judge
from hfbench.evidence.power import (
    Discordance,
    detectable_difference,
    measure_discordance,
    needed_examples,
    needed_range,
    needed_seeds,
    power,
)


def test_smallest_visible_gap_of_the_study_is_as_it_was_said():
    # SPEC: 14 points with 120 examples and 10 with 240, 30 % of them discordant; of these two runs
    one_seed = Discordance(share=0.30, seed_sd=0.0)
    assert round(100 * detectable_difference(1, 120, one_seed, rows=None)) == 14
    assert round(100 * detectable_difference(1, 240, one_seed, rows=None)) == 10


def test_detectable_difference_of_one_run_is_that_of_its_formula():
    seed_sd = 0.03
    found = detectable_difference(1, 500, Discordance(share=0.2, seed_sd=seed_sd), rows=None)
    quantiles = norm.ppf(0.975) + norm.ppf(0.8)
    variance = (0.2 - found**2 - seed_sd**2) / 500 + seed_sd**2
    assert found == pytest.approx(quantiles * np.sqrt(variance), rel=1e-3)


def test_what_is_needed_just_suffices():
    discordance = Discordance()
    examples = needed_examples(0.06, 5, discordance)
    assert power(0.06, 5, examples, discordance) >= 0.8 > power(0.06, 5, examples - 1, discordance)
    seeds = needed_seeds(0.06, 872, discordance)
    assert power(0.06, seeds, 872, discordance) >= 0.8 > power(0.06, seeds - 1, 872, discordance)


def test_what_is_needed_is_a_range_from_the_interval_of_the_difference():
    def needed(difference):
        return needed_examples(difference, 5, Discordance(), rows=None)

    fewest, most = needed_range(0.04, 0.08, needed)
    assert (fewest, most) == (needed(0.08), needed(0.04))
    assert fewest < most
    # where the interval holds 0 there may be nothing to find
    assert needed_range(-0.08, 0.02, needed) == (needed(0.08), None)
    assert needed_range(-0.08, -0.04, needed) == (fewest, most)


def test_what_cannot_be_had_is_none():
    assert needed_seeds(0.05, 60, Discordance()) is None  # the examples are too few for any seeds
    assert needed_examples(0.03, 3, Discordance(seed_sd=0.1)) is None  # the seeds vary too much
    assert detectable_difference(2, 10, Discordance(share=0.05)) is None


def simulate(rng, difference, runs, examples, discordance):
    """Answers of two models that differ as ``discordance`` says; ``difference`` varies with seeds.

    An example is decided (the same for all seeds) with probability ``of_examples``.
    """
    decided = rng.random(examples) < discordance.of_examples
    drawn = rng.random(examples)
    first, second = [], []
    for _ in range(runs):
        # only what is not decided can depend on the seed
        sd = discordance.seed_sd / np.sqrt(2) / (1 - discordance.of_examples)
        shifts = rng.normal(0, sd, 2)
        level = np.where(decided, drawn, rng.random(examples))
        gain = (discordance.share + difference) / 2 + np.where(decided, 0, shifts[0])
        loss = (discordance.share - difference) / 2 + np.where(decided, 0, shifts[1])
        first.append(level < gain)
        second.append(level > 1 - loss)
    return np.stack(first), np.stack(second)


def compare_planned_with_simulated(difference, runs, examples, discordance, draws):
    rng = np.random.default_rng([runs, examples])
    shown = 0
    for _ in range(draws):
        first, second = simulate(rng, difference, runs, examples, discordance)
        shown += judge({"first": first, "second": second}).pairs[0].p_value < 0.05
    return power(difference, runs, examples, discordance), shown


SETTINGS = [
    (0.20, 1, 120, Discordance(0.3, 0.5, 0.0)),
    (0.10, 3, 120, Discordance(0.3, 0.5, 0.03)),
    (0.08, 5, 240, Discordance(0.3, 0.8, 0.03)),
    (0.05, 5, 872, Discordance(0.25, 0.2, 0.02)),
    (0.06, 10, 300, Discordance(0.3, 0.5, 0.05)),
]


@pytest.mark.parametrize(("difference", "runs", "examples", "discordance"), SETTINGS[:2])
def test_planned_power_is_that_of_simulated_comparisons(difference, runs, examples, discordance):
    planned, shown = compare_planned_with_simulated(difference, runs, examples, discordance, 200)
    # within 3 points, and what 200 draws allow
    interval = binomtest(shown, 200).proportion_ci(0.99)
    assert interval.low - 0.03 <= planned <= interval.high + 0.03


@pytest.mark.slow
@pytest.mark.parametrize(("difference", "runs", "examples", "discordance"), SETTINGS)
def test_planned_power_is_within_3_points(difference, runs, examples, discordance, capsys):
    planned, shown = compare_planned_with_simulated(difference, runs, examples, discordance, 2000)
    with capsys.disabled():
        print(f"\n{runs} runs, {examples} examples: planned {planned:.3f}, {shown / 2000:.3f}")
    assert abs(planned - shown / 2000) <= 0.03


def test_discordance_is_measured_as_it_was_made():
    true = Discordance(0.3, 0.5, 0.05)
    rng = np.random.default_rng(0)
    tables = []
    for _ in range(15):
        tables.append(simulate(rng, 0.05, 20, 500, true))
    found = measure_discordance(tables)
    assert found.share == pytest.approx(0.3, abs=0.03)
    assert found.of_examples == pytest.approx(0.5, abs=0.06)
    assert found.seed_sd == pytest.approx(0.05, abs=0.01)
    assert measure_discordance([(np.zeros((3, 9)), np.ones((1, 9)))]) is None
    assert measure_discordance([(np.ones((3, 9)), np.ones((2, 9)))]) is None


def test_the_unit_of_a_measure_does_not_matter():
    scale = 1e-5
    generator = np.random.default_rng(0)
    examples = generator.normal(size=(1, 80))
    pair = [gap + examples + generator.normal(size=(2, 80)) / 2 for gap in (0, 0.2)]
    ours, scaled = (
        measure_discordance([tuple(table * unit for table in pair)]) for unit in (1, scale)
    )
    found = detectable_difference(2, 80, scaled)
    assert found / scale == pytest.approx(detectable_difference(2, 80, ours), rel=1e-4)
    assert needed_examples(0.3 * scale, 2, scaled) == needed_examples(0.3, 2, ours)
