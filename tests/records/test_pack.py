"""Records in two files say what they said in many, and damage is noticed there, too."""

import json
import os
import random
import shutil
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.by_hand import forget_hash

from hfbench.errors import RecordError, UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.table import as_csv, as_markdown
from hfbench.records import pack as packing
from hfbench.records.damage import find_damage
from hfbench.records.pack import pack, unpack
from hfbench.records.packed import PREDICTIONS, RECORDS, _Content, content_hash
from hfbench.records.predictions import load_all_predictions, read_predictions_table
from hfbench.records.schema import Compared
from hfbench.records.store import ResultsFolder, _packed, find_finished, load_records
from hfbench.system.locks import hold

QUICKSTART = Path(__file__).parents[2] / "results" / "quickstart"


@pytest.fixture
def folder(tmp_path):
    """Committed results, of which one is without a result."""
    path = tmp_path / "results" / "quickstart"
    shutil.copytree(QUICKSTART / "records", path / "records")
    return ResultsFolder(path)


def everything(folder):
    """All that is made of records."""
    findings = Findings.of(load_comparison(folder.path))
    finished = {key: [p.stem for p in v] for key, v in find_finished(folder.path.parent).items()}
    return as_markdown(findings), as_csv(findings), finished, load_records(folder.path)


def said_by(folder):
    """What all else is computed from."""
    records = load_records(folder.path)
    compared = [record for record in records if isinstance(record, Compared)]
    return records, [content_hash(read_predictions_table(one, folder)) for one in compared]


def files(folder):
    return {path.name: path.read_bytes() for path in folder.records.iterdir() if path.is_file()}


def test_packed_records_say_what_they_said_and_come_back_byte_for_byte(folder, monkeypatch):
    monkeypatch.setattr(packing, "_GROUP_ROWS", 1000)  # several groups
    before, loose = everything(folder), files(folder)
    assert pack(folder) == len(before[3])
    assert not folder.records.exists()
    assert pq.ParquetFile(folder.path / PREDICTIONS).metadata.num_row_groups > 1
    assert everything(folder) == before
    with pytest.raises(UserError, match="its records are packed"):
        pack(folder)
    assert unpack(folder) == []
    there = files(folder)
    assert {name for name in loose if name.endswith(".json")} <= there.keys() == loose.keys()
    for name, content in loose.items():
        if name.endswith(".json"):
            assert there[name] == content, name
    assert everything(folder) == before
    with pytest.raises(UserError, match="no packed records here"):
        unpack(folder)


def test_both_files_open_as_data_sets(folder, tmp_path):
    records = pack(folder)
    opened = {
        name: datasets.load_dataset(
            "parquet", data_files=str(folder.path / name), cache_dir=str(tmp_path), split="train"
        )
        for name in (RECORDS, PREDICTIONS)
    }
    assert len(opened[RECORDS]) == records
    assert opened[PREDICTIONS].column_names == [
        "model", "seed", "train_size", "split", "id", "label", "logits",
    ]  # fmt: skip
    assert len(opened[PREDICTIONS]) == sum(filter(None, opened[RECORDS]["predictions"]))


def test_a_cell_that_runs_is_not_packed_away(folder):
    stem = folder.stems[0]
    with hold(folder.path / "locks" / f"{stem}.lock"), pytest.raises(UserError, match=stem):
        pack(folder)
    assert not folder.packed


def test_nothing_that_a_killed_run_left_stays_beside_packed_records(folder):
    """But its checkpoints, from which it goes on."""
    stem, cut = folder.stems[0], folder.records / ".gpt-nano--seed9.json.0123.tmp"
    with hold(folder.path / "locks" / f"{stem}.lock"):
        cut.write_text("half a rec")
    for name in ("gpt-nano--seed9/empty", "gpt-nano--seed8/checkpoint-2"):
        folder.run(name).mkdir(parents=True)
    (folder.run("gpt-nano--seed8") / "cell.txt").touch()
    pack(folder)
    left = [path for path in folder.path.rglob("*") if path.is_file()]
    assert {path.name for path in left} == {RECORDS, PREDICTIONS, "cell.txt"}
    assert {path.name for path in folder.path.iterdir()} == {RECORDS, PREDICTIONS, "runs"}
    assert [path.name for path in (folder.path / "runs").iterdir()] == ["gpt-nano--seed8"]


