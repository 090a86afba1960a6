"""results/simulations/measures.md, and that the intervals of measures hold what is claimed."""

import json
from pathlib import Path

import numpy as np
import pytest
from measures import (
    CLASSES,
    MEASURES,
    SETTINGS,
    Setting,
    as_page,
    draw_labels,
    draw_outputs,
    simulate,
)

from hfbench.evidence.judge import judge
from hfbench.metrics.registry import find_metric, metrics_of

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


@pytest.mark.slow
@pytest.mark.parametrize("kind", MEASURES)
def test_errors_are_those_of_a_bootstrap_over_seeds_and_examples(kind):
    """Runs and examples are drawn again independently, all measures computed from nothing.

    Of 12 runs and 300 examples; Owen's (2007) pigeonhole bootstrap, whose variance has in addition
    what is random in both together, little here. A standard deviation of 150 is known to 6 %.
    """
    rng = np.random.default_rng(3)
    labels = draw_labels(kind, 300, rng)
    common = rng.standard_normal((300, 1 if kind == "regression" else len(CLASSES)))
    outputs = [draw_outputs(labels, strength, 12, 3.0, common, rng) for strength in (1.6, 2.4)]
    draws = [
        (rng.integers(300, size=300), [rng.integers(12, size=12) for _ in outputs])
        for _ in range(150)
    ]
    for name in MEASURES[kind]:
        metric = find_metric(name, kind, CLASSES, "measure")
        again = []
        for examples, runs in draws:
            again.append(
                [
                    np.mean([metric.compute(model[run][examples], labels[examples]) for run in of])
                    for model, of in zip(outputs, runs, strict=True)
                ]
            )
        values = np.array(again)
        scores = {
            str(number): np.stack([metric.pseudo_values(run, labels) for run in model])
            for number, model in enumerate(outputs)
        }
        weight = metric.weight and metric.weight(labels)
        table = judge(scores, bounds=metric.bounds, weight=weight).table
        told = [table.mixture_of("0"), table.mixture_of("1"), *table.mixtures([("0", "1")])]
        drawn = [values[:, 0].std(), values[:, 1].std(), (values[:, 0] - values[:, 1]).std()]
        errors = [mixture.variance**0.5 for mixture in told]
        assert errors == pytest.approx(drawn, rel=0.25), name
