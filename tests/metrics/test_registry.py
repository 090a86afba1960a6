"""A metric is an entry: whatever is registered shows everywhere, and none can cost a run."""

import csv
import io
import json
import re
from dataclasses import fields, replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from huggingface_hub import ModelCard
from rich.console import Console

from hfbench import compare, load_comparison, load_recipe
from hfbench.errors import UserError
from hfbench.evidence.findings import Findings
from hfbench.evidence.latex import as_latex
from hfbench.evidence.page import render_report
from hfbench.evidence.rows import Row, build_rows, check_columns, columns
from hfbench.evidence.table import as_csv, as_markdown, print_table
from hfbench.metrics import Metric, register
from hfbench.metrics.measure import classification_metrics, language_model_metrics
from hfbench.metrics.registry import METRICS, RESERVED, metrics_of, score
from hfbench.publish.bundle import choose_run
from hfbench.publish.card import render_model_card
from hfbench.publish.published_run import PublishedRun
from hfbench.publish.results import stage_results
from hfbench.records.schema import Probe


def share_of_wrong(logits, labels):
    return float((logits.argmax(-1) != labels).mean())


WRONG = Metric(
    "wrong", share_of_wrong, "wrong %", ".1%", "wrong: share of wrong answers.", False
)  # fmt: skip


