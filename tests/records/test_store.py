import errno
import gc
import hashlib
import json
import os
import random
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter
from support.by_hand import write_by_hand

from hfbench.errors import RecordError, StorageError, UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.table import as_markdown
from hfbench.records.identity import cell_id
from hfbench.records.pack import pack
from hfbench.records.predictions import load_all_predictions, load_predictions
from hfbench.records.record_file import load_record
from hfbench.records.schema import (
    ClassificationRecord,
    ControlRecord,
    FailedRecord,
    PretrainingRecord,
    Record,
    TrainingFacts,
)
from hfbench.records.store import ResultsFolder, load_records
from hfbench.system.files import atomic

RUN = {
    "recipe": "r",
    "model": "m",
    "seed": 3,
    "cell_id": "0" * 64,
    "settings": {"models": [{"name": "m"}]},
    "started": "2026-01-01T00:00:00.000+00:00",
    "environment": {},
    "cell_seconds": 1.5,
}
SPLIT = {"examples": 2, "content_hash": "a" * 64, "label_counts": {"x": 1, "y": 1}}
FACTS = {
    "source": "s", "revision": None, "weights_hash": None, "class_name": "C", "parameters": 9,
    "embedding_parameters": None, "config": {}, "vocab_size": None, "max_length": None,
}  # fmt: skip
TASK = {
    "source": "d", "revision": None, "labels": ["x", "y"],
    "splits": {"train": SPLIT, "validation": {**SPLIT, "examples": 1}, "test": SPLIT},
    "evaluation_split": "test",
}  # fmt: skip


def make(**fields) -> Record:
    values = {
        **RUN,
        "kind": "control",
        "task": TASK,
        "model_facts": FACTS,
        "fit_seconds": 0.5,
        "metrics": {"validation": {"accuracy": 1.0}, "test": {"accuracy": 0.5}},
        "predictions": "m--seed3.parquet",
        **fields,
    }
    return ControlRecord(**values)


def make_failed(**fields) -> Record:
    failure = {"type": "E", "message": "m", "step": None}
    return FailedRecord(**{**RUN, "kind": "classification", "failure": failure, **fields})


PREDICTIONS = pa.table(
    {
        "split": ["validation", "test", "test"],
        "id": ["a/0", "b/0", "b/1"],
        "label": pa.array([0, 1, 0], pa.int64()),
        "logits": pa.array([[0.5, 1.0], [2.0, 3.0], [4.0, 5.0]], pa.list_(pa.float32())),
    }
)


def test_a_record_reads_back_as_it_was_written(tmp_path):
    path = ResultsFolder(tmp_path).keep(make(), PREDICTIONS)
    assert path.name == "m--seed3.json"
    digest = hashlib.sha256((tmp_path / "records" / "m--seed3.parquet").read_bytes()).hexdigest()
    assert load_record(path) == make(predictions_hash=digest)
    assert load_records(tmp_path) == [make(predictions_hash=digest)]
    test = load_predictions(make(), tmp_path, "test")
    assert list(test["id"]) == ["b/0", "b/1"]
    np.testing.assert_array_equal(test["logits"], [[2, 3], [4, 5]])
    np.testing.assert_array_equal(test["label"], [1, 0])


def test_runs_share_the_examples_that_they_have_in_common(tmp_path):
    other = PREDICTIONS.set_column(1, "id", pa.array(["a/0", "b/0", "b/2"]))
    tables = [PREDICTIONS, PREDICTIONS.set_column(3, "logits", other["logits"].take([2, 1, 0]))]
    records = [make(seed=seed, predictions=f"m--seed{seed}.parquet") for seed in range(4)]
    for record, table in zip(records, [*tables, other, PREDICTIONS], strict=True):
        ResultsFolder(tmp_path).keep(record, table)
    found = load_all_predictions(records, tmp_path, "test")
    assert found[1]["id"] is found[0]["id"]
    assert [list(one["id"]) for one in found] == [["b/0", "b/1"]] * 2 + [["b/0", "b/2"]] + [
        ["b/0", "b/1"]
    ]
    assert found[0]["logits"].tolist() == found[3]["logits"].tolist() == [[2, 3], [4, 5]]
    assert found[1]["logits"].tolist() == [[2, 3], [0.5, 1]]


