"""Results folders that were edited, cut off, mixed up, or are very large.

`tests/records/test_store.py` has what the schema of a record refuses by itself.
"""

import json
import math
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.by_hand import forget_hash, write_by_hand

from hfbench.errors import UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.table import write_table

N = 40  # examples
OVERLAP = {"examples": 40, "exact": 0, "near": 0, "short": 0}
TOKENS = {"total": 9, "truncated_examples": 0}
SPLIT = {"examples": 40, "content_hash": "a", "label_counts": {"x": 40}}
FOLD = {"number": 1, "folds": 2, "repeats": 1, "whole": SPLIT}
WHAT_TO_DO = "; restore it from a copy, or move it away and run its recipe again"


@pytest.fixture
def results(tmp_path, write_record):
    for model, one_in in (("one", 4), ("two", 5)):
        for seed in (0, 1):
            write_record(tmp_path, model, seed, np.arange(N) % one_in != seed)
    return tmp_path


@pytest.fixture
def record(results):
    return results / "records" / "one--seed0.json"


def mistake(results):
    with pytest.raises(UserError) as error:
        write_table(Findings.of(load_comparison(results)), results)
    assert not (results / "README.md").exists()
    return str(error.value).replace(str(results), "DIR")


def edit(path, keys, value):
    """Set the value at a key path; ``...`` for a value removes the key."""
    values = json.loads(path.read_text())
    part = values
    *parents, last = keys.split(".")
    for key in parents:
        part = part[key]
    part[last] = value
    if value is ...:
        del part[last]
    write_by_hand(path, values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:300], "not a valid record: the file: Invalid JSON: EOF while parsing"),
        (lambda _: "", "not a valid record: the file: Invalid JSON: EOF while parsing a value"),
        (lambda _: "[1]", "not a valid record: the file: it must hold an object"),
        (lambda text: "\ufeff" + text, "not a valid record: the file: Invalid JSON: expected"),
        (
            lambda text: text.replace('"settings": {', f'"settings": {{"a": {"[" * 10**5}'),
            "not a valid record: the file: Invalid JSON: recursion limit exceeded",
        ),
        (
            lambda text: text.replace('"model": "one"', '"model": "one", "model": "three"'),
            "not a valid record: its checksum is not that of what it says: it is damaged",
        ),
    ],
)  # fmt: skip
def test_a_record_that_is_no_record_is_named(results, record, change, message):
    record.write_text(change(record.read_text()))
    found = mistake(results)
    assert found.startswith(f"DIR/records/one--seed0.json: {message}")
    assert found.endswith(WHAT_TO_DO)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("note", 1, "not a valid record: note: Extra inputs are not permitted"),
        ("seed", "0", "not a valid record: seed: Input should be a valid integer"),
        ("seed", True, "not a valid record: seed: Input should be a valid integer"),
        ("cell_seconds", "3", "not a valid record: cell_seconds: Input should be a valid number"),
        ("task.labels", "xy", "not a valid record: task.labels: Input should be a valid array"),
        *(
            (
                "kind",
                value,
                "not a valid record: kind: it must be classification, control, predictions, "
                "pretraining, probe or prompt",
            )
            for value in (..., "regression")
        ),
        ("schema_version", ..., "not a valid record: it has no schema_version"),
        (
            "schema_version",
            1,
            "has schema_version 1, but this hfbench reads 2 and 3: read it with the hfbench that "
            "wrote it",
        ),
        (
            "schema_version",
            99,
            "has schema_version 99, but this hfbench reads 2 and 3: read it with the hfbench that "
            "wrote it",
        ),
        ("seed", 1, "is the record of one--seed1"),
        ("model", "two", "is the record of two--seed0"),
        ("kind", "pretraining", "not a valid record: corpus: Field required"),
        ("kind", "control", "not a valid record: fit_seconds: Field required"),
        ("task", None, "not a valid record: task: Input should be an object"),
        ("model_facts", ..., "not a valid record: model_facts: Field required"),
        ("predictions", None, "not a valid record: predictions: Input should be a valid string"),
        ("status", "failed", "not a valid record: failure: Field required"),
        ("seed", None, "not a valid record: seed: Input should be a valid integer"),
    ],
)
def test_a_record_that_was_edited_is_named(results, record, key, value, message):
    edit(record, key, value)
    assert mistake(results) == f"DIR/records/one--seed0.json: {message}{WHAT_TO_DO}"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("task.evaluation_split", "test", "task.splits has no 'test'"),
        ("task.splits.train", ..., "task.splits has no 'train'"),
        (
            "task.labels",
            ["x", "z"],
            "task.splits.train.label_counts are not those of task.labels",
        ),
        ("metrics", {}, "metrics has no accuracy of 'validation'"),
        ("environment", {}, "environment has no 'packages'"),
        ("settings.models", [], "settings.models is not as a recipe has it"),
        ("settings.models", [{"tuned": 1}], "settings.models.0.tuned is not as a recipe has it"),
        ("settings.task", "x", "settings.task is not as a recipe has it"),
        ("identity", {"pretraining": 1.5}, "identity.pretraining is not an object"),
        ("task.overlap", {"test": OVERLAP}, "task.overlap has no 'validation'"),
        ("training.tokens", {"all": TOKENS}, "tokens has 'all', which is no split"),
        ("training.patience", 2, "training.patience is given without training.planned_steps"),
        ("task.fold", FOLD, "fold is not that of task.fold"),
    ],
)
def test_a_record_that_does_not_fit_together_is_named(results, record, key, value, message):
    edit(record, key, value)
    assert mistake(results) == (
        f"DIR: the record of one--seed0 does not fit together: {message}{WHAT_TO_DO}"
    )


