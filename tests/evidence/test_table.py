import csv
import io
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import brier_score_loss, log_loss

from hfbench.errors import UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.latex import as_latex
from hfbench.evidence.page import render_report
from hfbench.evidence.rows import USE, build_rows, check_columns, columns
from hfbench.evidence.table import as_csv, as_markdown, print_table, write_table
from hfbench.records.asked import Asked
from hfbench.records.data import Overlap
from hfbench.records.schema import Failure
from hfbench.records.store import ResultsFolder

RESULTS = Path(__file__).parents[2] / "results"


def load_findings(folder):
    return Findings.of(load_comparison(folder))


@pytest.fixture
def results(tmp_path, write_record):
    rng = np.random.default_rng(0)
    for seed in range(3):
        write_record(tmp_path, "worse", seed, rng.random(80) < 0.5)
        write_record(tmp_path, "better", seed, rng.random(80) < 0.9)
    return tmp_path


def test_rows_hold_the_comparison_and_the_cost(results):
    comparison = load_comparison(results)
    row = build_rows(Findings.of(comparison))[0]
    assert [row.model for row in build_rows(Findings.of(comparison))] == ["better", "worse"]
    assert row.value == comparison.models[0].correct.mean()
    assert (row.low, row.high) == comparison.models[0].interval
    assert (row.runs, row.examples, row.group) == (3, 80, "a")
    assert (row.parameters, row.body_parameters) == (12345, 12000)
    assert (row.train_tokens, row.train_flops, row.train_seconds) == (1000, 3e12, 2.0)
    assert (row.tokens_per_second, row.peak_memory_bytes) == (500, 2**20)


def test_confidence_in_a_row_is_that_of_scikit_learn(results):
    model = load_comparison(results).models[0]
    probabilities = np.exp(model.logits) / np.exp(model.logits).sum(-1, keepdims=True)
    runs = probabilities.astype(float)
    row = build_rows(load_findings(results))[0]
    assert row.scores["nll"].mean == pytest.approx(
        np.mean([log_loss(model.labels, run) for run in runs])
    )
    # with two classes ours, over both, is twice theirs
    brier = np.mean([brier_score_loss(model.labels, run[:, 1]) for run in runs])
    assert row.scores["brier"].mean == pytest.approx(2 * brier)


def test_outputs_are_the_same_bytes_each_time(results):
    paths = write_table(load_findings(results), results)
    first = [path.read_bytes() for path in paths]
    write_table(load_findings(results), results)
    assert [path.read_bytes() for path in paths] == first
    assert [path.name for path in paths] == ["README.md", "accuracy.csv", "accuracy.tex"]
    assert b"\r" not in b"".join(first)


def test_what_a_killed_process_left_of_a_page_goes_and_nobody_writes_at_once(results):
    left = results / ".README.md.0123456789abcdef.tmp"
    left.write_text("half of it", "utf-8")
    findings, written = load_findings(results), []
    again = threading.Thread(target=lambda: written.extend(write_table(findings, results)))
    with ResultsFolder(results).alone("pages"):
        again.start()
        again.join(1)
        assert again.is_alive()
        assert left.exists()  # it may be of a process that writes now
    again.join(30)
    assert results / "README.md" in written
    assert not left.exists()
    assert not (results / "locks").exists()


def test_csv_holds_the_numbers_as_fractions(results):
    comparison = load_comparison(results)
    lines = list(csv.DictReader(io.StringIO(as_csv(Findings.of(comparison)))))
    assert [line["model"] for line in lines] == ["better", "worse"]
    assert float(lines[0]["accuracy"]) == pytest.approx(comparison.models[0].value, abs=1e-6)
    assert float(lines[0]["low"]) < float(lines[0]["accuracy"]) < float(lines[0]["high"])


def test_markdown_has_a_row_per_model_with_interval_group_and_floor(results):
    findings = load_findings(results)
    row = build_rows(findings)[0]
    cells = [
        "better", f"{100 * row.value:.2f}", f"{100 * row.low:.1f}-{100 * row.high:.1f}", "a",
        f"{100 * row.above_majority:+.1f} p <0.001", "3", "80",
    ]  # fmt: skip
    assert f"| {' | '.join(cells)} |" in as_markdown(findings)
    assert "| better | 12,345 | 12,000 | 1,000 | 3 | 2.0 | 500 | 1 |" in as_markdown(findings)


