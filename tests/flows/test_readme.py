"""The commands of README and docs are run, and their figures are those of results/."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.result_blocks import MARKED, filled
from typer.main import get_command

from hfbench import load_comparison, load_recipe
from hfbench.cli.app import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = {path: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
ALL = README + "".join(PAGES.values())
PARTS = [page for page in (ROOT / "README.md", *PAGES) if MARKED.search(page.read_text("utf-8"))]


def commands_of(text):
    lines = [
        line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()
    ]
    return [line.split("#")[0].strip() for line in lines if line.strip()]


COMMANDS = [*dict.fromkeys(commands_of(ALL))]


def run(command, cwd=ROOT):
    env = {**os.environ, "OMP_NUM_THREADS": "2"}
    words = shlex.split(command)
    assert words[0] == "hfbench"
    done = subprocess.run(
        [sys.executable, "-m", *words],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("page", PARTS, ids=lambda page: page.stem)
def test_parts_that_are_taken_from_results_are_as_they_stand_there(page):
    """As evidence/test_table.py and study/test_results.py find that records give those."""
    assert filled(page.read_text("utf-8")) == page.read_text("utf-8")


def test_readme_and_the_study_have_such_parts():
    kinds = {
        page.stem: {mark[1] for mark in MARKED.finditer(page.read_text("utf-8"))} for page in PARTS
    }
    assert kinds == {
        "README": {"table"}, "rivals": {"table"}, "the-study": {"table", "answer", "findings"},
    }  # fmt: skip


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda page: page.stem)
def test_what_a_page_links_to_is_there(page):
    linked = re.findall(r'(?:\]\(|src=")([^)"#:\s]+)(?:#[^)"]*)?[)"]', page.read_text("utf-8"))
    for target in linked:
        assert (page.parent / target).exists(), target


def test_the_readme_is_short_and_leads_to_every_page():
    assert len(README.splitlines()) <= 180
    assert {f"docs/{page.name}" for page in PAGES} <= {*re.findall(r"\]\(([^)#]+)\)", README)}


def test_make_targets_are_there():
    for command in [c for c in COMMANDS if c.startswith("make ")]:
        dry = subprocess.run(
            ["make", "-n", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True
        )
        assert dry.returncode == 0, dry.stderr
    assert "make test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("no-such-python", "there is no no-such-python here"),
        ("false", "needs Python 3.10 or newer"),
    ],
)
def test_make_says_what_the_system_lacks(python, message, tmp_path):
    command = ["make", "test", f"PYTHON={python}", f"VENV={tmp_path / 'venv'}"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 2
    assert message in run.stderr


def test_commands_that_compare_and_pretrain_name_recipes_and_scripts_that_exist():
    named = [word for c in COMMANDS for word in c.split() if word.startswith("recipes/")]
    assert len(named) >= 8
    for path in named:
        assert (ROOT / path).is_file(), path


@pytest.fixture
def mine(tmp_path, rows):
    """The commands on the reader's own recipe, which has run on data of theirs."""
    text = re.search(r"```yaml\n(.*?)```", README, re.S).group(1)
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    lines = ["text,label", *(f"{row['text']},{row['label']}" for row in rows)]
    (tmp_path / "reviews.csv").write_text("\n".join(lines), encoding="utf-8")
    plan, compare, *others = [c for c in commands_of(README) if "mine.yaml" in c]
    assert "5 of 5 cells to run" in run(plan, cwd=tmp_path)
    assert "5 cells ran" in run(compare, cwd=tmp_path)
    return others


@pytest.mark.slow
def test_your_model_and_data_run_as_written(mine, tmp_path):
    assert "96 rows" in run("hfbench data reviews.csv", cwd=tmp_path)
    dry = next(c for c in commands_of(PAGES[ROOT / "docs" / "results.md"]) if "mine.yaml" in c)
    assert "0 of 5 cells to run" in run(dry, cwd=tmp_path)
    run("hfbench report results/mine", cwd=tmp_path)
    program = re.search(r"From Python:\n+```python\n(.*?)```", README, re.S).group(1)
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=500
    )
    assert {line.split()[0] for line in said.stdout.splitlines()} >= {"my-gpt", "baseline", "floor"}
    verify = next(command for command in COMMANDS if command.startswith("hfbench verify results"))
    assert "1 of 1 cells are bit-identical" in run(verify, cwd=tmp_path)
    assert (tmp_path / "results" / "mine" / "README.md").exists()


@pytest.mark.slow
def test_your_recipe_with_other_values_runs_as_written(mine, tmp_path):
    again = run(mine[0], cwd=tmp_path)
    assert "5 cells ran, 2 were finished before" in again


OF_RECORDS = [c for c in COMMANDS if " results/quickstart" in c]