def test_predictions_that_another_pyarrow_wrote_are_known_again(folder):
    """Files differ, and what they say does not."""
    table = pq.read_table(next(folder.records.glob("*.parquet")))
    again = pa.concat_tables([table.slice(0, 5), table.slice(5)])
    assert content_hash(again) == content_hash(table)
    other = table.set_column(1, "id", table["id"].take(list(range(len(table)))[::-1]))
    assert content_hash(other) != content_hash(table)
    columns = [["a", None], ["a", ""], [None, "a"], [True, None], [True, False], [1, 0]]
    assert len({content_hash(pa.table({"slice.x": column})) for column in columns}) == 6


def test_rows_among_others_have_the_hash_that_they_have_alone():
    """Also where there are nulls, lists with nulls, and columns that begin amid their values."""
    rng = random.Random(0)

    def values(kind):
        def one(depth=0):
            if rng.random() < 0.2:
                return None
            if kind == "list" and not depth:
                return [one(1) for _ in range(rng.randrange(4))]
            return rng.choice(["", "a", "éé"] if kind == "text" else [0.0, -0.0, 1.5])

        types = {"text": pa.string(), "number": pa.float32(), "list": pa.list_(pa.float32())}
        return pa.array([one() for _ in range(40)], types[kind])

    columns = {kind: values(kind) for kind in ("text", "number", "list")}
    columns |= {"sparse": pa.array([None] * 39 + [1]), "is": pa.array([True, False] * 20)}
    columns |= {"same": columns["text"].dictionary_encode()}
    table = pa.table(columns).slice(3)
    content = _Content(table)
    for start in range(30):
        alone = pa.Table.from_pylist(table.slice(start, 7).to_pylist(), table.schema)
        assert content.hash(start, start + 7) == content_hash(alone)


def test_no_group_of_predictions_is_read_twice(folder, monkeypatch):
    """Whatever the order in which records are asked for: seeds stand in that of their names."""
    monkeypatch.setattr(packing, "_GROUP_ROWS", 1000)
    records = [one for one in load_records(folder.path) if isinstance(one, Compared)]
    random.Random(0).shuffle(records)
    loose = load_all_predictions(records, folder.path, "validation")
    pack(folder)
    read = []

    class Watched(pq.ParquetFile):
        def read_row_group(self, number, *args, **kwargs):
            read.append(number)
            return super().read_row_group(number, *args, **kwargs)

    monkeypatch.setattr(pq, "ParquetFile", Watched)
    _packed.cache_clear()
    packed = load_all_predictions(records, folder.path, "validation")
    assert read == sorted(set(read))
    assert len(read) > 1
    for one, other in zip(loose, packed, strict=True):
        assert one.keys() == other.keys()
        assert all(one[key].tolist() == other[key].tolist() for key in one)


ODD_COLUMNS = {
    "struct": lambda rows: pa.array([{"a": 1}] * rows),
    "map": lambda rows: pa.array([[("a", 1)]] * rows, pa.map_(pa.string(), pa.int64())),
    "decimal": lambda rows: pa.nulls(rows, pa.decimal128(5, 2)),
    "binary": lambda rows: pa.array([b"a"] * rows),
}


