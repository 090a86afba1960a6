"""Where rows come from: lists, patterns, packed files, folders, data sets of CSV files."""

import csv
import gzip
import json
import lzma
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from hfbench.data.task import load_task
from hfbench.errors import UserError
from hfbench.recipe.load import load_recipe
from hfbench.recipe.task import Task

FIELD = Path(__file__).parents[3] / "shared" / "field"


def rows(n=20, start=0, labels=("neg", "pos")):
    return [
        {"text": f"text {i}", "label": labels[i % len(labels)]} for i in range(start, start + n)
    ]


def as_csv(rows):
    return "".join(["text,label\n", *(f"{row['text']},{row['label']}\n" for row in rows)]).encode()


def as_jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def zstd(content):
    return pa.compress(content, "zstd", asbytes=True)


def load(folder, **task):
    return load_task(Task.model_validate({"validation_size": 4, **task}), folder)


def texts(loaded):
    """All texts, in the order of the file."""
    every = [row for split in loaded.splits.values() for row in split]
    return [row["text"] for row in sorted(every, key=lambda row: int(row["id"].split("/")[1]))]


@pytest.fixture
def refusal(tmp_path):
    def refused(**task):
        with pytest.raises(UserError) as error:
            load(tmp_path, **task)
        return str(error.value).replace(str(tmp_path), "DIR")

    return refused


@pytest.mark.parametrize("form", [as_csv, as_jsonl])
@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_packed_files_are_read(tmp_path, refusal, form, ending):
    pack = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstd}[ending]
    name = f"t.{form.__name__.removeprefix('as_')}{ending}"
    packed = pack(form(rows(2000)))
    (tmp_path / name).write_bytes(packed)
    files = {"data_files": {"train": name}}
    assert texts(load(tmp_path, **files)) == [f"text {i}" for i in range(2000)]
    for broken in (packed[: len(packed) // 2], b"text,label"):
        (tmp_path / name).write_bytes(broken)
        assert refusal(**files).startswith(f"task.data_files.train: DIR/{name} cannot be ")


@pytest.mark.parametrize("names", [["b.csv", "a.csv.gz"], "[ab].csv*", "?.csv*", "*.csv*"])
def test_several_files_are_read_as_one_split(tmp_path, names):
    (tmp_path / "b.csv").write_bytes(as_csv(rows(10, 10)))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(as_csv(rows(10))))
    order = range(20) if isinstance(names, str) else [*range(10, 20), *range(10)]
    assert texts(load(tmp_path, data_files={"train": names})) == [f"text {i}" for i in order]


def test_a_pattern_may_begin_at_the_root_and_go_into_folders(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "t.jsonl").write_bytes(as_jsonl(rows()))
    for start in ("", f"{tmp_path}/"):
        assert len(texts(load(tmp_path, data_files={"train": f"{start}**/t.*"}))) == 20


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path):
    (tmp_path / "t[1].csv").write_bytes(as_csv(rows()))
    assert len(texts(load(tmp_path, data_files={"train": "t[1].csv"}))) == 20


def test_files_that_are_no_split_together_are_refused(tmp_path, refusal):
    (tmp_path / "a.csv").write_bytes(as_csv(rows()))
    (tmp_path / "b.csv").write_bytes(as_csv(rows()).replace(b"label", b"class"))
    (tmp_path / "c.jsonl").write_bytes(as_jsonl(rows()))
    (tmp_path / "d.jsonl").write_bytes(as_jsonl(rows(labels=(0, 1))))
    found = refusal(data_files={"train": ["a.csv", "b.csv"]})
    assert found == "task.data_files.train: its files have other columns: text, label; text, class"
    found = refusal(data_files={"train": ["c.jsonl", "d.jsonl"]})
    assert found.startswith("task.data_files.train: these files together cannot be loaded: ")
    assert refusal(data_files={"train": "*.parquet"}) == (
        "task.data_files.train: no file matches 'DIR/*.parquet'"
    )


def test_every_file_of_a_list_is_asked_for_when_the_recipe_is_read(write_recipe, tmp_path):
    path = write_recipe(
        task={"data_files": {"train": ["train.jsonl", "none.csv"]}, "validation_size": 4}
    )
    with pytest.raises(UserError, match=r"task\.data_files\.train\[1\]: there is no file"):
        load_recipe(path)
    path = write_recipe(task={"data_files": {"train": "tr*.jsonl"}, "validation_size": 4})
    assert load_recipe(path)
    path = write_recipe(task={"data_files": {"train": "."}, "validation_size": 4})
    assert load_recipe(path)


