"""How much verbs say and in what form."""

import json

import pytest

import hfbench.cli.app as cli
from hfbench.records.store import ResultsFolder


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def test_every_verb_takes_the_three_options(call):
    for verbs in cli._VERBS.values():
        for verb in verbs:
            name = "list" if verb is cli.list_known else verb.__name__
            shown = call(name, "--help")[1]
            assert all(f" --{option} " in shown for option in ("quiet", "verbose", "json")), name


def test_json_of_a_comparison_is_an_object_a_line(write_recipe, tmp_path, call):
    path = write_recipe(training_arguments={"max_steps": 2})
    arguments = ("compare", path, "--results-dir", tmp_path / "r", "--jobs", 1)
    code, shown, _ = call(*arguments, "--json")
    assert code == 0
    events = objects(shown)
    names = [event.get("event") for event in events]
    assert names == ["begin", *["start", "end"] * 3, "result"]
    assert events[0]["cells"] == 3
    assert events[2]["metrics"]["validation"]["accuracy"] > 0
    rows = {row["model"]: row for row in events[-1]["models"]}
    assert set(rows) == {"mine", "floor"}
    assert events[-1]["ran"] == 3
    code, shown, _ = call("--json", "table", tmp_path / "r" / "tiny")  # before the verb, too
    assert objects(shown)[0]["models"] == events[-1]["models"]
    for verb in ("report", "fsck", "pack"):
        code, shown, _ = call(verb, tmp_path / "r" / "tiny", "--json")
        assert (code, len(objects(shown))) == (0, 1), verb
    code, shown, _ = call("plan", path, "--results-dir", tmp_path / "r", "--json")
    assert [cell["state"] for cell in objects(shown)[0]["cells"]] == ["finished"] * 3


def test_quiet_leaves_the_result(write_recipe, tmp_path, call):
    path = write_recipe(training_arguments={"max_steps": 2})
    arguments = ("compare", path, "--results-dir", tmp_path / "r", "--jobs", 1)
    code, shown, _ = call(*arguments, "-q")
    assert code == 0
    assert "loading" not in shown
    assert "[1/3]" not in shown
    assert "95 %" in shown
    # what was said before does not hold for the next command of a process
    assert "loading" in call(*arguments)[1]


def test_a_log_lies_beside_the_records(write_recipe, tmp_path, call, monkeypatch, capsys):
    path = write_recipe(training_arguments={"learning_rate": 1e30, "max_steps": 3})
    arguments = ("compare", path, "--results-dir", tmp_path / "r", "--jobs", 1)
    monkeypatch.setattr("sys.argv", ["hfbench", *map(str, arguments), "-v"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "Traceback (most recent call last)" in capsys.readouterr().err
    log = ResultsFolder(tmp_path / "r" / "tiny").log
    lines = log.read_text("utf-8").splitlines()
    assert any("mine--seed0: FAILED: NonFiniteLossError" in line for line in lines)
    assert any("raised in hfbench.training" in line for line in lines)
    count = len(lines)
    # of a start in which nothing runs there is nothing to say
    call("compare", write_recipe(models=[{"name": "floor", "control": "majority"}]),
         "--results-dir", tmp_path / "r")  # fmt: skip
    assert len(log.read_text("utf-8").splitlines()) == count


@pytest.mark.parametrize("verb", ["compare", "plan"])
def test_data_given_for_a_recipe_lead_to_init(verb, tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews.csv").write_text("text,label\na,b\n")
    code, _, error = call(verb, "reviews.csv")
    assert code == 2
    assert "`hfbench init reviews.csv`" in error
    assert "`hfbench init nyu-mll/glue`" in call(verb, "nyu-mll/glue")[2]
    assert "did you mean 'quickstart'?" in call(verb, "quickstrat")[2]
