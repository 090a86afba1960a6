"""docs/decisions.md and its workflow say and do what the code does."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from decisions import as_claims
from ruamel.yaml import YAML

from hfbench.api import decide

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "decisions.md").read_text("utf-8")
WORKFLOW = YAML(typ="safe").load(ROOT / "recipes" / "github" / "hfbench-gate.yml")


def test_the_decision_is_the_one_of_the_records():
    (quoted,) = re.findall(r"```text\n(.*?)```", PAGE, re.S)
    assert " ".join(quoted.split()) == decide(ROOT / "results" / "three_tasks", 0.03).text


def test_the_claims_come_from_the_record():
    block = re.search(r"<!-- claims: decisions -->\n(.*?)<!-- end -->", PAGE, re.S)
    assert block.group(1).strip() == as_claims(ROOT / "results" / "simulations")


@pytest.mark.parametrize(("candidate", "verdict", "code"), [
    # that it passes is asked by default in cli/test_decide.py
    pytest.param("gpt-nano-pretrained", "passed", 0, marks=pytest.mark.slow),
    ("majority", "failed", 1),
])  # fmt: skip
def test_the_gate_of_the_workflow_runs_as_written(tmp_path, candidate, verdict, code):
    (step,) = [step for step in WORKFLOW["jobs"]["gate"]["steps"] if step.get("id") == "gate"]
    (tmp_path / "hfbench").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hfbench "$@"\n')
    (tmp_path / "hfbench").chmod(0o755)
    results = ROOT / "results" / "quickstart"
    env = {
        **os.environ, **WORKFLOW["env"], "PYTHONPATH": str(ROOT),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "BASE": f"{results}:gpt-nano", "CANDIDATE": f"{results}:{candidate}",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }  # fmt: skip
    done = subprocess.run(["bash", "-e", "-c", step["run"]], env=env, cwd=tmp_path)
    assert done.returncode == code
    assert (tmp_path / "summary").read_text("utf-8").startswith(f"### hfbench gate: {verdict}\n")
    (kept,) = [s for s in WORKFLOW["jobs"]["gate"]["steps"] if "upload" in s.get("uses", "")]
    assert all((tmp_path / name).exists() for name in kept["with"]["path"].split())


@pytest.mark.slow
def test_the_notebook_runs_and_shows_what_it_shows(tmp_path):
    """Made again by `jupyter execute --inplace docs/notebook.ipynb`, without warnings."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    stored = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    nbformat.validate(stored)
    again = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    nbclient.NotebookClient(
        again, timeout=500, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    for old, new in zip(stored.cells, again.cells, strict=True):
        kinds = [
            [
                sorted(output.get("data", {output.output_type: None}))
                for output in cell.outputs
                if output.get("name") != "stderr"  # warnings of what is installed
            ]
            for cell in (old, new)
            if cell.cell_type == "code"
        ]
        assert kinds[:1] == kinds[1:]
    assert (tmp_path / "results" / "notebook" / "records").is_dir()


def test_the_notebook_is_small_and_has_its_outputs():
    path = ROOT / "docs" / "notebook.ipynb"
    assert path.stat().st_size < 200_000
    cells = [one for one in json.loads(path.read_text("utf-8"))["cells"] if "outputs" in one]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    shown = {kind for output in outputs for kind in output.get("data", {})}
    assert {"text/html", "image/png"} <= shown