@pytest.fixture
def built_in():
    """hfbench's own metrics alone; what is registered in a test is forgotten after it."""
    before = dict(METRICS)
    METRICS.pop("wrong", None)
    yield
    METRICS.clear()
    METRICS.update(before)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory, rows):
    """A comparison of a network and a control, run with one metric more than hfbench has."""
    folder = tmp_path_factory.mktemp("metric")
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    recipe = {
        "name": "tiny",
        "task": {"data_files": {"train": "train.jsonl"}, "validation_size": 0.25},
        "tokenizer": {"train_on": "task", "vocab_size": 300},
        "models": [
            {"name": "mine", "preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}},
            {"name": "floor", "control": "majority"},
        ],
        "seeds": [0, 1],
        "training_arguments": {"per_device_train_batch_size": 16, "num_train_epochs": 2},
    }
    (folder / "tiny.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    register(WRONG)
    yield compare(load_recipe(folder / "tiny.yaml"), folder, console=Console(quiet=True))
    del METRICS["wrong"]


@pytest.fixture(scope="module")
def staged(outcome, tmp_path_factory):
    """What would be published of it, but for the report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfbench.publish.results.write_report", lambda *_: None)
        return stage_results(outcome.folder, tmp_path_factory.mktemp("staged"), "a/b")


@pytest.fixture
def findings(outcome):
    return Findings.of(load_comparison(outcome.folder))


@pytest.fixture
def shares(findings):
    """Model -> what the metric is, by the accuracy."""
    return {model.name: 1 - model.value for model in findings.comparison.finished}


def test_a_registered_metric_is_in_records_and_curves(outcome):
    assert [record.kind for record in outcome.ran].count("classification") == 2
    for record in outcome.ran:
        scores = record.metrics["validation"]
        assert scores["wrong"] == pytest.approx(1 - scores["accuracy"])
        if record.kind == "classification":
            points = record.curves["validation"]
            assert [p["wrong"] for p in points] == pytest.approx(
                [1 - p["accuracy"] for p in points]
            )


def test_a_registered_metric_is_in_tables_and_the_report(findings, shares, quick_figures):
    shown = {name: f"{100 * share:.1f}" for name, share in shares.items()}
    page = as_markdown(findings)
    assert "| model | macro F1 | NLL | Brier | ECE | wrong % |" in page
    assert all(f" | {text} (" in page for text in shown.values())
    assert page.count("wrong: share of wrong answers.") == 1
    assert check_columns(["wrong", "runs"]) == ["wrong"]
    chosen = ["wrong"]
    latex = as_latex(findings, chosen)
    assert "model & wrong \\% " in latex
    assert dict(re.findall(r"^(\w+)(?: \[\d\])? & ([\d.]+) \(", latex, re.M)) == shown
    console = Console(file=io.StringIO(), width=80)
    print_table(findings, console, chosen)
    assert all(text in console.file.getvalue() for text in shown.values())
    report = render_report(findings)
    assert '<th scope="col">wrong %</th>' in report
    assert all(f"<td>{text} (" in report for text in shown.values())


def test_a_registered_metric_is_in_what_programs_read(findings, shares, staged):
    lines = list(csv.DictReader(io.StringIO(as_csv(findings))))
    frame = findings.comparison.to_dataframe()
    assert list(lines[0]) == list(frame.columns)
    assert {line["model"]: float(line["wrong"]) for line in lines} == pytest.approx(
        shares, abs=1e-6
    )
    assert dict(zip(frame["model"], frame["wrong"], strict=True)) == pytest.approx(shares)
    runs = pq.read_table(staged.folder / "data" / "runs.parquet").to_pylist()
    assert [row["wrong"] for row in runs] == pytest.approx([1 - row["accuracy"] for row in runs])
    assert {(row["kind"], row["seed"]) for row in runs} == {
        ("control", None), ("classification", 0), ("classification", 1),
    }  # fmt: skip


def test_a_registered_metric_is_in_the_evaluation_results_of_a_card(outcome, findings):
    models = {model.name: model for model in findings.comparison.finished}
    choice = choose_run(models["mine"], "1", outcome.folder)
    probe = Probe(weights="", texts=[], max_length=1, logits=[])
    record = choice.record.model_copy(update={"probe": probe})
    run = PublishedRun(findings, models["mine"], replace(choice, record=record), "a/b", None, True)
    card = ModelCard(render_model_card(run)).data
    (result,) = [result for result in card.eval_results if result.metric_type == "wrong"]
    assert result.metric_value == pytest.approx(record.metrics["validation"]["wrong"], abs=1e-6)
    assert (result.metric_name, result.metric_args["seed"]) == ("wrong", 1)
    assert "wrong" in card.metrics


def test_a_metric_that_a_record_lacks_is_computed_from_its_predictions(
    built_in, tmp_path, write_record
):
    write_record(tmp_path, "old", 0, np.arange(40) < 30)
    register(WRONG)
    (row,) = build_rows(Findings.of(load_comparison(tmp_path)))
    assert row.scores["wrong"].mean == 0.25


def divide(logits, labels):
    return 1 / 0


@pytest.mark.parametrize(
    ("compute", "reason"),
    [
        (divide, "ZeroDivisionError: division by zero"),
        (lambda logits, labels: float("nan"), "it is nan"),
        (lambda logits, labels: logits, "TypeError: only"),
    ],
)
def test_a_metric_that_gives_no_number_is_left_out_and_said(
    built_in, tmp_path, write_record, compute, reason
):
    register(replace(WRONG, compute=compute))
    logits, labels = np.eye(2, dtype=np.float32), np.array([0, 1])
    with pytest.warns(UserWarning, match=f"metric 'wrong' is left out: {reason}"):
        found = classification_metrics(logits, labels)
    assert found.keys() == {"loss", "accuracy", "f1_macro", "brier", "ece"}
    for seed in range(2):
        write_record(tmp_path, "mine", seed, np.arange(40) < 30)
    findings = Findings.of(load_comparison(tmp_path))
    (row,) = build_rows(findings)
    assert row.scores["wrong"] is None
    assert row.scores["ece"] is not None
    (note,) = [note for note in findings.confidence if "no number" in note]
    assert note.startswith(f"wrong %: no number of mine ({reason}")


def test_a_language_models_metrics_are_entries_too(built_in):
    register(Metric("tokens", lambda losses, tokens: tokens.sum(), "tokens", ",", None, True,
                    kinds=("language model",)))  # fmt: skip
    found = language_model_metrics(np.array([3.0, 9.0]), np.array([2.0, 4.0]))
    assert found == {"loss": 2.0, "perplexity": pytest.approx(np.exp(2)), "tokens": 6.0}
    assert "tokens" not in [metric.name for metric in metrics_of("single_label_classification")]


@pytest.mark.parametrize("name", ["accuracy", "perplexity", "loss", "epoch", "runs", "record"])
def test_a_name_that_is_taken_is_refused(built_in, name):
    with pytest.raises(UserError, match=f"metric '{name}': this name is taken"):
        register(replace(WRONG, name=name))


@pytest.mark.parametrize("name", ["", "my metric", "f1-micro", "=1+1"])
def test_a_name_that_is_no_identifier_is_refused(built_in, name):
    with pytest.raises(UserError, match="must be an identifier"):
        register(replace(WRONG, name=name))


def test_every_name_that_stands_beside_a_metric_is_reserved(outcome, findings, staged):
    beside = {
        *(field.name for field in fields(Row)),
        *columns(findings.comparison.columns),
        *pq.read_schema(staged.folder / "data" / "runs.parquet").names,
        *(key for record in outcome.ran if record.kind == "classification"
          for points in record.curves.values() for point in points for key in point),
    }  # fmt: skip
    assert beside - METRICS.keys() - {"scores", "value", "measures"} <= RESERVED


def test_every_built_in_metric_has_what_tables_need(built_in):
    logits = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    values = score("single_label_classification", logits, np.arange(50) % 3).values
    assert list(values) == ["accuracy", "f1_macro", "nll", "brier", "ece"]
    for metric in metrics_of("single_label_classification"):
        assert float(metric.text(values[metric.name])) > 0
        assert metric.text(values[metric.name]) in f"{100 * values[metric.name]:.2f}" or (
            metric.text(values[metric.name]) == f"{values[metric.name]:.3f}"
        )
