"""The verbs as they are typed: what they print, their exit codes, the lines of docs."""

import json
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from hfbench.cli import app as cli

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "publishing.md").read_text("utf-8")


@pytest.fixture
def call(monkeypatch, capsys, results, tmp_path, quick_figures):
    """Run a command line in a folder with the results as ``tiny``: exit code, output, errors."""
    shutil.copytree(results, tmp_path / "work" / "tiny")
    monkeypatch.chdir(tmp_path / "work")

    def run(line, script=None):
        monkeypatch.setattr(sys, "argv", ["hfbench", *shlex.split(line)])
        with pytest.raises(SystemExit) as leave:
            runpy.run_path(str(script), run_name="__main__") if script else cli.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return leave.value.code or 0, said.out, said.err

    return run


@pytest.mark.slow
def test_a_dry_run_writes_the_folder_and_asks_nobody(call, tmp_path, reach):
    reach("http://127.0.0.1:9")  # where nothing answers
    code, out, _ = call("push tiny tuned --repo-id ada/tuned --dry-run")
    assert code == 0
    folder = tmp_path / "work" / "tiny" / "push" / "ada--tuned"
    sizes = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    assert len(sizes) == 6
    for name, size in sizes.items():
        assert re.search(rf"^ +{size:,}  {name}$", out, re.M)
    assert f"{sum(sizes.values()):,}  bytes in 6 files" in out
    assert "Nothing was uploaded; a new repo would be private." in out
    code, out, err = call(f"verify {folder}")
    assert (code, out.startswith(f"proven: {folder} gives")) == (0, True), err
    record = json.loads((folder / "record.json").read_text("utf-8"))
    record["probe"]["logits"][0][0] += 1
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    assert call(f"verify {folder}")[0] == 2  # its checksum
    code, out, _ = call("push tiny --repo-id ada/r --dry-run --public")
    assert code == 0
    assert "a new repo would be public" in out
    made = tmp_path / "work" / "tiny" / "push" / "datasets--ada--r"
    assert {"README.md", "table.md", "records", "data"} <= {path.name for path in made.iterdir()}


def test_exit_codes_tell_a_mistake_from_a_failure(call, hub, faults):
    mistake = [
        ("push tiny nobody --repo-id ada/m", "nobody"),
        ("push tiny floor --repo-id ada/m", "floor is a control"),
        ("push tiny tuned --repo-id tuned", "write it as user/name"),
        ("push nowhere tuned --repo-id ada/m", "nowhere: no records here"),
        ("push tiny tuned --repo-id ada/m --seed 9", "no finished run of tuned has it"),
        ("push tiny --repo-id bob/r", "belongs to 'bob'"),
        ("push tiny --repo-id ada/r --seed 1", "--seed is of a MODEL"),
        ("push tiny tuned --repo-id ada/m --space", "--space is of results"),
        ("verify tiny --revision main", "tiny is a results folder"),
        ("verify ada/none --cells x", "--cells is of a results folder"),
        ("verify ada", "ada: no records here"),
        ("verify ada/none", "not on"),
        ("table hf://datasets/ada/none", "not on"),
    ]
    for line, message in mistake:
        code, _, err = call(line)
        assert (code, message in err) == (2, True), (line, err)
        assert err.startswith("error: ")
    hub.faults.append(faults.Fault("POST", "/commit/", faults.limit(7)))
    code, _, err = call("push tiny --repo-id ada/r")
    assert (code, "run the same command in 7 seconds" in err) == (1, True)


@pytest.mark.slow  # four proofs
def test_the_docs_lines_run_as_written(call, hub, tmp_path):
    lines = [
        line.split("#")[0].replace("results/local/quickstart", "tiny").strip()
        for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S)
        for line in block.splitlines()
        if re.search(r"hfbench (push|verify user|table hf:)", line)
    ]
    verbs = [line.split()[1] for line in lines]
    assert verbs == ["push", "push", "push", "verify", "table"]
    for line in lines:
        words = line.replace("user/", "ada/").replace("gpt-nano-pretrained", "mine").split()[1:]
        code, out, err = call(" ".join(words))
        assert code == 0, (line, err)
        if words[0] == "verify":
            assert out.startswith("proven: ada/")
    assert {repo for _, repo in hub.repos} == {"ada/my-gpt", "ada/my-results"}


def test_the_scripts_are_the_verbs(call, hub):
    code, out, _ = call("tiny --repo-id ada/r", ROOT / "recipes" / "push.py")
    assert code == 0
    assert "Published (private)" in out
    code, _, err = call("tiny floor --repo-id ada/m", ROOT / "recipes" / "push.py")
    assert code == 2
    assert "floor is a control" in err
