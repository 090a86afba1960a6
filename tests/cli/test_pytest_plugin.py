"""`pytest --hfbench MODEL`, most of it in a process of its own, as people's CI starts it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

MODELS = Path(__file__).parents[1] / "checks" / "models"
CHOSEN = "future or forward or generation or attention"


def run_pytest(folder, *arguments):
    # named, and not found by its entry point, which an installation from before does not have
    command = [sys.executable, "-m", "pytest", "-p", "hfbench.cli.pytest_plugin", *arguments]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_each_check_is_a_test_with_its_advice(tmp_path, monkeypatch, capsys):
    code = (MODELS / "alibi.py").read_text("utf-8")
    (tmp_path / "leaking.py").write_text(code.replace("(distance >= 0)", "(distance >= -1)"))
    (tmp_path / "test_own.py").write_text("def test_it(): assert False")
    # in this process, where torch is imported
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    arguments = ["-p", "hfbench.cli.pytest_plugin", "-p", "no:cacheprovider", "-k", CHOSEN]
    arguments += ["--hfbench", "leaking:AlibiConfig", "-W", "error", "--junitxml=j.xml"]
    arguments += [
        "-W",
        "ignore::pytest.PytestAssertRewriteWarning",
    ]  # installed, it is here already
    try:
        ended = pytest.main(arguments)
    finally:
        sys.modules.pop("leaking", None)
    said = capsys.readouterr().out
    assert ended == 1, said
    cases = {
        case.get("name"): case for case in ElementTree.parse(tmp_path / "j.xml").iter("testcase")
    }
    # the folder's own test was not named
    assert cases.keys() == {"forward", "future", "attention", "generation"}
    assert {case.get("classname") for case in cases.values()} == {"leaking:AlibiConfig"}
    assert len(cases["forward"]) == 0
    messages = {name: case[0].get("message") for name, case in cases.items() if len(case)}
    assert messages["future"].startswith("unfair here, language model: a token changes the logits")
    assert "broken on the Hub, language model: follows from 'future'" in messages["generation"]
    assert "AdviceWarning: advice, classifier" in messages["attention"]  # by -W error
    assert "Traceback" not in said


@pytest.mark.slow
def test_advice_is_a_warning_and_named_tests_run_as_well(tmp_path):
    shutil.copy(MODELS / "alibi.py", tmp_path)
    (tmp_path / "test_own.py").write_text("def test_forward(): pass")
    run = run_pytest(tmp_path, "test_own.py", "--hfbench", "alibi:AlibiConfig", "-k", CHOSEN)
    assert run.returncode == 0, run.stdout
    assert "AdviceWarning: advice, classifier: the class does not say _supports_sdpa" in run.stdout
    assert "5 passed" in run.stdout


@pytest.mark.slow
def test_a_model_that_there_is_not_is_an_error_of_usage(tmp_path):
    run = run_pytest(tmp_path, "--hfbench", "nowhere:Config")
    assert run.returncode == 4
    assert "--hfbench nowhere:Config: nowhere:Config: nowhere cannot be imported" in run.stderr


def test_pytest_without_it_imports_no_torch(tmp_path):
    (tmp_path / "test_own.py").write_text(
        "import sys\ndef test_it(): assert not {'torch', 'transformers'} & {*sys.modules}"
    )
    run = run_pytest(tmp_path)
    assert run.returncode == 0, run.stdout
