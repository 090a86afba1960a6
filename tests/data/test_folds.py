"""The train split in parts: every row is evaluated once, and each part has its share."""

import json
from collections import Counter

import numpy as np
import pytest

from hfbench.data.folds import fold_of_rows, part_of_train
from hfbench.data.task import load_task, load_whole
from hfbench.errors import UserError
from hfbench.recipe.load import load_recipe
from hfbench.recipe.task import Task
from hfbench.recipe.tuning import Fold


def task_of(folds=5, **changes):
    return Task(data_files={"train": "rows.jsonl"}, folds=folds, **changes)


def parted(labels, groups=None, repeat=0, names=("a", "b", "c"), **task):
    return fold_of_rows(labels, groups, task_of(**task), list(names), repeat)


LABELS = np.array([0] * 50 + [1] * 30 + [2] * 20)


def test_each_fold_has_its_share_of_each_class():
    folds = parted(LABELS)
    for number in range(5):
        assert Counter(LABELS[folds == number].tolist()) == {0: 10, 1: 6, 2: 4}


def test_sizes_differ_by_one_at_most_where_classes_do_not_divide():
    labels = np.array([0] * 37 + [1] * 26 + [2] * 9)
    sizes = Counter(parted(labels).tolist())
    assert max(sizes.values()) - min(sizes.values()) <= 3  # one a class
    counts = [Counter(labels[parted(labels) == number].tolist()) for number in range(5)]
    for label in range(3):
        assert max(c[label] for c in counts) - min(c[label] for c in counts) <= 1


def test_another_repetition_or_seed_parts_them_in_another_way_and_the_same_in_the_same():
    first = parted(LABELS)
    assert np.array_equal(first, parted(LABELS))
    together = first[:, None] == first
    for other in (parted(LABELS, repeat=1), parted(LABELS, split_seed=1)):
        assert (together != (other[:, None] == other)).mean() > 0.1


def test_groups_stay_together():
    groups = np.repeat(np.arange(25), 4)
    folds = parted(LABELS, groups, group_column="author")
    assert all(len(set(folds[groups == group])) == 1 for group in range(25))
    assert set(folds) == set(range(5))


def test_sets_of_labels_and_numbers_are_spread_too():
    rng = np.random.default_rng(0)
    sets = (rng.random((200, 3)) < [0.5, 0.2, 0.05]).astype(np.int64)
    folds = parted(sets)
    assert Counter(folds.tolist()) == dict.fromkeys(range(5), 40)
    counts = np.stack([sets[folds == number].sum(0) for number in range(5)])
    assert (np.ptp(counts, axis=0) <= 2).all()
    numbers = rng.normal(size=200)
    means = [numbers[parted(numbers) == number].mean() for number in range(5)]
    assert np.std(means) < 0.5 * numbers.std() / np.sqrt(40)  # less than at random


@pytest.mark.parametrize(
    ("labels", "task", "said"),
    [
        (LABELS[-3:], {}, "5 folds of 3 examples"),
        (np.array([0] * 10 + [1]), {"folds": 2}, "label 'b' has one example"),
    ],
)
def test_what_cannot_be_parted_is_refused(labels, task, said):
    with pytest.raises(UserError, match=said):
        parted(labels, **task)


@pytest.fixture
def folder(tmp_path):
    lines = [{"text": f"text {i}", "label": "ab"[i % 3 == 0], "who": i // 4} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


@pytest.mark.parametrize("group", [{}, {"group_column": "who"}])
def test_the_folds_of_a_task_are_all_of_its_rows(folder, group):
    whole = load_whole(task_of({"folds": 4, "repeats": 2}, **group), folder)
    loaded = [whole.fold(number) for number in range(1, 9)]
    for repeat in (loaded[:4], loaded[4:]):
        ids = [id for one in repeat for id in one.splits["validation"]["id"]]
        assert sorted(ids) == sorted(f"train/{i}" for i in range(40))
        for one in repeat:
            both = [*one.splits["train"]["id"], *one.splits["validation"]["id"]]
            assert sorted(both) == sorted(ids)
            assert one.facts.fold.whole == loaded[0].facts.fold.whole
            if group:
                assert not set(one.groups["train"]) & set(one.groups["validation"])
    assert [one.facts.fold.repeat for one in loaded] == [0] * 4 + [1] * 4
    assert loaded[0].facts.splits != loaded[4].facts.splits
    alone = load_task(task_of({"folds": 4, "repeats": 2, "only": 6}, **group), folder)
    assert alone.facts == loaded[5].facts


def test_every_training_example_is_validated_once_and_no_other_is(write_recipe):
    recipe = load_recipe(write_recipe())
    whole = load_task(recipe.task, recipe.folder)
    train = {*whole.splits["train"]["id"]}
    seen = []
    for number in (1, 2, 3):
        trial = recipe.task.model_copy(update={"trial": Fold(number=number, of=3)})
        part = load_task(trial, recipe.folder)
        ids = {role: {*split["id"]} for role, split in part.splits.items()}
        assert ids.keys() == {"train", "validation"}
        assert ids["train"] | ids["validation"] == train
        assert not ids["train"] & ids["validation"]
        seen += ids["validation"]
    assert sorted(seen) == sorted(train)


def test_more_parts_than_examples_of_a_class_are_refused(write_recipe):
    recipe = load_recipe(write_recipe())
    splits = load_task(recipe.task, recipe.folder).splits
    few = {"train": splits["train"].select(range(4))}
    last = Fold(number=9, of=9)
    with pytest.raises(UserError, match=r"tune\.folds: 9 parts of 4 training examples"):
        part_of_train(few, None, recipe.task, last)
