"""The rows of a table may differ in the model and in nothing else."""

import numpy as np
import pytest

from hfbench.errors import UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.table import as_markdown
from hfbench.records.data import SplitData, TaskData
from hfbench.records.schema import Tokens

RIGHT = np.arange(60) % 3 > 0


@pytest.fixture
def results(tmp_path, write_record):
    for model in ("one", "two", "three"):
        for seed in (0, 1):
            write_record(tmp_path, model, seed, RIGHT)
    return tmp_path


ENVIRONMENT = {
    "packages": {"hfbench": "0", "torch": "2", "transformers": "5"}, "python": "3",
    "commit": "f" * 40, "uncommitted_changes": False,
}  # fmt: skip


def environment(**packages):
    return {**ENVIRONMENT, "packages": {**ENVIRONMENT["packages"], **packages}}


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"training": {"steps": 11}}, "optimizer steps 11, not 10"),
        ({"training": {"batch": 32}}, "batch 32, not 16"),
        ({"training": {"world_size": 2}}, "processes 2, not 1"),
        ({"training": {"optimizer": "huggingface"}}, "optimizer huggingface, not study"),
        ({"training": {"arguments": {"learning_rate": 0.1}}}, "learning_rate 0.1, not 0.5"),
        (
            {"training": {"arguments": {"learning_rate": 0.5, "weight_decay": 0.1}}},
            "weight_decay 0.1, not None",
        ),
        (
            {"training": {"arguments": {"learning_rate": 0.5, "bf16": True}}},
            "precision bf16, not float32",
        ),
        ({"training": {"selection": "best_loss"}}, "selection best_loss, not last"),
        ({"training": {"device": "other"}}, "device other, not chip"),
        (
            {"training": {"tokens": {"train": Tokens(total=9, truncated_examples=3)}}},
            "truncation of 3 of 60 train texts at 8 tokens, not of no text",
        ),
        ({"train": {"content_hash": "d" * 64}}, "training data dddddddd, not cccccccc"),
        ({"train": {"examples": 50}}, "training examples 50, not 60"),
        ({"environment": environment(torch="3")}, "torch 3, not 2"),
        ({"environment": {**ENVIRONMENT, "python": "4"}}, "Python 4, not 3"),
        (
            {"environment": {**ENVIRONMENT, "commit": "e" * 40}},
            "hfbench commit eeeeeeee, not ffffffff",
        ),
    ],
)  # fmt: skip
def test_just_what_differs_is_named(results, write_record, changes, note):
    for seed in (0, 1):
        write_record(results, "odd", seed, RIGHT, **changes)
    comparison = load_comparison(results)
    assert comparison.differences == {"odd": [note]}
    assert f"- [1] odd: {note}" in as_markdown(Findings.of(comparison))


def test_the_source_and_revision_of_the_data_are_compared(results, write_record):
    record = write_record(results, "odd", 0, RIGHT)
    task = record.task.model_copy(update={"source": "other", "revision": "abc"})
    write_record(results, "odd", 0, RIGHT, task=task)
    notes = load_comparison(results).differences["odd"]
    assert notes == ["task other, not d/s", "data revision abc, not None"]


def test_runs_of_a_model_that_differ_among_themselves_are_counted(results, write_record):
    write_record(results, "two", 1, RIGHT, training={"steps": 11})
    assert load_comparison(results).differences == {
        "two": ["optimizer steps 11, not 10 (1 of 2 runs)"]
    }


def test_nothing_is_held_against_a_control_that_has_no_meaning_for_it(results, write_record):
    write_record(results, "control", None, RIGHT, control=True)
    assert load_comparison(results).differences == {}


def test_subsets_are_compared_within_their_seed(tmp_path, write_record):
    for seed, subset in ((0, "a"), (1, "b")):
        train = {"content_hash": subset * 64}
        for model in ("one", "two", "three"):
            write_record(tmp_path, model, seed, RIGHT, train=train, train_size=40)
    assert load_comparison(tmp_path).differences == {}
    write_record(tmp_path, "three", 1, RIGHT, train={"content_hash": "a" * 64}, train_size=40)
    assert load_comparison(tmp_path).differences == {
        "three": ["training data aaaaaaaa, not bbbbbbbb (1 of 2 runs)"]
    }


@pytest.fixture
def other_examples():
    split = SplitData(examples=60, content_hash="b" * 64, label_counts={"x": 30, "y": 31})
    train = SplitData(examples=60, content_hash="c" * 64, label_counts={"x": 30, "y": 31})
    return TaskData(
        source="d/s", revision=None, labels=["x", "y"],
        splits={"train": train, "validation": split}, evaluation_split="validation",
    )  # fmt: skip


def test_models_evaluated_on_different_examples_are_refused(results, write_record, other_examples):
    write_record(results, "odd", 0, RIGHT, task=other_examples)
    with pytest.raises(UserError, match="--different-examples") as caught:
        load_comparison(results)
    assert "60 validation, aaaaaaaa" in str(caught.value)
    assert "60 validation, bbbbbbbb" in str(caught.value)


def test_the_refusal_can_be_overridden_and_then_nothing_is_compared(
    results, write_record, other_examples
):
    write_record(results, "odd", 0, RIGHT, task=other_examples)
    comparison = load_comparison(results, different_examples=True)
    assert comparison.differences["odd"] == [
        "evaluation examples 60 validation, bbbbbbbb, not 60 validation, aaaaaaaa"
    ]
    compared = {pair.first.name for pair in comparison.pairs}
    compared |= {pair.second.name for pair in comparison.pairs}
    assert compared == {"one", "two", "three"}


def test_runs_of_one_model_on_different_examples_are_refused_all_the_same(
    results, write_record, other_examples
):
    write_record(results, "one", 2, RIGHT, task=other_examples)
    with pytest.raises(UserError, match="one--seed"):
        load_comparison(results, different_examples=True)


def test_runs_of_another_model_under_the_same_name_are_told(tmp_path, write_record):
    def identity(seed, layers, start=0):
        config = {"class": "C", "config": {"n_layer": layers, "n_embd": 48}}
        pretraining = {"seed": start, "model": config}
        return {"kind": "classification", "seed": seed, "pretraining": pretraining, "model": config}

    for seed in (0, 1, 2):
        own = identity(seed, 4 if seed == 2 else 2, start=seed)
        write_record(tmp_path, "changed", seed, RIGHT, identity=own)
        write_record(tmp_path, "same", seed, RIGHT, identity=identity(seed, 3))
    table = as_markdown(Findings.of(load_comparison(tmp_path)))
    lines = "pretraining.model.config.n_layer: 2 -> 4; model.config.n_layer: 2 -> 4"
    assert f"changed: another model than in most of its runs ({lines}) (1 of 3 runs)" in table
    assert "same: another" not in table
