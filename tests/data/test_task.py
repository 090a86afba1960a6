import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from datasets import Dataset

from hfbench.data.task import load_task
from hfbench.errors import UserError
from hfbench.recipe.task import Task


def write(folder: Path, name: str, frame: dict) -> str:
    data = pd.DataFrame(frame)
    if name.endswith(".csv"):
        data.to_csv(folder / name, index=False)
    elif name.endswith(".parquet"):
        data.to_parquet(folder / name)
    else:
        data.to_json(folder / name, orient="records", lines=True)
    return name


def frame(n=40, labels=("cold", "hot")):
    return {
        "text": [f"text number {i}" for i in range(n)],
        "label": [labels[i % len(labels)] for i in range(n)],
    }


def load(folder, **task):
    return load_task(Task.model_validate(task), folder)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "parquet"])
def test_local_files_of_each_kind_give_the_same_examples(tmp_path, ending):
    name = write(tmp_path, f"t.{ending}", frame())
    loaded = load(tmp_path, data_files={"train": name}, validation_size=10)
    assert loaded.facts.labels == ["cold", "hot"]
    assert {s: d.examples for s, d in loaded.facts.splits.items()} == {
        "train": 30,
        "validation": 10,
    }
    csv = write(tmp_path, "other.csv", frame())
    again = load(tmp_path, data_files={"train": csv}, validation_size=10)
    assert again.facts.splits == loaded.facts.splits  # content hashes among them


def test_validation_is_stratified_disjoint_and_fixed_by_its_seed(tmp_path):
    name = write(tmp_path, "t.jsonl", frame(200, labels=("a", "a", "a", "b")))
    options = {"data_files": {"train": name}, "validation_size": 0.2}
    loaded = load(tmp_path, **options)
    assert loaded.facts.splits["validation"].label_counts == {"a": 30, "b": 10}
    ids = [set(loaded.splits[s]["id"]) for s in ("train", "validation")]
    assert not ids[0] & ids[1]
    assert len(ids[0] | ids[1]) == 200
    assert load(tmp_path, **options).facts == loaded.facts
    other = load(tmp_path, **options, split_seed=1)
    assert set(other.splits["validation"]["id"]) != ids[1]


@pytest.mark.parametrize("size", [7, 0.13])
def test_validation_is_what_datasets_would_split_off(tmp_path, size):
    name = write(tmp_path, "t.jsonl", frame(200, labels=("a", "a", "c", "b")))
    whole = Dataset.from_pandas(pd.read_json(tmp_path / name, lines=True))
    whole = whole.class_encode_column("label")
    expected = whole.train_test_split(test_size=size, seed=3, stratify_by_column="label")
    files = {"data_files": {"train": name}, "validation_size": size, "split_seed": 3}
    loaded = load(tmp_path, **files)
    assert loaded.splits["train"]["text"][:] == expected["train"]["text"][:]
    assert loaded.splits["validation"]["text"][:] == expected["test"]["text"][:]


def test_ids_name_the_row_of_the_data_as_it_came(tmp_path):
    name = write(tmp_path, "t.jsonl", frame())
    loaded = load(tmp_path, data_files={"train": name}, validation_size=10)
    for row in loaded.splits["validation"]:
        split, number = row["id"].split("/")
        assert split == "train"
        assert row["text"] == f"text number {number}"


def test_first_takes_the_first_rows_before_the_split(tmp_path):
    name = write(tmp_path, "t.jsonl", frame())
    loaded = load(tmp_path, data_files={"train": name}, first=20, validation_size=4)
    ids = [i for s in loaded.splits.values() for i in s["id"]]
    assert sorted(int(i.split("/")[1]) for i in ids) == list(range(20))


def test_a_test_split_is_what_the_table_reports(tmp_path):
    name = write(tmp_path, "t.jsonl", frame())
    files = {"train": name, "dev": name, "final": name}
    loaded = load(tmp_path, data_files=files, validation_split="dev", test_split="final")
    assert loaded.facts.evaluation_split == "test"
    assert list(loaded.splits) == ["train", "validation", "test"]
    assert loaded.splits["test"]["id"][0] == "final/0"