def test_records_of_two_recipes_in_one_folder_are_named(results, record):
    edit(record, "recipe", "another")
    assert mistake(results) == (
        "DIR: records of several recipes in one folder: 'r' (3), 'another' (1); give each its own"
    )


def change_predictions(results, **columns):
    path = results / "records" / "one--seed0.parquet"
    table = pq.read_table(path).to_pydict()
    types = {"label": pa.int64(), "logits": pa.list_(pa.float32())}
    changed = {name: change(table[name]) for name, change in columns.items()}
    kept = {name: values for name, values in {**table, **changed}.items() if values is not None}
    arrays = {name: pa.array(values, types.get(name)) for name, values in kept.items()}
    pq.write_table(pa.table(arrays), path)
    forget_hash(path.with_suffix(".json"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"split": lambda _: ["test"] * N}, "0 rows of 'validation', not 40"),
        ({"id": lambda ids: ids[::-1]}, "other examples or labels than those of one--seed1"),
        ({"label": lambda _: [7] * N}, "labels that are not from 0 to 1"),
        ({"label": lambda _: [-1] * N}, "labels that are not from 0 to 1"),
        (
            {"logits": lambda rows: [*rows[:-1], [math.nan, 0.0]]},
            "logits of validation/39 that are not finite",
        ),
        (
            {"logits": lambda rows: [[math.inf, 0.0], *rows[1:]]},
            "logits of validation/0 that are not finite",
        ),
        (
            {"logits": lambda rows: [[0.0, 1.0]] * N},
            "accuracy 0.5000, not 0.7500 as the record says",
        ),
    ],
)
def test_predictions_that_are_not_the_records_are_named(results, columns, message):
    change_predictions(results, **columns)
    assert mistake(results) in {
        f"DIR: the predictions of one--seed{seed} have {text}{WHAT_TO_DO}"
        for seed, text in ((0, message), (1, message.replace("seed1", "seed0")))
    }


def test_a_metric_that_the_predictions_do_not_give_is_named(results, record):
    edit(record, "metrics.validation.accuracy", 0.99)
    assert mistake(results) == (
        "DIR: the predictions of one--seed0 have accuracy 0.7500, not 0.9900 as the record "
        f"says{WHAT_TO_DO}"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the predictions of one--seed0 are missing"),
        (b"", "not valid predictions: Parquet file size is 0 bytes"),
        (b"split,id,label\n", "not valid predictions: Parquet magic bytes not found in footer."),
        (-30, "not valid predictions: Parquet magic bytes not found in footer."),
    ],
)
def test_predictions_that_are_missing_or_cut_are_named(results, content, message):
    path = results / "records" / "one--seed0.parquet"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content if isinstance(content, bytes) else path.read_bytes()[:content])
        assert mistake(results) == (
            "DIR/records/one--seed0.parquet: these are not the predictions that were written: "
            f"their SHA-256 is not that of the record{WHAT_TO_DO}"
        )
        forget_hash(path.with_suffix(".json"))
    assert mistake(results).startswith(f"DIR/records/one--seed0.parquet: {message}")