def test_reading_records_leaves_the_garbage_collection_as_it_was(tmp_path):
    path = ResultsFolder(tmp_path).keep(make())
    load_records(tmp_path)
    assert gc.isenabled()
    path.write_text("{")
    with pytest.raises(RecordError):
        load_records(tmp_path)
    assert gc.isenabled()


def test_a_record_that_is_replaced_is_kept_aside(tmp_path):
    ResultsFolder(tmp_path).keep(make(), PREDICTIONS)
    newer = make_failed(started="2026-01-02T00:00:00.000+00:00")
    ResultsFolder(tmp_path).keep(newer)
    records = tmp_path / "records"
    assert load_record(records / "m--seed3.json") == newer
    assert not (records / "m--seed3.parquet").exists()
    attic = records / "superseded" / "2026-01-01T000000.000+0000"
    assert load_record(attic / "m--seed3.json").started == make().started
    assert (attic / "m--seed3.parquet").exists()


def test_what_was_superseded_is_not_overwritten_by_a_clock_that_was_set_back(tmp_path):
    for count in range(1, 4):
        ResultsFolder(tmp_path).keep(make(cell_seconds=float(count)), PREDICTIONS)
    attic = sorted((tmp_path / "records" / "superseded").glob("*/m--seed3.json"))
    assert [load_record(path).cell_seconds for path in attic] == [1.0, 2.0]


def test_nothing_is_written_through_a_link(tmp_path):
    """Of a temporary file whose name somebody foresees."""
    target = tmp_path / "target"
    target.write_text("mine")
    path = tmp_path / "README.md"
    (tmp_path / f".README.md.{os.getpid()}.tmp").symlink_to(target)
    names = set()
    for _ in range(2):
        with atomic(path) as temporary:
            names.add(temporary.name)
            assert not temporary.is_symlink()
            temporary.write_text("new")
    assert len(names) == 2
    assert (target.read_text(), path.read_text()) == ("mine", "new")
    assert path.stat().st_mode & 0o777 == target.stat().st_mode & 0o777


def test_each_flipped_bit_of_a_record_is_noticed(tmp_path):
    path = ResultsFolder(tmp_path).keep(make(), PREDICTIONS)
    content, whole = path.read_bytes(), load_record(path)
    rng, noticed = random.Random(0), 0
    for _ in range(300):
        place = rng.randrange(len(content))
        flipped = bytearray(content)
        flipped[place] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        try:
            assert load_record(path) == whole  # a blank between keys
        except RecordError:
            noticed += 1
    assert noticed > 200


def test_each_flipped_bit_of_predictions_is_noticed(tmp_path):
    folder = ResultsFolder(tmp_path)
    record = load_record(folder.keep(make(), PREDICTIONS))
    path = folder.predictions_path(record)
    content, rng = path.read_bytes(), random.Random(0)
    for _ in range(100):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(RecordError):
            load_predictions(record, tmp_path, "test")


