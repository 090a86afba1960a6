"""docs/how-sure.md says what the code does."""

import re
from pathlib import Path

import numpy as np

from hfbench.evidence import seeds
from hfbench.evidence.stats import at_most

PAGE = " ".join((Path(__file__).parents[2] / "docs" / "how-sure.md").read_text("utf-8").split())


def test_the_prior_is_the_one_that_is_used():
    prior = f"log({seeds.CENTRE} sd), {seeds.CENTRE_SD}^2), tau ~ half-normal({seeds.SPREAD})"
    assert prior in PAGE
    assert f"normal around {seeds.ASSUMED} sd with {seeds.ASSUMED_SD}" in PAGE
    shape = seeds._prior()[0].shape
    assert f"a grid of {shape[1]} values of s and {shape[0]} of (mu, tau)" in PAGE


def test_its_figures_are_those_of_its_formulas():
    assert f"sqrt(p (1 - p) / n): {100 * np.sqrt(0.8 * 0.2 / 872):.1f} points for 80 %" in PAGE
    for runs, share in re.findall(r"0 of (\d+) may be (\d+) %", PAGE):
        assert round(100 * at_most(0, int(runs))) == int(share)
    low, high = (100 * 0.02 * np.exp(sign * 1.96 * seeds.ASSUMED_SD) for sign in (-1, 1))
    assert f"vary an accuracy by {low:.1f} to {high:.1f} points" in PAGE


def test_its_example_runs():
    code = (Path(__file__).parents[2] / "docs" / "how-sure.md").read_text("utf-8")
    block = re.search(r"```python\n(.*?)```", code, re.S).group(1)
    rng = np.random.default_rng(0)
    names = {
        "right_of_mine": rng.random((3, 200)) < 0.9,
        "right_of_theirs": rng.random((3, 200)) < 0.5,
    }
    exec(block, names)
    assert names["judged"].best == ["mine"]
    assert 0.9 < names["judged"].table.chance("mine", "theirs", 120).probability <= 1
