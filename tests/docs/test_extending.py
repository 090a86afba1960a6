"""The examples of docs/extending.md are files that run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hfbench import load_records

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text("utf-8")
NAMED = re.compile(r"```\w+\n(# (\S+\.(?:py|yaml))\n.*?)```", re.DOTALL)


@pytest.fixture
def hfbench(run_hfbench, tmp_path):
    """A function that runs a command beside the page's files, and gives what it said."""
    for content, name in NAMED.findall(PAGE):
        (tmp_path / name).write_text(content, encoding="utf-8")

    def run(*arguments):
        code, said = run_hfbench(*arguments, cwd=tmp_path)
        assert code == 0, said
        return said

    return run


def test_metric_control_and_architecture_run_in_workers_and_have_their_columns(hfbench, tmp_path):
    names = {path.name for path in tmp_path.glob("*.*")} - {"said.txt"}
    assert names == {"mine.yaml", "my_metric.py", "my_control.py", "my_model.py", "some.py"}
    hfbench("compare", "mine.yaml", "--jobs", "2")
    records = {record.stem: record for record in load_records(tmp_path / "results" / "mine")}
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
    said = hfbench(
        "--imports", "my_metric", "table", "results/mine", "--columns", "accuracy,worst_recall",
        "--write",
    )  # fmt: skip
    assert {"worst", "recall"} <= {*said.split()}  # the title is on two lines
    page = (tmp_path / "results" / "mine" / "README.md").read_text("utf-8")
    assert "Worst recall: of the class that is answered rightly least often." in " ".join(
        page.split()
    )


@pytest.mark.slow
def test_the_engine_runs_so_many_cells(hfbench, tmp_path):
    done = subprocess.run(
        [sys.executable, "some.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 ran, 2 were not run" in done.stdout


@pytest.mark.slow
def test_the_architecture_is_a_good_citizen(hfbench):
    assert " 0 FAIL," in hfbench("check", "my_model:BagOfWordsConfig")
