import json
import os
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

import hfbench
from hfbench.errors import WorkerError

ROOT = Path(__file__).parents[2]


def hfbench_command(*arguments, cwd=ROOT):
    env = {**os.environ, "COLUMNS": "80"}
    command = [sys.executable, "-m", "hfbench", *map(str, arguments)]
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=200)


def test_help_answers_at_once():
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        run = hfbench_command("--help")
        seconds.append(time.perf_counter() - start)
        assert run.returncode == 0
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
        assert verb in run.stdout
    assert len(re.findall("^│ [a-z]+ ", run.stdout, re.M)) <= 20  # one guess leads to each
    assert min(seconds) < 2  # importing torch takes longer, also where the tests share two cores


def test_no_heavy_import_for_help_list_and_a_mistaken_recipe(tmp_path):
    script = (
        "import sys\n"
        "sys.argv = ['hfbench', *sys.argv[1:]]\n"
        "from hfbench.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'datasets', 'evaluate', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    (tmp_path / "bad.yaml").write_text("nam: x")
    for arguments in (["--help"], ["list"], ["compare", str(tmp_path / "bad.yaml")]):
        run = subprocess.run(
            [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True
        )
        assert run.returncode == 0, run.stderr


def test_list_names_presets_built_ins_and_recipes():
    run = hfbench_command("list")
    assert run.returncode == 0
    for name in ("gpt-nano", "gpt2-xl", "sentiment", "pets", "quickstart: Synthetic", "lora"):
        assert name in run.stdout


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


def test_dry_run_prints_the_plan_and_runs_nothing(write_recipe, tmp_path, call):
    path = write_recipe()
    results = tmp_path / "results"
    code, shown, _ = call("compare", path, "--results-dir", results, "--dry-run")
    assert code == 0
    assert "72 train, 24 validation examples" in shown
    assert "3 of 3 cells to run" in shown
    row = next(line.split() for line in shown.splitlines() if "mine--seed1" in line)
    assert row[2:5] == ["16", "10", "32"]  # batch, steps, max length
    assert not results.exists()
    assert call("compare", path, "--results-dir", results)[0] == 0
    record = json.loads((results / "tiny" / "records" / "mine--seed1.json").read_text())
    assert f"{record['model_facts']['parameters']:,}" == row[1]
    assert record["training"]["steps"] == 10
    _, shown, _ = call("compare", path, "--results-dir", results, "--dry-run")
    assert "0 of 3 cells to run" in shown


def test_compare_writes_and_prints_the_table_and_says_where_it_is(write_recipe, tmp_path, call):
    code, shown, _ = call("compare", write_recipe(), "--results-dir", tmp_path / "r")
    assert code == 0
    assert "95 %" in shown
    assert f"Results in {tmp_path / 'r' / 'tiny'}" in shown.replace("\n", "")
    assert (tmp_path / "r" / "tiny" / "README.md").exists()
    before = (tmp_path / "r" / "tiny" / "README.md").read_bytes()
    assert call("table", tmp_path / "r" / "tiny")[0] == 0
    assert (tmp_path / "r" / "tiny" / "README.md").read_bytes() == before


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


def test_a_module_that_a_record_names_is_imported_with_permission_only(of_own_measure):
    folder = of_own_measure("my_misses")
    refused = hfbench_command("table", "own", cwd=folder)
    assert refused.returncode == 2
    assert "own: no measure 'misses' is known here. Its recipe imports my_misses," in refused.stderr
    assert "`hfbench --imports my_misses`" in refused.stderr
    made = hfbench_command("--imports", "my_misses", "table", "own", cwd=folder)
    assert made.returncode == 0, made.stderr
    assert "good has the lowest misses (3.5)" in " ".join(made.stdout.split())


def test_a_command_line_that_is_proposed_has_names_of_modules_alone(of_own_measure):
    refused = hfbench_command("table", "own", cwd=of_own_measure("x; rm -r y"))
    assert refused.returncode == 2
    assert "settings.imports are not names of modules" in refused.stderr
    assert "rm -r" not in refused.stderr
