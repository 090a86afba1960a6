"""The example of docs/tuning.md runs as it stands there."""

import re
from pathlib import Path

import pytest

from hfbench import compare, load_recipe
from hfbench.records.store import ResultsFolder
from hfbench.records.trials import load_trials

PAGE = (Path(__file__).parents[2] / "docs" / "tuning.md").read_text("utf-8")


@pytest.mark.slow
def test_the_example_tunes_both_models(tmp_path):
    example = re.search(r"```yaml\n(name: tuned\n.*?)```", PAGE, re.S)[1]
    path = tmp_path / "tuned.yaml"
    path.write_text(example, encoding="utf-8")
    outcome = compare(load_recipe(path), tmp_path)
    assert len(outcome.ran) == 2 + 1 + 1
    trials = load_trials(ResultsFolder(tmp_path / "tuned"))
    assert {name: len(own) for name, own in trials.items()} == {"gpt-nano": 4, "tfidf": 4}
