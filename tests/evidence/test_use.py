"""What is said of a cheaper row: only what the intervals say, and only where clocks agree."""

import numpy as np
import pytest

from hfbench.evidence.comparison import compare_records
from hfbench.evidence.findings import Findings
from hfbench.evidence.table import as_csv, as_markdown
from hfbench.evidence.use import cheaper, milliseconds
from hfbench.records.asked import Asked
from hfbench.records.store import load_records
from hfbench.records.use import UseFacts


def use(milliseconds_a_text, device="CPU", alone=True):
    return UseFacts(
        latency_p50=milliseconds_a_text / 1000, latency_p95=0.1, asked=5, texts_per_second=9.0,
        batch=8, disk_bytes=2**20, memory_bytes=2**21, memory_of="growth of the process",
        device=device, threads=1, alone=alone,
    )  # fmt: skip


def shares(seed, share, n=400):
    difficulty = np.random.default_rng(0).random(n)
    own = np.random.default_rng(seed).random((3, n))
    return 0.9 * difficulty + 0.1 * own < share


@pytest.fixture
def compare(tmp_path, write_record):
    """Findings of a table of three rows, of which ``uses`` were measured."""
    for name, share in {"best": 0.9, "alike": 0.89, "poor": 0.4}.items():
        for seed, correct in enumerate(shares(len(name), share)):
            write_record(tmp_path, name, seed, correct)

    def build(margin=None, **uses):
        records = [
            record.model_copy(update={"use": uses.get(record.model) if not record.seed else None})
            for record in load_records(tmp_path)
        ]
        return Findings.of(compare_records(records, tmp_path, [Asked(margin=margin)]))

    return build


def test_of_those_that_may_be_the_best_the_cheapest_is_named(compare):
    findings = compare(best=use(8), alike=use(2), poor=use(1))
    assert set(findings.comparison.best_set) == {"best", "alike"}
    assert findings.comparison.finished[0].name == "best"
    said = cheaper(findings.comparison)
    cheapest = "of those that may be the best alike is the cheapest to ask"
    assert said == f"{cheapest} (2 ms a text, not 8 ms)"
    assert said in findings.answer[0]
    assert "poor" not in said


def test_what_is_worse_is_not_named_however_cheap_it_is(compare):
    findings = compare(best=use(1), alike=use(0.99), poor=use(0.01))
    assert cheaper(findings.comparison) == "no row that may be the best is cheaper to ask"


def test_with_a_margin_it_must_be_shown_to_be_worse_by_less(compare):
    uses = {"best": use(8), "alike": use(2), "poor": use(1)}
    wide = cheaper(compare(margin=0.2, **uses).comparison)
    assert (
        wide
        == "alike is cheaper to ask (2 ms a text, not 8 ms) and not worse by 20.0 points or more"
    )
    narrow = cheaper(compare(margin=0.001, **uses).comparison)
    assert narrow == "no cheaper row is shown to be worse by less than 0.1 points"


@pytest.mark.parametrize(
    "uses",
    [
        {},
        {"best": use(8)},
        {"alike": use(8), "poor": use(2)},
        {"best": use(8), "alike": use(2, device="GPU")},
    ],
)
def test_nothing_is_said_where_it_is_not_known(compare, uses):
    assert cheaper(compare(**uses).comparison) is None


def test_tables_have_it_where_a_row_was_measured_and_are_as_before_otherwise(compare):
    without, findings = compare(), compare(best=use(8, alone=False), alike=use(2))
    assert "Cost of use" not in as_markdown(without)
    assert "latency" not in as_csv(without)
    page = as_markdown(findings)
    section = page[page.index("## Cost of use") :]
    assert "| best | 8 | 100 | 9 (by 8) | 1 | 2 |" in section
    assert "beside which other cells may have run (best)" in section
    assert "Cost unknown: poor." in section
    header, *lines = as_csv(findings).splitlines()
    place = header.split(",").index("latency_p50")
    found = {line.split(",")[0]: line.split(",")[place] for line in lines}
    assert found == {"best": "0.008000", "alike": "0.002000", "poor": ""}


def test_times_have_three_digits_and_no_powers():
    found = [milliseconds(seconds) for seconds in (1.234567, 0.0123456, 0.000001234)]
    assert found == ["1,235 ms", "12.3 ms", "0.00123 ms"]
