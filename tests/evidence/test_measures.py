"""A comparison by another measure than the accuracy: its table, its sentences, slices, classes."""

import re

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, log_loss

from hfbench.errors import UserError
from hfbench.evidence.classes import measure_classes
from hfbench.evidence.comparison import compare_records
from hfbench.evidence.findings import Findings
from hfbench.evidence.judge import intervals, judge
from hfbench.evidence.plots import draw_plots
from hfbench.evidence.rows import build_rows
from hfbench.evidence.slices import find_turns, parts_of
from hfbench.evidence.table import as_csv, as_markdown, write_table
from hfbench.records.asked import Asked
from hfbench.records.store import load_records

MEASURES = ("accuracy", "f1_macro", "mcc", "auroc", "nll", "brier", "f1:x", "balanced_accuracy")


@pytest.fixture
def results(tmp_path, write_record):
    """Three models of two seeds; the better one is sure of itself."""
    rng = np.random.default_rng(0)
    for model, share in (("good", 0.95), ("fair", 0.8), ("poor", 0.6)):
        for seed in range(2):
            right = rng.random(200) < share
            write_record(tmp_path, model, seed, right, labels=np.arange(200) % 5 // 4)
    return tmp_path


def compare_by(results, metric, **asked):
    return compare_records(load_records(results), results, [Asked(metric=metric, **asked)])


@pytest.mark.parametrize(
    ("metric", "oracle"),
    [
        ("f1_macro", lambda y, x: f1_score(y, x.argmax(-1), average="macro")),
        ("f1:x", lambda y, x: f1_score(y, x.argmax(-1), pos_label=0)),
        ("nll", lambda y, x: log_loss(y, np.exp(x) / np.exp(x).sum(-1, keepdims=True))),
    ],
)
def test_models_are_ranked_by_the_measure_and_the_value_is_the_mean_over_runs(
    results, metric, oracle
):
    comparison = compare_by(results, metric)
    assert [model.name for model in comparison.models] == ["good", "fair", "poor"]
    for model in comparison.models:
        runs = [oracle(model.labels, run.astype(float)) for run in model.logits]
        assert model.value == pytest.approx(np.mean(runs))
        assert model.interval[0] < model.value < model.interval[1]
    assert comparison.letters == {"good": "a", "fair": "b", "poor": "c"}


@settings(max_examples=8, deadline=None, derandomize=True, database=None, phases=[Phase.generate])
@given(data=st.data())
def test_what_is_said_is_what_the_table_shows(tmp_path_factory, write_record, data):
    """Of any measure: the best, who may be the best, and who is above the floor."""
    folder = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    names = ["one", "two", "three"][: data.draw(st.integers(1, 3))]
    for name in names:
        share = data.draw(st.sampled_from([0.3, 0.7, 0.72, 0.95, 1.0]))
        for seed in range(data.draw(st.integers(1, 3))):
            write_record(folder, name, seed, rng.random(60) < share, labels=np.arange(60) % 3 // 2)
    metric = data.draw(st.sampled_from(MEASURES))
    findings = Findings.of(compare_by(folder, metric))
    rows = {row.model: row for row in build_rows(findings)}
    answer = " ".join(findings.answer)
    values = {name: row.value for name, row in rows.items()}
    higher = findings.comparison.metric.higher_is_better
    best = re.search(r"(\w+) (?:is the most accurate|has the (highest|lowest) [\w ]+) \(", answer)
    assert values[best[1]] == (max if higher else min)(values.values())
    assert (best[2] or "highest") == ("highest" if higher else "lowest")
    may_be = {name for name, row in rows.items() if row.may_be_best}
    if said := re.search(r"but ([\w, ]+) may be the best as well", answer):
        assert {*re.split(", | and ", said[1])} == may_be - {best[1]}
    elif "no model is claimed to be better" in answer:
        assert may_be == {*rows}
        assert {row.group for row in rows.values()} == {"a"}
    elif len(rows) > 1:
        assert may_be == {best[1]}
    above = {name for name, floor in findings.comparison.floors.items() if floor.above_majority}
    if "Every model is better" in answer:
        assert above == {*rows}
    if "No model is shown to beat" in answer:
        assert not above
    assert "nan" not in as_csv(findings)
    label = findings.comparison.metric.label
    assert any(note.startswith(f"{label}: mean over the runs") for note in findings.notes)


def test_with_one_run_each_a_measure_other_than_the_accuracy_is_shown_and_claims_nothing(
    tmp_path, write_record
):
    rng = np.random.default_rng(0)
    for model, share in (("good", 0.95), ("poor", 0.5)):
        write_record(tmp_path, model, 0, rng.random(300) < share)
    asked = {"reference": "poor", "margin": 0.01}
    findings = Findings.of(compare_by(tmp_path, "f1_macro", **asked))
    rows = {row.model: row for row in build_rows(findings)}
    for row in rows.values():
        assert row.low < row.value < row.high
        assert (row.group, row.may_be_best, row.p_majority) == ("a", True, None)
        assert row.above_majority is not None
    unknown = "with one run of each model nothing shows how much seeds matter"
    assert findings.answer == [
        f"good cannot be distinguished from poor: {unknown}.",
        'No model is shown to beat always answering "y".',
        f"good has the highest macro F1 ({rows['good'].value:.3f}); {unknown}, so that no model is "
        "claimed to be better.",
    ]
    (caution,) = findings.cautions
    assert caution.startswith("One run only (good and poor): no row shows how much seeds matter.")
    assert "nothing is claimed: that takes two runs of a model." in caution
    assert "inf" not in as_markdown(findings) + as_csv(findings)
    # of one pair there is no figure
    assert "differences" not in [plot.name for plot in draw_plots(findings.comparison)]
    by_accuracy = Findings.of(compare_by(tmp_path, None, **asked))
    assert [row.group for row in build_rows(by_accuracy)] == ["a", "b"]
    assert "vary by 0.6 to 6 points over seeds" in by_accuracy.cautions[0]


def test_files_are_named_by_the_measure_and_those_of_the_one_before_go(results):
    before = Findings.of(compare_by(results, "mcc"))
    assert [path.name for path in write_table(before, results)] == [
        "README.md",
        "mcc.csv",
        "mcc.tex",
    ]
    asked = [Asked(metric="mcc"), Asked(metric="f1:x", finished=6)]
    after = Findings.of(compare_records(load_records(results), results, asked))
    assert write_table(after, results)[1].name == "f1_x.csv"
    assert not (results / "mcc.csv").exists()
    assert any("The measure was changed when results were there (mcc to f1:x)" in n
               for n in after.notes)  # fmt: skip


def test_a_measure_that_is_asked_for_is_a_column_with_its_interval(results):
    findings = Findings.of(compare_by(results, None, metrics=["kappa"]))
    row = build_rows(findings)[0]
    found = row.scores["kappa"]
    assert f"{found.mean:.3f} ({found.low:.3f}-{found.high:.3f})" in as_markdown(findings)
    assert "kappa,kappa_low,kappa_high" in as_csv(findings)


def test_labels_of_one_class_are_refused_for_a_measure_of_two(tmp_path, write_record):
    write_record(tmp_path, "one", 0, np.ones(30, bool), labels=np.ones(30, int))
    with pytest.raises(UserError, match="mcc of one has no number: all labels are of one class"):
        compare_by(tmp_path, "mcc")
    shown = Findings.of(compare_by(tmp_path, None, metrics=["mcc"]))
    assert "MCC: no number of one (all labels are of one class)." in shown.confidence


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (0.0, np.inf), (-np.inf, 1.0)])
def test_no_interval_passes_the_bounds_and_a_perfect_score_is_not_certain(runs, bounds):
    rng = np.random.default_rng(1)
    end = 1.0 if bounds[1] == 1 else 0.0
    inner = 0.98 if end == 1 else 0.02
    found = intervals(
        {"perfect": np.full((runs, 50), end), "near": inner + 0.05 * rng.normal(size=(runs, 50))},
        bounds=bounds,
    )
    for interval in found.values():
        assert bounds[0] <= interval.low <= interval.mean <= interval.high <= bounds[1]
        assert interval.high - interval.low > 0
    if np.isfinite(bounds).all():
        assert found["perfect"].high - found["perfect"].low > 0.02


