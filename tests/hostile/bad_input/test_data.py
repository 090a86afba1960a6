"""Data as they come out of spreadsheets, scrapers and interrupted downloads.

Columns, splits and sizes that are not there are in `tests/data/test_task.py`; here is what is wrong
with the file, its labels and its texts. Where data are odd but possible, they work.
"""

import json
import logging
import math
import time
from pathlib import Path

import pandas as pd
import pytest

from hfbench.data.task import load_task
from hfbench.data.tokens import tokenize_task
from hfbench.errors import UserError
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.task import Task

HALF = "is half a character (a lone surrogate); remove it or write the whole character"
JSON = "an object a line is wanted, or a list of objects"


def rows(n=40, labels=("neg", "pos"), text="text number {}"):
    return [{"text": text.format(i), "label": labels[i % len(labels)]} for i in range(n)]


def jsonl(rows):
    return "\n".join(map(json.dumps, rows)).encode()


def csv(*lines):
    return "\n".join(["text,label", *lines, ""]).encode()


def parquet(rows):
    return pd.DataFrame(rows).to_parquet()


def load(folder, content, ending="jsonl", **task):
    (folder / f"t.{ending}").write_bytes(content)
    files = {"train": f"t.{ending}"}
    values = {"data_files": files, "title": "train", "validation_size": 10, **task}
    return load_task(Task.model_validate(values), folder)


@pytest.fixture
def mistake(tmp_path):
    def read(*arguments, **task):
        with pytest.raises(UserError) as error:
            load(tmp_path, *arguments, **task)
        return str(error.value).replace(str(tmp_path), "DIR")

    return read