def test_columns_can_be_chosen_in_every_output(results):
    findings = load_findings(results)
    chosen = ["nll", "train_flops"]
    assert "| model | NLL | training TFLOP |" in as_markdown(findings, chosen)
    assert "model & NLL & training TFLOP" in as_latex(findings, chosen)
    console = Console(file=io.StringIO(), width=80)
    print_table(findings, console, chosen)
    assert "NLL" in console.file.getvalue()
    assert "interval" not in console.file.getvalue().partition("better")[0]
    with pytest.raises(UserError, match="no column 'nl'; did you mean 'nll'"):
        check_columns(["nl"])


def test_every_column_has_a_text_for_a_trained_model(results):
    row = build_rows(load_findings(results))[0]
    shown = columns(row.measures)
    assert all(column.text(row) for name, column in shown.items() if name not in USE)
    assert not any(shown[name].text(row) for name in USE)  # of which nothing was measured


def test_the_terminal_shows_it_in_80_columns(results, write_record):
    write_record(results, "a-model-with-quite-a-long-name", 0, np.ones(80, bool))
    for seed in range(3):
        failure = Failure(type="E", message="m", step=3)
        write_record(results, "worse", 10 + seed, np.ones(80, bool), failure=failure)
    console = Console(file=io.StringIO(), width=80)
    print_table(load_findings(results), console)
    shown = console.file.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    for word in ("accuracy", "95 %", "interval", "group", "majority", "3 of 6"):
        assert word in shown
    assert "…" not in shown


def test_failed_runs_are_counted_shown_and_never_averaged(results, write_record):
    before = build_rows(load_findings(results))[1].value
    failure = Failure(type="NonFiniteLossError", message="the loss is NaN", step=7)
    write_record(results, "worse", 3, np.ones(80, bool), failure=failure)
    row = build_rows(load_findings(results))[1]
    assert (row.runs, row.failed, row.value) == (3, 1, before)
    text = as_markdown(load_findings(results))
    assert "| worse [1] |" in text
    assert "| 3 of 4 |" in text
    assert "seed 3 failed at step 7 (NonFiniteLossError: the loss is NaN)" in text


def test_many_failed_seeds_are_told_in_their_order(results, write_record):
    failure = Failure(type="E", message="m", step=None)
    for seed in (4, 11, 3, 5):
        write_record(results, "worse", seed, np.ones(80, bool), failure=failure)
    assert "seeds 3, 4, 5 and 11 failed (E: m)" in as_markdown(load_findings(results))
    for seed in (6, 7, 8, 9, 10):
        write_record(results, "worse", seed, np.ones(80, bool), failure=failure)
    assert "seeds 3 to 11 failed (E: m)" in as_markdown(load_findings(results))


def test_a_model_that_never_finished_has_a_row_without_numbers(results, write_record):
    failure = Failure(type="OSError", message="full", step=None)
    for seed in range(2):
        write_record(results, "broken", seed, np.ones(80, bool), failure=failure)
    comparison = load_comparison(results)
    assert comparison.models[-1].name == "broken"
    assert "| broken [1] |  |  |  |  | 0 of 2 |  |" in as_markdown(Findings.of(comparison))
    (line,) = [
        x
        for x in csv.DictReader(io.StringIO(as_csv(Findings.of(comparison))))
        if x["model"] == "broken"
    ]
    assert (line["accuracy"], line["runs"], line["failed"]) == ("", "0", "2")
    assert "seeds 0 and 1 failed (OSError: full)" in line["notes"]


def test_collapsed_runs_are_told_and_not_averaged(results, write_record):
    before = build_rows(load_findings(results))[1].value
    labels = np.arange(80) % 2
    write_record(results, "worse", 3, labels == 1)  # always y
    row = build_rows(load_findings(results))[1]
    assert (row.runs, row.collapsed, row.value) == (4, 1, before)
    text = as_markdown(load_findings(results))
    told = (
        "1 of 4 runs did not train but gave one answer (rate up to 75 %), the accuracy is of the "
        "others"
    )
    assert f"[1] worse: {told}" in text
    assert "| worse [1] |" in text
    assert "| 3 of 4 |" in text


