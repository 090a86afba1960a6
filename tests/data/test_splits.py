"""Which rows are trained on and which are held out: by label, by group, by order, by class size."""

import json
import logging

import numpy as np
import pytest
from pydantic import ValidationError

from hfbench.data.groups import order_by_groups
from hfbench.data.task import load_task
from hfbench.errors import UserError
from hfbench.execution.inputs import Inputs
from hfbench.recipe.cells import plan_comparison
from hfbench.recipe.load import load_recipe
from hfbench.recipe.task import Task

RELATIONS = ["contradiction", "entailment", "neutral"]


@pytest.fixture
def load(tmp_path):
    """A function that writes rows for each split and loads them as a task."""

    def read(train, others=None, **task):
        for split, rows in {"train": train, **(others or {})}.items():
            text = "\n".join(map(json.dumps, rows))
            (tmp_path / f"{split}.jsonl").write_text(text, encoding="utf-8")
        files = {split: f"{split}.jsonl" for split in ("train", *(others or {}))}
        values = {"data_files": files, "validation_size": 0.25, **task}
        return load_task(Task.model_validate(values), tmp_path)

    return read


def pairs(premises=40):
    """As XNLI has them: for each premise a hypothesis of each label."""
    return [
        {"premise": f"premise {n}", "hypothesis": f"{label} of {n}", "label": label}
        for n in range(premises)
        for label in RELATIONS
    ]


PAIRS = {"text_column": ["premise", "hypothesis"]}


def rows(labels, **more):
    return [
        {"text": f"text {n}", "label": label, **{key: values[n] for key, values in more.items()}}
        for n, label in enumerate(labels)
    ]


def numbers(split):
    return [int(id_.partition("/")[2]) for id_ in split["id"][:]]


def test_rows_of_a_group_are_not_parted(load):
    loaded = load(pairs(), **PAIRS, group_column="premise")
    parts = [set(loaded.splits[split]["text"][:]) for split in ("train", "validation")]
    assert not parts[0] & parts[1]
    assert [len(loaded.splits[split]) for split in ("train", "validation")] == [90, 30]
    assert loaded.facts.splits["validation"].label_counts == dict.fromkeys(RELATIONS, 10)
    assert sorted(numbers(loaded.splits["train"]) + numbers(loaded.splits["validation"])) == [
        *range(120)
    ]
    other = load(pairs(), **PAIRS, group_column="premise", split_seed=1)
    assert numbers(other.splits["validation"]) != numbers(loaded.splits["validation"])
    again = load(pairs(), **PAIRS, group_column="premise")
    assert numbers(again.splits["validation"]) == numbers(loaded.splits["validation"])


def test_without_groups_texts_of_pairs_that_stand_in_training_are_counted_and_warned_of(
    load, caplog
):
    with caplog.at_level(logging.WARNING, "hfbench"):
        loaded = load(pairs(), **PAIRS)
    overlap = loaded.facts.overlap["validation"]
    trained = set(loaded.splits["train"]["text"][:])
    expected = sum(text in trained for text in loaded.splits["validation"]["text"][:])
    assert expected > 20
    assert overlap.parts == {"text": expected, "text_pair": 0}
    assert overlap.exact == 0
    assert caplog.messages == [
        f"warning: train.jsonl: {expected} of 30 validation examples have the 'premise' of a "
        "training example, beside another text; `task.group_column: premise` keeps such rows "
        "together"
    ]
    whole = load(pairs(), **PAIRS, group_column="premise").facts.overlap["validation"]
    assert (whole.parts, whole.groups) == ({"text": 0, "text_pair": 0}, 0)


def test_a_copy_of_a_pair_is_exact_and_not_counted_by_its_parts(load, caplog):
    given = [{"premise": f"p{n}", "hypothesis": f"h{n}", "label": n % 2} for n in range(30)]
    evaluated = [given[0], {**given[1], "hypothesis": "h0"}, {**given[2], "premise": "new"}]
    options = {"validation_split": "dev", "validation_size": None}
    with caplog.at_level(logging.WARNING, "hfbench"):
        found = load(given, {"dev": evaluated}, **PAIRS, **options).facts.overlap["validation"]
    end = "of a training example, beside another text"  # a split that is given has no cure
    assert [message.endswith(end) for message in caplog.messages] == [True, True]
    assert found.exact == 1
    assert found.parts == {"text": 1, "text_pair": 2}
    texts = load(rows([0, 1] * 4)).facts.overlap["validation"]
    assert (texts.parts, texts.groups) == (None, None)


