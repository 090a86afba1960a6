"""Cross-validation through the command line, from plan to pages."""

import sys

import numpy as np
import pytest

from hfbench.cli import app as cli
from hfbench.data.task import load_whole
from hfbench.evidence.comparison import load_comparison
from hfbench.publish.results import stage_results
from hfbench.recipe.load import load_recipe
from hfbench.records.predictions import load_predictions
from hfbench.records.store import ResultsFolder, load_records

MODELS = [{"name": "floor", "control": "majority"}, {"name": "words", "control": "tfidf-logreg"}]
MINE = {"name": "mine", "preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
TASK = {"data_files": {"train": "train.jsonl"}, "folds": 3}


@pytest.fixture
def call(monkeypatch, capsys, quick_figures):
    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["hfbench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as leave:
            cli.main()
        said = capsys.readouterr()
        assert (leave.value.code or 0) == code, said.err
        return " ".join((said.out + said.err).split())

    return run


def test_every_example_is_answered_by_models_that_did_not_see_it(
    write_recipe, call, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    once = {"per_device_train_batch_size": 16, "max_steps": 2}
    path = write_recipe(models=[*MODELS, MINE], task=TASK, seeds=[0], training_arguments=once)
    assert "Data: train.jsonl: 3 folds of 96 examples" in call("plan", path)
    assert "9 cells ran" in call("compare", path, "--jobs", "1")
    results = tmp_path / "results" / "tiny"
    records = {record.stem: record for record in load_records(results)}
    whole = load_whole(load_recipe(path).task, tmp_path)
    texts = dict(zip(whole.splits["train"]["id"], whole.splits["train"]["text"], strict=True))
    right = []
    for number in (1, 2, 3):
        record = records[f"words--fold{number}"]
        assert record.task.splits["train"].examples == 64
        found = load_predictions(record, results, "validation")
        right += (found["logits"].argmax(1) == found["label"]).tolist()
        loaded = whole.fold(number)
        assert set(found["id"]) == set(loaded.splits["validation"]["id"])
        seen = {texts[id] for id in loaded.splits["train"]["id"]}
        assert len(seen) > 40  # of 64, some of which are alike
    (run,) = next(m for m in load_comparison(results).models if m.name == "words").finished
    model = next(m for m in load_comparison(results).models if m.name == "words")
    assert (len(model.ids), model.value) == (96, pytest.approx(np.mean(right)))
    assert run.fold is None
    assert "0 cells ran, 9 were finished before" in call("compare", path)
    page = (results / "README.md").read_text()
    assert "A run is 3 trainings, each on the other folds" in page
    assert "new training sets of this size" in page
    call("verify", results, "--cells", "mine--seed0--fold2")
    call("fsck", results)
    assert "mine relative to words" in call("flips", results, "words", "mine", "--texts", path)
    call("pack", results)
    stage_results(results, tmp_path / "staged", "a/b")
    assert (tmp_path / "staged" / "table.md").read_text() == page


def test_what_was_stopped_goes_on_where_folds_are_missing(
    write_recipe, call, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = write_recipe(models=MODELS, task={**TASK, "folds": {"folds": 3, "repeats": 2}})
    call("compare", path)
    folder = ResultsFolder(tmp_path / "results" / "tiny")
    assert len(folder.stems) == 12
    folder.record_path("words--fold5").unlink()
    assert "Runs left out because folds are missing: words (1)." in " ".join(
        (call("table", folder.path), (folder.path / "README.md").read_text())
    )
    assert "1 cell ran, 11 were finished before" in call("compare", path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"folds": 1}, "folds"),
        ({"folds": 3, "test_split": "test"}, "folds evaluates every row of the train split"),
        ({"folds": 3, "validation_size": 10}, "give exactly one of"),
        ({"folds": 3, "threshold": "best_f1"}, "those of folds are what the table shows"),
        ({"folds": 3, "split": "last"}, "split goes with validation_size"),
        ({"folds": {"folds": 3, "only": 4}}, "4 is none of the folds 1 to 3"),
        ({"folds": 60}, "label"),
    ],
)
def test_what_folds_cannot_do_is_refused(write_recipe, call, change, said):
    task = {"data_files": {"train": "train.jsonl"}, **change}
    if change == {"folds": 60}:
        task |= {"folds": 100}
        said = "100 folds of 96 examples"
    assert said in call("plan", write_recipe(models=MODELS, task=task), code=2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"train_sizes": [20, 40]}, "a learning curve needs examples that no size is trained on"),
        ({"selection": "best_loss"}, "task.folds are what the table shows"),
        (
            {"tune": {"space": {"learning_rate": [1e-3, 1e-4]}, "sampler": "grid"}},
            "tune: task.folds leaves no examples to choose settings on",
        ),
    ],
)
def test_what_needs_other_examples_is_refused(write_recipe, call, change, said):
    assert said in call("plan", write_recipe(models=[*MODELS, MINE], task=TASK, **change), code=2)
