"""Differences pooled over tasks, against statsmodels, plain sums and simulation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm
from statsmodels.stats.meta_analysis import combine_effects

from hfbench.evidence.judge import judge
from hfbench.evidence.mixture import Mixture, half_width, two_sided
from hfbench.evidence.pooled import mean_of, random_effects

DIFFERENCES = st.integers(2, 12).flatmap(
    lambda tasks: st.tuples(
        arrays(float, tasks, elements=st.floats(-0.5, 0.5).map(lambda x: round(x, 4))),
        arrays(float, tasks, elements=st.floats(1e-4, 0.02)),
    )
)


@settings(max_examples=60, deadline=None)
@given(DIFFERENCES)
def test_random_effects_are_those_of_statsmodels(given):
    differences, variances = given
    mine = random_effects(differences, variances)
    theirs = combine_effects(differences, variances, method_re="iterated", use_t=True, alpha=0.05)
    assert mine.tau**2 == pytest.approx(theirs.tau2, abs=1e-6)
    assert mine.mean == pytest.approx(theirs.mean_effect_re, abs=1e-5)
    assert mine.standard_error == pytest.approx(theirs.sd_eff_w_re_hksj, abs=1e-5)
    interval = theirs.conf_int(use_t=True)[3]  # fixed, random, and both after Hartung and Knapp
    assert mine.mean - mine.half_width(0.05) == pytest.approx(interval[0], abs=1e-5)


def test_a_published_meta_analysis_comes_out():
    """The BCG trials (Colditz and others 1994), log relative risks, as metafor has them."""
    treated = np.array(
        [
            (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619),
            (33, 5036, 47, 5761), (180, 1361, 372, 1079), (8, 2537, 10, 619),
            (505, 87886, 499, 87892), (29, 7470, 45, 7232), (17, 1699, 65, 1600),
            (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825),
        ],
        dtype=float,
    )  # fmt: skip
    a, b, c, d = treated.T
    effects = np.log(a / (a + b)) - np.log(c / (c + d))
    variances = 1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)
    found = random_effects(effects, variances)
    assert found.tau**2 == pytest.approx(0.3181, abs=1e-4)
    assert found.mean == pytest.approx(-0.7150, abs=1e-4)
    assert found.standard_error == pytest.approx(0.1809, abs=1e-3)


def test_the_mean_of_tasks_has_the_distribution_of_the_mean():
    rng = np.random.default_rng(0)
    tasks = [
        Mixture(0.01 * t, rng.uniform(1e-5, 1e-3, 30), rng.dirichlet(np.ones(30))) for t in range(4)
    ]
    found = mean_of(tasks)
    assert found.centre == pytest.approx(0.015)
    assert found.variance == pytest.approx(sum(task.variance for task in tasks) / 16, rel=1e-9)
    drawn = sum(rng.choice(t.variances, 200_000, p=t.weights) for t in tasks) / 16
    (half,) = half_width(np.array([0.05]), found.variances[None], found.weights[None])
    assert 2 * norm.sf(half / np.sqrt(drawn)).mean() == pytest.approx(0.05, abs=0.0005)


def test_one_task_alone_is_what_its_own_table_says():
    rng = np.random.default_rng(1)
    judged = judge({name: rng.random((3, 200)) < share for name, share in (("a", 0.8), ("b", 0.7))})
    (mixture,) = judged.table.mixtures([("a", "b")])
    alone = mean_of([mixture])
    p_value = two_sided(np.array([alone.centre]), alone.variances[None], alone.weights[None])
    (pair,) = (p for p in judged.pairs)
    assert p_value[0] == pytest.approx(pair.p_value, rel=0.02)


def _tables(rng, tasks, tau, seeds=3, examples=300):
    """Five models on tasks, of which the first is around 2 points better; seeds and tasks vary."""
    for _ in range(tasks):
        ease = rng.normal(0, 0.15, examples)
        effect = 0.02 + rng.normal(0, tau)
        base = 0.7 + rng.normal(0, 0.05)
        yield (
            effect,
            {
                name: rng.random((seeds, examples))
                < np.clip(base + shift + ease + rng.normal(0, 0.02, (seeds, 1)), 0, 1)
                for name, shift in zip("abcde", (effect, 0.0, 0.0, -0.05, -0.1), strict=True)
            },
        )


@pytest.mark.slow
@pytest.mark.parametrize(("tasks", "tau"), [(2, 0.0), (3, 0.03), (5, 0.0), (9, 0.03)])
def test_intervals_over_tasks_hold_the_truth_as_often_as_they_say(tasks, tau):
    """Three seeds, 300 examples: 400 comparisons of five models for each number of tasks."""
    rng = np.random.default_rng(tasks)
    repetitions = 400
    these = like = 0
    for _ in range(repetitions):
        drawn = list(_tables(rng, tasks, tau))
        mixtures = [judge(scores).table.mixtures([("a", "b")])[0] for _, scores in drawn]
        found = mean_of(mixtures)
        (half,) = half_width(np.array([0.05]), found.variances[None], found.weights[None])
        # clipping moves the truth by less than a tenth of a point
        truth = np.mean([effect for effect, _ in drawn])
        these += abs(found.centre - truth) < half
        pooled = random_effects(
            np.array([m.centre for m in mixtures]), np.array([m.variance for m in mixtures])
        )
        like += abs(pooled.mean - 0.02) < pooled.half_width(0.05)
    assert 0.93 <= these / repetitions <= 0.985
    if tasks >= 5:
        assert 0.93 <= like / repetitions <= 0.985