def test_folders_of_classes_are_labels(tmp_path, refusal):
    for row in range(20):
        folder = tmp_path / "train" / ("neg", "pos")[row % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{row:02}.txt").write_text(f"text {row}\nin two lines\n", "utf-8", newline="")
    (tmp_path / "train" / "README.txt").write_text("no class")
    (tmp_path / "train" / ".hidden").mkdir()
    (tmp_path / "train" / ".hidden" / "x.txt").write_text("no class")
    loaded = load(tmp_path, data_files={"train": "train"})
    assert loaded.facts.labels == ["neg", "pos"]
    assert sorted(texts(loaded)) == sorted(f"text {row}\nin two lines\n" for row in range(20))
    for row in [row for split in loaded.splits.values() for row in split]:
        assert row["label"] == int(row["text"].split()[1]) % 2
    (tmp_path / "train" / "pos" / "99.txt").write_bytes("café".encode("cp1252"))
    assert refusal(data_files={"train": "train"}).startswith(
        "task.data_files.train: DIR/train/pos/99.txt is not UTF-8 (line 1); it seems to be cp1252"
    )
    assert load(tmp_path, data_files={"train": "train"}, encoding="cp1252")


def test_what_save_to_disk_wrote_is_read(tmp_path, refusal):
    data = datasets.Dataset.from_list(rows(labels=(0, 1)))
    data = data.cast_column("label", datasets.ClassLabel(names=["neg", "pos"]))
    saved = datasets.DatasetDict({"train": data, "test": data})
    saved.save_to_disk(tmp_path / "saved")
    loaded = load(tmp_path, data_files={"train": "saved/train"})
    assert loaded.facts.labels == ["neg", "pos"]
    assert texts(loaded) == data["text"][:]
    name = str(tmp_path / "saved")
    loaded = load(tmp_path, dataset_name=name, test_split="test")
    assert loaded.splits["test"]["text"][:] == data["text"][:]
    assert refusal(dataset_name=f"{name}/train") == (
        "task.dataset_name: DIR/saved/train is one split: name it by `data_files: {train: "
        "DIR/saved/train}`"
    )
    assert refusal(data_files={"train": "saved"}).startswith(
        "task.data_files.train: DIR/saved is a folder which neither save_to_disk wrote as one split"
    )


def columns(folder, **task):
    frame = [
        {"title": f"T{i}", "body": f"b {{{i}}}", "note": None, "label": i % 2} for i in range(20)
    ]
    (folder / "t.jsonl").write_bytes(as_jsonl(frame))
    return texts(load(folder, data_files={"train": "t.jsonl"}, **task))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{title}\n{body}", "T{i}\nb {{{i}}}"),
        ("{note}{title}: {title}!", "T{i}: T{i}!"),
        ("{{{title}}} ", "{{T{i}}} "),
    ],
)
def test_a_text_may_be_made_of_columns(tmp_path, template, text):
    assert columns(tmp_path, text=template) == [text.format(i=i) for i in range(20)]


def test_a_template_without_a_text_or_with_an_unknown_column_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"task\.text: t\.jsonl: 20 of 20 rows .* by this template"):
        columns(tmp_path, text="{note}")
    with pytest.raises(
        UserError, match=r"task\.text: split 'train' of t\.jsonl has no column 'titel'"
    ):
        columns(tmp_path, text="{titel}")
    with pytest.raises(UserError, match=r"task\.text: t\.jsonl: row 0 .* has 0 in column 'label'"):
        columns(tmp_path, text="{label}", label_column="title")


@pytest.mark.parametrize(
    ("encoding", "text", "beginning"),
    [
        ("cp1252", "café", "not UTF-8 (line 3); it seems to be cp1252 ('café' there)"),
        ("utf-16", "text", "not UTF-8 (line 1); it seems to be utf-16 ('text,label' there)"),
        ("gb18030", "这是一部好电影", "line 3); it seems to be gb18030 ('这是一部好电影' there)"),
        ("cp1251", "Привет", "or cp1251 ('Привет')"),
    ],
)  # fmt: skip
def test_another_encoding_is_named_and_read(tmp_path, refusal, encoding, text, beginning):
    data = [{"text": f"{text if i else 'plain'} {i}", "label": i % 2} for i in range(20)]
    name = "t.csv"
    (tmp_path / name).write_bytes(as_csv(data).decode().encode(encoding))
    files = {"data_files": {"train": name}}
    found = refusal(**files)
    assert beginning in found
    assert ": give the one that reads right, as `encoding: " in found
    assert texts(load(tmp_path, **files, encoding=encoding)) == [row["text"] for row in data]
    (tmp_path / name).write_bytes(b"text,label\n\xff,a\n")
    with pytest.raises(UserError, match="is not UTF-8"):
        load(tmp_path, **files, encoding="utf-8")


@pytest.fixture
def data_set(tmp_path):
    """A function that makes a folder with CSV files, which datasets takes for a data set."""

    def make(content, ending="csv", card=""):
        folder = tmp_path / "set"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / f"train.{ending}").write_bytes(content)
        if card:
            (folder / "README.md").write_text(f"---\nconfigs:\n- {card}\n---\n")
        return str(folder)

    return make


