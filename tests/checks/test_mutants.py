"""What the checks say of models with one fault, and of those that have none.

The quick half asks one mutant of each check; the slow half asks all mutants all checks.
"""

import pytest
from support.checks_page import format_checks, format_clean, format_known, section
from support.clean_models import KNOWN_FAULTS, MODELS, small_model
from support.mutation import (
    CONFIGS,
    ELSEWHERE,
    Mutant,
    ask_all,
    format_table,
    load_mutants,
    outcome,
    written,
)

from hfbench.checks import CHECKS, Examination, find_checked_model

MUTANTS = load_mutants()
NAMES = {check.name: check for check in CHECKS}
NO_SIGNS = str.maketrans(", ", "__")
ONE_EACH = {mutant.caught_by: mutant for mutant in MUTANTS if mutant.caught_by}


def causes(examination):
    """Checks that fail with no other's failure as the cause."""
    return {
        check.name
        for check in CHECKS
        if check.name not in ELSEWHERE
        for verdict in examination.ask(check)
        if verdict.status == "FAIL" and not verdict.follows_from
    }


def test_each_check_has_a_mutant():
    # what these two find needs a folder or processes; test_checks.py asks them
    assert {*NAMES} - {*ONE_EACH} == ELSEWHERE


@pytest.mark.parametrize("name", ONE_EACH)
def test_a_fault_is_found_by_the_check_that_is_meant_for_it(tmp_path, name):
    with written(ONE_EACH[name], tmp_path, f"quick_{name.translate(NO_SIGNS)}") as model:
        verdicts = Examination(find_checked_model(model), CHECKS).ask(NAMES[name])
    assert [v for v in verdicts if v.status in ("FAIL", "note") and not v.follows_from]


@pytest.mark.slow
@pytest.mark.parametrize("model", CONFIGS)
def test_the_models_without_a_fault_pass_every_check(tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)  # where the two processes look for its module
    with written(Mutant(model, "", None, []), tmp_path, f"whole_{model}") as name:
        examination = Examination(find_checked_model(name), CHECKS)
        failed = {v.note for check in CHECKS for v in examination.ask(check) if v.status == "FAIL"}
    assert failed == set()


@pytest.mark.slow
def test_the_table_says_what_all_checks_find(tmp_path):
    outcomes = [
        outcome(mutant, ask_all(mutant, tmp_path, f"mutant_{number}"))
        for number, mutant in enumerate(MUTANTS)
    ]
    assert format_table(MUTANTS, outcomes) == section("mutants")


def test_the_page_names_each_mutant_and_check_and_model():
    rows = [line.split(" | ")[:2] for line in section("mutants").splitlines() if "|" in line]
    told = [row for row in rows if "to be caught by" not in row[1] and "---" not in row[0]]
    assert told == [[f"| {m.fault}", m.caught_by or ""] for m in MUTANTS]
    assert section("checks") == format_checks()
    assert section("clean") == format_clean()
    assert section("known") == format_known()


@pytest.mark.slow
@pytest.mark.parametrize("model_type", MODELS)
def test_no_model_of_transformers_is_accused_falsely(model_type):
    assert causes(Examination(small_model(model_type), CHECKS)) == set()


@pytest.mark.slow
@pytest.mark.parametrize("model_type", KNOWN_FAULTS)
def test_what_is_found_in_transformers_is_as_the_page_says(model_type):
    assert causes(Examination(small_model(model_type), CHECKS)) == KNOWN_FAULTS[model_type].fails