def test_what_the_intervals_of_single_runs_rest_on_is_said(results, tmp_path, write_record):
    write_record(results, "single", 0, np.ones(80, bool))
    write_record(results, "control", None, np.ones(80, bool), control=True)
    text = as_markdown(load_findings(results))
    assert "One run only (single): taken to vary with its seed as the other rows do." in text
    write_record(tmp_path / "alone", "single", 0, np.arange(80) < 50)
    text = as_markdown(load_findings(tmp_path / "alone"))
    assert (
        "One run only (single): no row shows how much seeds matter. Intervals and groups assume"
        in text
    )


@pytest.fixture
def write_overlap(results, write_record):
    """A function that writes a run whose evaluation examples are partly in its training texts."""

    def write(model, seed, *, train=None, corpus=None):
        rng = np.random.default_rng(seed)
        right = rng.random(80) < 0.7
        record = write_record(results, model, seed, right)
        overlap = {"validation": Overlap(examples=80, **train)} if train else None
        task = record.task.model_copy(update={"overlap": overlap})
        seen = {"validation": Overlap(examples=80, **corpus)} if corpus else None
        return write_record(results, model, seed, right, task=task, corpus_overlap=seen)

    return write


def test_evaluation_examples_that_are_training_examples_are_counted_in_a_note(
    results, write_overlap
):
    for seed in range(3):
        for model in ("better", "worse"):
            write_overlap(model, seed, train={"exact": 2, "near": 1, "short": 30})
    findings = load_findings(results)
    found = (
        "3 of 80 evaluation examples are also in the training data (2 word for word, 1 nearly, "
        "with 80 {}% of the words or more in runs of 8 that occur there). 30 of fewer than 8 words "
        "were compared as a whole only."
    )
    assert f"- {found.format('')}\n" in as_markdown(findings)
    assert f"\n{found.format(chr(92))}\\par" in as_latex(findings)
    assert f"<li>{found.format('')}</li>" in render_report(findings)


def test_subsets_with_different_overlaps_are_told_by_the_largest(results, write_overlap):
    write_overlap("better", 0, train={"exact": 0, "near": 0, "short": 0})
    write_overlap("better", 1, train={"exact": 1, "near": 0, "short": 0})
    text = as_markdown(load_findings(results))
    line = "- up to 1 of 80 evaluation examples is also in the training data (1 word for word).\n"
    assert line in text


def test_an_architecture_that_was_not_asked_whether_it_is_fair_has_a_footnote(
    results, write_record
):
    write_record(
        results, "own", 0, np.ones(80, bool), settings={"models": [{"name": "own", "unfair": True}]}
    )
    text = as_markdown(load_findings(results))
    assert "own: its architecture was not asked whether it compares fairly (unfair: true)" in text
    assert text.count("unfair") == 1


def test_no_overlap_is_said_and_one_that_was_not_counted_is_not(results, write_overlap):
    assert "evaluation examples" not in as_markdown(load_findings(results))
    write_overlap("better", 0, train={"exact": 0, "near": 0, "short": 0})
    text = as_markdown(load_findings(results))
    assert "- 0 of 80 evaluation examples are also in the training data.\n" in text


def test_a_model_whose_corpus_has_evaluation_examples_is_marked(results, write_overlap):
    for seed in range(3):
        write_overlap("worse", seed, corpus={"exact": 0, "near": 1, "short": 0})
        write_overlap("better", seed, corpus={"exact": 0, "near": 0, "short": 9})
    findings = load_findings(results)
    note = "1 of 80 evaluation examples is also in its pretraining corpus (1 nearly, with 80 {}%"
    assert f"- [1] worse: {note.format('')}" in as_markdown(findings)
    assert f"[1] worse: {note.format(chr(92))}" in as_latex(findings)
    assert f"<li>[1] worse: {note.format('')}" in render_report(findings)
    assert "| worse [1] |" in as_markdown(findings)
    assert "[2]" not in as_markdown(findings)
    notes = {row.model: row.notes for row in build_rows(findings)}
    assert notes["worse"].startswith(note[:50])
    assert notes["better"] == ""


