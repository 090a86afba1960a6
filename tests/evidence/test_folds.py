"""Runs of folds, taken together, are runs that answer every example."""

import json

import numpy as np
import pytest

from hfbench.errors import RecordError, UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.folds import INFLATION, inflation
from hfbench.evidence.judge import judge
from hfbench.records.data import FoldData, SplitData
from hfbench.records.store import ResultsFolder

FOLDS, SIZE = 3, 40
RIGHT = np.random.default_rng(0).random((2, 2, FOLDS, SIZE)) < [[[[0.8]]], [[[0.6]]]]
"""Shape (models, seeds, folds, examples)."""


def fold(number, repeats=1):
    size = FOLDS * SIZE
    counts = {"x": size // 2, "y": size // 2}
    whole = SplitData(examples=size, content_hash="e" * 64, label_counts=counts)
    return FoldData(number=number, folds=FOLDS, repeats=repeats, whole=whole)


@pytest.fixture
def write(tmp_path, write_record):
    """A function that writes the record of a fold."""

    def write_one(model, seed, number, repeats=1, **changes):
        place = (number - 1) % FOLDS
        correct = RIGHT["ab".index(model), seed, place]
        task = {"folds": {"folds": FOLDS, "repeats": repeats, "only": number}}
        settings = {"models": [{"name": model}], "task": task}
        own = {"evaluated": f"{number}" * 64, "first": place * SIZE, "fold": fold(number, repeats)}
        own |= {"settings": settings}
        return write_record(tmp_path, model, seed, correct, **{**own, **changes})

    return write_one


@pytest.fixture
def every_fold(write):
    for model in "ab":
        for seed in (0, 1):
            for number in range(1, FOLDS + 1):
                write(model, seed, number)


def test_folds_together_are_runs_on_all_examples(every_fold, tmp_path):
    comparison = load_comparison(tmp_path)
    assert [model.name for model in comparison.models] == ["a", "b"]
    whole = RIGHT.reshape(2, 2, FOLDS * SIZE)
    for model, right in zip(comparison.models, whole, strict=True):
        assert model.ids.tolist() == [f"validation/{i}" for i in range(FOLDS * SIZE)]
        assert np.array_equal(model.correct, right)
        assert model.runs == "2"
        assert model.value == pytest.approx(right.mean())
    expected = judge({"a": whole[0], "b": whole[1]}, folds=FOLDS)
    assert comparison.pairs[0].difference == expected.pairs[0]
    assert comparison.task.splits["validation"].examples == FOLDS * SIZE


def test_cost_is_of_one_training_and_memory_the_highest(write, every_fold, tmp_path):
    times = {1: 2.0, 2: 4.0, 3: 9.0}
    for number, seconds in times.items():
        training = {"train_seconds": seconds, "peak_memory_bytes": number * 2**20}
        write("a", 0, number, training=training)
    (run, _) = load_comparison(tmp_path).models[0].finished
    assert run.training.train_seconds == pytest.approx(5.0)
    assert run.training.peak_memory_bytes == 3 * 2**20


def test_a_run_without_all_of_its_folds_is_left_out_and_told(write, every_fold, tmp_path):
    path = ResultsFolder(tmp_path).record_path("b--seed1--fold2")
    path.unlink()
    comparison = load_comparison(tmp_path)
    assert {m.name: len(m.finished) for m in comparison.models} == {"a": 2, "b": 1}
    said = " ".join(Findings.of(comparison).notes)
    assert "Runs left out because folds are missing: b (1)." in said


def test_nothing_is_told_while_no_run_has_all_folds(write, tmp_path):
    write("a", 0, 1)
    with pytest.raises(UserError, match="no run has all of its folds yet"):
        load_comparison(tmp_path)


def test_a_run_of_which_a_fold_failed_has_failed(write, every_fold, tmp_path):
    failure = {"type": "ValueError", "message": "diverged", "step": 3}
    write("b", 1, 3, failure=failure)
    b = next(model for model in load_comparison(tmp_path).models if model.name == "b")
    assert (len(b.finished), [record.failure.message for record in b.failed]) == (1, ["diverged"])


def test_folds_of_another_number_are_other_runs(write, every_fold, tmp_path):
    """As where a recipe had more folds before."""
    old = fold(4, 2).model_copy(update={"folds": 4, "repeats": 1})
    write("a", 0, 4, fold=old)
    comparison = load_comparison(tmp_path)
    assert {m.name: len(m.finished) for m in comparison.models} == {"a": 2, "b": 2}
    assert comparison.unfinished == {"a": 1}


def test_repetitions_are_runs_of_their_own(write, tmp_path):
    for model in "ab":
        for number in range(1, 2 * FOLDS + 1):
            write(model, 0, number, repeats=2)
    assert [len(model.finished) for model in load_comparison(tmp_path).models] == [2, 2]


def test_an_example_in_two_folds_is_refused(write, every_fold, tmp_path):
    write("a", 0, 2, first=SIZE - 1)
    with pytest.raises(RecordError, match="an example more than once"):
        load_comparison(tmp_path)


@pytest.mark.parametrize("change", [{"fold": 2}, {"fold": None}, {"number": 9}])
def test_a_record_that_contradicts_its_fold_is_refused(every_fold, tmp_path, change):
    path = ResultsFolder(tmp_path).record_path("a--seed0--fold1")
    values = json.loads(path.read_text())
    del values["checksum"]
    if "number" in change:
        values["task"]["fold"]["number"] = values["fold"] = 9
    else:
        values |= change
    path.write_text(json.dumps(values))
    with pytest.raises(RecordError):
        load_comparison(tmp_path)


@pytest.mark.parametrize("runs", [1, 3])
def test_intervals_are_wider_by_the_root_of_the_inflation(runs):
    rng = np.random.default_rng(1)
    scores = {name: rng.normal(size=(runs, 2000)) for name in "ab"}
    controls = ["a", "b"]  # so that seeds add nothing
    plain, wider = (judge(scores, controls=controls, folds=folds) for folds in (None, 5))
    for one, other in zip(plain.rows, wider.rows, strict=True):
        assert other.high - other.low == pytest.approx((one.high - one.low) * INFLATION**0.5)
    one, other = plain.pairs[0], wider.pairs[0]
    assert other.high - other.low == pytest.approx((one.high - one.low) * INFLATION**0.5, rel=1e-3)
    assert inflation(None) == 1.0


def test_of_right_and_wrong_answers_they_rest_on_fewer_examples():
    right = (np.arange(300) % 10 < 7).astype(float)[None]
    fewer = right[:, :200]
    (wide,), (expected,) = (
        judge({"a": right}, controls=["a"], folds=5).rows,
        judge({"a": fewer}, controls=["a"]).rows,
    )
    assert (wide.low, wide.high) == pytest.approx((expected.low, expected.high))
