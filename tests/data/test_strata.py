"""Rows of each kind of label are drawn in proportion."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfbench.data.strata import rarest, split_label_sets, strata, tenths
from hfbench.data.subsets import check_train_sizes, nested_order
from hfbench.errors import UserError


def make_sets(rows, seed, shares=(0.6, 0.3, 0.1, 0.05)):
    return (np.random.default_rng(seed).random((rows, len(shares))) < shares).astype(np.int64)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), rows=st.integers(20, 200), share=st.floats(0.1, 0.5))
def test_of_each_label_its_share_is_held_out_and_just_so_many_rows(seed, rows, share):
    labels, held_out = make_sets(rows, seed), max(int(share * rows), 1)
    kept, drawn = split_label_sets(labels, held_out, seed, np.zeros(rows, dtype=bool))
    assert sorted([*kept, *drawn]) == [*range(rows)]
    assert len(drawn) == held_out
    wanted = labels.sum(0) * held_out / rows
    assert np.abs(labels[drawn].sum(0) - wanted).max() <= 3
    again = split_label_sets(labels, held_out, seed, np.zeros(rows, dtype=bool))
    assert np.array_equal(again[1], drawn)


def test_it_parts_rare_labels_better_than_chance():
    labels, none = make_sets(400, 5), np.zeros(400, dtype=bool)
    wanted = labels.sum(0) / 4
    off = [
        np.abs(labels[split_label_sets(labels, 100, seed, none)[1]].sum(0) - wanted).max()
        for seed in range(20)
    ]
    by_chance = [
        np.abs(labels[np.random.default_rng(seed).permutation(400)[:100]].sum(0) - wanted).max()
        for seed in range(20)
    ]
    assert max(off) < 1.5
    assert np.mean(by_chance) > 3


@pytest.mark.parametrize(("number", "rows"), [(40, 1000), (100, 2000)])
def test_it_parts_many_labels_a_row_better_than_chance(number, rows):
    """In standard deviations of a split at random, over the labels."""
    labels = make_sets(rows, 6, np.geomspace(0.03, 0.4, number))
    assert labels.sum(1).mean() > 4
    wanted, held_out = labels.sum(0) / 5, rows // 5
    by_chance = np.sqrt(wanted * 0.8)
    drawn = split_label_sets(labels, held_out, 0, np.zeros(rows, dtype=bool))[1]
    random = np.random.default_rng(0).permutation(rows)[:held_out]
    assert len({*drawn.tolist()}) == held_out
    off, off_by_chance = (
        np.sqrt(np.square((labels[part].sum(0) - wanted) / by_chance).mean())
        for part in (drawn, random)
    )
    assert off < 0.2
    assert off_by_chance > 0.7


@pytest.mark.parametrize("shares", [(0.6, 0.3, 0.1, 0.05), np.geomspace(0.05, 0.5, 30)])
def test_a_row_that_must_stay_does(shares):
    labels, spared = make_sets(50, 1, shares), np.zeros(50, dtype=bool)
    spared[[3, 7]] = True
    for seed in range(5):
        assert not {3, 7} & set(split_label_sets(labels, 25, seed, spared)[1].tolist())


def test_strata_of_each_kind():
    classes = np.array([2, 0, 1])
    assert strata(classes) is classes
    sets = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1], [1, 0, 1]])
    assert rarest(sets).tolist() == strata(sets)[:5].tolist() == [1, 0, 3, 2, 2]
    often = np.array([[1, 1, 0]] * 5 + [[1, 0, 0]] * 5 + [[1, 1, 1]])
    assert len({*strata(often)[:5]}) == 1
    assert len({*strata(often)}) == 3
    numbers = np.random.default_rng(0).normal(size=95)
    parts = tenths(numbers)
    assert set(np.bincount(parts)) == {9, 10}
    assert all(numbers[parts == n].max() < numbers[parts == n + 1].min() for n in range(9))
    assert tenths(np.arange(5.0)).tolist() == [0, 0, 0, 1, 1]  # two rows a part at least


@pytest.mark.parametrize("kind", ["multi", "regression"])
def test_each_prefix_of_a_learning_curve_has_its_share(kind):
    labels = make_sets(300, 2) if kind == "multi" else np.random.default_rng(2).normal(size=300)
    order = nested_order(strata(labels), seed=4)
    for size in (60, 120, 240):
        part = labels[order[:size]]
        if kind == "multi":
            assert np.abs(part.mean(0) - labels.mean(0)).max() < 0.06
        else:
            assert abs(part.mean() - labels.mean()) < 0.12
            assert abs(part.std() - labels.std()) < 0.12


def test_a_subset_must_have_every_label():
    labels = make_sets(100, 3)
    order = nested_order(strata(labels), 0)
    needed = int(labels[order].argmax(0).max()) + 1
    check_train_sizes([needed], labels, list("abcd"), order)
    with pytest.raises(UserError, match=f"no example of '.'; give at least {needed}"):
        check_train_sizes([needed - 1], labels, list("abcd"), order)
    numbers = np.arange(10.0)
    with pytest.raises(UserError, match="no two numbers that differ; give at least 2"):
        check_train_sizes([1], numbers, ["score"], np.arange(10))
