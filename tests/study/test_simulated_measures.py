"""results/simulations/measures.md, and that the intervals of measures hold what is claimed."""

import json
from pathlib import Path

import pytest
from measures import MEASURES, SETTINGS, Setting, as_page, simulate

from hfbench.metrics.registry import metrics_of

RESULTS = Path(__file__).parents[2] / "results" / "simulations"


def test_the_page_comes_from_the_record_which_holds_every_setting_and_column():
    assert as_page(RESULTS) == (RESULTS / "measures.md").read_text("utf-8")
    record = json.loads((RESULTS / "measures.json").read_text("utf-8"))
    kept = [{k: v for k, v in one.items() if k != "found"} for one in record["settings"]]
    assert kept == [vars(setting) for setting in SETTINGS]
    for kind, names in MEASURES.items():
        assert {metric.name for metric in metrics_of(kind)} <= {*names}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MEASURES)
def test_intervals_of_measures_hold_the_truth(kind):
    found = simulate(Setting(kind, 3, 240, 3.0), 60)
    for name, values in found.items():
        if name != "ece":  # too high with few examples, as docs/measures.md says
            assert values["covered"] > 0.88, name
            assert values["difference_covered"] > 0.88, name
