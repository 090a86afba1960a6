"""The examples of docs/extending.md are files that run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hfbench import load_records

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text("utf-8")
NAMED = re.compile(r"```\w+\n(# (\S+\.(?:py|yaml))\n.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The page's files, and what the page's command made of them with two workers."""
    folder = tmp_path_factory.mktemp("extending")
    for content, name in NAMED.findall(PAGE):
        (folder / name).write_text(content, encoding="utf-8")
    run(folder, "-m", "hfbench", "compare", "mine.yaml", "--jobs", "2")
    return folder


def run(folder, *arguments):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_has_a_file_of_each_thing_to_add(folder):
    names = {path.name for path in folder.glob("*.*")}
    assert names == {"mine.yaml", "my_metric.py", "my_control.py", "my_model.py", "some.py"}


def test_metric_control_and_architecture_run_in_workers(folder):
    records = {record.stem: record for record in load_records(folder / "results" / "mine")}
    assert {record.status for record in records.values()} == {"finished"}
    own = records["bag-of-words--seed0"]
    assert own.model_facts.class_name == "BagOfWordsForSequenceClassification"
    assert own.identity["model"]["code"]
    control = records["counts-exclamation-marks"]
    assert control.identity["code"]["control.exclamations"] == 1
    for record in records.values():
        scores = record.metrics["validation"]
        assert scores["worst_recall"] <= scores["accuracy"]
    assert records["floor"].metrics["validation"]["worst_recall"] == 0
    assert own.metrics["validation"]["worst_recall"] > 0
    assert own.metrics["validation"]["accuracy"] > 0.6


def test_the_metric_has_its_column(folder):
    said = run(
        folder, "-m", "hfbench", "--imports", "my_metric",
        "table", "results/mine", "--columns", "accuracy,worst_recall", "--write",
    )  # fmt: skip
    assert {"worst", "recall"} <= {*said.split()}  # the title is on two lines
    page = (folder / "results" / "mine" / "README.md").read_text("utf-8")
    assert "Worst recall: of the class that is answered rightly least often." in " ".join(
        page.split()
    )


@pytest.mark.slow
def test_the_engine_runs_so_many_cells(folder):
    for record in (folder / "results" / "mine" / "records").glob("*.*"):
        record.unlink()
    assert "2 ran, 2 were not run" in run(folder, "some.py")


@pytest.mark.slow
def test_the_architecture_is_a_good_citizen(folder):
    said = run(folder, "-m", "hfbench", "check", "my_model:BagOfWordsConfig")
    assert " 0 FAIL," in said
