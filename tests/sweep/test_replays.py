"""The committed table of which classifiers are replayed."""

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

from recipes.sweep.replays import write_page

FOLDER = Path(__file__).parents[2] / "results" / "speed"
CONTENT = json.loads((FOLDER / "replays.json").read_text("utf-8"))


def test_the_page_is_that_of_the_outcomes():
    assert (FOLDER / "replays.md").read_text("utf-8") == write_page(CONTENT)


def test_what_was_not_replayed_has_a_reason():
    assert all(row["reason"] for row in CONTENT["outcomes"] if row["outcome"] != "replayed")