@pytest.mark.parametrize("kind", ODD_COLUMNS)
def test_a_column_of_a_type_that_nobody_writes_is_one_message(folder, kind):
    """Of packed predictions, and of those that are to be packed: then nothing has changed."""
    pack(folder)
    path = folder.path / PREDICTIONS
    packed, whole = path.read_bytes(), pq.read_table(path)
    odd = whole.append_column("slice.x", ODD_COLUMNS[kind](len(whole)))
    pq.write_table(odd, path, row_group_size=len(whole))
    with pytest.raises(RecordError, match="not valid packed records: a column of"):
        load_comparison(folder.path)
    path.write_bytes(packed)
    assert unpack(folder) == []
    for path in folder.records.glob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.append_column("x", ODD_COLUMNS[kind](len(table))), path)
        forget_hash(path.with_suffix(".json"))
    before = files(folder)
    with pytest.raises(RecordError, match="cannot be packed: a column of"):
        pack(folder)
    assert files(folder) == before
    assert not (folder.path / RECORDS).exists()


def test_predictions_with_other_columns_than_the_others_are_not_packed(folder):
    *_, path = sorted(folder.records.glob("*.parquet"))
    table = pq.read_table(path)
    pq.write_table(table.append_column("slice.x", pa.array(["a"] * len(table))), path)
    forget_hash(path.with_suffix(".json"))
    with pytest.raises(RecordError, match=f"{path.name}: cannot be packed: its columns are not"):
        pack(folder)
    assert not folder.packed


@pytest.mark.parametrize("stem", ["../../outside", ".hidden", "a/b"])
def test_packed_records_are_not_unpacked_outside_of_their_folder(folder, stem):
    """Where a record is damaged its text is written as it is, under the name that is said."""
    pack(folder)
    path = folder.path / RECORDS
    rows = pq.read_table(path).to_pylist()
    rows[0]["stem"] = stem
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(path)), path)
    before = sorted(folder.path.parents[1].rglob("*"))
    for act in (unpack, lambda one: load_records(one.path)):
        with pytest.raises(RecordError, match="cannot be the name of a file of its own"):
            act(folder)
    assert sorted(folder.path.parents[1].rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("name", [RECORDS, PREDICTIONS])
def test_a_pipe_in_the_place_of_packed_records_is_refused(folder, name):
    pack(folder)
    (folder.path / name).unlink()
    os.mkfifo(folder.path / name)
    with pytest.raises(RecordError, match="it is not a file"):
        load_comparison(folder.path)


@pytest.mark.parametrize("name", [RECORDS, PREDICTIONS])
def test_flipped_bits_of_packed_records_are_noticed_or_without_effect(folder, name):
    pack(folder)
    before, path, draw = said_by(folder), folder.path / name, random.Random(name)
    content = path.read_bytes()
    noticed = 0
    for _ in range(60):
        place = draw.randrange(len(content))
        flipped = bytes([content[place] ^ 1 << draw.randrange(8)])
        path.write_bytes(content[:place] + flipped + content[place + 1 :])
        try:
            assert said_by(folder) == before
        except RecordError:
            noticed += 1
    assert noticed > 30


@pytest.mark.parametrize("name", ["record", "record_sha256", "status", "predictions"])
def test_packed_records_without_a_column_are_a_message(folder, name):
    """Of which a flipped byte of its name is enough."""
    pack(folder)
    path = folder.path / RECORDS
    table = pq.read_table(path)
    names = [f"{one}x" if one == name else one for one in table.column_names]
    pq.write_table(table.rename_columns(names), path)
    with pytest.raises(RecordError, match="its columns are not those of packed records"):
        load_records(folder.path)


def test_a_damaged_record_among_packed_ones_costs_itself_alone(folder):
    pack(folder)
    path = folder.path / RECORDS
    table = pq.read_table(path)
    texts = table["record"].to_pylist()
    values = json.loads(texts[0])
    texts[0] = json.dumps(values | {"cell_seconds": 1e9})
    pq.write_table(table.set_column(table.column_names.index("record"), "record", [texts]), path)
    (damage,) = find_damage(folder)
    assert damage.stem == folder.stems[0]
    (said,) = unpack(folder)
    assert "is not what was packed" in said
    assert not (folder.records / f"{damage.stem}.parquet").exists()
    assert [one.stem for one in find_damage(folder)] == [damage.stem]
