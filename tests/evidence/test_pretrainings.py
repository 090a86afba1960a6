"""Rows that start from several pretrainings: each of these is one draw."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.judge import judge


def answers(rng, started, between, within, examples, mean=0.7):
    """Right answers of runs that start from pretrainings, which differ, as runs do from each."""
    started = np.asarray(started)
    bases = between * rng.standard_normal(started.max() + 1)
    shares = np.clip(mean + bases[started] + within * rng.standard_normal(len(started)), 0, 1)
    return (rng.random((len(started), examples)) < shares[:, None]).astype(float)


def test_with_many_pretrainings_it_is_the_mixed_model_of_statsmodels():
    rng, started = np.random.default_rng(0), np.repeat(np.arange(40), 3)
    right = answers(rng, started, 0.04, 0.02, 3000)
    judged = judge({"a": right}, pretrainings={"a": started.tolist()})
    table = pd.DataFrame({"accuracy": right.mean(1), "started": started})
    fitted = smf.mixedlm("accuracy ~ 1", table, groups="started").fit(reml=True)
    (row,) = judged.rows
    assert row.mean == pytest.approx(fitted.params["Intercept"], abs=1e-9)
    assert row.pretrainings == 40
    # REML's variance of the mean has the noise of the answers in it, ours apart
    noise = (right * (1 - right.mean(1, keepdims=True))).mean() / 3000 / len(right)
    believed = float(judged.table.seed_variances()[0] @ judged.table.seeds.probabilities[0])
    assert believed + noise == pytest.approx(fitted.bse["Intercept"] ** 2, rel=0.1)


def test_each_pretraining_counts_alike_however_many_runs_it_has():
    right = np.zeros((3, 100))
    right[0, :60] = right[1, :60] = right[2, :90] = 1
    judged = judge({"a": right}, pretrainings={"a": [0, 0, 1]})
    assert judged.rows[0].mean == pytest.approx((0.6 + 0.9) / 2)
    assert judge({"a": right}).rows[0].mean == pytest.approx((0.6 + 0.6 + 0.9) / 3)


def test_one_pretraining_for_all_is_no_draw_and_runs_are():
    rng = np.random.default_rng(1)
    scores = {name: answers(rng, [0] * 4, 0, 0.02, 500) for name in "ab"}
    plain, told = judge(scores), judge(scores, pretrainings={"a": [0] * 4, "b": [5] * 4})
    assert told.rows == plain.rows
    assert told.pairs == plain.pairs


def test_pretrainings_that_differ_widen_the_interval_of_their_row_alone():
    rng = np.random.default_rng(2)
    started = [0, 1, 2, 0, 1, 2]
    scores = {
        "pretrained": answers(rng, started, 0.05, 0.005, 2000),
        **{name: answers(rng, [0] * 6, 0, 0.005, 2000) for name in ("b", "c", "d")},
    }
    plain = {row.name: row for row in judge(scores).rows}
    told = {row.name: row for row in judge(scores, pretrainings={"pretrained": started}).rows}
    width = {name: row.high - row.low for name, row in told.items()}
    assert width["pretrained"] > 1.2 * (plain["pretrained"].high - plain["pretrained"].low)
    assert max(width[name] for name in "bcd") < width["pretrained"] / 2


def test_a_new_run_varies_within_its_pretraining_too():
    rng = np.random.default_rng(3)
    started = np.repeat(np.arange(6), 6).tolist()
    scores = {name: answers(rng, started, 0, 0.04, 3000) for name in "ab"}
    known = {"a": started, "b": started}
    nested = judge(scores, pretrainings=known).table.chance("a", "b", 10**6)
    plain = judge(scores).table.chance("a", "b", 10**6)
    assert nested.probability == pytest.approx(plain.probability, abs=0.03)


def test_a_pretraining_whose_runs_all_collapsed_is_no_draw():
    rng = np.random.default_rng(4)
    right = answers(rng, [0, 1, 2, 0, 1, 2], 0.01, 0.01, 400)
    lost = [False, True, False, False, True, False]
    judged = judge({"a": right}, pretrainings={"a": [0, 1, 2, 0, 1, 2]}, collapsed={"a": lost})
    assert (judged.rows[0].pretrainings, judged.rows[0].collapsed) == (2, 2)


@pytest.mark.parametrize(
    ("pretrainings", "message"),
    [
        ({"a": [0, 1]}, "a: pretrainings has 2 values for 3 finished runs"),
        ({"b": [0]}, "pretrainings: no row 'b'"),
    ],
)
def test_what_does_not_fit_is_refused(pretrainings, message):
    with pytest.raises(ValueError, match=message):
        judge({"a": np.eye(3)}, pretrainings=pretrainings)


@pytest.fixture
def found(tmp_path, write_record):
    """Findings of a folder with a row that starts from pretrainings, and one from none."""

    def of(started):
        rng = np.random.default_rng(5)
        for seed in range(4):
            entry = {"name": "pre", "pretrain": started(seed)}
            write_record(tmp_path, "pre", seed, rng.random(80) < 0.8, settings={"models": [entry]})
            write_record(tmp_path, "plain", seed, rng.random(80) < 0.7)
        return Findings.of(load_comparison(tmp_path))

    return of


def test_a_table_says_from_how_many_pretrainings_runs_start(found):
    several = found(lambda seed: {"seeds": [seed % 2]})
    note = several.footnotes["pre"]
    assert (
        "its runs start from 2 pretrainings, each of which counts alike; their means vary" in note
    )
    assert any(line.endswith("this training set; new pretrainings.") for line in several.notes)


def test_of_one_pretraining_it_says_that_the_row_is_about_these_weights(found):
    one = found(lambda seed: {"seed": 0})
    assert "one pretraining for all runs: about this pretrained model" in one.footnotes["pre"]
    assert any(line.endswith("this training set; these pretrained weights.") for line in one.notes)