def test_clusters_that_repeat_examples_widen_as_single_ones_of_a_cluster():
    rng = np.random.default_rng(2)
    values = {name: rng.random((1, 60)) for name in "ab"}
    thrice = {name: np.repeat(table, 3, axis=1) for name, table in values.items()}
    known = {"controls": ["a", "b"], "bounds": (0, 1)}
    whole = judge(values, **known)
    clustered = judge(thrice, clusters=np.repeat(np.arange(60), 3), **known)
    assert clustered.pairs[0].low == pytest.approx(whole.pairs[0].low, abs=0.01)
    assert clustered.pairs[0].high == pytest.approx(whole.pairs[0].high, abs=0.01)


def test_each_class_is_measured_and_the_worst_come_first_where_there_are_many(results):
    rows = measure_classes(compare_by(results, None).finished)
    assert [(row.label, row.model) for row in rows[:3]] == [
        ("x", "good"), ("x", "fair"), ("x", "poor"),
    ]  # fmt: skip
    model = compare_by(results, None).finished[0]
    expected = np.mean([f1_score(model.labels, run, pos_label=0) for run in model.predicted])
    assert rows[0].measured["f1"].mean == pytest.approx(expected)
    assert rows[0].examples == 160


def test_quarters_and_values_part_the_examples():
    rng = np.random.default_rng(0)
    for values in (rng.integers(3, 90, 500), rng.choice(list("abcdefghijklm"), 500)):
        parts = parts_of("length", values)
        assert np.sum([is_in for _, is_in in parts], axis=0).tolist() == [1] * 500
    assert [name for name, _ in parts_of("length", np.arange(100))] == [
        "0 to 24 words", "25 to 49 words", "50 to 74 words", "75 to 99 words",
    ]  # fmt: skip


