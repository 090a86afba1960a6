import csv
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from hfbench.errors import UserError
from hfbench.record import (
    Failure,
    ModelFacts,
    Record,
    SplitData,
    TaskData,
    Tokens,
    TrainingFacts,
    save_record,
)
from hfbench.stats import accuracy_interval
from hfbench.table import as_csv, as_markdown, build_table, print_table, write_table

RESULTS = Path(__file__).parents[1] / "results"


def write(folder, model, seed, correct, **changes):
    """A record whose predictions are right where ``correct`` says so."""
    n = len(correct)
    labels = np.arange(n) % 2
    predicted = np.where(correct, labels, 1 - labels)
    logits = np.eye(2, dtype=np.float32)[predicted]
    split = SplitData(examples=n, content_hash="a" * 64, label_counts={"x": n // 2, "y": n // 2})
    task = TaskData(
        source="d/s", revision=None, labels=["x", "y"],
        splits={"train": split, "validation": split}, evaluation_split="validation",
    )  # fmt: skip
    facts = ModelFacts(
        source=model, revision=None, weights_hash=None, class_name="C", parameters=12345,
        embedding_parameters=1, config={}, vocab_size=3, max_length=8,
    )  # fmt: skip
    training = {
        "arguments": {}, "optimizer": "study", "streams": {}, "world_size": 1, "batch": 16,
        "steps": 10, "examples_seen": 1, "tokens_seen": 1, "device": "chip", "train_seconds": 2.0,
        "tokens": {"train": Tokens(total=1, truncated_examples=0)},
        "peak_memory_bytes": 1, "peak_memory_of": "process", **changes.pop("training", {}),
    }  # fmt: skip
    fields = {
        "kind": "classification", "status": "finished", "recipe": "r", "model": model,
        "seed": seed, "cell_id": "0" * 64, "settings": {}, "started": "2026", "environment": {},
        "task": task, "model_facts": facts, "training": TrainingFacts(**training),
        "metrics": {"validation": {"accuracy": float(np.mean(correct)), "f1_macro": 0.25}},
        "predictions": f"{model}--seed{seed}.parquet", **changes,
    }  # fmt: skip
    table = pa.table(
        {
            "split": ["validation"] * n,
            "id": [f"validation/{i}" for i in range(n)],
            "label": pa.array(labels, pa.int64()),
            "logits": pa.array(list(logits), pa.list_(pa.float32())),
        }
    )
    save_record(Record(**fields), folder / "records", table)


@pytest.fixture
def results(tmp_path):
    rng = np.random.default_rng(0)
    for seed in range(3):
        write(tmp_path, "worse", seed, rng.random(80) < 0.5)
        write(tmp_path, "better", seed, rng.random(80) < 0.9)
    return tmp_path


def test_rows_are_means_over_runs_sorted_by_accuracy(results):
    rng = np.random.default_rng(0)
    draws = [(rng.random(80) < 0.5, rng.random(80) < 0.9) for _ in range(3)]
    better = np.stack([draw[1] for draw in draws])
    rows = build_table(results).rows
    assert [row.model for row in rows] == ["better", "worse"]
    assert rows[0].accuracy == pytest.approx(better.mean())
    assert (rows[0].low, rows[0].high) == pytest.approx(accuracy_interval(better))
    assert (rows[0].runs, rows[0].examples, rows[0].parameters) == (3, 80, 12345)


def test_outputs_are_the_same_bytes_each_time(results):
    paths = write_table(build_table(results), results)
    first = [path.read_bytes() for path in paths]
    write_table(build_table(results), results)
    assert [path.read_bytes() for path in paths] == first
    assert b"\r" not in b"".join(first)


def test_csv_holds_the_numbers_as_fractions(results):
    built = build_table(results)
    lines = list(csv.DictReader(io.StringIO(as_csv(built))))
    assert [line["model"] for line in lines] == ["better", "worse"]
    assert float(lines[0]["accuracy"]) == pytest.approx(built.rows[0].accuracy, abs=1e-6)
    assert float(lines[0]["low"]) < float(lines[0]["accuracy"]) < float(lines[0]["high"])


def test_markdown_has_a_row_per_model_with_its_interval(results):
    text = as_markdown(build_table(results))
    row = build_table(results).rows[0]
    interval = f"{100 * row.low:.1f}-{100 * row.high:.1f}"
    accuracy = f"{100 * row.accuracy:.2f}"
    assert f"| better | 12,345 | {accuracy} | {interval} | 3 | 80 | 25.00 | 2.0 |" in text


def test_the_terminal_shows_it_in_80_columns(results):
    write(results, "a-model-with-quite-a-long-name", 0, np.ones(80, bool))
    console = Console(file=io.StringIO(), width=80)
    print_table(build_table(results), console)
    shown = console.file.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    for word in ("accuracy", "95 %", "interval", "macro", "train"):
        assert word in shown
    assert "…" not in shown


def test_failed_runs_are_counted_and_never_averaged(results):
    failure = Failure(type="NonFiniteLossError", message="m", step=3)
    write(
        results, "worse", 3, np.ones(80, bool), status="failed", failure=failure, training={},
        metrics={}, predictions=None,
    )  # fmt: skip
    row = build_table(results).rows[1]
    assert (row.runs, row.failed) == (3, 1)
    text = as_markdown(build_table(results))
    assert "| worse [1] |" in text
    assert "| 3 of 4 |" in text
    assert "- [1] worse: 1 of 4 runs failed and are left out" in text


@pytest.mark.parametrize(
    ("field", "value", "note"),
    [
        ("steps", 11, "optimizer steps 11, not 10"),
        ("batch", 32, "batch 32, not 16"),
        ("world_size", 2, "processes 2, not 1"),
        ("optimizer", "huggingface", "optimizer huggingface, not study"),
        ("device", "other", "device other, not chip"),
    ],
)
def test_a_row_that_differs_in_more_than_its_model_says_so(results, field, value, note):
    write(results, "odd", 0, np.ones(80, bool), training={field: value})
    assert build_table(results).rows[0].differences == [note]
    assert f"[1] odd: {note}" in as_markdown(build_table(results))


def test_truncated_texts_are_reported(results):
    tokens = {"train": Tokens(total=9, truncated_examples=3)}
    write(results, "short", 0, np.ones(80, bool), training={"tokens": tokens})
    assert "- short: 3 of 80 train texts were truncated at 8 tokens.\n" in as_markdown(
        build_table(results)
    )


def test_models_evaluated_on_different_examples_are_refused(results):
    split = SplitData(examples=80, content_hash="b" * 64, label_counts={})
    task = TaskData(
        source="d/s", revision=None, labels=["x", "y"], splits={"train": split, "test": split},
        evaluation_split="test",
    )  # fmt: skip
    write(results, "odd", 0, np.ones(80, bool), task=task)
    with pytest.raises(UserError, match="cannot stand in one table"):
        build_table(results)


def test_no_torch_is_imported_for_a_table(results):
    script = (
        "import sys; from hfbench.table import build_table, write_table; from pathlib import Path;"
        f"write_table(build_table(Path({str(results)!r})), Path({str(results)!r}));"
        "heavy = {'torch', 'transformers', 'datasets', 'evaluate'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    run = subprocess.run([sys.executable, "-c", script], timeout=60)
    assert run.returncode == 0


@pytest.mark.parametrize("folder", sorted(RESULTS.glob("*/records")), ids=lambda p: p.parent.name)
def test_committed_tables_regenerate_byte_for_byte(folder):
    built = build_table(folder.parent)
    assert (folder.parent / "README.md").read_bytes() == as_markdown(built).encode()
    assert (folder.parent / "accuracy.csv").read_bytes() == as_csv(built).encode()
