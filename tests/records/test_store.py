import gc
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hfbench.errors import RecordError, StorageError, UserError
from hfbench.records.identity import cell_id
from hfbench.records.predictions import load_all_predictions, load_predictions
from hfbench.records.schema import Record
from hfbench.records.store import load_record, load_records, save_record


def make(started="2026-01-01T00:00:00.000+00:00", **fields) -> Record:
    values = {
        "kind": "classification",
        "status": "finished",
        "recipe": "r",
        "model": "m",
        "seed": 3,
        "cell_id": "0" * 64,
        "settings": {"models": [{"name": "m"}]},
        "started": started,
        "environment": {},
        "cell_seconds": 1.5,
        "metrics": {"test": {"accuracy": 0.5}},
        "predictions": "m--seed3.parquet",
        **fields,
    }
    return Record(**values)


PREDICTIONS = pa.table(
    {
        "split": ["validation", "test", "test"],
        "id": ["a/0", "b/0", "b/1"],
        "label": pa.array([0, 1, 0], pa.int64()),
        "logits": pa.array([[0.5, 1.0], [2.0, 3.0], [4.0, 5.0]], pa.list_(pa.float32())),
    }
)


def test_a_record_reads_back_as_it_was_written(tmp_path):
    path = save_record(make(), tmp_path / "records", PREDICTIONS)
    assert path.name == "m--seed3.json"
    assert load_record(path) == make()
    assert load_records(tmp_path) == [make()]
    test = load_predictions(make(), tmp_path, "test")
    assert list(test["id"]) == ["b/0", "b/1"]
    np.testing.assert_array_equal(test["logits"], [[2, 3], [4, 5]])
    np.testing.assert_array_equal(test["label"], [1, 0])


def test_runs_share_the_examples_that_they_have_in_common(tmp_path):
    other = PREDICTIONS.set_column(1, "id", pa.array(["a/0", "b/0", "b/2"]))
    tables = [PREDICTIONS, PREDICTIONS.set_column(3, "logits", other["logits"].take([2, 1, 0]))]
    records = [make(seed=seed, predictions=f"m--seed{seed}.parquet") for seed in range(4)]
    for record, table in zip(records, [*tables, other, PREDICTIONS], strict=True):
        save_record(record, tmp_path / "records", table)
    found = load_all_predictions(records, tmp_path, "test")
    assert found[1]["id"] is found[0]["id"]
    assert [list(one["id"]) for one in found] == [["b/0", "b/1"]] * 2 + [["b/0", "b/2"]] + [
        ["b/0", "b/1"]
    ]
    assert found[0]["logits"].tolist() == found[3]["logits"].tolist() == [[2, 3], [4, 5]]
    assert found[1]["logits"].tolist() == [[2, 3], [0.5, 1]]


def test_reading_records_leaves_the_garbage_collection_as_it_was(tmp_path):
    path = save_record(make(), tmp_path / "records")
    load_records(tmp_path)
    assert gc.isenabled()
    path.write_text("{")
    with pytest.raises(RecordError):
        load_records(tmp_path)
    assert gc.isenabled()


def test_a_record_that_is_replaced_is_kept_aside(tmp_path):
    save_record(make(), tmp_path, PREDICTIONS)
    newer = make(started="2026-01-02T00:00:00.000+00:00", status="failed", predictions=None)
    save_record(newer, tmp_path)
    assert load_record(tmp_path / "m--seed3.json") == newer
    assert not (tmp_path / "m--seed3.parquet").exists()
    attic = tmp_path / "superseded" / "2026-01-01T000000.000+0000"
    assert load_record(attic / "m--seed3.json") == make()
    assert (attic / "m--seed3.parquet").exists()


def test_a_write_that_fails_leaves_no_half_record(tmp_path, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(StorageError, match="No space left"):
        save_record(make(), tmp_path, PREDICTIONS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "not a valid record"),
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 1'), "schema_version"),
        (lambda text: text.replace('"status": "finished"', '"status": "fine"'), "status"),
        (lambda text: text.replace('"model":', '"modle":'), "model"),
        (lambda text: text.replace("0.5", "NaN"), "metrics.test.accuracy"),
    ],
)
def test_a_record_that_is_not_as_its_schema_says_is_named(tmp_path, change, message):
    path = save_record(make(), tmp_path)
    path.write_text(change(path.read_text()))
    with pytest.raises(RecordError) as error:
        load_record(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_missing_predictions_and_records_are_named(tmp_path):
    save_record(make(), tmp_path / "records")
    with pytest.raises(RecordError, match=r"m--seed3\.parquet.*missing"):
        load_predictions(make(), tmp_path, "test")
    with pytest.raises(UserError, match="no records here"):
        load_records(tmp_path / "elsewhere")


def test_file_names_tell_kind_model_size_and_seed():
    assert make(seed=None).stem == "m"
    assert make(train_size=60).stem == "m--n60--seed3"
    assert make(kind="pretraining", seed=None).stem == "pretrain--m"


def test_the_id_of_a_cell_follows_its_settings_and_not_their_order():
    assert cell_id({"a": 1, "b": [2]}) == cell_id({"b": [2], "a": 1})
    assert cell_id({"a": 1}) != cell_id({"a": 2})


def test_every_key_of_the_schema_is_explained():
    schema = Record.model_json_schema()
    parts = [schema, *schema["$defs"].values()]
    plain = {"kind", "status", "task", "corpus", "model_facts"}  # their type says it
    unexplained = {
        name
        for part in parts
        for name, field in part["properties"].items()
        if "description" not in field
    }
    assert unexplained <= plain
    assert json.dumps(schema)


@pytest.mark.parametrize("layout", ["logits first", "two row groups"])
def test_files_that_others_wrote_are_not_taken_for_each_other(layout, tmp_path):
    """Where the examples do not all stand before the logits, the files may begin alike."""
    other = PREDICTIONS.set_column(1, "id", pa.array(["a/0", "b/0", "b/2"]))
    records = [make(seed=seed, predictions=f"m--seed{seed}.parquet") for seed in range(2)]
    for record, table in zip(records, [PREDICTIONS, other], strict=True):
        path = save_record(record, tmp_path / "records", table).with_suffix(".parquet")
        if layout == "logits first":
            pq.write_table(table.select(["logits", "split", "id", "label"]), path)
        else:
            pq.write_table(table, path, row_group_size=2)
    found = load_all_predictions(records, tmp_path, "test")
    assert [list(one["id"]) for one in found] == [["b/0", "b/1"], ["b/0", "b/2"]]