def test_texts_of_pairs_that_are_a_few_aspects_are_no_matter(load, caplog):
    given = [{"premise": f"p{n}", "hypothesis": f"aspect {n % 5}"} for n in range(40)]
    given = [{**row, "label": number // 5 % 2} for number, row in enumerate(given)]
    with caplog.at_level(logging.WARNING, "hfbench"):
        found = load(given, **PAIRS).facts.overlap["validation"]
    assert found.parts == {"text": 0, "text_pair": found.examples}
    assert not caplog.messages


def test_groups_that_stand_in_given_splits_are_counted(load, caplog):
    train, dev = (
        rows([0, 1] * 2, author=names) for names in (["a", "a", "b", "b"], ["b", "c", "b", "d"])
    )
    options = {"validation_split": "dev", "validation_size": None, "group_column": "author"}
    with caplog.at_level(logging.WARNING, "hfbench"):
        loaded = load(train, {"dev": dev}, **options)
    assert loaded.facts.overlap["validation"].groups == 2
    said = "2 of 4 validation examples have the 'author' of a training example"
    assert said in caplog.messages[-1]
    assert loaded.with_train_rows(np.array([0, 1])).facts.overlap["validation"].groups == 0


def test_groups_of_one_label_are_stratified(load):
    owners = [n // 4 for n in range(400)]
    labels = ["a" if owner % 10 else "b" for owner in owners]
    found = load(rows(labels, author=owners), group_column="author").facts.splits["validation"]
    assert found.label_counts == {"a": 88, "b": 12} or found.label_counts == {"a": 92, "b": 8}


def test_a_group_too_large_for_the_validation_is_passed_over(load):
    owners = ["large"] * 60 + [f"small {n // 2}" for n in range(40)]
    loaded = load(rows([0, 1] * 50, author=owners), group_column="author")
    held_out = numbers(loaded.splits["validation"])
    assert len(held_out) == 24 or len(held_out) == 25
    assert min(held_out) >= 60


@pytest.mark.parametrize(
    ("owners", "options", "message"),
    [
        ([0] * 20, {}, "(there are 1), leaves the validation part without the label '0'"),
        ([0] * 10 + [1] * 10, {"group_column": "autor"}, "no column 'autor'; did you mean 'author"),
        ([*[0] * 19, None], {}, "1 of 20 rows of split 'train' have None in column 'author' (the"),
        ([0.5] * 20, {}, "have 0.5 in column 'author' (the first is row 0); a group is a text or"),
        (
            [n // 4 for n in range(20)],
            {"split": "last"},
            "task.split: last parts the rows of 1 of 5 groups of 'author' of train.jsonl, which "
            "are not all among the last 5 rows",
        ),
    ],
)
def test_groups_that_cannot_be_kept_together_are_named(load, owners, options, message):
    with pytest.raises(UserError) as error:
        load(rows([0, 1] * 10, author=owners), **{"group_column": "author", **options})
    assert message in str(error.value)


@pytest.mark.parametrize("seed", range(5))
def test_beginnings_of_an_order_by_groups_have_whole_groups_and_the_shares_of_the_classes(seed):
    generator = np.random.default_rng(seed)
    groups = np.sort(generator.integers(0, 60, 300))
    kinds = generator.choice(3, 60, p=[0.6, 0.3, 0.1])
    labels = kinds[groups]
    order = order_by_groups(labels, groups, seed)
    assert sorted(order) == list(range(300))
    assert (np.diff(groups[order]) != 0).sum() + 1 == len(set(groups))
    shares = np.bincount(labels, minlength=3) / 300
    for size in range(60, 301, 20):
        found = np.bincount(labels[order[:size]], minlength=3) / size
        assert np.abs(found - shares).max() < 0.15
    assert list(order) != list(order_by_groups(labels, groups, seed + 1))


def test_a_learning_curve_takes_whole_groups(write_recipe, tmp_path):
    data = "\n".join(json.dumps(row) for row in pairs())
    (tmp_path / "pairs.jsonl").write_text(data, encoding="utf-8")
    task = {"data_files": {"train": "pairs.jsonl"}, "validation_size": 0.25, **PAIRS}
    task["group_column"] = "premise"
    path = write_recipe(
        task=task, train_sizes=[12, 30], models=[{"name": "m", "control": "majority"}]
    )
    recipe = load_recipe(path)
    cells = plan_comparison(recipe)
    inputs = Inputs(recipe, cells)
    subsets = {cell.subset: inputs.task_of(cell) for cell in cells}
    for seed in (0, 1):
        small, large = (set(subsets[seed, size].splits["train"]["id"][:]) for size in (12, 30))
        assert small < large
        premises = subsets[seed, 12].splits["train"]["text"][:]
        assert len(set(premises)) == 4
    assert subsets[0, 12].splits["train"]["id"][:] != subsets[1, 12].splits["train"]["id"][:]
    too_small = load_recipe(
        write_recipe(task=task, train_sizes=[2], models=[{"name": "m", "control": "majority"}])
    )
    with pytest.raises(UserError, match=r"train_sizes: a stratified subset of 2 has no example"):
        Inputs(too_small, plan_comparison(too_small))


def test_the_last_rows_are_held_out_in_their_order(load):
    loaded = load(rows(["a", "b", "b"] * 10), split="last", validation_size=7)
    assert numbers(loaded.splits["train"]) == [*range(23)]
    assert numbers(loaded.splits["validation"]) == [*range(23, 30)]
    first = load(rows(["a", "b", "b"] * 10), split="last", validation_size=7, first=12)
    assert numbers(first.splits["validation"]) == [*range(5, 12)]
    grouped = rows(["a", "b"] * 10, day=[n // 4 for n in range(20)])
    loaded = load(grouped, split="last", validation_size=8, group_column="day")
    assert numbers(loaded.splits["validation"]) == [*range(12, 20)]
    assert loaded.facts.overlap["validation"].groups == 0


@pytest.mark.parametrize("size", [20, 30])
def test_all_rows_cannot_be_the_last(load, size):
    with pytest.raises(UserError, match=f"{size} of 20 examples of train.jsonl is {size}; give fr"):
        load(rows([0, 1] * 10), split="last", validation_size=size)


def test_a_split_by_order_needs_a_size():
    with pytest.raises(ValidationError, match="split goes with validation_size"):
        Task(builtin="sentiment", validation_split="validation", split="last")


def test_small_classes_are_left_out_of_every_split_and_named(load, caplog):
    train = rows(["a"] * 20 + ["b"] * 20 + ["c"] * 3 + ["d"])
    dev = rows(["a", "b", "c", "c"])
    options = {"validation_split": "dev", "validation_size": None, "min_class_size": 4}
    with caplog.at_level(logging.WARNING, "hfbench"):
        loaded = load(train, {"dev": dev}, **options)
    assert loaded.facts.labels == ["a", "b"]
    assert loaded.facts.left_out == {"c": 5, "d": 1}
    assert numbers(loaded.splits["train"]) == [*range(40)]
    assert numbers(loaded.splits["validation"]) == [0, 1]
    assert caplog.messages == [
        "warning: train.jsonl, dev.jsonl: 6 rows of classes with fewer than 4 rows are left out: "
        "'c', 'd'"
    ]
    assert load(train[:43], {"dev": dev}, **options | {"min_class_size": 3}).facts.left_out == {}
    assert load(rows([0, 1] * 4)).facts.left_out is None


def test_rows_of_small_classes_take_their_groups_with_them(load):
    labels = ["a", "b"] * 8 + ["c"]
    owners = [n // 4 for n in range(16)] + [9]
    loaded = load(rows(labels, author=owners), group_column="author", min_class_size=2)
    assert loaded.groups["train"].tolist() == [
        owners[row] for row in numbers(loaded.splits["train"])
    ]
    assert set(loaded.groups["train"]).isdisjoint(loaded.groups["validation"])


def test_a_class_of_one_may_stay_in_the_training_part(load, caplog):
    train = rows(["a"] * 20 + ["c"] + ["b"] * 20)
    with caplog.at_level(logging.WARNING, "hfbench"):
        loaded = load(train, min_class_size=1)
    assert loaded.facts.labels == ["a", "b", "c"]
    assert loaded.facts.splits["train"].label_counts["c"] == 1
    assert loaded.facts.splits["validation"].label_counts == {"a": 6, "b": 5, "c": 0} or (
        loaded.facts.splits["validation"].label_counts == {"a": 5, "b": 6, "c": 0}
    )
    assert caplog.messages == ["warning: train.jsonl: no validation example has the label 'c'"]
    everything = numbers(loaded.splits["train"]) + numbers(loaded.splits["validation"])
    assert sorted(everything) == [*range(41)]


@pytest.mark.parametrize("seed", range(4))
def test_so_may_its_group(load, seed):
    owners = [n // 2 for n in range(12)]
    train = rows(["a", "b"] * 5 + ["a", "c"], author=owners)
    loaded = load(
        train, group_column="author", min_class_size=1, validation_size=8, split_seed=seed
    )
    assert set(numbers(loaded.splits["train"])) > {10, 11}
    assert len(loaded.splits["validation"]) == 8


def test_a_size_that_leaves_one_class_is_refused_with_one_that_does_not(load):
    train = rows(["a"] * 20 + ["b"] * 7 + ["c"] * 3)
    with pytest.raises(
        UserError, match=r"min_class_size: 8: of the classes .* 1 has .* give at most 7"
    ):
        load(train, min_class_size=8)
    assert load(train, min_class_size=7).facts.labels == ["a", "b"]


def test_the_beginning_of_rows_that_are_sorted_by_label_explains_itself(load):
    train = rows(["neg"] * 50 + ["neutral"] * 30 + ["pos"] * 20)
    for first, missing in ((50, 2), (60, 1)):
        with pytest.raises(UserError) as error:
            load(train, first=first)
        assert str(error.value) == (
            f"task.first: {first}: split 'train' of train.jsonl is sorted by label, and its first "
            f"{first} rows lack {missing} of 3 classes; shuffle the rows, or take at least 81"
        )
    assert load(train, first=84).facts.labels == ["neg", "neutral", "pos"]
    unsorted = rows(["neg", "pos"] * 20 + ["neutral"] * 2)
    assert load(unsorted, first=40).facts.labels == ["neg", "pos"]


@pytest.mark.parametrize("key", [int, str])
def test_numbers_may_have_names(load, key):
    given = {key(-1): "negative", key(1): "positive", key(0): "neutral"}
    loaded = load(rows([2, 10, 9] * 8), label_names={2: "two", 9: "nine", 10: "ten"})
    assert loaded.facts.labels == ["two", "nine", "ten"]
    first = loaded.splits["train"][0]
    assert ["two", "ten", "nine"][int(first["id"].partition("/")[2]) % 3] == (
        loaded.splits["train"].features["label"].int2str(first["label"])
    )
    assert Task(builtin="sentiment", validation_size=9, label_names=given).label_names == {
        "-1": "negative", "1": "positive", "0": "neutral",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({0: "no", 1: "yes", 3: "x"}, "train.jsonl has no class '3' (classes: 0, 1, 2)"),
        ({0: "no", 1: "yes"}, "train.jsonl: the class '2' has no name; name every class"),
    ],
)
def test_names_are_those_of_all_classes(load, names, message):
    with pytest.raises(UserError) as error:
        load(rows([0, 1, 2] * 8), label_names=names)
    assert str(error.value) == f"task.label_names: {message}"


def test_two_classes_cannot_have_the_same_name():
    with pytest.raises(ValidationError, match="'yes' is there more than once"):
        Task(builtin="sentiment", validation_size=9, label_names={0: "yes", 1: "yes"})


@pytest.mark.parametrize(
    ("task", "source"),
    [
        ({"data_files": {"train": "data/mail.csv"}}, "mail.csv"),
        ({"data_files": {"train": "a.csv", "test": "b.csv", "dev": "b.csv"}}, "a.csv, b.csv"),
        ({"data_files": dict(zip("abcd", "abcd", strict=True))}, "a and 3 others"),
        ({"data_files": {"train": "data/mail.csv"}, "title": "Spam"}, "Spam"),
        ({"dataset_name": "a/b", "dataset_config": "c"}, "a/b (c)"),
        ({"dataset_name": "a/b", "title": "The B"}, "The B"),
        ({"builtin": "sentiment"}, "built-in sentiment"),
    ],
)
def test_data_are_called_by_their_title_their_name_or_their_files(task, source):
    assert Task.model_validate({"validation_size": 9, **task}).source == source