def test_a_write_that_fails_leaves_no_half_record(tmp_path, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(StorageError, match="No space left"):
        ResultsFolder(tmp_path).keep(make(), PREDICTIONS)
    assert list((tmp_path / "records").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[: len(text) // 2], "not a valid record"),
        (lambda text: text.replace('"schema_version": 3', '"schema_version": 1'), "schema_version"),
        (lambda text: text.replace('"status": "finished"', '"status": "fine"'), "status"),
        (lambda text: text.replace('"model":', '"modle":'), "model"),
        (lambda text: text.replace('accuracy": 0.5', 'accuracy": NaN'), "metrics.test.accuracy"),
    ],
)
def test_a_record_that_is_not_as_its_schema_says_is_named(tmp_path, change, message):
    path = ResultsFolder(tmp_path).keep(make())
    write_by_hand(path, json.loads(path.read_text()) | {"checksum": None})
    path.write_text(change(re.sub(r', "checksum": "\w+"', "", path.read_text())))
    with pytest.raises(RecordError) as error:
        load_record(path)
    assert str(path) in str(error.value)
    assert message in str(error.value)


def test_a_training_without_a_curve_is_named(tmp_path, write_record):
    write_record(tmp_path, "m", 0, [True, False])
    path = tmp_path / "records" / "m--seed0.json"
    write_by_hand(path, json.loads(path.read_text()) | {"curves": {"validation": []}})
    with pytest.raises(RecordError, match=r"m--seed0\.json.*curves.*there is none of 'train'"):
        load_record(path)


def test_missing_predictions_and_records_are_named(tmp_path):
    ResultsFolder(tmp_path).keep(make())
    with pytest.raises(RecordError, match=r"m--seed3\.parquet.*missing"):
        load_predictions(make(), tmp_path, "test")
    with pytest.raises(UserError, match="no records here"):
        load_records(tmp_path / "elsewhere")


def test_file_names_tell_kind_model_size_and_seed():
    assert make(seed=None).stem == "m"
    assert make(train_size=60).stem == "m--n60--seed3"
    assert make_failed(kind="pretraining", seed=None).stem == "pretrain--m"


def test_the_id_of_a_cell_follows_its_settings_and_not_their_order():
    assert cell_id({"a": 1, "b": [2]}) == cell_id({"b": [2], "a": 1})
    assert cell_id({"a": 1}) != cell_id({"a": 2})


def test_every_key_of_the_schema_is_explained():
    schema = TypeAdapter(Record).json_schema()
    parts = schema["$defs"].values()
    # their type says it
    plain = {"kind", "status", "task", "corpus", "model_facts", "training", "failure"}
    plain |= {"features", "fitted", "prompt", "answers"}
    unexplained = {
        name
        for part in parts
        for name, field in part["properties"].items()
        if "description" not in field
    }
    assert unexplained <= plain
    assert json.dumps(schema)


def whole_numbers(part, place=""):
    """The JSON schemas of all whole numbers below one, each with its place."""
    if part.get("type") == "integer" and "const" not in part:
        yield place, part
    for key, below in part.items():
        if isinstance(below, dict):
            yield from whole_numbers(below, f"{place}.{key}")
        if key == "anyOf":
            for one in below:
                yield from whole_numbers(one, place)


def test_no_whole_number_of_the_schema_may_be_negative():
    found = dict(whole_numbers(TypeAdapter(Record).json_schema()))
    assert len(found) > 50
    assert not [
        place for place, one in found.items() if {"minimum", "exclusiveMinimum"}.isdisjoint(one)
    ]


def test_a_long_training_has_more_operations_than_64_bits_count(tmp_path, write_record):
    """GPT-2's shape on 1.3 billion tokens has 1.1e18, and its record was refused at the end."""
    for seed in (0, 1):
        write_record(tmp_path, "m", seed, [True, False])
        path = tmp_path / "records" / f"m--seed{seed}.json"
        values = json.loads(path.read_text())
        values["training"]["flops"] = 10**21
        write_by_hand(path, values)
    findings = Findings.of(load_comparison(tmp_path))
    assert "1e+09" in as_markdown(findings)  # TFLOP
    pack(ResultsFolder(tmp_path))
    assert load_records(tmp_path)[0].training.flops == 10**21
    with pytest.raises(ValueError, match="flops"):
        TrainingFacts(**{**TRAINING, "flops": 10**31})


@pytest.mark.parametrize("examples", [-1, 0])
def test_a_record_without_training_examples_is_named(tmp_path, write_record, examples):
    """It was a warning of numpy's: the floor has the shares of them as its probabilities."""
    write_record(tmp_path, "m", 0, [True, False])
    path = tmp_path / "records" / "m--seed0.json"
    values = json.loads(path.read_text())
    values["task"]["splits"]["train"]["examples"] = examples
    write_by_hand(path, values)
    with pytest.raises(
        RecordError, match=r"m--seed0\.json.*task\.splits\.train\.examples.* greater"
    ):
        load_record(path)


@pytest.mark.parametrize("layout", ["logits first", "two row groups"])
def test_files_that_others_wrote_are_not_taken_for_each_other(layout, tmp_path):
    """Where the examples do not all stand before the logits, the files may begin alike."""
    other = PREDICTIONS.set_column(1, "id", pa.array(["a/0", "b/0", "b/2"]))
    records = [make(seed=seed, predictions=f"m--seed{seed}.parquet") for seed in range(2)]
    for record, table in zip(records, [PREDICTIONS, other], strict=True):
        path = ResultsFolder(tmp_path).keep(record, table).with_suffix(".parquet")
        if layout == "logits first":
            pq.write_table(table.select(["logits", "split", "id", "label"]), path)
        else:
            pq.write_table(table, path, row_group_size=2)
    found = load_all_predictions(records, tmp_path, "test")
    assert [list(one["id"]) for one in found] == [["b/0", "b/1"], ["b/0", "b/2"]]


TRAINING = {
    "arguments": {"learning_rate": 0.5, "logging_steps": 7}, "optimizer": "study",
    "streams": {"init": 1}, "world_size": 1, "batch": 4, "steps": 2, "selection": "last",
    "selected_step": 2, "examples_seen": 8, "tokens_seen": 40, "flops": 9, "device": "cpu",
    "tokens": {"train": {"total": 40, "truncated_examples": 0}}, "batch_parts": 1,
    "cuda_graphs": False, "train_seconds": 1.0, "peak_memory_bytes": 5, "peak_memory_of": "process",
}  # fmt: skip
CURVES = {"train": [{"step": 1.0, "epoch": 0.5, "loss": 0.75}], "validation": []}
CODE = {"runs.py": "f" * 64, "calibration.py": "e" * 64}
CUSTOM = {"class": "CustomGPTConfig", "config": {}}
TRAINED = {"arguments": {"learning_rate": 0.5, "logging_steps": 7, "report_to": []}, "lora": None}
OLD_IDENTITIES = {
    "classification": {
        "kind": "classification", "seed": 3, "task": {"train": "a" * 64}, "code": CODE,
        "model": CUSTOM, "training": TRAINED,
        "pretraining": {"kind": "pretraining", "training": TRAINED},
    },
    "control": {"kind": "classification", "seed": None, "control": "majority", "code": CODE},
    "pretraining": {
        "kind": "pretraining", "seed": 0, "code": CODE, "training": TRAINED,
        "model": {"class": "GPT2Config", "config": {}},
    },
}  # fmt: skip
NOTHING = dict.fromkeys(
    (
        "failure", "train_size", "adopted_from", "task", "corpus", "corpus_overlap", "model_facts",
        "training", "fit_seconds", "probe", "saved_weights", "predictions",
    )
)  # fmt: skip
OLD = {
    "classification": {
        "task": TASK, "model_facts": FACTS, "training": TRAINING, "curves": CURVES,
        "metrics": {"test": {"accuracy": 0.5}}, "predictions": "m--seed3.parquet",
    },
    "control": {
        "seed": None, "settings": {"models": [{"name": "m", "control": "majority"}]},
        "task": TASK, "model_facts": FACTS, "fit_seconds": 0.5, "predictions": "m.parquet",
        "metrics": {"test": {"accuracy": 0.5}},
    },
    "pretraining": {
        "seed": None, "model_facts": FACTS, "training": TRAINING, "curves": CURVES,
        "corpus": {"source": "c", "revision": None, "examples": {}, "content_hash": {}},
        "metrics": {"validation": {"loss": 2.0}},
    },
}  # fmt: skip


def of_schema_2(kind, **fields):
    """As hfbench wrote it: what was not known was null, and a control was a classification."""
    identity = OLD_IDENTITIES[kind]
    return {
        "schema_version": 2, "kind": identity["kind"], "status": "finished", **RUN, **NOTHING,
        "identity": identity, "environment": {"python": "3"}, "curves": {}, **OLD[kind], **fields,
    }  # fmt: skip


def write(folder, values):
    path = folder / "record.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("kind", "made", "concepts"),
    [
        (
            "classification", ClassificationRecord,
            {"data", "metrics", "models", "training", "models.custom_gpt"},
        ),
        ("control", ControlRecord, {"control.majority", "metrics"}),
        ("pretraining", PretrainingRecord, {"data", "metrics", "models", "training"}),
    ],
)  # fmt: skip
def test_a_record_of_schema_2_is_read_as_what_it_is(tmp_path, kind, made, concepts):
    values = of_schema_2(kind)
    record = load_record(write(tmp_path, values))
    assert type(record) is made
    assert (record.schema_version, record.kind, record.identity["kind"]) == (3, kind, kind)
    kept = values.keys() - {"schema_version", "kind", "identity", "cell_id"}
    said = record.model_dump(mode="json", exclude_unset=True)
    # what was null has no key where it has no meaning
    assert {name: said.get(name, {}) for name in kept if values[name] is not None} == {
        name: values[name] for name in kept if values[name] is not None
    }
    assert record.code_hashes == CODE
    assert record.identity["code"] == dict.fromkeys(concepts, 1)
    assert record.cell_id == cell_id(record.identity) != RUN["cell_id"]


