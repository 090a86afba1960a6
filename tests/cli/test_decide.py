"""The verbs that decide: exit codes, files, and results of the Hub as a base."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "results" / "quickstart"


def test_the_cheapest_row_is_named_in_the_units_of_the_table(call):
    code, out, _ = call("decide", QUICKSTART, "--margin", 25)
    assert code == 0
    said = " ".join(out.split())
    assert said.startswith(
        "Take tfidf-logreg (5,689 parameters), the cheapest row that is shown to be within 25.0 "
        "points of the best: it is worse than the best by at most 22.4 points, with 95 % confidence"
    )
    code, out, _ = call("decide", ROOT / "results" / "three_tasks", "--margin", 3)
    assert code == 0
    assert "on each of the 3 tasks" in " ".join(out.split())
    told = json.loads(call("decide", QUICKSTART, "--margin", 25, "--json")[1])
    assert told["take"] == "tfidf-logreg"
    bounds = {row["model"]: row["worse_by_at_most"] for row in told["models"]}
    assert bounds["tfidf-logreg"] == pytest.approx(0.224, abs=0.001)


@pytest.mark.parametrize(
    ("base", "candidate", "expected"),
    [
        ("gpt-nano", "gpt-nano-pretrained", 0),
        ("gpt-nano", "gpt-nano", 0),
        ("gpt-nano-pretrained", "gpt-nano", 1),
        ("majority", "gpt2-tiny-shape", 3),
    ],
)
def test_the_exit_code_is_the_verdict(call, tmp_path, base, candidate, expected):
    page, xml = tmp_path / "gate.md", tmp_path / "gate.xml"
    code, out, _ = call(
        "gate", f"{QUICKSTART}:{base}", f"{QUICKSTART}:{candidate}", "--margin", 0.1,
        "--markdown", page, "--junit", xml,
    )  # fmt: skip
    assert code == expected
    word = {0: "passed", 1: "failed", 3: "undecided"}[code]
    assert out.startswith(f"{word}: ")
    assert page.read_text("utf-8").startswith(f"### hfbench gate: {word}\n")
    told = json.loads(call(
        "gate", f"{QUICKSTART}:{base}", f"{QUICKSTART}:{candidate}", "--margin", 0.1, "--json",
    )[1])  # fmt: skip
    assert told["verdict"] == word
    assert ElementTree.parse(xml).getroot().get("failures") == str(int(code == 1))


def test_mistakes_are_messages(call, tmp_path, write_record):
    for name in ("one", "two"):
        write_record(tmp_path, name, 0, np.arange(80) < 60)
    for arguments, said in [
        (("decide", QUICKSTART, "--margin", 0), "--margin must be above 0"),
        (("decide", "nowhere", "--margin", 1), "no records here"),
        (("decide", tmp_path, "--margin", 1, "--prefer", "latency"), "no row has it"),
        (("gate", f"{QUICKSTART}:gpt-nan", QUICKSTART, "--margin", 1), "did you mean 'gpt-nano'"),
        (("gate", QUICKSTART, "hf://ada/r", "--margin", 1), "write it as hf://datasets/user/name"),
    ]:
        code, _, err = call(*arguments)
        assert code == 2
        assert said in err


@pytest.mark.slow
def test_a_base_may_be_on_the_hub(call, results, hub):
    code, _, err = call("push", results, "--repo-id", "ada/r")
    assert code == 0, err
    code, out, err = call("gate", "hf://datasets/ada/r:mine", results, "--margin", 1)
    assert code == 0, err
    assert "Nothing changed, to the last answer: mine." in out
    code, out, err = call("decide", "hf://datasets/ada/r", "--margin", 90)
    assert code == 0, err
    assert "Take floor (0 parameters)" in " ".join(out.split())
