"""Every architecture of transformers, small: the committed outcomes, and some of them again."""

import json
import sys
from pathlib import Path

import pytest
import transformers

sys.path.append(str(Path(__file__).parents[2]))

from recipes.sweep import OUTCOMES
from recipes.sweep.sweep import TYPES, run
from recipes.sweep.table import PAGE, write_page

CONTENT = json.loads(OUTCOMES.read_text("utf-8"))
FEW = {
    "classifier": ["qwen3_5"],
    "language model": ["bart", "mamba"],
}


def outcomes(head):
    return {row["type"]: row["outcome"] for row in CONTENT["outcomes"] if row["head"] == head}


def again(head, types, folder):
    """Outcomes of now, by type; of what fails nothing but what fails with the stock Trainer."""
    rows = {row["type"]: row for row in run(head, types, folder)}
    assert not [row for row in rows.values() if row.get("stock") == "trains"]
    return rows


def test_the_page_is_that_of_the_outcomes():
    assert PAGE.read_text("utf-8") == write_page(CONTENT)


@pytest.mark.skipif(
    CONTENT["versions"]["transformers"] != transformers.__version__,
    reason="the outcomes are those of another transformers",
)
@pytest.mark.parametrize("head", TYPES)
def test_the_outcomes_are_of_every_architecture_that_there_is(head):
    assert set(outcomes(head)) == set(TYPES[head])


def test_nothing_failed_that_the_stock_trainer_trains():
    failed = [row for row in CONTENT["outcomes"] if row["outcome"] == "failed"]
    assert all(row["stock"] != "trains" for row in failed)


@pytest.mark.parametrize("head", TYPES)
def test_some_architectures_come_out_so_again(head, tmp_path):
    known = [name for name in FEW[head] if name in TYPES[head]]
    rows = again(head, known, tmp_path)
    assert {name: row["outcome"] for name, row in rows.items()} == {
        name: outcomes(head)[name] for name in known
    }
    for row in rows.values():
        if row["outcome"] == "trained" and head == "classifier":
            assert row["elsewhere"] == "equal"


@pytest.mark.slow
@pytest.mark.parametrize("head", TYPES)
def test_every_architecture_comes_out_so_again(head, tmp_path):
    tried = [name for name, outcome in outcomes(head).items() if outcome != "not tried"]
    rows = again(head, tried, tmp_path)
    assert {name: row["outcome"] for name, row in rows.items()} == {
        name: outcomes(head)[name] for name in tried
    }
