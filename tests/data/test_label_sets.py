"""Texts with any number of labels, in each of the forms in which files hold them."""

import json
import random

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value

from hfbench.data.tables import labels_of
from hfbench.data.task import load_task
from hfbench.errors import UserError
from hfbench.recipe.task import Task

NAMES = ["anger", "fear", "joy"]


def make_sets(rows=60, seed=0):
    rng = random.Random(seed)
    return [
        [name for name, share in zip(NAMES, (0.5, 0.2, 0.3), strict=True) if rng.random() < share]
        for _ in range(rows)
    ]


@pytest.fixture
def load(tmp_path):
    def load(**task):
        values = {"data_files": {"train": "t.jsonl"}, "validation_size": 0.25, **task}
        return load_task(Task.model_validate(values), tmp_path)

    return load


def write(folder, labels, name="t.jsonl", key="label"):
    rows = [{"text": f"text number {i}", key: value} for i, value in enumerate(labels)]
    (folder / name).write_text("\n".join(map(json.dumps, rows)))


def write_csv(folder, header, fields):
    lines = [header, *(f"text number {i},{field}" for i, field in enumerate(fields))]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")


def save_lists(folder, sets, inner, numbers):
    rows = [[numbers[name] for name in labels] for labels in sets]
    columns = {"text": [f"text number {i}" for i in range(len(rows))], "label": rows}
    features = Features({"text": Value("string"), "label": List(inner)})
    Dataset.from_dict(columns, features).save_to_disk(folder / "saved")


def test_every_form_gives_the_same_examples(tmp_path, load):
    sets, files = make_sets(), {"data_files": {"train": "t.csv"}}
    write(tmp_path, sets)
    plain = load()
    is_there = [[int(name in labels) for name in NAMES] for labels in sets]
    assert plain.facts.problem_type == "multi_label_classification"
    assert plain.facts.labels == NAMES
    everything = {}
    for split in plain.splits.values():
        everything |= dict(zip(split["id"], labels_of(split).tolist(), strict=True))
    assert [everything[f"train/{row}"] for row in range(60)] == is_there
    found = []
    write(tmp_path, is_there)
    found.append(load(label_names=dict(zip("012", NAMES, strict=True))))
    write_csv(tmp_path, "text,label", ["; ".join(labels) for labels in sets])
    found.append(load(**files, label_separator=";"))
    for yes, no in (("1", "0"), ("True", "False"), ("1.0", "0.0")):
        rows = [",".join(yes if there else no for there in row) for row in is_there]
        write_csv(tmp_path, f"text,{','.join(NAMES)}", rows)
        found.append(load(**files, label_column=NAMES))
    save_lists(tmp_path, sets, ClassLabel(names=NAMES), {n: i for i, n in enumerate(NAMES)})
    found.append(load(data_files={"train": "saved"}))
    save_lists(tmp_path, sets, Value("string"), {name: name for name in NAMES})
    found.append(load(data_files={"train": "saved"}))
    for other in found:
        assert other.facts.splits == plain.facts.splits
        assert other.facts.labels == NAMES


def test_the_record_says_how_many_have_each_label_and_which_set_is_commonest(tmp_path, load):
    sets = [["a"]] * 12 + [["b", "a"]] * 12 + [[]] * 8 + [["b"]] * 8
    write(tmp_path, sets)
    data = load().facts.splits
    assert data["train"].label_counts == {"a": 18, "b": 15}
    assert data["train"].unlabelled + data["validation"].unlabelled == 8
    assert data["train"].commonest_set == ["a"]  # of two that are as frequent the smaller one
    assert data["validation"].label_counts == {"a": 6, "b": 5}


def test_a_rare_label_is_taken_from_its_rows_and_said(tmp_path, load, caplog):
    write(tmp_path, [["a", "b"], ["a"], ["b"], []] * 10 + [["a", "x"]])
    loaded = load(min_class_size=2)
    assert loaded.facts.labels == ["a", "b"]
    assert loaded.facts.left_out == {"x": 1}
    assert sum(split.examples for split in loaded.facts.splits.values()) == 41
    assert "labels of fewer than 2 rows are taken from 1 sets: 'x'" in caplog.text
    kept = load(min_class_size=1).facts
    assert kept.labels == ["a", "b", "x"]
    assert kept.splits["train"].label_counts["x"] == 1