def test_the_selection_rule_is_stated(results, write_record):
    assert "mean over the runs that trained, after the last step." in as_markdown(
        load_findings(results)
    )
    rng = np.random.default_rng(0)
    for seed in range(3):
        for model in ("worse", "better"):
            write_record(
                results, model, seed, rng.random(80) < 0.7, training={"selection": "best_loss"}
            )
    text = as_markdown(load_findings(results))
    assert "with the weights that had the lowest validation loss." in text


def write_curve(write_record, folder):
    rng = np.random.default_rng(0)
    for size, accuracy in ((10, 0.6), (40, 0.95)):
        for seed in range(3):
            train = {"examples": size, "content_hash": f"{seed}{size}" + "0" * 60}
            right = rng.random(80) < accuracy
            write_record(folder, "mine", seed, right, train_size=size, train=train)
            write_record(folder, "floor", seed, np.arange(80) % 2 == 1, train_size=size,
                         train=train, control=True)  # fmt: skip


def test_what_is_asked_is_told_at_every_size(tmp_path, write_record):
    write_curve(write_record, tmp_path)
    entry = Asked(questions=[("mine", "floor")], margin=0.02).model_dump(mode="json")
    (tmp_path / "asked.json").write_text(json.dumps([entry]), encoding="utf-8")
    findings = load_findings(tmp_path)
    section = as_markdown(findings).split("## Learning curve")[1]
    (row,) = re.findall(r"^\| mine minus floor \| (.*) \|$", section, re.M)
    told = []
    for standing in findings.comparison.curve.values():
        found = standing.questions[0].difference
        ends = f"{100 * found.family_low:+.1f} to {100 * found.family_high:+.1f}"
        told.append(f"{100 * found.mean:+.1f} ({ends}) {found.words}")
    assert row.split(" | ") == told
    assert "by the margin" in told[1]
    assert "by the margin" not in told[0]
    report = render_report(findings)
    assert "The first minus the second in points, by number of training examples" in report
    assert told[1] in report


def test_learning_curve_is_a_table_of_sizes(tmp_path, write_record):
    write_curve(write_record, tmp_path)
    comparison = load_comparison(tmp_path)
    assert list(comparison.curve) == [10, 40]
    largest = comparison.curve[40].models[0]
    assert comparison.models[0].value == largest.value
    text = as_markdown(Findings.of(comparison))
    low, high = largest.interval
    (line,) = re.findall(r"^\| mine \| .*", text.split("## Learning curve")[1], re.M)
    assert line.endswith(f"| {100 * largest.value:.1f} ({100 * low:.1f}-{100 * high:.1f}) a |")
    assert "| model | 10 examples | 40 examples |" in text
    assert "Models and questions are of 40 training examples; of 10 see the learning curve." in text
    assert comparison.differences == {}  # subsets differ between seeds, not between models


def test_latex_escapes_names_and_labels(results, write_record):
    write_record(results, "under_score", 0, np.ones(80, bool))
    text = as_latex(load_findings(results))
    assert r"under\_score & 100.00" in text
    assert r"95 \% interval" in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(results, tmp_path, write_record):
    write_record(results, "a_b", 0, np.ones(80, bool), recipe="50 % & more")
    page = (
        "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
        f"{as_latex(load_findings(results))}\\end{{document}}\n"
    )
    (tmp_path / "page.tex").write_text(page, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stdout[-1500:]


@pytest.mark.parametrize(
    "folder",
    sorted(path.parent for path in RESULTS.glob("**/accuracy.csv")),
    ids=lambda folder: folder.name,
)
def test_committed_tables_regenerate_byte_for_byte(folder):
    findings = load_findings(folder)
    assert (folder / "README.md").read_bytes() == as_markdown(findings).encode()
    assert (folder / "accuracy.csv").read_bytes() == as_csv(findings).encode()
    assert (folder / "accuracy.tex").read_bytes() == as_latex(findings).encode()
