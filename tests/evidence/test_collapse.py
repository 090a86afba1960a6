import numpy as np

from hfbench.evidence.collapse import collapsed_runs

LABELS = np.arange(872) % 2


def answers(seed, share):
    right = np.random.default_rng(seed).random(872) < share
    return np.where(right, LABELS, 1 - LABELS)


def collapsed(*runs):
    return collapsed_runs(np.stack(runs), LABELS, 1).tolist()


def test_a_run_of_one_answer_collapsed_whichever_it_is():
    ones, zeros = np.ones(872, int), np.zeros(872, int)
    assert collapsed(ones, answers(1, 0.8), zeros) == [True, False, True]
    assert collapsed(ones) == [True]


def test_a_run_that_never_left_chance_collapsed_where_others_did():
    assert collapsed(answers(0, 0.48), answers(1, 0.8), answers(2, 0.8)) == [True, False, False]


def test_runs_that_are_a_little_worse_or_all_bad_did_not_collapse():
    assert collapsed(answers(0, 0.70), answers(1, 0.8), answers(2, 0.8)) == [False] * 3
    assert collapsed(answers(0, 0.48), answers(1, 0.5), answers(2, 0.52)) == [False] * 3


def test_of_weak_models_hardly_a_run_is_left_out():
    # no run is dropped because it is the worst of many: that would raise the mean
    rng = np.random.default_rng(0)
    shares = 0.55 + rng.normal(0, 0.03, (200, 10))
    found = [
        collapsed(*(answers(10 * t + r, s) for r, s in enumerate(row)))
        for t, row in enumerate(shares)
    ]
    assert np.mean(found) < 0.002