def test_pairs_of_texts_have_two_columns(tmp_path):
    data = {**frame(), "other": ["b"] * 40}
    name = write(tmp_path, "t.jsonl", data)
    loaded = load(
        tmp_path, data_files={"train": name}, validation_size=4, text_column=["text", "other"]
    )
    assert set(loaded.splits["train"].column_names) == {"id", "text", "text_pair", "label"}


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ((0, 1), ["0", "1"]),
        ((10, 9, 2), ["2", "9", "10"]),
        (("b", "a", "c"), ["a", "b", "c"]),
        ((True, False), ["False", "True"]),
    ],
)
def test_labels_may_be_names_or_numbers_two_or_many(tmp_path, labels, names):
    name = write(tmp_path, "t.parquet", frame(60, labels))
    loaded = load(tmp_path, data_files={"train": name}, validation_size=12)
    assert loaded.facts.labels == names
    row = loaded.splits["train"][0]
    number = int(row["id"].split("/")[1])
    assert names[row["label"]] == str(labels[number % len(labels)])


def test_content_hash_changes_with_one_character_and_not_with_the_path(tmp_path):
    name = write(tmp_path, "t.jsonl", frame())
    (tmp_path / "moved.jsonl").write_bytes((tmp_path / name).read_bytes())
    changed = (tmp_path / name).read_text().replace("text number 7", "text number 8", 1)
    (tmp_path / "changed.jsonl").write_text(changed)

    def hashes(file):
        files = {"train": file, "validation": file}
        loaded = load(tmp_path, data_files=files, validation_split="validation")
        return loaded.facts.splits["train"].content_hash

    assert hashes("moved.jsonl") == hashes(name)
    assert hashes("changed.jsonl") != hashes(name)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            {},
            {"text_column": "txt"},
            "split 'train' of train.jsonl, validation.jsonl has no column 'txt'; did",
        ),
        ({}, {"text_column": "txt"}, "(columns: text, label)"),
        ({}, {"label_column": "labels"}, "task.label_column: split 'train'"),
        ({}, {"validation_split": "dev"}, "has no split 'dev' (splits: train, validation)"),
        ({}, {"first": 50}, "task.first: 50 rows wanted, split 'train' has 40"),
        (
            {"text": [""] + ["a"] * 39},
            {},
            "1 of 40 rows of split 'train' have an empty text or none",
        ),
        ({"text": [" "] * 9 + ["a"] * 31}, {}, "(rows 0, 1, 2, 3, 4, ...)"),
        ({"label": ["x"] * 40}, {}, "label 'cold' is in the validation examples but in none"),
    ],
)
def test_unusable_data_are_named(tmp_path, change, options, message):
    train = write(tmp_path, "train.jsonl", {**frame(), **change})
    validation = write(tmp_path, "validation.jsonl", frame())
    task = {
        "data_files": {"train": train, "validation": validation},
        "validation_split": "validation",
        **options,
    }
    with pytest.raises(UserError) as error:
        load(tmp_path, **task)
    assert message in str(error.value)


def test_a_label_with_one_example_cannot_be_stratified(tmp_path):
    name = write(tmp_path, "t.jsonl", {"text": ["a"] * 9, "label": ["x"] * 8 + ["y"]})
    with pytest.raises(UserError, match="label 'y' has one example") as error:
        load(tmp_path, data_files={"train": name}, validation_size=2)
    assert "`task.min_class_size: 2` leaves such classes out, `1` keeps them" in str(error.value)


def test_a_hub_data_set_that_cannot_be_reached_is_an_error(tmp_path):
    with pytest.raises(UserError, match="task: nobody/nothing cannot be loaded"):
        load(tmp_path, dataset_name="nobody/nothing", validation_size=2)


def test_the_built_in_task_has_three_splits_and_both_labels(tmp_path):
    loaded = load(tmp_path, builtin="sentiment", validation_split="validation", test_split="test")
    sizes = {split: data.examples for split, data in loaded.facts.splits.items()}
    assert sizes == {"train": 3000, "validation": 500, "test": 1500}
    assert loaded.facts.labels == ["negative", "positive"]
    counts = Counter(loaded.splits["test"]["label"])
    assert json.dumps(loaded.facts.splits["test"].label_counts) == json.dumps(
        {"negative": counts[0], "positive": counts[1]}
    )