def test_what_only_observes_leaves_the_identity_of_a_record_of_schema_2(tmp_path):
    identity = load_record(write(tmp_path, of_schema_2("classification"))).identity
    for trained in (identity["training"], identity["pretraining"]["training"]):
        assert trained == {"arguments": {"learning_rate": 0.5}, "lora": None}
    # the record still says how it ran
    path = write(tmp_path, of_schema_2("classification"))
    assert load_record(path).training.arguments == TRAINING["arguments"]


@pytest.mark.parametrize("kind", ["classification", "control", "pretraining"])
def test_a_failure_of_schema_2_is_read_as_one(tmp_path, kind):
    failure = {"type": "E", "message": "m", "step": 4}
    nothing = {**NOTHING, "curves": {}, "metrics": {}, "failure": failure}
    values = {**of_schema_2(kind, status="failed"), **nothing}
    record = load_record(write(tmp_path, values))
    assert type(record) is FailedRecord
    assert (record.kind, record.failure.step) == (kind, 4)
    assert record.code_hashes == CODE


def test_a_record_of_schema_2_from_before_identities_has_none(tmp_path):
    record = load_record(write(tmp_path, of_schema_2("classification", identity={})))
    assert (record.identity, record.code_hashes) == ({}, None)
    assert record.cell_id == RUN["cell_id"]


