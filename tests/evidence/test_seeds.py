import numpy as np
import pytest
from scipy.stats import chi2

from hfbench.evidence.seeds import (
    ASSUMED,
    ASSUMED_SD,
    CENTRE,
    CENTRE_SD,
    SPREAD,
    RunSpread,
    learn_seed_effects,
)
from hfbench.evidence.stats import mean_squares

ANSWER_SD = 0.5


def posterior_medians(rows, draws=400_000):
    """Of each row's s, by drawing from the prior and weighting: no grid."""
    rng = np.random.default_rng(0)
    centre = np.log(CENTRE) + CENTRE_SD * rng.normal(size=draws)
    spread = np.abs(SPREAD * rng.normal(size=draws))
    log_weight, found = np.zeros(draws), []
    for row in rows:
        s = ANSWER_SD * np.exp(centre + spread * rng.normal(size=draws))
        found.append(s)
        if row.runs > 1:
            expected = row.of_rest + row.examples * s**2
            k = row.runs - 1
            log_weight += chi2.logpdf(k * row.of_runs / expected, k) - np.log(expected)
    weight = np.exp(log_weight - log_weight.max())
    medians = []
    for s in found:
        order = np.argsort(s)
        medians.append(float(s[order][np.searchsorted(weight[order].cumsum(), weight.sum() / 2)]))
    return medians


@pytest.mark.parametrize(
    "rows",
    [
        [RunSpread(3, 872, 0.9, 0.12)],
        [RunSpread(2, 872, 0.9, 0.12), RunSpread(2, 872, 0.05, 0.12)],
        [RunSpread(3, 500, 0.3, 0.1), RunSpread(5, 500, 0.4, 0.15), RunSpread(1, 500, 0, 0)],
    ],
)
def test_what_is_believed_on_the_grid_is_what_draws_from_the_prior_say(rows):
    seeds = learn_seed_effects(rows, ANSWER_SD, [False] * len(rows))
    medians = [seeds.sd(number) for number in range(len(rows))]
    assert medians == pytest.approx(posterior_medians(rows), rel=0.08)  # half a step of the grid


def test_many_runs_speak_for_themselves():
    rng = np.random.default_rng(0)
    true = 0.04
    table = rng.normal(size=(200, 400)) * ANSWER_SD + true * rng.normal(size=(200, 1))
    seeds = learn_seed_effects([RunSpread.of(table)], ANSWER_SD, [False])
    of_runs, _, of_rest = mean_squares(table)
    assert seeds.sd(0) == pytest.approx(np.sqrt((of_runs - of_rest) / 400), rel=0.1)


def test_a_row_with_one_run_borrows_from_the_others_and_a_control_has_none():
    def with_others(of_runs):
        rows = [RunSpread(1, 872, 0, 0), RunSpread(1, 872, 0, 0)]
        rows += [RunSpread(10, 872, of_runs, 0.1)] * 4
        return learn_seed_effects(rows, ANSWER_SD, [False, True, *[False] * 4])

    calm, wild = with_others(0.1), with_others(4.0)
    assert calm.sd(0) < 0.01
    assert wild.sd(0) == pytest.approx(np.sqrt((4.0 - 0.1) / 872), rel=0.35)
    assert calm.sd(1) == wild.sd(1) == 0
    assert calm.probabilities.sum(1) == pytest.approx(1)


def test_runs_that_all_answer_alike_or_collapsed_and_controls_teach_nothing():
    rows = [RunSpread(3, 872, 0.5, 0.1)] * 2
    alone = learn_seed_effects(rows, ANSWER_SD, [False] * 2)
    more = [
        *rows, RunSpread(5, 872, 0, 0), RunSpread(4, 872, 9.0, 0.1),
        RunSpread(4, 872, 9.0, 0.1, is_usual=False),
    ]  # fmt: skip
    together = learn_seed_effects(more, ANSWER_SD, [False, False, False, True, False])
    assert together.probabilities[:2] == pytest.approx(alone.probabilities, abs=1e-12)


def test_without_any_second_run_an_assumption_stands():
    seeds = learn_seed_effects([RunSpread(1, 872, 0, 0)] * 3, ANSWER_SD, [False] * 3)
    assert seeds.sd(0) == pytest.approx(ASSUMED * ANSWER_SD, rel=0.1)
    # of accuracies 0.6 to 6 points, as the footnote says
    ends = [ASSUMED * ANSWER_SD * np.exp(1.96 * sign * ASSUMED_SD) for sign in (-1, 1)]
    assert [seeds.sd_quantile(0, share) for share in (0.025, 0.975)] == pytest.approx(ends, rel=0.2)
    assert [round(100 * end, 1) for end in ends] == [0.6, 6.5]


def test_a_row_that_is_unlike_the_others_surprises():
    calm = [RunSpread(5, 872, 0.15, 0.1)] * 7
    seeds = learn_seed_effects([*calm, RunSpread(5, 872, 9.0, 0.1)], ANSWER_SD, [False] * 8)
    assert seeds.surprise[-1] < 0.01
    assert min(seeds.surprise[:-1]) > 0.05
    # and is believed, not pulled to the others
    assert seeds.sd(7) > 0.6 * np.sqrt(9.0 / 872)


def test_pairs_have_the_variance_of_both_rows():
    rows = [RunSpread(2, 872, 0.4, 0.1), RunSpread(5, 872, 0.8, 0.1), RunSpread(1, 872, 0, 0)]
    seeds = learn_seed_effects(rows, ANSWER_SD, [False, False, True])
    expected = seeds.probabilities @ seeds.variances
    for i, j in ((0, 1), (1, 2)):
        runs = (rows[i].runs, rows[j].runs)
        variances, weights = seeds.of_differences(np.array([i]), np.array([j]), runs)
        assert weights.sum() == pytest.approx(1)
        total = expected[i] / runs[0] + expected[j] / runs[1]
        assert weights[0] @ variances == pytest.approx(total, rel=1e-6)


def test_the_same_answers_in_other_units_have_seeds_in_those_units():
    rows = [RunSpread(2, 872, 0.4, 0.1), RunSpread(3, 872, 0.8, 0.1)]
    scaled = [RunSpread(r.runs, r.examples, 100 * r.of_runs, 100 * r.of_rest) for r in rows]
    plain = learn_seed_effects(rows, ANSWER_SD, [False] * 2)
    other = learn_seed_effects(scaled, 10 * ANSWER_SD, [False] * 2)
    assert other.probabilities == pytest.approx(plain.probabilities)
    assert other.sd(1) == pytest.approx(10 * plain.sd(1))
