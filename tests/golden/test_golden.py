"""Whoever changes numbers raises a version: results of the former code are no longer taken for it.

Each concept's numbers are measured and compared with those that are stored. Where they differ, the
test says which version to raise. See `store` for how they are stored anew.
"""

import io
from contextlib import redirect_stderr
from dataclasses import replace
from functools import cache
from itertools import product

import pytest
from golden.concepts import CONCEPTS
from golden.measure import MEASURES, UNMEASURED, Numbers
from golden.store import refusal
from golden.stored import (
    ABSOLUTE,
    COMMAND,
    RELATIVE,
    Stored,
    differences,
    in_text,
    installed_libraries,
    problem,
)

from hfbench.execution.identity import VERSIONS, version_of
from hfbench.records.identity import concepts


@cache
def measure(concept: str) -> Numbers:
    with redirect_stderr(io.StringIO()):  # the libraries' bars would stand in the report
        return MEASURES[concept]()


@cache
def problem_of(concept: str) -> str | None:
    libraries = installed_libraries()
    return problem(concept, measure(concept), version_of(concept), Stored.load(), libraries)


@pytest.mark.parametrize("concept", CONCEPTS)
def test_numbers_are_those_of_the_version(concept):
    for lower in CONCEPTS[concept].leans_on:
        if problem_of(lower):
            pytest.skip(f"its numbers come about by those of {lower!r}, which are others")
    if all(numbers == UNMEASURED for numbers in measure(concept).values()):
        pytest.skip("PEFT is not installed: pip install 'hfbench[lora]'")
    if found := problem_of(concept):
        pytest.fail(found, pytrace=False)


def test_every_concept_of_an_identity_is_measured():
    controls = [name for name in CONCEPTS if name.startswith("control.")]
    assert CONCEPTS.keys() == MEASURES.keys() == {*VERSIONS, *controls}
    assert controls == ["control.majority", "control.tfidf-logreg"]


@pytest.mark.parametrize("concept", CONCEPTS)
def test_the_place_that_is_named_is_where_the_version_stands(concept):
    assert CONCEPTS[concept].written_version() == version_of(concept)


def test_what_is_blamed_on_another_concept_reruns_the_same_cells():
    kinds = [concepts("control", control=name) for name in ("majority", "tfidf-logreg", None)]
    networks = ("classification", "pretraining", "probe", "prompt")
    for kind, is_custom_gpt, has_lora in product(networks, [False, True], [False, True]):
        what = {"is_custom_gpt": is_custom_gpt, "is_pretrained": is_custom_gpt}
        kinds.append(concepts(kind, **what, has_lora=has_lora and kind == "classification"))
    for of_a_cell in kinds:
        for concept in of_a_cell:
            assert {*CONCEPTS[concept].leans_on} <= {*of_a_cell}


LIBRARIES = {"torch": "2"}
STORED = Stored({"data": {"ids": [5, 7], "loss": 0.5}}, {"data": 3}, LIBRARIES)


def test_equal_numbers_of_the_same_version_are_no_problem():
    almost = {"ids": [5, 7], "loss": 0.5 + ABSOLUTE / 2 + RELATIVE * 0.5}
    assert problem("data", almost, 3, STORED, LIBRARIES) is None


@pytest.mark.parametrize(
    ("measured", "line"),
    [
        ({"ids": [5, 7], "loss": 0.5 + 2 * ABSOLUTE + RELATIVE * 0.5}, "loss: 0.5 -> 0.50014"),
        ({"ids": [5, 8], "loss": 0.5}, "ids.1: 7 -> 8"),
        ({"ids": [5], "loss": 0.5}, "ids.1: 7 -> nothing"),
        ({"ids": [5, 7], "loss": 0.5, "f1": 1.0}, "f1: nothing -> 1"),
    ],
)
def test_changed_numbers_say_which_version_to_raise(measured, line):
    said = problem("data", measured, 3, STORED, LIBRARIES)
    assert f"\n  {line}\n" in said
    assert "raise VERSION in hfbench/data/__init__.py" in said
    assert said.endswith(COMMAND)
    assert "other libraries" not in said


def test_a_raised_version_asks_for_new_numbers():
    said = problem("data", STORED.numbers["data"], 4, STORED, LIBRARIES)
    assert said.startswith("VERSION in hfbench/data/__init__.py is 4, and the golden numbers")
    assert said.endswith(f"are those of version 3. Store them anew: {COMMAND}")
    assert COMMAND in problem("models", {}, 1, STORED, LIBRARIES)


def test_other_libraries_are_named_as_a_reason():
    said = problem("data", {"ids": [5, 8], "loss": 0.5}, 3, STORED, {"torch": "3"})
    assert "other libraries (torch 2 -> 3)" in said


def test_what_cannot_be_measured_here_does_not_differ():
    before = {"dropout": {"loss": [1.0, 2.0]}, "plain": 1}
    assert differences(before, {"dropout": UNMEASURED, "plain": 1}) == []
    assert differences(before, {"dropout": UNMEASURED, "plain": None}) == ["plain: 1 -> None"]


def test_numbers_are_stored_as_json_of_which_a_line_is_a_list():
    text = in_text({"a": {"b": [0.123456789, 2], "c": {}}, "d": "x"})
    assert text == '{\n "a": {\n  "b": [0.123457, 2],\n  "c": {}\n },\n "d": "x"\n}'


def test_numbers_without_a_raised_version_are_not_stored():
    stored = Stored.load()
    found = {**stored.numbers, "metrics": {"bits_per_byte": 1.0}}
    stored = replace(stored, libraries=installed_libraries())
    assert refusal(dict(stored.numbers), stored) is None
    assert "raise VERSION in hfbench/metrics/__init__.py" in refusal(found, stored)
    raised = {**stored.versions, "metrics": stored.versions["metrics"] - 1}
    assert refusal(found, replace(stored, versions=raised)) is None
    assert refusal(found, replace(stored, libraries={"torch": "1"})) is None
    assert "models.lora" in refusal({**found, "models.lora": {"x": UNMEASURED}}, stored)