@pytest.mark.parametrize(
    ("content", "ending", "message"),
    [
        (b"", "jsonl", "DIR/t.jsonl is empty"),
        (b"", "csv", "DIR/t.csv is empty"),
        (b"", "parquet", "DIR/t.parquet is empty"),
        (b" \n\n", "json", "DIR/t.json is empty"),
        (b"text,label\n", "csv", "DIR/t.csv has no examples"),
        (b"text\tlabel", "tsv", "DIR/t.tsv has no examples"),
        (b"[]", "json", "DIR/t.json has no examples"),
        (b"[]", "jsonl", "DIR/t.jsonl has no examples"),
        (b"{}", "jsonl", "DIR/t.jsonl has no examples"),
        (parquet(rows()[:0]), "parquet", "DIR/t.parquet has no examples"),
        (parquet({"text": [], "label": []}), "parquet", "DIR/t.parquet has no examples"),
        (
            jsonl(rows())[:-20],
            "jsonl",
            f"DIR/t.jsonl: line 40, column 10: Unterminated string starting at; {JSON}",
        ),
        (
            json.dumps(rows()).encode()[:-20],
            "json",
            f"DIR/t.json: line 1, column 1717: Unterminated string starting at; {JSON}",
        ),
        (
            b'{"text": "a", "text": "b", "label": "x"}',
            "jsonl",
            "DIR/t.jsonl: line 1, column 1: key 'text' is there twice",
        ),
        (
            b'{"text": ' + b"[" * 30000,
            "jsonl",
            "DIR/t.jsonl: line 1, column 1: maximum recursion depth exceeded",
        ),
        (
            csv("a,x", "b,y,z"),
            "csv",
            "DIR/t.csv: line 3 has 3 fields, the header has 2; what parts fields is ','",
        ),
        (
            csv('"a,x', "b,y"),
            "csv",
            "DIR/t.csv: line 2: a quotation mark opens a field that is never closed; give `quoting",
        ),
        (
            "text,label\ncafé,x\n".encode("latin-1"),
            "csv",
            "DIR/t.csv is not UTF-8 (line 2); it seems to be cp1252 ('café' there)",
        ),
        (
            "text,label\na,x\n".encode("utf-16"),
            "csv",
            "DIR/t.csv is not UTF-8 (line 1); it seems to be utf-16 ('text,label' there)",
        ),
        (parquet(rows())[:-9], "parquet", "DIR/t.parquet cannot be loaded: Parquet magic bytes"),
        (csv("a,x"), "parquet", "DIR/t.parquet cannot be loaded: Parquet magic bytes not found in"),
        (
            jsonl(rows()),
            "txt",
            "'DIR/t.txt' must end in one of .csv, .tsv, .json, .jsonl, .parquet",
        ),
        (
            b'{"text": "\xed\xa0\x80", "label": "x"}',
            "jsonl",
            "DIR/t.jsonl is not UTF-8 (line 1); it seems to be",
        ),
        (
            rb'{"text": "\ud800", "label": "x"}',
            "jsonl",
            f"DIR/t.jsonl: line 1, column 1: '\\ud800' {HALF}",
        ),
        (
            rb'[{"text": "\ude00", "label": "x"}]',
            "json",
            f"DIR/t.json: line 1, column 2: '\\ude00' {HALF}",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(mistake, content, ending, message):
    assert mistake(content, ending).startswith(f"task.data_files.train: {message}")


@pytest.mark.parametrize("content", [csv(), csv()[:-1]])
def test_a_validation_file_without_examples_is_named(tmp_path, mistake, content):
    (tmp_path / "v.csv").write_bytes(content)
    files = {"train": "t.jsonl", "validation": "v.csv"}
    options = {"validation_split": "validation", "validation_size": None, "data_files": files}
    found = mistake(jsonl(rows()), **options)
    assert found == "task.data_files.validation: DIR/v.csv has no examples"


def test_a_page_of_a_parquet_file_that_was_overwritten_is_named(mistake):
    content = bytearray(parquet(rows(4000)))
    content[200:700] = b"\xff" * 500
    message = "task.data_files.train: DIR/t.parquet cannot be loaded: Corrupt snappy compressed"
    assert mistake(bytes(content), "parquet").startswith(message)


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path, mistake):
    (tmp_path / "folder.csv").mkdir()
    assert mistake(b"", data_files={"train": "folder.csv"}) == (
        "task.data_files.train: DIR/folder.csv is a folder which neither save_to_disk wrote as one "
        "split nor has a folder of .txt files for each class"
    )


@pytest.mark.parametrize("name", ["../elsewhere", "/nowhere", "a/b/c", "user/..", "user/na me"])
def test_what_is_neither_a_folder_nor_a_name_on_the_hub_is_named(mistake, name):
    assert mistake(b"", dataset_name=name, data_files=None) == (
        f"task: {name!r} is no folder here, and no name on the Hub, which is user/name"
    )


NO_LABEL = "rows of split 'train' have no label in column 'label'"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (("a",), "train has only the label 'a'; a comparison needs two or more"),
        ((0, "a"), "train mixes names and numbers as labels"),
        (
            ("neg", "pos", None),
            f"train: 13 of 40 {NO_LABEL} (rows 2, 5, 8, 11, 14, ...; the first has None, which "
            "means none); remove these rows",
        ),
        (
            (0, 1, math.nan),
            f"train: 13 of 40 {NO_LABEL} (rows 2, 5, 8, 11, 14, ...; the first has nan, which "
            "means none); remove these rows",
        ),
        (
            (-1,),
            f"train: 40 of 40 {NO_LABEL} (rows 0, 1, 2, 3, 4, ...; the first has -1, which means "
            "none); remove these rows",
        ),
        (
            ("a", " "),
            f"train: 20 of 40 {NO_LABEL} (rows 1, 3, 5, 7, 9, ...; the first has ' ', which means "
            "none); remove these rows",
        ),
        (
            ("a", "b\nc"),
            "train: row 1 of split 'train' has the label 'b\\nc' in column 'label'; a label is a "
            "class name in one line or a whole number",
        ),
        (
            ("Pos", "pos", "neg"),
            "train: the labels 'Pos' (14 rows) and 'pos' (13) differ in case, white space or the "
            "encoding of accents only; write them alike",
        ),
        (
            ("pos", "pos ", "neg"),
            "train: the labels 'pos' (14 rows) and 'pos ' (13) differ in case, white space or the "
            "encoding of accents only; write them alike",
        ),
        (
            ("caf\u00e9", "cafe\u0301", "bar"),
            "train: the labels 'cafe\u0301' (13 rows) and 'caf\u00e9' (14) differ in case, white "
            "space or the encoding of accents only; write them alike",
        ),
    ],
)
def test_bad_labels_are_named(mistake, labels, message):
    found = mistake(jsonl(rows(labels=labels)))
    assert found == f"task.label_column: {message}"