def test_a_slice_on_which_the_order_turns_is_named(tmp_path, write_record, with_slices):
    rng = np.random.default_rng(0)
    source = np.arange(400) % 4 == 0  # of which the second model is better
    for seed in range(3):
        for model, shares in (("first", (0.95, 0.3)), ("second", (0.7, 0.95))):
            right = rng.random(400) < np.where(source, shares[1], shares[0])
            record = write_record(tmp_path, model, seed, right)
            with_slices(tmp_path, record, source=np.where(source, "mail", "web"))
    findings = Findings.of(compare_by(tmp_path, None))
    (turn,) = find_turns(findings.parts)
    assert (turn.part.slice, turn.part.value, turn.better) == ("source", "mail", "second")
    model = findings.comparison.finished[0]
    part = findings.parts[1]
    shown = model.correct[:, source].mean()
    assert part.measured["first"].mean == pytest.approx(shown)
    assert "; on source mail, second is better than first by" in findings.answer[0]
    assert "## Slices" in as_markdown(findings)


@pytest.fixture
def with_slices():
    """A function that adds columns to the predictions of a record."""
    import hashlib

    import pyarrow as pa
    import pyarrow.parquet as pq

    from hfbench.records.store import ResultsFolder

    def add(folder, record, **columns):
        place = ResultsFolder(folder)
        path = place.predictions_path(record)
        table = pq.read_table(path)
        for name, values in columns.items():
            table = table.add_column(3, f"slice.{name}", pa.array(values))  # before logits
        pq.write_table(table, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        place.keep(record.model_copy(update={"predictions_hash": digest}), table)

    return add
