import json
import os

import numpy as np
import pytest

from hfbench import load_comparison, load_recipe
from hfbench.errors import RecordError
from hfbench.evidence.findings import Findings
from hfbench.records.asked import Asked, keep_asked, load_asked


@pytest.fixture
def asks(write_recipe):
    """A function that makes a recipe of the models mine and floor that asks something."""

    def make(**changes):
        return load_recipe(write_recipe(**changes))

    return make


def fill(folder, write_record, runs=2):
    for seed in range(runs):
        write_record(folder, "mine", seed, np.random.default_rng(seed).random(60) < 0.8)
    write_record(folder, "floor", None, np.arange(60) % 2 == 1, control=True)


def test_what_is_asked_is_kept_once_with_what_had_finished(asks, tmp_path, write_record):
    folder = tmp_path / "results"
    first = asks(questions=[["mine", "floor"]], margin=0.02)
    keep_asked(folder, first)
    keep_asked(folder, first)
    (entry,) = load_asked(folder)
    assert (entry.questions, entry.margin, entry.seeds) == ([("mine", "floor")], 0.02, [0, 1])
    assert entry.finished == 0
    fill(folder, write_record)
    keep_asked(folder, asks(reference="floor"))
    assert [(e.reference, e.finished) for e in load_asked(folder)] == [(None, 0), ("floor", 3)]


def test_the_last_that_was_asked_is_answered_and_lateness_is_said(asks, tmp_path, write_record):
    folder = tmp_path / "results"
    keep_asked(folder, asks(questions=[["mine", "floor"]]))
    fill(folder, write_record)
    before = Findings.of(load_comparison(folder))
    assert [(p.first.name, p.second.name) for p in before.comparison.questions] == [
        ("mine", "floor")
    ]
    assert not any("were asked when" in note for note in before.notes)
    keep_asked(folder, asks(reference="floor"))
    after = Findings.of(load_comparison(folder))
    assert any("The questions were asked when 3 runs had a result" in n for n in after.notes)


def test_seeds_that_were_added_after_results_are_said(asks, tmp_path, write_record):
    folder = tmp_path / "results"
    keep_asked(folder, asks(seeds=[0]))
    keep_asked(folder, asks(seeds=[0, 1]))  # before any result: nobody has looked
    fill(folder, write_record)
    assert not any("Seeds were added" in n for n in Findings.of(load_comparison(folder)).notes)
    keep_asked(folder, asks(seeds=[0, 1, 2]))
    notes = Findings.of(load_comparison(folder)).notes
    assert any("Seeds were added after results were there (to have 1 and 3)" in n for n in notes)


def test_questions_of_models_that_are_gone_are_left_out():
    asked = Asked(questions=[("a", "b"), ("a", "c")], reference="c")
    assert asked.about(["a", "b"]) == [("a", "b")]
    assert asked.about(["a", "b", "c"]) == [("a", "b"), ("a", "c"), ("b", "c")]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[{}, 3]",
        '[{"question": []}]',
        '[{"margin": -1}]',
        '[{"tune": {"seeds": 1e308}}]',
        '[{"tune": {"space": {"num_train_epochs": [2, -0.5]}}}]',
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(text, tmp_path, write_record):
    fill(tmp_path, write_record)
    (tmp_path / "asked.json").write_text(text, encoding="utf-8")
    with pytest.raises(RecordError, match=r"asked\.json: not what a comparison was asked"):
        load_comparison(tmp_path)


def test_comparing_keeps_what_was_asked_before_the_first_run(asks, tmp_path):
    from rich.console import Console

    from hfbench import compare

    recipe = asks(questions=[["mine", "floor"]], seeds=[0])
    outcome = compare(recipe, tmp_path, console=Console(quiet=True))
    (entry,) = json.loads((outcome.folder / "asked.json").read_text("utf-8"))
    assert (entry["questions"], entry["finished"]) == ([["mine", "floor"]], 0)
    assert load_comparison(outcome.folder).questions


def test_what_was_asked_is_not_read_through_a_link_nor_from_a_pipe(tmp_path):
    """Else a stranger's results would show another file in a message, or wait for ever."""
    secret = tmp_path / "secret.json"
    secret.write_text('["a secret"]')
    folder = tmp_path / "results"
    folder.mkdir()
    path = folder / "asked.json"
    path.symlink_to(secret)
    with pytest.raises(RecordError, match="is a link to") as error:
        load_asked(folder)
    assert "a secret" not in str(error.value)
    path.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        with pytest.raises(RecordError, match="it is not a file"):
            load_asked(folder)
