"""results/simulations, and that the statistics hold what is claimed of them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from bounds import least_width
from grids import GRIDS, Row, latent
from simulate import as_claims, as_page, simulate

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "simulations"


def settings_of(grid, *names):
    found = [setting for setting in GRIDS[grid].settings if setting.name in names]
    assert len(found) == len(names)
    return found


def test_the_page_and_the_claims_come_from_the_records():
    assert as_page(RESULTS) == (RESULTS / "README.md").read_text("utf-8")
    for page in ("README.md", "docs/how-sure.md"):
        text = (ROOT / page).read_text("utf-8")
        block = re.search(r"<!-- claims: results/simulations -->\n(.*?)<!-- end -->", text, re.S)
        assert block.group(1).strip() == as_claims(RESULTS), page


def test_what_falls_short_is_told_with_the_numbers_of_the_records():
    text = " ".join((ROOT / "docs" / "how-sure.md").read_text("utf-8").split())
    bounds = json.loads((RESULTS / "bounds.json").read_text("utf-8"))
    narrowest, known = bounds["least_width_in_students"], bounds["known_seeds_in_anovas"].values()

    def found(grid, key, **which):
        settings = json.loads((RESULTS / f"{grid}.json").read_text("utf-8"))["settings"]
        chosen = [s for s in settings if all(s[name] == value for name, value in which.items())]
        return [setting["found"][key] for setting in chosen]

    two = {"runs": "2", "seed_sd": [1.0] * 6}
    widths = [found("equal", f"{by}difference_width", **two) for by in ("", "anova_")]
    ours = [one / other for one, other in zip(*widths, strict=True)]
    wrong = 100 * found("taken_for_all", "any_wrong_claim", pretraining_sd=3)[0]
    least = 100 * min(found("two_rows", "accuracy_covered"))
    pair = [found("two_rows", f"{by}any_wrong_claim") for by in ("", "anova_")]
    most, each = max(zip(*pair, strict=True))
    wide = 100 * max(found("two_rows", "difference_covered"))
    for told in (
        f"at least {narrowest['2 runs, wild row in 90 %']} times as wide",
        f"{narrowest['2 runs, wild row in 93.5 %']} times for 93.5 % of both",
        f"Intervals have {min(ours):.2f} to {max(ours):.2f} of the width",
        f"has {min(known)} to {max(known)} of it",
        f"six runs of it would be wrong in {wrong:.0f} % of tables",
        f"covered in {least:.1f} % at the least, and up to {100 * most:.1f} % of 1,000 tables",
        f"each row by itself, {100 * each:.1f} %",
        f"hold in up to {wide:.1f} %",
    ):
        assert told in text


def test_no_interval_of_two_runs_is_narrower_than_its_bound():
    record = json.loads((RESULTS / "bounds.json").read_text("utf-8"))["least_width_in_students"]
    for wild in (90, 93.5):
        found = least_width(2, wild / 100, 0.935)
        assert found == pytest.approx(record[f"2 runs, wild row in {wild:g} %"], abs=0.011)
    # Student's own interval covers both kinds in 95 %, and is no narrower than its bound
    assert 0.75 < least_width(2, 0.95, 0.95) <= 1


def test_records_hold_all_settings_of_their_grids():
    for name, grid in GRIDS.items():
        record = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
        described = [{k: v for k, v in s.items() if k != "found"} for s in record["settings"]]
        assert described == [json.loads(json.dumps(s.describe())) for s in grid.settings]
        assert record["tables"] >= 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("grid", "name"),
    # of the study's runs: its records grow
    [("equal", "2 runs, 60 examples, sd 3"), ("real", "2 runs, 240 examples")],
)
def test_a_record_is_what_its_command_gives(grid, name):
    record = json.loads((RESULTS / f"{grid}.json").read_text("utf-8"))
    kept = next(s for s in record["settings"] if s["name"] == name)
    (setting,) = settings_of(grid, name)
    found = simulate(setting, record["tables"], record["seed"])
    for name, value in kept["found"].items():
        assert getattr(found, name) == pytest.approx(value, abs=0.005), name


def test_simulated_answers_have_the_accuracy_that_is_taken_for_true():
    rng = np.random.default_rng(0)
    rows = [Row(4, 0.65, 0.08), Row(4, 0.9, 0.03)]
    for heavy in (False, True):
        draw = latent(rows, 500, heavy=heavy)
        means = np.mean([[t.mean() for t in draw(rng).right] for _ in range(400)], axis=0)
        assert means == pytest.approx([0.65, 0.9], abs=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("grid", "name"),
    [
        ("equal", "2 runs, 60 examples, sd 3"),
        ("equal", "2 runs, 2000 examples, sd 3"),
        ("equal", "3 runs, 872 examples, sd 3"),
        ("equal", "10 runs, 872 examples, sd 3"),
        ("unequal_runs", "872 examples, sd 3"),
        ("heavy", "3 runs, 240 examples, sd 3"),
        ("collapse", "5 runs, 240 examples"),
        ("real", "3 runs, 872 examples"),
    ],
)
def test_the_marks_are_held(grid, name):
    (setting,) = settings_of(grid, name)
    found = simulate(setting, 300, seed=1)
    # what 300 tables allow: two standard errors beside the mark
    assert found.any_wrong_claim <= 0.055 + 0.026
    assert found.best_left_out <= 0.05 + 0.026
    assert 0.92 <= found.difference_covered <= 0.985
    assert 0.92 <= found.accuracy_covered <= 0.985
    wider = found.difference_width / found.anova_difference_width
    if name.startswith("10 runs"):
        assert wider <= 1.03
    if name in ("2 runs, 2000 examples, sd 3",):
        assert wider <= 0.5


@pytest.mark.slow
@pytest.mark.parametrize("runs", [2, 3])
def test_a_table_of_unlike_rows_is_not_far_off(runs):
    (setting,) = settings_of("heterogeneous", f"0.5 to 6, {runs} runs, 872 examples")
    found = simulate(setting, 300, seed=1)
    assert found.any_wrong_claim <= 0.055 + 0.026
    assert found.difference_covered_worst >= 0.85
