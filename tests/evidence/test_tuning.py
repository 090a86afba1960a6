"""How sure a choice of settings is, and what was to be had with less."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm

from hfbench.evidence.compared import Pair
from hfbench.evidence.comparison import compare_records, load_comparison
from hfbench.evidence.curve_plots import tuning_curve
from hfbench.evidence.difference import Difference
from hfbench.evidence.findings import Findings
from hfbench.evidence.tuning import Search, Tuning, best_of_n, expected_best, sure_of
from hfbench.evidence.tuning_words import tuning_notes
from hfbench.metrics.registry import METRICS
from hfbench.recipe.tuning import Tune
from hfbench.records.asked import Asked
from hfbench.records.store import load_records


def draw(generator, true, examples, alike=0.5):
    """Whether each setting answers each example rightly; examples are hard for all alike."""
    common = np.sqrt(alike) * generator.standard_normal(examples)
    own = np.sqrt(1 - alike) * generator.standard_normal((len(true), examples))
    return (common + own < norm.ppf(true)[:, None]).astype(float)


def test_the_expected_best_is_the_mean_over_all_subsets():
    values = np.random.default_rng(0).random(7)
    for n, found in enumerate(best_of_n(values), start=1):
        subsets = [max(chosen) for chosen in itertools.combinations(values, n)]
        assert found == pytest.approx(np.mean(subsets))


def test_the_band_of_trials_that_follow_from_each_other_is_of_their_order():
    scores = draw(np.random.default_rng(0), np.array([0.6, 0.8, 0.7]), 200)
    curve, (low, high) = expected_best(scores, is_drawn=False, in_order=True)
    means = scores.mean(1)
    assert curve.tolist() == [means[0], means[1], means[1]]
    assert (low < curve).all()
    assert (curve < high).all()


SCENARIOS = {
    "all equal": np.full(20, 0.8),
    "a line": np.linspace(0.6, 0.82, 20),
    "half fail": np.array([0.55] * 10 + [*np.linspace(0.78, 0.82, 10)]),
    "two are good": np.array([0.8, 0.78] + [0.55] * 8),
    "one is good": np.array([0.85] + [0.6] * 10),
}


@pytest.mark.slow
@pytest.mark.parametrize("examples", [60, 120, 480])
@pytest.mark.parametrize("name", SCENARIOS)
def test_the_choice_s_spread_is_not_told_much_too_small(name, examples):
    """As docs/tuning.md claims, over this grid."""
    true, generator = SCENARIOS[name], np.random.default_rng(1)
    again = np.array([draw(generator, true, examples).mean(1).argmax() for _ in range(3000)])
    found = []
    for _ in range(80):
        scores = draw(generator, true, examples)
        found.append(sure_of(scores, int(scores.mean(1).argmax()), 0.0))
    same, sds = np.mean(found, axis=0)[0], np.array(found)[:, 1]
    # where the choice is always the same one, there is nothing but rounding
    assert np.sqrt((sds**2).mean()) >= 0.75 * true[again].std() - 1e-9
    shares = np.bincount(again, minlength=len(true)) / len(again)
    assert abs(same - (shares**2).sum()) < 0.25


def test_a_clear_choice_is_sure_and_a_toss_is_not():
    generator = np.random.default_rng(0)
    clear = draw(generator, np.array([0.9, 0.6, 0.6]), 400)
    assert sure_of(clear, 0, 0.0) == pytest.approx((1.0, 0.0))
    toss = draw(generator, np.full(10, 0.7), 100)
    assert 0 < sure_of(toss, int(toss.mean(1).argmax()), 0.0)[0] < 0.4


def test_seeds_make_a_choice_less_sure():
    scores = draw(np.random.default_rng(0), np.array([0.8, 0.75, 0.7]), 300)
    chosen = int(scores.mean(1).argmax())
    assert sure_of(scores, chosen, 0.05)[0] < sure_of(scores, chosen, 0.0)[0]


class Model:
    """As much of `ModelRuns` as is asked."""

    def __init__(self, name):
        self.name, self.value, self.interval = name, 0.8, (0.75, 0.85)


def search(sd, curve=(0.5,), again=1.0):
    curve = np.array(curve)
    return Search("a", [], None, METRICS["accuracy"], again, sd, curve, (curve, curve))


def test_the_interval_is_wider_by_the_choice():
    low, high = search(0.0).widened(Model("a"))
    assert (low, high) == pytest.approx((0.75, 0.85))
    low, high = search(0.05).widened(Model("a"))
    wider = np.hypot(0.05, 1.96 * 0.05)
    assert (0.8 - low, high - 0.8) == pytest.approx((wider, wider), rel=1e-4)
    assert search(1.0).widened(Model("a")) == (0.0, 1.0)


def test_a_difference_may_be_lost_when_settings_are_chosen_anew():
    found = Difference("a", "b", 0.06, 0.01, 0.11, 0.02, 0.02, 0.01, 0.11)
    pair = Pair(Model("a"), Model("b"), found)
    tune = Tune(space={"learning_rate": [0.1, 0.2]}, sampler="grid")
    assert not Tuning(tune, {"a": search(0.005)}, []).loses_by_choice(pair)
    assert Tuning(tune, {"a": search(0.02)}, []).loses_by_choice(pair)
    assert not Tuning(tune, {}, []).loses_by_choice(pair)


def test_who_leads_may_depend_on_the_number_of_trials():
    tune = Tune(space={"learning_rate": [0.1, 0.2]}, sampler="grid")
    curves = {"quick": search(0, [0.7, 0.71, 0.72]), "slow": search(0, [0.5, 0.7, 0.8])}
    assert Tuning(tune, curves, []).leaders == [(1, "quick"), (3, "slow")]


@pytest.fixture
def tuned(tmp_path, write_record):
    """A comparison, and the searches of as many models as are asked for."""
    write_record(tmp_path, "a", 0, [True] * 20)
    tune = Tune(space={"learning_rate": [0.1, 0.2]}, sampler="grid")

    def of(searches):
        return load_comparison(tmp_path), Tuning(tune, searches, [])

    return of


def test_models_whose_choice_is_unsure_are_told_in_two_sentences(tuned):
    searches = {
        "sure": search(0.0, again=0.9),
        "alike": search(0.0, again=0.1),
        "moved": search(0.021, again=0.4),
        "so-too": search(0.008, again=0.3),
    }
    assert tuning_notes(*tuned(searches))[1:3] == [
        "Trials that differ by no more than chance: alike.",
        "With other validation examples and seeds, other settings would be chosen most of the "
        "time, which moves the accuracy by a standard deviation: moved by 2.1 points and so-too by "
        "0.8 points.",
    ]


def test_bands_of_many_curves_are_left_out(tuned, quick_figures):
    def drawn(number):
        comparison, tuning = tuned({})
        models = [replace(comparison.models[0], name=f"m{n}") for n in range(number)]
        searches = {model.name: search(0.0, [0.5, 0.6]) for model in models}
        plot = tuning_curve(
            replace(comparison, models=models), replace(tuning, searches=searches), 8
        )
        (axes, *_), said = plot.figure.axes, plot.figure.get_suptitle()
        return len(axes.collections), "bands" in said

    assert drawn(5) == (5, True)
    assert drawn(6) == (0, False)


def test_an_answer_that_hangs_on_the_choice_is_said_to(tmp_path, write_record):
    rng = np.random.default_rng(0)
    for model, share in {"good": 0.85, "fair": 0.7, "poor": 0.4}.items():
        for seed in range(3):
            write_record(tmp_path, model, seed, rng.random(300) < share)
    asked = Asked(questions=[("good", "fair"), ("good", "poor"), ("fair", "poor")])
    comparison = compare_records(load_records(tmp_path), tmp_path, [asked])
    assert all(pair.differ for pair in comparison.questions)
    tune = Tune(space={"learning_rate": [0.1, 0.2]}, sampler="grid")
    best = SimpleNamespace(settings={}, value=0.5)  # as much of a trial as is asked
    sds = {"good": 0.09, "fair": 0.0, "poor": 0.0}
    searches = {name: replace(search(sd), best=best) for name, sd in sds.items()}
    comparison = replace(comparison, tuning=Tuning(tune, searches, []))
    assert Findings.of(comparison).questions.endswith(
        "Distinguished with the settings that were chosen, and not if they were chosen anew: good "
        "minus fair."
    )
