"""Rows that hfbench did not run, through the command line, from their file to what is published."""

import json
import sys

import numpy as np
import pytest

from hfbench.cli import app as cli
from hfbench.data.task import load_task
from hfbench.evidence.comparison import load_comparison
from hfbench.publish.results import stage_results
from hfbench.recipe.task import Task
from hfbench.records.store import load_records


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


MODELS = [
    {"name": "floor", "control": "majority"},
    {"name": "words", "control": "tfidf-logreg"},
    {"name": "production", "predictions": "production.csv"},
    {"name": "api", "predictions": {"file": "api.jsonl", "seed_column": "run", "seeds": [3, 5]}},
]
COLUMNS = "id,prediction\n"


@pytest.fixture
def recipe(write_recipe, tmp_path, monkeypatch):
    """Its path; beside it the files, and production's is right but for every fifth example."""
    path = write_recipe(models=MODELS, seeds=[0, 1], questions=[["production", "words"]])
    task = load_task(Task(data_files={"train": "train.jsonl"}, validation_size=0.25), tmp_path)
    examples = task.splits["validation"]
    names, right = task.facts.labels, examples["label"][:]
    lines = [
        f"{id},{names[label if row % 5 else 1 - label]}\n"
        for row, (id, label) in enumerate(zip(examples["id"], right, strict=True))
    ]
    (tmp_path / "production.csv").write_text(COLUMNS + "".join(lines))
    rows = [
        {"text": text, "run": run, "logits": [0.3 * (1 - label), 0.1 * run * label]}
        for run in (3, 4, 5)
        for text, label in zip(examples["text"], right, strict=True)
    ]
    (tmp_path / "api.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(tmp_path)
    return path


def test_answers_of_files_go_from_plan_to_pages(recipe, call, tmp_path):
    planned = call("plan", recipe)
    assert "Predictions of production: labels of 24 validation examples from production.csv" in (
        planned
    )
    assert "24 rows of other seeds left out" in planned
    call("compare", recipe)
    results = tmp_path / "results" / "tiny"
    records = {record.stem: record for record in load_records(results)}
    assert {*records} == {"floor", "words", "production", "api--seed3", "api--seed5"}
    assert records["production"].metrics["validation"]["accuracy"] == pytest.approx(19 / 24)
    assert "loss" not in records["production"].metrics["validation"]
    assert "loss" in records["api--seed3"].metrics["validation"]
    assert records["production"].answers.name == "production.csv"
    page = (results / "README.md").read_text()
    assert "not run by hfbench: labels of production.csv" in page
    assert "| production | 0." in page
    assert " | \u2013 | \u2013 | \u2013 |" in page  # NLL, Brier, ECE
    assert "NLL, Brier and ECE: no number of production" in page
    assert "production is" in page.partition("What was asked")[2]
    # nothing of the examples but ids, labels and outputs
    text = "".join(p.read_text() for p in results.glob("records/*.json"))
    assert "indeed" not in text
    for verb in ("fsck", "verify"):
        call(verb, results)
    assert "api relative to production" in call("flips", results, "production", "api")
    call("pack", results)
    assert "production" in call("table", results)
    staged = stage_results(results, tmp_path / "staged", "a/b")
    assert "records/production.parquet" in staged.listing()
    assert (tmp_path / "staged" / "table.md").read_text() == page


def test_other_answers_run_again_and_the_same_in_another_file_do_not(recipe, call, tmp_path):
    call("compare", recipe)
    path = tmp_path / "production.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *lines[:0:-1]]))  # in another order
    assert "0 cells ran, 5 were finished before" in call("compare", recipe)
    path.write_text(path.read_text().replace(",yes", ",no"))
    said = call("plan", recipe)
    assert "production to run again: answers.validation:" in said
    assert "logits of" in call("verify", "results/tiny", "--cells", "production", code=1)
    assert "1 cell ran, 4 were finished before" in call("compare", recipe)


def test_a_file_that_does_not_fit_costs_its_own_row_and_no_other(recipe, call, tmp_path):
    path = tmp_path / "production.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-3]))
    said = call("compare", recipe, code=1)
    assert "3 of 24 validation examples have no answer" in said
    comparison = load_comparison(tmp_path / "results" / "tiny")
    assert {model.name for model in comparison.finished} == {"floor", "words", "api"}
    assert "production" in {model.name for model in comparison.models}


def test_a_ranking_by_probabilities_refuses_labels_and_takes_logits(recipe, call, tmp_path):
    said = call("compare", recipe, "task.metric=nll", code=1)
    assert "production.csv has labels, and task.metric: nll needs probabilities" in said
    comparison = load_comparison(tmp_path / "results" / "tiny")
    assert "api" in {model.name for model in comparison.finished}
    model = next(model for model in comparison.finished if model.name == "api")
    # half of the labels are 0; what is right has a logit of 0.3, but 1 in the second run of 0.5
    gaps = np.array([[0.3, 0.3], [0.3, 0.5]])
    assert model.value == pytest.approx(np.log1p(np.exp(-gaps)).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lora": {"r": 2}}, "lora has no meaning for the predictions"),
        ({"predictions": {"file": "a.csv", "seeds": [1]}}, "seeds goes with seed_column"),
        ({"predictions": {"file": "a.csv", "label": "x"}}, "unknown key"),
        ({"predictions": "nowhere.csv"}, "nowhere.csv"),
        ({"control": "majority"}, "give exactly one of"),
    ],
)
def test_mistakes_are_told_before_anything_runs(write_recipe, call, change, said):
    models = [MODELS[0], {"name": "theirs", "predictions": "a.csv", **change}]
    assert said in call("plan", write_recipe(models=models), code=2)


def test_answers_have_no_place_on_a_learning_curve(write_recipe, call):
    path = write_recipe(models=MODELS, train_sizes=[20, 40])
    assert "have no place on a learning curve" in call("plan", path, code=2)
