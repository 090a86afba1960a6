"""A candidate passes, fails, or is undecided, by its interval and the margin."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from hfbench.api import gate, load_side
from hfbench.errors import UserError

N = 800


def write_rows(write_record, folder, **rows):
    """Rows of 4 runs that are right about such a share, with an own way to draw."""
    difficulty = np.random.default_rng(0).random(N)
    for name, (share, stream) in rows.items():
        for seed in range(4):
            own = np.random.default_rng([stream, seed]).random(N)
            write_record(folder, name.replace("_", "-"), seed, 0.9 * difficulty + 0.1 * own < share)


def failed(message):
    return {"type": "OSError", "step": None, "message": message}


@pytest.fixture
def base(tmp_path, write_record):
    write_rows(write_record, tmp_path / "base", mine=(0.8, 1), other=(0.6, 2))
    return tmp_path / "base"


@pytest.fixture
def candidate(tmp_path, write_record):
    def build(**rows):
        write_rows(write_record, tmp_path / "candidate", **rows)
        return tmp_path / "candidate"

    return build


def test_what_is_alike_is_not_worse(base, candidate):
    found = gate(base, candidate(mine=(0.801, 3)), 0.03)
    (row,) = found.rows
    assert (row.verdict, found.exit_code, found.verdict) == ("not worse", 0, "passed")
    assert found.notes == [f"Only in {base}, not compared: other."]
    mean, low, high = row.difference
    assert -0.03 < low < mean < high


def test_the_verdict_follows_the_interval(base, candidate):
    low, high = gate(base, candidate(mine=(0.79, 3)), 0.5).rows[0].difference[1:]
    assert low < 0 < high
    narrow = gate(base, base.parent / "candidate", -low * 0.9)
    assert narrow.rows[0].verdict == "undecided"
    assert narrow.exit_code == 3
    (case,) = ElementTree.fromstring(narrow.to_junit()).iter("testcase")
    assert [child.tag for child in case] == ["skipped", "system-out"]
    assert "more examples" in narrow.rows[0].why
    assert gate(base, base.parent / "candidate", -low * 1.1).exit_code == 0


def test_worse_is_worse_unless_it_does_not_matter(base, candidate):
    folder = candidate(mine=(0.7, 3))
    found = gate(base, folder, 0.02)
    assert (found.rows[0].verdict, found.exit_code) == ("worse", 1)
    assert "The candidate's mine is worse than the base's by " in found.rows[0].why
    # shown to be worse, and by less than the margin
    assert gate(base, folder, 0.3).rows[0].verdict == "not worse"
    assert gate(folder, base, 0.02).rows[0].verdict == "better"


def test_rows_share_the_error(base, candidate):
    folder = candidate(mine=(0.79, 3), other=(0.6, 4))
    alone = gate(f"{base}:mine", f"{folder}:mine", 0.05).rows[0].difference
    together = gate(base, folder, 0.05).rows[0].difference
    assert together[0] == alone[0]
    assert together[1] < alone[1] < alone[2] < together[2]


def test_what_did_not_change_passes_and_costs_no_error(base, candidate):
    folder = candidate(mine=(0.8, 1), other=(0.59, 4))
    found = gate(base, folder, 0.05)
    same = found.rows[0]
    assert same.is_unchanged
    assert same.difference == (0, 0, 0)
    assert "Nothing changed, to the last answer: mine." in found.reasons
    alone = gate(f"{base}:other", f"{folder}:other", 0.05).rows[0]
    assert found.rows[1].difference == alone.difference


def test_a_row_that_lost_more_runs_does_not_pass(base, candidate, write_record):
    folder = candidate(mine=(0.801, 3))
    for seed in (4, 5):
        write_record(
            folder,
            "mine",
            seed,
            np.ones(N),
            failure=failed("out of memory"),
        )
    found = gate(base, folder, 0.03)
    assert found.rows[0].verdict == "undecided"
    assert "lost more of its runs" in found.rows[0].why


def test_a_candidate_without_a_result_fails(base, tmp_path, write_record):
    write_record(
        tmp_path / "candidate",
        "mine",
        0,
        np.ones(N),
        failure=failed("no such file"),
    )
    write_record(tmp_path / "candidate", "fine", 0, np.arange(N) % 3 > 0)
    found = gate(base, f"{tmp_path / 'candidate'}:mine", 0.03)
    assert found.exit_code == 1
    assert "No run of mine finished" in found.rows[0].why
    assert "no such file" in found.to_markdown()


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (("base:nobody", "candidate"), "no model 'nobody'"),
        (("base:mine", "candidate:min"), "did you mean 'mine'"),
        (("base:other", "candidate"), "it has 2 rows and none is called 'other'"),
        (("base", "elsewhere"), "no records here"),
        (("base", "strange"), "other examples"),
        (("strange:mine", "lone"), "other examples"),
    ],
)
def test_mistakes_say_what_would_be_right(base, candidate, write_record, places, said):
    candidate(mine=(0.8, 3), new=(0.8, 4))
    for name in ("strange", "lone"):
        right = np.arange(N) % 3 > 0
        hashed = name[:1] * 64
        write_record(base.parent / name, "mine", 0, right, evaluated=hashed)
    with pytest.raises(UserError, match=said):
        gate(*(base.parent / place for place in places), 0.01)


def test_a_place_may_name_a_row(base):
    side = load_side(f"{base}:mine")
    assert (side.place, side.model) == (str(base), "mine")
    assert load_side(base).model is None


def test_it_is_written_for_people_and_for_programs(base, candidate):
    folder = candidate(mine=(0.7, 3), other=(0.58, 4))
    found = gate(base, folder, 0.02)
    page = found.to_markdown()
    assert page.startswith("### hfbench gate: failed\n")
    assert re.search(r"\| mine \| [78]\d\.\d % \| [67]\d\.\d % \| -\d", page)
    suites = ElementTree.fromstring(found.to_junit())
    (suite,) = suites
    cases = {case.get("name"): [child.tag for child in case] for case in suite}
    assert cases["mine"] == ["failure", "system-out"]
    assert suites.get("failures") == suite.get("failures") == "2"


def test_what_changed_beside_the_model_is_said(base, tmp_path, write_record):
    right = np.arange(N) % 3 > 0
    for seed in range(2):
        write_record(
            tmp_path / "candidate", "mine", seed, np.roll(right, seed), training={"steps": 20}
        )
    found = gate(f"{base}:mine", tmp_path / "candidate", 0.02)
    assert found.rows[0].changes == ["optimizer steps 20, not 10"]
    assert "optimizer steps 20, not 10" in found.to_markdown()