@pytest.fixture
def run_of_records(tmp_path, run_hfbench):
    """A function that runs some of these commands beside the results: what each one said."""
    shutil.copytree(ROOT / "results" / "quickstart", tmp_path / "results" / "quickstart")

    def run(commands):
        said = {}
        for command in commands:
            name, *arguments = shlex.split(command)
            assert name == "hfbench"
            code, said[command] = run_hfbench(*arguments, cwd=tmp_path)
            assert code == 0, said[command]
        return said

    return run


def test_what_is_made_from_records_runs_as_written(tmp_path, run_of_records):
    assert "gpt-nano" in run_of_records(["hfbench list"])["hfbench list"]
    assert len(OF_RECORDS) == 6
    columns, flips = (next(c for c in OF_RECORDS if of in c) for of in ("--columns", "flips"))
    said = run_of_records([columns, flips])
    assert "NLL" in said[columns]
    assert said[flips].startswith("gpt-nano relative to tfidf-logreg:")
    shown, committed = tmp_path / "results" / "quickstart", ROOT / "results" / "quickstart"
    for name in ("README.md", "accuracy.csv", "accuracy.tex"):  # --columns has written nothing
        assert (shown / name).read_bytes() == (committed / name).read_bytes()


@pytest.mark.slow  # that the same bytes come of it is asked in tests/evidence by default
def test_what_is_written_from_records_runs_as_written(tmp_path, run_of_records):
    shown, committed = tmp_path / "results" / "quickstart", ROOT / "results" / "quickstart"
    for path in shown.glob("*.*"):
        if path.name != "asked.json":  # evidence, too: what was asked, and when
            path.unlink()
    writing = [c for c in OF_RECORDS if "--columns" not in c and "flips" not in c]
    assert {c.split()[1] for c in writing} >= {"table", "report"}
    run_of_records(writing)
    for name in ("README.md", "accuracy.csv", "accuracy.tex"):
        assert (shown / name).read_bytes() == (committed / name).read_bytes()
    for name in ("report.html", "plots/accuracy.png"):
        assert (shown / name).exists()


@pytest.mark.slow
def test_plans_run_as_written():
    plans = [c for c in COMMANDS if re.match(r"hfbench plan (recipes/)?quickstart", c)]
    assert len(plans) == 3
    for command in plans:
        points = "3.0" if "--difference" in command else "2.0"  # the recipe's margin
        assert f"to show {points} points" in run(command)


@pytest.mark.slow
def test_a_check_runs_as_written():
    command = next(c for c in COMMANDS if c.startswith("hfbench check transformers:"))
    assert "39 checks: 38 ok, 0 FAIL, 0 note, 1 skipped" in run(command)


@pytest.mark.slow
def test_a_pretrained_model_goes_on_as_written(tmp_path):
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    pretrain = next(c for c in COMMANDS if c.startswith("hfbench pretrain recipes/study"))
    # as the recipe's head says for want of a network, and few steps
    changes = (
        '"tokenizer={train_on: corpus, vocab_size: 300}" '
        "models.gpt-nano.pretrain.training_arguments.max_steps=2"
    )
    assert "1 cell ran" in run(f"{pretrain} {changes}", cwd=tmp_path)
    (generate,) = [c for c in COMMANDS if c.startswith("hfbench generate")]
    assert "He and I" in run(generate, cwd=tmp_path)
    assert (tmp_path / "generations" / "generation.csv").exists()


