"""The committed table of which classifiers are replayed."""

import json
from pathlib import Path

from recipes.sweep.replays import write_page

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "results" / "speed"
CONTENT = json.loads((FOLDER / "replays.json").read_text("utf-8"))


def test_the_page_is_that_of_the_outcomes():
    assert (FOLDER / "replays.md").read_text("utf-8") == write_page(CONTENT)


def test_what_was_not_replayed_has_a_reason():
    assert all(row["reason"] for row in CONTENT["outcomes"] if row["outcome"] != "replayed")
