"""Multi-label, regression and weighted comparisons through the command line, from data to pages."""

import json
import random
import sys

import numpy as np
import pytest

from hfbench.cli import app as cli
from hfbench.data.task import load_task
from hfbench.execution.inputs import Inputs
from hfbench.execution.survey import cells_to_look_at
from hfbench.recipe.load import load_recipe
from hfbench.records.predictions import load_predictions
from hfbench.records.store import load_records

SHAPE = {"n_layer": 1, "n_positions": 32}
BERT = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16,
        "intermediate_size": 32, "max_position_embeddings": 32}  # fmt: skip
WORDS = {"joy": "glad happy", "fear": "afraid scared", "other": "the a film was so they that"}
TASKS = {
    "multi": {"threshold": "best_f1", "class_weights": "balanced"},
    "regression": {"target_range": [0.0, 3.0]},
    "single": {"threshold": "best_f1", "class_weights": {"joy": 3.0}},
}
KINDS = {
    "multi": "multi_label_classification",
    "regression": "regression",
    "single": "single_label_classification",
}


def make_rows(kind, number, seed):
    rng = random.Random(seed)
    for i in range(number):
        labels = [name for name in ("joy", "fear") if rng.random() < 0.4]
        words = rng.choices(WORDS["other"].split(), k=rng.randint(2, 8))
        words += [rng.choice(WORDS[name].split()) for name in labels]
        label = {
            "multi": labels,
            "regression": round(len(labels) + rng.random(), 2),
            "single": "joy" if "joy" in labels else "none",
        }[kind]
        yield {"text": f"{' '.join(words)} {i}", "label": label}


@pytest.fixture
def call(monkeypatch, capsys, quick_figures):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hfbench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as leave:
            cli.main()
        said = capsys.readouterr()
        assert not leave.value.code, said.err
        return said.out

    return run


# the others take their time, and what differs is in the tests of each room
@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name != "multi")) for name in TASKS]
)
def compared(request, call, tmp_path, monkeypatch):
    """The kind, the recipe's path, the results and what was said."""
    monkeypatch.chdir(tmp_path)
    kind = request.param
    for seed, (split, number) in enumerate({"train": 60, "dev": 24, "test": 30}.items()):
        lines = map(json.dumps, make_rows(kind, number, seed))
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    arguments = {"per_device_train_batch_size": 20, "num_train_epochs": 1, "learning_rate": 5e-3}
    recipe = {
        "name": kind,
        "task": {
            "data_files": {split: f"{split}.jsonl" for split in ("train", "dev", "test")},
            "validation_split": "dev",
            "test_split": "test",
            **TASKS[kind],
        },
        "tokenizer": {"train_on": "task", "vocab_size": 300},
        "seeds": [0, 1],
        "save_models": True,
        "training_arguments": arguments,
        "models": [
            {"name": "floor", "control": "majority"},
            {"name": "words", "control": "tfidf-logreg"},
            {"name": "mine", "preset": "gpt-nano", "config": SHAPE},
            {"name": "bert", "model_type": "bert", "config": BERT},
        ],
    }
    path = tmp_path / f"{kind}.yaml"
    path.write_text(json.dumps(recipe))
    said = call("compare", path)
    return kind, path, tmp_path / "results" / kind, said


def test_a_comparison_goes_from_data_to_pages(compared, call):
    kind, path, results, said = compared
    measure = {"multi": "micro F1 0.", "regression": "RMSE ", "single": "accuracy "}[kind]
    assert f"/6] bert--seed1: test {measure}" in said
    records = load_records(results)
    assert {record.status for record in records} == {"finished"}
    task = records[0].task
    assert task.problem_type == KINDS[kind]
    loaded = load_task(load_recipe(path).task, path.parent)
    for record in records:
        found = load_predictions(record, results, "test")
        labels = np.array(loaded.splits["test"]["label"][:])
        assert np.array_equal(found["label"], labels)
        outputs = 1 if kind == "regression" else 2
        assert found["logits"].shape == (30, outputs)
        assert (record.thresholds is None) == (kind == "regression")
    for record in records:
        if record.kind == "classification" and record.thresholds:
            # the last evaluation chose the thresholds that the record has
            last = record.curves["validation"][-1]
            values = record.metrics["validation"]
            assert last == pytest.approx({**last, **{k: values[k] for k in values if k in last}})
            assert "f1_macro" in values
    weights = {record.stem: record.training.class_weights for record in records
               if record.kind == "classification"}["mine--seed0"]  # fmt: skip
    if kind == "multi":
        there = np.array(loaded.splits["train"]["label"][:]).sum(0)
        expected = dict(zip(task.labels, (60 - there) / there, strict=True))
        assert weights == pytest.approx(expected)
    else:
        assert weights == ({"joy": 3.0, "none": 1.0} if kind == "single" else None)
    assert "6 of 6 cells" not in call("compare", path)  # all kept
    call("report", results)
    assert (results / "report.html").read_text().count("mine") > 3
    assert "mine" in (results / "README.md").read_text()
    planned = call("plan", path)
    assert "0 of 6 cells to run" in planned
    assert "What 30 examples and 2 seeds can show" in planned
    call("data", path)
    call("fsck", results)
    call("verify", results, "--cells", "mine--seed0")
    if kind != "regression":
        assert "mine relative to words" in call("flips", results, "words", "mine")
    # only what is given is in the identity
    extra = {
        "multi": {"problem_type", "class_weights", "threshold"},
        "regression": {"problem_type"},
        "single": {"class_weights", "threshold"},
    }[kind]
    described = records[0].identity["task"]
    assert set(described) - {"labels", "train", "validation", "test"} == extra
    recipe = load_recipe(path)
    cells = cells_to_look_at(recipe, only_pretraining=False)
    assert Inputs(recipe, cells).task.facts.problem_type == KINDS[kind]


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (
            "regression",
            ["selection=best_accuracy"],
            "'accuracy' has no meaning for regression",
        ),
        (
            "regression",
            ["training_arguments.label_smoothing_factor=0.1"],
            "label_smoothing_factor (model 'mine') has no meaning for regression",
        ),
        ("regression", ["task.threshold=best_f1"], "task.threshold: it has no meaning for regr"),
        (
            "multi",
            ["selection=best_accuracy"],
            "'accuracy' has no meaning for multi_label",
        ),
    ],
)
def test_a_key_without_meaning_is_refused_before_anything_runs(
    kind, changes, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for split in ("train", "dev", "test"):
        lines = map(json.dumps, make_rows(kind, 20, 1))
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    files = {split: f"{split}.jsonl" for split in ("train", "dev", "test")}
    recipe = {
        "name": kind,
        "task": {"data_files": files, "validation_split": "dev", "test_split": "test"},
        "tokenizer": {"train_on": "task", "vocab_size": 300},
        "models": [{"name": "mine", "preset": "gpt-nano", "config": SHAPE}],
    }
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    monkeypatch.setattr(sys, "argv", ["hfbench", "compare", "r.yaml", *changes])
    with pytest.raises(SystemExit) as leave:
        cli.main()
    assert leave.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "results").exists()
