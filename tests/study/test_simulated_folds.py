"""results/simulations/cross_validation.md, and that what is said of folds holds."""

import json
import re
import warnings
from pathlib import Path

import pytest
from cross_validation import FACTORS, SETTINGS, as_claims, as_page, factor, simulate

from hfbench.evidence.folds import INFLATION

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "simulations"


def record():
    return json.loads((RESULTS / "cross_validation.json").read_text("utf-8"))


def test_the_page_and_the_claims_come_from_the_record():
    assert as_page(RESULTS) == (RESULTS / "cross_validation.md").read_text("utf-8")
    page = (ROOT / "docs" / "how-sure.md").read_text("utf-8")
    block = re.search(r"<!-- claims: cross-validation -->\n(.*?)<!-- end -->", page, re.S)
    assert block.group(1).strip() == as_claims(RESULTS)
    assert f"**{INFLATION:g}**" in page
    kept = [{k: v for k, v in one.items() if k != "found"} for one in record()["settings"]]
    assert all(one in [vars(setting) for setting in SETTINGS] for one in kept)
    assert len(kept) >= 5
    assert record()["tables"] >= 200


def test_the_factors_are_what_the_page_calls_them():
    assert [factor(name, 5) for name in FACTORS] == [1.0, INFLATION, 2.25]


def test_over_all_settings_the_factor_holds_its_error_and_none_does_not():
    found = [one["found"] for one in record()["settings"]]

    def mean(name, what):
        return sum(one[name][what] for one in found) / len(found)

    assert mean("hfbench", "wrong") < 0.05 < mean("none", "wrong")
    assert mean("hfbench", "covered") > 0.95 > mean("none", "covered")


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS[:1] + SETTINGS[7:8], ids=lambda one: one.learner)
def test_intervals_of_folds_hold_the_truth(setting):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = simulate(setting, 200, seed=1)["hfbench"]
    assert found["covered"] > 0.92
    assert found["wrong"] < 0.085