def test_a_copy_of_a_record_is_left_out_and_said(results, record, caplog):
    shutil.copy(record, record.with_name("one--seed0 (1).json"))
    shutil.copy(record, record.with_name("._one--seed0.json"))  # as systems leave beside a file
    assert len(load_comparison(results).models[0].finished) == 2
    (said,) = caplog.messages
    assert "one--seed0 (1).json: is a copy of one--seed0.json; it is left out" in said


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_is_no_record(results, record, make):
    record.unlink()
    make(record)
    assert mistake(results).startswith("DIR/records/one--seed0.json: cannot be read: ")


def test_a_record_that_is_too_large_is_not_read(results, record):
    with record.open("ab") as file:
        file.truncate(10**9)
    assert "1,000,000,000 bytes, and a record at most 64,000,000" in mistake(results)


def test_records_behind_a_link_are_not_read(results):
    (results / "records").rename(results / "elsewhere")
    (results / "records").symlink_to(results / "elsewhere")
    assert mistake(results).startswith("DIR/records: is a link to DIR/elsewhere; links")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": lambda _: None}, "0 values in column 'label', not 40"),
        ({"label": lambda _: [None] * N}, "Can only use DLPack on arrays with no nulls."),
        ({"id": lambda _: ["validation/0"] * N}, "an example more than once"),
        (
            {"logits": lambda rows: [[*row, 0.0] for row in rows]},
            "120 values in column 'logits', not 80",
        ),
        (
            {"logits": lambda rows: [*rows[:-1], [0.0]]},
            "79 values in column 'logits', not 80",
        ),
        (
            dict.fromkeys(("split", "id", "label", "logits"), lambda values: values[:3]),
            "3 rows, not 40 as the record says",
        ),
    ],
)
def test_predictions_of_another_form_are_named(results, columns, message):
    change_predictions(results, **columns)
    found = mistake(results)
    assert found.startswith(f"DIR/records/one--seed0.parquet: not valid predictions: {message}")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_text("{"), "one--seed0.json: not a valid record: the file: Inv"),
        (lambda path: edit(path, "schema_version", 1), "has schema_version 1, but this hfbench"),
        (lambda path: path.with_suffix(".parquet").unlink(), "the predictions of one--seed0 are"),
        (lambda path: shutil.rmtree(path.parent), "no records here"),
    ],
)
def test_on_the_command_line_it_is_one_message_and_exit_code_2(
    results, record, command, spoil, message
):
    spoil(record)
    code, error = command("table", results)
    assert code == 2
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in error


def make_many(folder, write_record, models, seeds):
    """Records of ``models`` times ``seeds`` runs; a model's are alike but for their seed."""
    for number in range(models):
        name = f"model{number}"
        write_record(folder, name, 0, np.arange(N) % models <= number)
        path = folder / "records" / f"{name}--seed0.json"
        values = json.loads(path.read_text())
        for seed in range(1, seeds):
            copy = path.with_name(f"{name}--seed{seed}.json")
            values |= {"seed": seed, "predictions": f"{copy.stem}.parquet"}
            write_by_hand(copy, values)
            shutil.copy(path.with_suffix(".parquet"), copy.with_suffix(".parquet"))


@pytest.mark.slow
def test_a_table_of_10000_records_takes_as_long_for_each_as_one_of_1000(tmp_path, write_record):
    def seconds_of_each(name, seeds):
        make_many(tmp_path / name, write_record, models=20, seeds=seeds)
        started = time.process_time()
        comparison = load_comparison(tmp_path / name)
        write_table(Findings.of(comparison), tmp_path / name)
        taken = time.process_time() - started
        assert sum(len(model.finished) for model in comparison.models) == 20 * seeds
        return taken / (20 * seeds)

    seconds_of_each("warm", 2)
    # about 1 ms each of two quiet cores, of which others may use some
    assert seconds_of_each("many", 500) < 1.5 * seconds_of_each("few", 50)
