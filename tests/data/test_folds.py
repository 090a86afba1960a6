"""The train split in parts, of which one at a time becomes the validation."""

import numpy as np
import pytest

from hfbench.data.folds import fold_numbers, part_of_train
from hfbench.data.task import load_task
from hfbench.errors import UserError
from hfbench.recipe.load import load_recipe
from hfbench.recipe.tuning import Fold


@pytest.mark.parametrize("folds", [2, 5, 7])
def test_parts_are_of_equal_size_and_have_each_class_s_share(folds):
    labels = np.random.default_rng(0).choice(3, 200, p=[0.6, 0.3, 0.1])
    parts = fold_numbers(labels, None, folds, 0)
    sizes = np.bincount(parts)
    assert len(sizes) == folds
    assert sizes.max() - sizes.min() <= 1
    for label in range(3):
        own = np.bincount(parts[labels == label], minlength=folds)
        assert own.max() - own.min() <= 2


def test_groups_stay_whole():
    generator = np.random.default_rng(0)
    groups, labels = generator.choice(30, 200), generator.choice(2, 200)
    parts = fold_numbers(labels, groups, 4, 0)
    assert all(len({*parts[groups == group]}) == 1 for group in range(30))
    assert (np.bincount(parts) > 30).all()


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