@pytest.mark.parametrize(
    ("content", "ending", "message"),
    [
        (
            jsonl([*rows(), {"text": None, "label": "neg"}]),
            "jsonl",
            "train: 1 of 41 rows of split 'train' have an empty text or none in column 'text' "
            "(rows 40); remove these rows",
        ),
        (
            jsonl([*rows(), {"label": "neg"}]),
            "jsonl",
            "train: 1 of 41 rows of split 'train' have an empty text or none in column 'text' "
            "(rows 40); remove these rows",
        ),
        (
            csv("a,x", ",y", '"",x'),
            "csv",
            "train: 2 of 3 rows of split 'train' have an empty text or none in column 'text' "
            "(rows 1, 2); remove these rows",
        ),
        (
            b'{"text": 1, "label": "x"}',
            "jsonl",
            "train: row 0 of split 'train' has 1 in column 'text', of type int; a text is wanted",
        ),
        (
            jsonl([{"text": ["a", "b"], "label": "x"}]),
            "jsonl",
            "train: row 0 of split 'train' has ['a', 'b'] in column 'text', of type list; a text "
            "is wanted",
        ),
        (
            csv("a,x", "b,y").replace(b"text", b"txt"),
            "csv",
            "split 'train' of train has no column 'text'; did you mean 'txt'? (columns: txt, "
            "label)",
        ),
    ],
)
def test_bad_texts_are_named(mistake, content, ending, message):
    assert mistake(content, ending).startswith(f"task.text_column: {message}")


def test_a_first_line_that_is_a_row_is_told_from_a_header(mistake):
    content = csv("a,x", "b,y").removeprefix(b"text,label\n")
    assert mistake(content, "csv") == (
        "task.data_files.train: DIR/t.csv: its first line names none of the columns text, label, "
        "but 'a, x'; say which they are by `text_column` and `label_column`, or name them by "
        "`column_names` if this line is a row"
    )


@pytest.mark.parametrize(
    ("size", "n", "held_out"),
    [(1, 40, 1), (40, 40, 40), (100, 40, 100), (0.01, 40, 1), (39, 40, 39)],
)
def test_a_validation_size_that_leaves_a_part_without_a_label_is_named(mistake, size, n, held_out):
    assert mistake(jsonl(rows(n)), validation_size=size) == (
        f"task.validation_size: {size} of 40 examples of train is {held_out}; give from 2 to 38 "
        "examples, so that each of 2 labels can be in both parts"
    )


def test_one_example_is_no_task(mistake):
    assert mistake(jsonl(rows(1))) == (
        "task.label_column: train has only the label 'neg'; a comparison needs two or more"
    )


@pytest.mark.parametrize(
    "text",
    [
        "a NUL \0 within",
        "\u202e\u05e9\u05dc\u05d5\u05dd\u202c right to left",
        "combining e\u0301\u0302\u0303 and \U0001f469\u200d\U0001f680",
        "\\ud800 is how half a character is written",
        "\u200b",
    ],
    ids=["NUL", "right to left", "combining", "escape", "zero width"],
)
@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_strange_characters_are_text(tmp_path, text, ending):
    data = rows(text=text + " {}")
    content = pd.DataFrame(data).to_csv(index=False).encode() if ending == "csv" else jsonl(data)
    loaded = load(tmp_path, content, ending)
    assert loaded.splits["train"][0]["text"].startswith(text)
    tokenizer = train_tokenizer(loaded.splits["train"]["text"][:], 300)
    tokenized = tokenize_task(loaded.splits, tokenizer, 64)
    for split in ("train", "validation"):
        decoded = tokenizer.batch_decode(tokenized.splits[split]["input_ids"][:])
        assert decoded == loaded.splits[split]["text"][:]


