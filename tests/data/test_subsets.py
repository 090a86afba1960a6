import numpy as np
import pytest

from hfbench.data.subsets import check_train_sizes, nested_order
from hfbench.errors import UserError

NAMES = ["often", "seldom", "rare"]
LABELS = np.random.default_rng(0).permutation([0] * 70 + [1] * 23 + [2] * 7)


@pytest.mark.parametrize("labels", [LABELS, LABELS.clip(max=1), np.array([0, 1] * 30)])
def test_every_prefix_has_each_class_in_proportion_within_one_example(labels):
    order = nested_order(labels, seed=3)
    assert sorted(order) == list(range(len(labels)))
    for size in range(1, len(labels) + 1):
        counts = np.bincount(labels[order[:size]], minlength=labels.max() + 1)
        shares = np.bincount(labels) * size / len(labels)
        assert np.abs(counts - shares).max() < 1


def test_the_classes_of_a_prefix_do_not_depend_on_the_seed_but_its_rows_do():
    one, two = nested_order(LABELS, seed=0), nested_order(LABELS, seed=1)
    np.testing.assert_array_equal(LABELS[one], LABELS[two])
    assert set(one[:30]) != set(two[:30])
    np.testing.assert_array_equal(one, nested_order(LABELS, seed=0))


def test_rows_of_a_class_are_drawn_at_random():
    labels = np.zeros(1000, dtype=int)
    order = nested_order(labels, seed=0)
    assert 400 < order[:100].mean() < 600  # not the first hundred


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([50, 101], "train_sizes: 101 is more than the train split has; give at most 100"),
        ([3], "train_sizes: a stratified subset of 3 has no example of 'rare'; give at least 8"),
        ([7], "train_sizes: a stratified subset of 7 has no example of 'rare'; give at least 8"),
    ],
)
def test_a_size_that_cannot_be_had_is_named_with_what_would_be_right(sizes, message):
    with pytest.raises(UserError) as error:
        check_train_sizes(sizes, LABELS, NAMES, nested_order(LABELS, seed=3))
    assert str(error.value) == message


def test_the_size_that_an_error_names_is_right():
    check_train_sizes([8, 100], LABELS, NAMES, nested_order(LABELS, seed=3))
    assert set(LABELS[nested_order(LABELS, seed=5)[:8]]) == {0, 1, 2}