def test_csv_files_of_a_data_set_are_read_like_local_ones(tmp_path, data_set):
    data = rows(20_000, labels=("01", "02"))
    data[5]["label"] = data[6]["label"] = "other"
    name = data_set(as_csv(data))
    guessed = datasets.load_dataset(name, split="train")  # and remembered
    assert len(set(guessed["label"])) == 5
    loaded = load(tmp_path, dataset_name=name)
    assert loaded.facts.labels == ["01", "02", "other"]
    assert texts(loaded) == [row["text"] for row in data]


def test_the_card_of_a_data_set_and_the_recipe_say_how_its_files_are_read(tmp_path, data_set):
    lines = ['neg\t"one', 'pos\ttwo"', *(f"{'neg' if i % 2 else 'pos'}\t{i}" for i in range(21))]
    content = "\n".join(lines).encode()
    card = 'config_name: default\n  data_files: train.tsv\n  sep: "\\t"\n  quoting: {}\n'
    card += "  column_names: [label, text]\n"
    name = data_set(content, "tsv", card.format(csv.QUOTE_NONE))
    assert len(texts(load(tmp_path, dataset_name=name))) == 23
    assert len(texts(load(tmp_path, dataset_name=name, quoting="minimal", first=22))) == 22
    with pytest.raises(UserError, match="first: 23 rows wanted, split 'train' has 22"):
        load(tmp_path, dataset_name=name, quoting="minimal", first=23)
    name = data_set(content, "tsv")
    loaded = load(tmp_path, dataset_name=name, column_names=["label", "text"])
    assert len(texts(loaded)) == 23


def test_types_that_a_data_set_declares_are_heeded(tmp_path, data_set):
    card = "config_name: default\n  data_files: train.csv\n"
    features = "dataset_info:\n  features:\n  - {name: text, dtype: string}\n"
    features += "  - {name: label, dtype: {class_label: {names: {'0': bad, '1': good}}}}\n"
    folder = Path(data_set(as_csv(rows(labels=(0, 1)))))
    (folder / "README.md").write_text(f"---\nconfigs:\n- {card}{features}---\n")
    assert load(tmp_path, dataset_name=str(folder)).facts.labels == ["bad", "good"]
    with pytest.raises(UserError, match=r"task\.sep: it is for csv and tsv files"):
        load(tmp_path, dataset_name=str(folder), sep=";")


def test_a_data_set_that_is_a_script_names_its_converted_copy(tmp_path, monkeypatch):
    def is_script(*_, **__):
        raise RuntimeError("Dataset scripts are no longer supported, but found old.py")

    monkeypatch.setattr("hfbench.data.task.resolve_revision", lambda *_: "0" * 40)
    monkeypatch.setattr(datasets, "load_dataset_builder", is_script)
    with pytest.raises(UserError) as error:
        load(tmp_path, dataset_name="some/old")
    assert str(error.value) == (
        "task.dataset_name: some/old is a script (Dataset scripts are no longer supported, but "
        "found old.py); the Hub has a converted copy of many: give `revision: "
        "refs/convert/parquet`"
    )


@pytest.mark.skipif(not FIELD.is_dir(), reason="the inputs of the field lie beside the checkout")
@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("surplus_comma.csv", "lines 2 to 9 have 3 fields, the header has 2"),
        ("stray_quotes.tsv", (40, ["neg", "pos"])),
        ("minus_one.csv", (40, ["-1", "0", "1"])),
        ("class_named_na.csv", (20, ["EU", "NA", "US"])),
        ("latin1.csv", "is not UTF-8 (line 2); it seems to be cp1252 ('café' there)"),
        ("repeated_header.csv", "the header stands again in line"),
        ("float_labels.csv", (20, ["0", "1"])),
        ("broken_line.jsonl", ": line 21, column 27: "),
        ("emoji_texts.csv", (40, ["neg", "pos"])),
        ("multi_label.jsonl", (40, ["neg", "pos", "x"])),
        ("codes.csv", (20_000, ["01", "02", "other"])),
        ("digits.csv", (20_000, ["neg", "pos"])),
    ],
)
def test_the_inputs_of_the_field_are_right(tmp_path, name, right):
    folder = FIELD / "data"
    if name in ("codes.csv", "digits.csv"):
        folder = tmp_path
        subprocess.run([sys.executable, FIELD / "make_large.py", folder], check=True)
    task = {"data_files": {"train": str(folder / name)}, "validation_size": 0.25}
    if isinstance(right, str):
        with pytest.raises(UserError) as error:
            load(folder, **task)
        assert right in str(error.value)
    else:
        loaded = load(folder, **task)
        assert (len(texts(loaded)), loaded.facts.labels) == right
        lines = (folder / name).read_text("utf-8").splitlines()[not name.endswith(".jsonl") :]
        assert all(text in line for text, line in zip(texts(loaded), lines, strict=True))
