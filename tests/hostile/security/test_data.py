"""Nothing in data or recipes that come from elsewhere is run, and nothing is unpacked elsewhere.

As in `test_models`: each planted file would create a canary, which is shown first.
"""

import io
import json
import pickle
import runpy
import tarfile
import zipfile
from contextlib import suppress

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from hfbench.cli.app import main
from hfbench.data.task import load_task
from hfbench.errors import UserError
from hfbench.recipe.task import Task


def load_data(folder, **task):
    task = Task.model_validate({"validation_size": 0.5, **task})
    return load_task(task, folder).splits["train"]


CSV = "text,label\n" + "".join(f"text {number},{number % 2}\n" for number in range(8))


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache" / "datasets")
    extracted = tmp_path / "cache" / "a" / "b" / "extracted"
    monkeypatch.setattr(datasets.config, "EXTRACTED_DATASETS_PATH", str(extracted))


@pytest.mark.parametrize("with_data", [False, True])
def test_a_data_sets_script_is_not_run(tmp_path, canary, code, with_data, sings):
    folder = tmp_path / "scripted"
    folder.mkdir()
    (folder / "scripted.py").write_text(code, "utf-8")
    sings(runpy.run_path, str(folder / "scripted.py"))
    if with_data:
        (folder / "train.csv").write_text(CSV, "utf-8")
    with pytest.raises(UserError, match="scripts are no longer supported"):
        load_data(tmp_path, dataset_name=str(folder))
    assert not canary.exists()


def test_types_that_a_parquet_file_asks_for_are_not_unpickled(
    tmp_path, canary, payload, own_cache, sings
):
    content = pickle.dumps(payload)
    sings(pickle.loads, content)
    names = {b"ARROW:extension:name": b"arrow.py_extension_type"}
    field = pa.field("text", pa.string(), metadata={**names, b"ARROW:extension:metadata": content})
    pandas = {"index_columns": ["__import__('os')"], "column_indexes": [], "pandas_version": "2"}
    pandas["columns"] = [
        {"name": "text", "field_name": "text", "pandas_type": "object", "numpy_type": "object",
         "metadata": {"pickle": content.hex()}}
    ]  # fmt: skip
    metadata = {b"pandas": json.dumps(pandas).encode()}
    schema = pa.schema([field, pa.field("label", pa.int64())], metadata=metadata)
    columns = [pa.array([f"text {n}" for n in range(8)]), pa.array([n % 2 for n in range(8)])]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), tmp_path / "train.parquet")
    assert load_data(tmp_path, data_files={"train": "train.parquet"})["text"][0].startswith("text")
    assert not canary.exists()


def test_only_types_of_datasets_are_made_of_a_parquet_files_features(tmp_path, own_cache):
    features = {"text": {"_type": "os.system"}, "label": {"dtype": "int64", "_type": "Value"}}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    table = pa.table({"text": ["a b"] * 8, "label": [0, 1] * 4}).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(UserError, match=r"os\.system"):
        load_data(tmp_path, data_files={"train": "train.parquet"})


def test_a_pickle_in_the_place_of_data_is_not_run(tmp_path, canary, payload, own_cache, sings):
    for ending in ("csv", "tsv", "json", "jsonl", "parquet"):
        path = tmp_path / f"train.{ending}"
        path.write_bytes(pickle.dumps(payload))
        sings(pickle.loads, path.read_bytes())
        with pytest.raises(UserError):
            load_data(tmp_path, data_files={"train": path.name})
        assert not canary.exists()


def test_json_that_names_a_function_is_text(tmp_path, own_cache):
    row = {"py/object/apply": "os.system", "$type": "os.system", "label": 0}
    rows = [{**row, "text": "__import__('os').system('x')", "label": n % 2} for n in range(8)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    found = load_data(tmp_path, data_files={"train": "train.jsonl"})
    assert set(found["text"]) == {"__import__('os').system('x')"}


def test_an_archive_in_the_place_of_data_writes_nothing_outside_the_cache(tmp_path, own_cache):
    """`datasets` unpacks what looks like an archive, whatever its name says."""
    climb = "../" * 5 + "canary"  # from where it is unpacked to the test's folder, and above
    with tarfile.open(tmp_path / "tar.csv", "w") as archive:
        for name in (climb, "ok.csv"):
            member = tarfile.TarInfo(name)
            member.size = len(CSV)
            archive.addfile(member, io.BytesIO(CSV.encode()))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
        archive.addfile(link)
    with zipfile.ZipFile(tmp_path / "zip.csv", "w") as archive:
        for name in (climb, str(tmp_path / "canary"), "ok.csv"):
            archive.writestr(name, CSV)
    before = outside_cache(tmp_path)
    for name in ("tar.csv", "zip.csv"):
        with suppress(UserError):  # refused or read, as `datasets` likes
            load_data(tmp_path, data_files={"train": name})
    assert outside_cache(tmp_path) == before


def outside_cache(folder):
    return {path for path in folder.rglob("*") if "cache" not in path.relative_to(folder).parts}


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system ['touch {canary}']",
        "!!python/object/new:os.system ['touch {canary}']",
        "!!python/name:os.system",
        "!!python/module:os",
    ],
)
def test_yaml_makes_no_objects(write_recipe, tmp_path, canary, value, capsys, monkeypatch, sings):
    value = value.format(canary=canary)
    if "[" in value:
        sings(yaml.unsafe_load, value)
    path = write_recipe()
    (tmp_path / "evil.yaml").write_text(f"name: {value}\nmodels: []\n", "utf-8")
    for arguments in ([tmp_path / "evil.yaml"], [path, f"description={value}"]):
        monkeypatch.setattr("sys.argv", ["hfbench", "plan", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        assert left.value.code == 2
        assert "python/" in capsys.readouterr().err
    assert not canary.exists()