@pytest.mark.parametrize("megabytes", [0.3, pytest.param(10, marks=pytest.mark.slow)])
def test_a_text_as_long_as_a_library_is_truncated(tmp_path, megabytes):
    long = {"text": "a word and " * int(megabytes * 1e6 / 11), "label": "neg"}
    started = time.perf_counter()
    loaded = load(tmp_path, jsonl([*rows(), long]), first=41)
    tokenizer = train_tokenizer(["a word and text number"] * 9, 300)
    tokenized = tokenize_task(loaded.splits, tokenizer, 32)
    assert time.perf_counter() - started < 5 + 12 * megabytes
    assert sum(counts.truncated_examples for counts in tokenized.tokens.values()) == 1
    assert max(max(tokenized.lengths(split)) for split in tokenized.splits) == 32


def test_77_classes_are_a_task(tmp_path):
    labels = [f"class {number:02}" for number in range(77)]
    loaded = load(tmp_path, jsonl(rows(770, labels)), validation_size=77)
    assert loaded.facts.labels == labels
    assert set(loaded.facts.splits["validation"].label_counts.values()) == {1}


@pytest.mark.parametrize("ending", ["JSONL", "Csv"])
def test_the_case_of_an_ending_does_not_matter(tmp_path, ending):
    content = (
        jsonl(rows()) if ending == "JSONL" else csv(*(f"t {i},{'ab'[i % 2]}" for i in range(40)))
    )
    assert load(tmp_path, content, ending).facts.splits["train"].examples == 30


def test_declared_names_of_classes_may_differ_in_case_alone(tmp_path):
    import datasets

    data = datasets.Dataset.from_list(rows(labels=(0, 1)))
    data = data.cast_column("label", datasets.ClassLabel(names=["A", "a"]))
    data.to_parquet(tmp_path / "t.parquet")
    loaded = load(tmp_path, (tmp_path / "t.parquet").read_bytes(), "parquet")
    assert loaded.facts.labels == ["A", "a"]


@pytest.mark.parametrize(
    ("train", "validation", "warnings"),
    [
        (rows(), rows(), []),
        (
            rows() + rows(10),
            rows(),
            [
                "10 of 50 training examples repeat the text of another; texts with different "
                "labels: 0"
            ],
        ),
        (
            [*rows(), {"text": "text number 0", "label": "pos"}],
            rows(),
            [
                "1 of 41 training examples repeat the text of another; texts with different "
                "labels: 1"
            ],
        ),
        (rows(), rows(labels=("pos",)), ["no validation example has the label 'neg'"]),
    ],
)
def test_what_is_odd_but_possible_is_warned_of(tmp_path, caplog, train, validation, warnings):
    (tmp_path / "v.jsonl").write_bytes(jsonl(validation))
    files = {"train": "t.jsonl", "validation": "v.jsonl"}
    options = {"validation_split": "validation", "validation_size": None, "data_files": files}
    with caplog.at_level(logging.WARNING, "hfbench"):
        load(tmp_path, jsonl(train), **options)
    assert caplog.messages == [f"warning: train: {text}" for text in warnings]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "train.jsonl", "task.data_files.train: train.jsonl is empty"),
        (csv(), "train.csv", "task.data_files.train: train.csv has no examples"),
        (jsonl(rows())[:-20], "train.jsonl", "train.jsonl: line 40, column 10: Unterm"),
        (
            jsonl(rows(labels=("Pos", "pos"))),
            "train.jsonl",
            "labels 'Pos' (20 rows) and 'pos' (20)",
        ),
        (parquet(rows())[:-9], "train.parquet", "train.parquet cannot be loaded: Parquet magic"),
    ],
)
def test_on_the_command_line_it_is_one_message_and_exit_code_2(
    write_recipe, tmp_path, monkeypatch, command, content, name, message
):
    monkeypatch.chdir(tmp_path)
    path = write_recipe(task={"data_files": {"train": name}, "validation_size": 10})
    Path(name).write_bytes(content)
    code, error = command("compare", path.name, "--dry-run")
    assert code == 2
    assert message in error
    assert "Traceback" not in error


def test_the_command_line_warns_once(write_recipe, tmp_path, command, caplog):
    path = write_recipe()
    (tmp_path / "train.jsonl").write_bytes(jsonl(rows() + rows(10)))
    assert command("compare", path, "--dry-run")[0] == 0
    assert caplog.messages == [
        "warning: train.jsonl: 7 of 37 training examples repeat the text of another; texts with "
        "different labels: 0"
    ]