def test_a_record_of_schema_2_is_written_as_one_of_schema_3(tmp_path):
    record = load_record(write(tmp_path, of_schema_2("classification")))
    path = ResultsFolder(tmp_path).keep(record)
    assert json.loads(path.read_text())["schema_version"] == 3
    assert load_record(path) == record


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": ...}, "record.json: not a valid record of schema 2; restore it"),
        ({"settings": []}, "record.json: not a valid record of schema 2; restore it"),
        ({"identity": {"kind": "x"}}, "record.json: not a valid record of schema 2; restore it"),
        ({"note": 1}, "record.json: not a valid record: note: Extra inputs are not permitted"),
        ({"seed": "3"}, "record.json: not a valid record: seed: Input should be a valid integer"),
        ({"training": None}, "record.json: not a valid record: training: Field required"),
    ],
)
def test_a_damaged_record_of_schema_2_is_named(tmp_path, change, message):
    values = {**of_schema_2("classification"), **change}
    path = write(tmp_path, {name: value for name, value in values.items() if value is not ...})
    with pytest.raises(RecordError) as error:
        load_record(path)
    assert message in str(error.value)


def test_a_result_is_not_written_where_its_folder_was_moved_away(tmp_path):
    folder = ResultsFolder(tmp_path / "tiny")
    with folder.lock("m--seed3"):
        folder.refuse_if_gone("m--seed3")
        folder.path.rename(tmp_path / "moved")
        with pytest.raises(StorageError, match="was moved or removed while m--seed3 ran"):
            folder.refuse_if_gone("m--seed3")


def test_a_disk_that_fails_at_the_very_last_is_told(tmp_path, monkeypatch):
    folder = ResultsFolder(tmp_path)
    with folder.lock("a"):
        pass

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "unlink", fail)
    with pytest.raises(StorageError, match=r"cannot be written: .*No space left"):
        folder.tidy()


def test_the_folder_of_a_cell_that_another_process_runs_is_not_tidied_away(tmp_path):
    """It has just been made, and the Trainer is about to write there."""
    folder = ResultsFolder(tmp_path)
    for stem in ("mine--seed0", "theirs--seed0"):
        (folder.run(stem) / "logs").mkdir(parents=True)
    with folder.lock("theirs--seed0") as is_ours:
        assert is_ours
        folder.tidy()
        assert [path.name for path in (tmp_path / "runs").iterdir()] == ["theirs--seed0"]
        assert (folder.run("theirs--seed0") / "logs").is_dir()
    folder.tidy()
    assert list(tmp_path.iterdir()) == []
