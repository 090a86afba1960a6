import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest

import hfbench
from hfbench.errors import WorkerError

ROOT = Path(__file__).parents[2]


def test_help_names_the_verbs(call):
    code, shown, _ = call("--help")
    assert code == 0
    for verb in (
        "compare",
        "plan",
        "pretrain",
        "convert",
        "table",
        "report",
        "flips",
        "generate",
        "check",
    ):
        assert verb in shown
    assert len(re.findall("^│ [a-z]+ ", shown, re.M)) <= 20  # one guess leads to each


def test_list_names_presets_built_ins_and_recipes(call, monkeypatch):
    monkeypatch.chdir(ROOT)
    code, shown, _ = call("list")
    assert code == 0
    for name in ("gpt-nano", "gpt2-xl", "sentiment", "pets", "quickstart: Synthetic", "lora"):
        assert name in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "nowhere.yaml"], "there is no recipe 'nowhere.yaml'"),
        (["compare", "bad.yaml"], "bad.yaml: nam: unknown key; did you mean 'name'?"),
        (["table", "nowhere"], "nowhere: no records here"),
        (["pretrain", "tiny.yaml"], "no model is to be pretrained"),
        (["compare", "tiny.yaml", "task.text_column=txt"], "no column 'txt'; did you mean 'text'?"),
        (["compare", "tiny.yaml", "--shard", "3/2"], "--shard: 3/2 is none of 1/2 to 2/2"),
        (["compare", "tiny.yaml", "--engine", "ray", "--jobs", "2"], "Ray decides where cells run"),
    ],
)
def test_a_users_mistake_is_a_message_and_exit_code_2(
    arguments, message, write_recipe, tmp_path, monkeypatch, call
):
    write_recipe()
    (tmp_path / "bad.yaml").write_text("nam: x")
    monkeypatch.chdir(tmp_path)
    code, _, error = call(*arguments)
    assert code == 2
    assert error.startswith("error: ")
    assert message in error


def test_dry_run_runs_nothing_and_compare_what_it_shows(write_recipe, tmp_path, call):
    path = write_recipe()
    results = tmp_path / "results"
    code, shown, _ = call("compare", path, "--results-dir", results, "--dry-run")
    assert code == 0
    assert "72 train, 24 validation examples" in shown
    assert "3 of 3 cells to run" in shown
    row = next(line.split() for line in shown.splitlines() if "mine--seed0-1" in line)
    assert row[2:5] == ["16", "10", "32"]  # batch, steps, max length
    assert not results.exists()
    code, said, _ = call("compare", path, "--results-dir", results)
    assert code == 0
    assert "95 %" in said
    assert f"Results in {results / 'tiny'}" in said.replace("\n", "")
    record = json.loads((results / "tiny" / "records" / "mine--seed1.json").read_text())
    assert f"{record['model_facts']['parameters']:,}" == row[1]
    assert record["training"]["steps"] == 10
    _, shown, _ = call("compare", path, "--results-dir", results, "--dry-run")
    assert "0 of 3 cells to run" in shown
    before = (results / "tiny" / "README.md").read_bytes()
    assert call("table", results / "tiny")[0] == 0
    assert (results / "tiny" / "README.md").read_bytes() == before


def test_failed_cells_are_told_with_exit_code_1(write_recipe, tmp_path, call):
    path = write_recipe(training_arguments={"learning_rate": 1e30, "max_steps": 3})
    code, shown, _ = call("compare", path, "--results-dir", tmp_path / "r")
    assert code == 1
    assert "2 FAILED" in shown
    line = "2 runs failed at step 2: NonFiniteLossError: the training loss is not finite: mine (2)"
    assert line in shown
    assert "mine--seed1: FAILED as mine--seed0" in shown


def test_a_worker_that_died_is_a_message_and_exit_code_1(write_recipe, tmp_path, monkeypatch, call):
    def die(*_, **__):
        raise WorkerError("mine--seed0: its worker process was killed by SIGKILL")

    monkeypatch.setattr("hfbench.api.compare", die)
    code, _, error = call("compare", write_recipe(), "--results-dir", tmp_path / "r")
    assert code == 1
    assert error == "error: mine--seed0: its worker process was killed by SIGKILL\n"


def test_more_shards_than_cells_is_no_mistake(write_recipe, tmp_path, call):
    arguments = ["compare", write_recipe(), "--results-dir", tmp_path / "r", "--shard", "9/9"]
    code, shown, _ = call(*arguments)
    assert code == 0
    assert "0 cells ran, 0 were finished before" in shown


def test_the_version_is_that_of_the_package(call):
    assert call("--version") == (0, f"hfbench {hfbench.__version__}\n", "")
    assert hfbench.__version__ == version("hfbench")


MEASURE = """
from hfbench.metrics import Metric, register

register(Metric("misses", lambda logits, labels: float((logits.argmax(-1) != labels).sum()),
                title="misses", format=".1f", note=None, higher_is_better=False))
"""


@pytest.fixture
def of_own_measure(tmp_path, write_record):
    """A function that writes results that are ranked by a measure of a module beside them."""
    (tmp_path / "my_misses.py").write_text(MEASURE, encoding="utf-8")

    def write(module):
        for name, wrong in (("good", 3), ("bad", 20)):
            for seed in range(2):
                correct = [number >= wrong + seed for number in range(40)]
                settings = {"models": [{"name": name}], "imports": [module]}
                write_record(tmp_path / "own", name, seed, correct, settings=settings)
        (tmp_path / "own" / "asked.json").write_text('[{"metric": "misses"}]', encoding="utf-8")
        return tmp_path

    return write


def test_a_module_that_a_record_names_is_imported_with_permission_only(of_own_measure, run_hfbench):
    folder = of_own_measure("my_misses")
    code, said = run_hfbench("table", "own", cwd=folder)
    assert code == 2
    assert "own: no measure 'misses' is known here. Its recipe imports my_misses," in said
    assert "`hfbench --imports my_misses`" in said
    code, said = run_hfbench("--imports", "my_misses", "table", "own", cwd=folder)
    assert code == 0, said
    assert "good has the lowest misses (3.5)" in " ".join(said.split())


def test_a_command_line_that_is_proposed_has_names_of_modules_alone(of_own_measure, call):
    code, _, said = call("table", of_own_measure("x; rm -r y") / "own")
    assert code == 2
    assert "settings.imports.0 is not as a recipe has it" in said
    assert "rm -r" not in said
