"""By how much a row may be worse than the best: the bound, and how often it is wrong."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from decisions import GRID, Setting, simulate
from scipy.stats import norm

from hfbench.evidence.best import best_p_values, levels_against_all
from hfbench.evidence.judge import judge
from hfbench.evidence.shortfall import shortfalls

RECORD = Path(__file__).parents[2] / "results" / "simulations" / "decisions.json"


def table_of(**shares):
    """Of rows in which nothing is random, so that the bound is a normal one."""
    rng = np.random.default_rng(0)
    scores = {name: (rng.random(2000) < share)[None] for name, share in shares.items()}
    return judge(scores, controls=list(scores)).table


def test_of_two_rows_it_is_the_end_of_the_one_sided_interval():
    table = table_of(a=0.8, b=0.78)
    (mixture,) = table.mixtures([("a", "b")])
    end = mixture.centre + norm.ppf(0.95) * math.sqrt(mixture.variance)
    found = shortfalls(table)
    assert found["b"].bound == pytest.approx(end, rel=1e-3)
    assert found["b"].against == "a"
    # b may be the best as well, so that a may be worse, too
    assert found["a"].bound == pytest.approx(end - 2 * mixture.centre, rel=1e-3)


def test_of_what_is_shown_to_be_the_best_it_is_nothing():
    found = shortfalls(table_of(a=0.9, b=0.7, c=0.5))
    assert found["a"].bound == 0
    # c is worse than a, and not than the best of those that are shown not to be it
    assert found["c"].against == found["b"].against == "a"
    assert 0.4 < found["c"].bound < 0.45


def test_the_set_of_the_best_is_that_of_hsu():
    table = table_of(a=0.80, b=0.79, c=0.77, d=0.74)
    pairs = table.compare([(x, y) for x in "abcd" for y in "abcd" if x < y])
    may_be_best = dict(zip(table.number, table.may_be_best(pairs), strict=True))
    rivals = {found.against for found in shortfalls(table).values()}
    assert rivals <= {name for name, may_be in may_be_best.items() if may_be}
    assert not may_be_best["d"]


def test_a_level_is_that_at_which_the_set_of_the_best_leaves_a_row_out():
    covariance = np.diag([1.0, 2.0, 0.5, 1.0]) + 0.3
    levels = levels_against_all(covariance, 0.05)
    for row, level in enumerate(levels):
        p_greater = np.full((4, 4), 0.9)
        p_greater[row, (row + 1) % 4] = level
        assert best_p_values(p_greater, covariance)[row] == pytest.approx(0.05, rel=1e-3)
        assert 0.05 / 3 <= level < 0.05


def test_without_known_seeds_nothing_is_claimed():
    rng = np.random.default_rng(0)
    scores = {name: rng.normal(size=(1, 200)) for name in "ab"}
    assert all(found.bound == math.inf for found in shortfalls(judge(scores).table).values())


def test_looks_share_the_error():
    rng = np.random.default_rng(0)
    scores = {name: rng.random((3, 500)) < 0.8 for name in "ab"}
    once, thrice = (shortfalls(judge(scores, looks=looks).table)["b"] for looks in (1, 3))
    assert thrice.level == pytest.approx(once.level / 3, rel=1e-3)
    assert thrice.bound > once.bound


def test_a_row_that_is_worse_by_the_margin_is_seldom_called_good_enough():
    found = simulate(Setting(2, 3, 5, 1000, 1, 4), tables=20, seed=1)
    assert found["false"] <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 20)
    assert found["power"] > 0.5  # it claims something


def test_the_record_is_of_the_grid_and_holds_the_error():
    record = json.loads(RECORD.read_text("utf-8"))
    assert [{**vars(one)} for one in GRID] == [
        {key: value for key, value in one.items() if key != "found"} for one in record["settings"]
    ]
    false = np.array([one["found"]["false"] for one in record["settings"]])
    assert record["tables"] >= 200
    # of one setting 400 tables tell a share of 5 % to 2.2 points; of all together to 0.3
    assert false.max() <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / record["tables"])
    assert false.mean() <= 0.05


@pytest.mark.slow
@pytest.mark.parametrize("setting", GRID[::9], ids=str)
def test_the_error_holds_with_other_draws(setting):
    found = simulate(setting, tables=300, seed=2)
    assert found["false"] <= 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 300)
