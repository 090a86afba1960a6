"""Recipes with several tasks from end to end: one run, a folder for each, a page above them."""

import io
import json
import shutil

import pytest
from rich.console import Console

from hfbench import api
from hfbench.cli.app import main
from hfbench.cli.plan import print_plan
from hfbench.errors import UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.execution.compare import compare
from hfbench.recipe.cells import Shard
from hfbench.recipe.load import load_recipe
from hfbench.records.asked import load_asked
from hfbench.records.damage import find_folders
from hfbench.records.schema import FailedRecord
from hfbench.records.store import load_records

TASKS = [
    {"name": "rows", "data_files": {"train": "train.jsonl"}, "validation_size": 0.25},
    {
        "name": "sentiment",
        "builtin": "sentiment",
        "first": 80,
        "validation_size": 24,
        "training_arguments": {"num_train_epochs": 1},
    },
]
SMALL = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
PETS = {"corpus": {"builtin": "pets", "first": 64}, "training_arguments": {"max_steps": 3}}
FLOOR = {"name": "floor", "control": "majority"}


def models(**pretrain):
    tokenizer = {"train_on": "corpus", "vocab_size": 300}
    mine = {"name": "mine", **SMALL, "tokenizer": tokenizer, "pretrain": {**PETS, **pretrain}}
    return [mine, FLOOR]


@pytest.fixture
def write_tasks(write_recipe):
    return lambda **changes: write_recipe(**{"task": None, "tasks": TASKS, **changes})


def run(path, results, *overrides, **options):
    console = Console(file=io.StringIO(), width=200)
    outcome = compare(load_recipe(path, list(overrides)), results, console=console, **options)
    return outcome, console.file.getvalue()


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_pretraining_runs_once_for_all_tasks(write_tasks, tmp_path, jobs):
    path = write_tasks(models=models(), seeds=[0])
    outcome, said = run(path, tmp_path / "results", jobs=jobs)
    assert not outcome.failed
    assert "[5/5]" in said
    assert len(outcome.results) == 5, "one pretraining, and two models on each of two tasks"
    assert said.count("pretrain--mine: validation loss") == 1
    folders = outcome.results_folder.tasks
    assert [folder.name for folder in folders] == ["rows", "sentiment"]
    first, second = (folder.record("pretrain--mine") for folder in folders)
    assert first.cell_id == second.cell_id
    assert (first.adopted_from, second.adopted_from) == (None, "tiny/rows/pretrain--mine")
    assert all(folder.has_weights_of(folder.record("pretrain--mine")) for folder in folders)
    again, _ = run(path, tmp_path / "results", jobs=jobs)
    assert (again.results, again.kept) == ([], 4)
    # each folder is complete in itself, and the same as that of a recipe of its task alone
    for folder in folders:
        assert len(load_comparison(folder.path).finished) == 2
    alone = json.loads(path.read_text(encoding="utf-8")) | {"task": TASKS[0], "name": "alone"}
    alone = {k: v for k, v in alone.items() if k != "tasks"} | {
        "task": {k: v for k, v in TASKS[0].items() if k != "name"}
    }
    path.write_text(json.dumps(alone), encoding="utf-8")
    kept, _ = run(path, tmp_path / "results")
    assert (kept.results, kept.kept) == ([], 2), "its results were found by their content"


def test_a_pretraining_that_fails_costs_the_cells_of_every_task(write_tasks, tmp_path):
    path = write_tasks(models=models(training_arguments={"max_steps": 3, "learning_rate": 1e30}))
    outcome, _ = run(path, tmp_path / "results", "seeds=[0]")
    failed = {record.cell_name for record in outcome.failed}
    assert failed == {"rows/pretrain--mine", "rows/mine--seed0", "sentiment/mine--seed0"}
    second = outcome.results_folder.of_task("sentiment").record("pretrain--mine")
    assert isinstance(second, FailedRecord)
    assert second.recipe == "tiny/sentiment"


def test_parts_of_several_tasks_are_all_of_it(write_tasks, tmp_path):
    path = write_tasks(seeds=[0])
    ran = [
        {result.record.cell_name for result in run(path, tmp_path, shard=Shard(i, 3))[0].results}
        for i in (1, 2, 3)
    ]
    assert sum(map(len, ran)) == 4
    assert set.union(*ran) == {
        "rows/mine--seed0", "rows/floor", "sentiment/mine--seed0", "sentiment/floor",
    }  # fmt: skip