# command, or how it begins -> the test that runs it, or one with other names in their place
TESTED = {
    "hfbench data reviews.csv": "flows/test_readme.py::test_your_model_and_data_run_as_written",
    "hfbench compare mine.yaml --dry-run": "flows/test_readme.py::test_your_model_and_data_run",
    "hfbench plan mine.yaml": "flows/test_readme.py::mine",
    "hfbench compare mine.yaml": "flows/test_readme.py::mine",
    "hfbench report results/mine": "flows/test_readme.py::test_your_model_and_data_run",
    "hfbench verify results/mine": "flows/test_readme.py::test_your_model_and_data_run",
    "hfbench table results/quickstart": "flows/test_readme.py::test_what_is_written_from_records",
    "hfbench report results/quickstart": "flows/test_readme.py::test_what_is_written_from_records",
    "hfbench flips results/quickstart": "flows/test_readme.py::test_what_is_made_from_records",
    "hfbench report results/local/quickstart": "flows/test_readme.py::test_quickstart_runs",
    "hfbench flips results/local/quickstart": "flows/test_readme.py::test_quickstart_runs",
    "hfbench plan quickstart": "flows/test_readme.py::test_plans_run_as_written",
    "hfbench plan recipes/quickstart.yaml": "flows/test_readme.py::test_plans_run_as_written",
    "hfbench quickstart": "flows/test_readme.py::test_quickstart_runs",
    "hfbench init reviews.csv": "cli/test_init.py::test_the_recipe_that_is_written_runs",
    "hfbench decide results/three_tasks": "cli/test_decide.py::test_the_cheapest_row_is_named",
    "hfbench gate results/quickstart": "cli/test_decide.py::test_the_exit_code_is_the_verdict",
    "hfbench pretrain recipes/quickstart.yaml": "flows/test_readme.py::test_quickstart_runs",
    "hfbench check transformers:LlamaConfig": "flows/test_readme.py::test_a_check_runs",
    "hfbench list": "flows/test_readme.py::test_what_is_made_from_records",
    "hfbench --version": "flows/test_readme.py::test_the_version_is_said",
    # of the Hub, or of files that only a reader has
    "hfbench check ": "checks/test_checks.py::test_a_failure_is_an_exit_code_by_its_level",
    "hfbench judge ": "evidence/test_logs.py::test_the_verb_prints_table_and_sentences",
    "hfbench push ": "cli/test_publish.py::test_the_docs_lines_run_as_written",
    "hfbench verify user": "cli/test_publish.py::test_the_docs_lines_run_as_written",
    "hfbench table hf://": "cli/test_publish.py::test_the_docs_lines_run_as_written",
    "hfbench plan recipes/sst2_1200.yaml": "system/test_hub.py::test_a_cut_down_study_runs",
    "hfbench compare recipes/sst2_1200.yaml": "system/test_hub.py::test_a_cut_down_study_runs",
    "hfbench convert ": "models/test_convert.py::test_the_verb_says_what_it_did",
    "hfbench pretrain recipes/study": "flows/test_readme.py::test_a_pretrained_model_goes_on",
    "hfbench generate ": "flows/test_readme.py::test_a_pretrained_model_goes_on",
    # by other programs, on fewer processes
    "pytest --hfbench": "cli/test_pytest_plugin.py::test_each_check_is_a_test",
    "accelerate launch --config_file recipes/accelerate/multi_gpu.yaml": (
        "flows/test_launch.py::test_the_pretraining_script_only_pretrains"
    ),
    "accelerate launch --config_file recipes/accelerate/fsdp2.yaml": (
        "flows/test_launch.py::test_a_sharded_model_trains"
    ),
    "accelerate launch --config_file recipes/accelerate/one_gpu.yaml": (
        "flows/test_launch.py::test_two_processes_give_the_numbers"
    ),
    "torchrun ": "flows/test_launch.py::test_two_processes_give_the_numbers",
    "python recipes/benchmark_speed.py": "speed/test_benchmark_speed.py::test_it_says_what_it",
}
# what installs hfbench, what CI runs, and what makes the files that `hfbench judge` reads
OF_OTHERS = (
    "make ", "python3 -m venv ", ".venv/bin/", "pip install ", "lm_eval ", "inspect eval ",
    "nvidia-cuda-mps-control ",
)  # fmt: skip


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("hfbench ")])
def test_every_command_is_understood(command):
    _, *words = shlex.split(command)
    if words[0] != "--version":
        group = get_command(app)
        name, verb, arguments = group.resolve_command(
            group.make_context("hfbench", words[:1]), words
        )
        verb.make_context(name, arguments)  # raises where it would be refused


def test_every_command_has_its_test():
    for command in COMMANDS:
        tests = [test for start, test in TESTED.items() if command.startswith(start)]
        assert tests or command.startswith(OF_OTHERS), command
        for test in tests:
            file, _, function = test.partition("::")
            assert f"def {function}" in (ROOT / "tests" / file).read_text("utf-8"), test


def test_the_version_is_said():
    assert run("hfbench --version").startswith("hfbench ")


def test_every_key_of_a_recipe_is_explained_where_the_readme_says():
    assert "(hfbench/recipe)" in README
    source = (ROOT / "hfbench" / "recipe" / "schema.py").read_text("utf-8")
    for key in load_recipe(ROOT / "recipes" / "quickstart.yaml").model_dump():
        assert f"    {key}:" in source


@pytest.mark.slow
def test_quickstart_runs_as_written(tmp_path):
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    pretrain = next(command for command in COMMANDS if command.startswith("hfbench pretrain"))
    assert "1 cell ran" in run(pretrain, cwd=tmp_path)
    quickstart = next(command for command in COMMANDS if "bin/hfbench quickstart" in command)
    assert "18 cells ran" in run(quickstart.removeprefix(".venv/bin/"), cwd=tmp_path)
    results = tmp_path / "results" / "local" / "quickstart"
    for command in COMMANDS:
        if re.match(r"hfbench (report|flips) results/local/quickstart", command):
            run(command, cwd=tmp_path)
    assert (results / "report.html").exists()
    models = {model.name: model for model in load_comparison(results).models}
    # what the task is built for
    assert models["majority"].value < models["tfidf-logreg"].value
    assert models["tfidf-logreg"].interval[1] < models["gpt-nano-pretrained"].interval[0]
    assert max(model.value for model in models.values()) < 0.96