def test_groups_stay_together(tmp_path, load):
    sets = make_sets(80)
    rows = [{"text": f"t {i}", "label": s, "author": i // 4} for i, s in enumerate(sets)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    loaded = load(group_column="author")
    assert loaded.groups
    assert not set(loaded.groups["train"]) & set(loaded.groups["validation"])
    assert len(loaded.splits["validation"]) == 20


ONES = [["a"], ["b"]] * 10


@pytest.mark.parametrize(
    ("labels", "task", "message"),
    [
        ([[]] * 20, {}, "none of the 20 rows of split 'train' has a label"),
        ([*ONES, None], {}, "1 of 21 rows of split 'train' have no list of labels in column"),
        ([*ONES, "a"], {}, "(rows 20; the first has 'a'); give `label_separator`"),
        ([*ONES, [1]], {}, "mixes names and numbers as labels"),
        ([*ONES, ["A", "b"]], {}, "differ in case, white space or the encoding of accents only"),
        ([*ONES, ["a", ""]], {}, "row 20 of split 'train' has the label ''"),
        ([*ONES, [["a"]]], {}, "row 20 of split 'train' has the label ['a']"),
        ([["a"], []] * 10, {}, "has only the labels ['a']; multi_label_classification needs two"),
        ([*ONES, ["c"]], {}, "label 'c' has one example in split 'train'"),
        (ONES, {"problem_type": "regression"}, "holds lists, which are multi_label_classification"),
        (ONES, {"target_range": [0.0, 1.0]}, "task.target_range: it has no meaning for multi"),
        (ONES, {"class_weights": {"aa": 2.0}}, "has no label 'aa'; did you mean 'a'?"),
        (ONES, {"label_names": {"a": "x", "c": "y"}}, "has no class 'c'"),
        (ONES, {"validation_size": 20}, "20 of 20 examples"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, load, labels, task, message):
    write(tmp_path, labels)
    with pytest.raises(UserError) as error:
        load(**task)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (["1,0", "0,1", "2,0"] * 5, "neither 0 nor 1 in column 'a' (rows 2, 5, 8, 11, 14"),
        (["1,0", "0,1", ",0"] * 5, "neither 0 nor 1 in column 'a'"),
        (["1,0", "0,0"] * 10, "column 'b' is 1 in no row; leave it out"),
    ],
)
def test_columns_say_yes_or_no(tmp_path, load, fields, message):
    write_csv(tmp_path, "text,a,b", fields)
    with pytest.raises(UserError) as error:
        load(data_files={"train": "t.csv"}, label_column=["a", "b"])
    assert message in str(error.value)


def test_a_label_that_was_never_trained_and_one_out_of_range_are_refused(tmp_path, load):
    write(tmp_path, ONES)
    write(tmp_path, [["a", "c"], ["b"]], "v.jsonl")
    files = {"train": "t.jsonl", "validation": "v.jsonl"}
    with pytest.raises(UserError, match="label 'c' is in the validation examples but in none"):
        load(data_files=files, validation_split="validation", validation_size=None)
    save_lists(tmp_path, ONES, ClassLabel(names=NAMES), {"a": 0, "b": 1})
    table = Dataset.load_from_disk(tmp_path / "saved").to_dict()
    table["label"][3] = [7]
    plain = Features({"text": Value("string"), "label": List(Value("int64"))})
    broken = Dataset.from_dict(table, plain).cast_column("label", List(ClassLabel(names=NAMES)))
    broken.save_to_disk(tmp_path / "broken")
    with pytest.raises(UserError, match="has the label 7 in column 'label', whose classes are 0"):
        load(data_files={"train": "broken"})


def test_labels_are_read_as_arrays_of_each_kind(tmp_path, load):
    write(tmp_path, make_sets())
    found = labels_of(load().splits["train"])
    assert (found.dtype, found.shape) == (np.int64, (45, 3))
    write(tmp_path, [0.5 * (i % 5) for i in range(40)])
    found = labels_of(load().splits["train"])
    assert (found.dtype, found.shape) == (np.float64, (30,))