def test_a_task_whose_data_cannot_be_had_is_named_before_anything_runs(write_tasks, tmp_path):
    path = write_tasks()
    with pytest.raises(UserError, match=r"task 'sentiment': .*text_column"):
        run(path, tmp_path / "results", "tasks.sentiment.text_column=nothing")
    assert not (tmp_path / "results").exists()


def test_fail_fast_leaves_the_other_task(write_tasks, tmp_path):
    path = write_tasks(models=[{"name": "mine", **SMALL}, FLOOR])
    override = "tasks.rows.training_arguments.learning_rate=1e30"
    outcome, _ = run(path, tmp_path, override, fail_fast=True)
    assert [record.cell_name for record in outcome.failed] == ["rows/mine--seed0"]
    assert outcome.not_run == 5


def test_looks_go_on_with_what_is_in_question_on_any_task(write_tasks, tmp_path):
    path = write_tasks(seeds={"at_most": 3, "looks": [2, 3]})
    outcome = api.compare(load_recipe(path), tmp_path, console=Console(file=io.StringIO()))
    runs = [
        len([r for r in load_records(folder.path) if r.model == "mine"])
        for folder in outcome.results_folder.tasks
    ]
    assert runs in ([2, 2], [3, 3]), "as many on each"
    assert load_asked(tmp_path / "tiny" / "rows")[0].looks == [2, 3]


def test_the_plan_is_one(write_tasks, tmp_path):
    console = Console(file=io.StringIO(), width=100)
    path = write_tasks(models=models(), seeds=[0])
    assert print_plan(load_recipe(path), tmp_path, console)
    said = console.file.getvalue()
    assert said.count("Task ") == 2
    assert "5 of 6 cells to run" in said
    assert "runs once, as rows/pretrain--mine" in said


@pytest.mark.slow
def test_every_verb_knows_several_tasks(write_tasks, tmp_path, monkeypatch, capsys):
    """Or says which of their folders to name."""
    path, results = write_tasks(), tmp_path / "results"
    folder = results / "tiny"

    def hfbench(*words):
        monkeypatch.setattr("sys.argv", ["hfbench", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            main()
        out, err = capsys.readouterr()
        return stop.value.code, out + err

    code, said = hfbench("compare", path, "--results-dir", results, "--jobs", 1)
    assert code == 0
    assert "mean accuracy" in said
    names = ["README.md", "differences.csv", "overall.csv", "overall.tex"]
    written = {name: (folder / name).read_bytes() for name in names}
    assert all((folder / task / "accuracy.csv").is_file() for task in ("rows", "sentiment"))
    code, said = hfbench("table", folder)
    assert code == 0
    assert {name: (folder / name).read_bytes() for name in names} == written
    assert hfbench("report", folder, "--texts", path)[0] == 0
    assert 'href="rows/report.html"' in (folder / "report.html").read_text(encoding="utf-8")
    assert (folder / "sentiment" / "report.html").is_file()
    assert hfbench("report", folder, "--plots")[0] == 0
    assert {p.name for p in (folder / "plots").glob("*.png")} == {"tasks.png", "mean.png"} | (
        {"ranks.png"} if (folder / "plots" / "ranks.png").exists() else set()
    )
    code, said = hfbench("fsck", results)
    assert (code, "6 records looked at, 0 damaged" in said) == (0, True)
    assert len(find_folders(folder)) == 2
    assert (
        hfbench("verify", folder / "sentiment", "--cells", "floor", "--relative-to", tmp_path)[0]
        == 0
    )
    for words in (("verify", folder), ("push", folder, "--repo-id", "a/b", "--dry-run")):
        code, said = hfbench(*words)
        assert code == 2
        assert "holds the results of several tasks; name one" in " ".join(said.split())
    assert hfbench("data", path)[0] in (0, 1)
    # the same over folders of whatever recipes
    code, _ = hfbench(
        "table", folder / "rows", folder / "sentiment", "--overall", tmp_path / "over"
    )
    assert code == 0
    assert (tmp_path / "over" / "overall.csv").read_bytes() == written["overall.csv"]
    # of a comparison that was stopped in its first task
    shutil.rmtree(folder / "sentiment")
    code, said = hfbench("table", folder)
    assert code == 0
    assert "accuracy" in said
    assert hfbench("report", folder)[0] == 0
