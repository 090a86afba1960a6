"""What must hold for statistics of any data."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hfbench.evidence.judge import judge
from hfbench.evidence.letters import group_letters
from hfbench.evidence.stats import ALPHA, holm, mcnemar, split_variance
from hfbench.metrics.calibration import class_scores, confusion_matrix
from hfbench.metrics.registry import score

quick = settings(derandomize=True, database=None)

CLOSE = {"rel": 1e-7, "abs": 1e-9}
runs, examples = st.integers(1, 5), st.integers(2, 25)
answers = st.tuples(runs, examples).flatmap(lambda shape: arrays(bool, shape))
"""Whether each run (first axis) is right about each example."""
two_answers = st.tuples(runs, runs, examples).flatmap(
    lambda n: st.tuples(arrays(bool, (n[0], n[2])), arrays(bool, (n[1], n[2])))
)
seeds = st.integers(0, 2**32 - 1)
p_values = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def accuracy_interval(correct):
    (row,) = judge({"m": correct}).rows
    return row.low, row.high


def accuracy_p_value(correct, share):
    return float(judge({"m": correct}).table.p_of_share(share)[0])


def difference(first, second):
    (pair,) = judge({"first": first, "second": second}).table.compare([("first", "second")])
    return pair


def shuffled(table, seed, examples=None):
    """The same runs and examples in another order."""
    rng = np.random.default_rng(seed)
    examples = rng.permutation(table.shape[1]) if examples is None else examples
    return table[rng.permutation(len(table))][:, examples]


@quick
@given(answers)
def test_an_interval_is_a_part_of_0_to_1_that_holds_the_accuracy(correct):
    low, high = accuracy_interval(correct)
    assert 0 <= low <= correct.mean() <= high <= 1
    assert low < high


@quick
@given(answers, seeds)
def test_the_order_of_seeds_and_examples_changes_no_interval(correct, seed):
    other = shuffled(correct, seed)
    assert accuracy_interval(other) == pytest.approx(accuracy_interval(correct), **CLOSE)
    assert accuracy_p_value(other, 0.5) == pytest.approx(accuracy_p_value(correct, 0.5), **CLOSE)


@quick
@given(answers)
def test_right_for_wrong_mirrors_the_interval(correct):
    low, high = accuracy_interval(correct)
    assert accuracy_interval(~correct) == pytest.approx((1 - high, 1 - low), **CLOSE)


@quick
@given(answers, st.floats(0.01, 0.99))
def test_an_accuracy_is_told_from_a_share_just_where_its_interval_excludes_it(correct, share):
    low, high = accuracy_interval(correct)
    p_value = accuracy_p_value(correct, share)
    assert 0 <= p_value <= 1
    if min(abs(share - low), abs(share - high)) > 1e-9:
        assert (p_value < ALPHA) == (not low <= share <= high)


@quick
@given(answers, seeds)
def test_shares_of_the_variance_add_up_to_one_in_any_order(correct, seed):
    split = split_variance(correct)
    if split is None:
        assert len(correct) == 1 or correct.all() or not correct.any()
        return
    parts = [split.examples, split.seeds, split.rest]
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(1)
    other = split_variance(shuffled(correct, seed))
    assert [other.examples, other.seeds, other.rest] == pytest.approx(parts, **CLOSE)


@quick
@given(two_answers)
def test_a_difference_is_minus_that_of_the_swapped_models(models):
    first, second = models
    there, back = difference(first, second), -difference(second, first)
    for name in ("mean", "low", "high", "p_value"):
        assert getattr(there, name) == pytest.approx(getattr(back, name), **CLOSE)


@quick
@given(two_answers, seeds)
def test_the_order_of_seeds_and_examples_changes_no_difference(models, seed):
    first, second = models
    examples = np.random.default_rng(seed).permutation(first.shape[1])
    plain = difference(first, second)
    other = difference(shuffled(first, seed, examples), shuffled(second, seed, examples))
    for name in ("mean", "low", "high", "p_value"):
        assert getattr(other, name) == pytest.approx(getattr(plain, name), **CLOSE)


@quick
@given(two_answers)
def test_a_difference_lies_in_its_interval_and_is_told_from_0_just_where_that_excludes_0(models):
    found = difference(*models)
    assert found.mean == pytest.approx(models[0].mean() - models[1].mean(), **CLOSE)
    assert -1 <= found.low <= found.high <= 1
    assert found.low - 1e-12 <= found.mean <= found.high + 1e-12
    assert 0 <= found.p_value <= 1
    if min(abs(found.low), abs(found.high)) > 1e-9:
        assert (found.p_value < ALPHA) == (not found.low <= 0 <= found.high)


def test_equal_differences_of_examples_are_equal_up_to_rounding():
    # 2 right of 3 minus 3 of 3, and 0 minus 1 of 3: as floats they differ
    first, second = (np.arange(3)[:, None] < [counts] for counts in ([0, 2] * 10, [1, 3] * 10))
    found = difference(first, second)
    shrunk = -1 / 3 * 20 / 22  # as if two more had been answered, one rightly by each
    assert (found.low + found.high) / 2 == pytest.approx(shrunk)


def test_seeds_count_also_where_all_examples_differ_alike():
    first = np.repeat([[True], [True], [False]], 40, axis=1)  # one seed of three went wrong
    found = difference(first, np.zeros((1, 40), bool))
    assert found.mean == pytest.approx(2 / 3)
    assert found.low < 0
    assert found.p_value > ALPHA


@quick
@given(answers)
def test_a_model_does_not_differ_from_itself(correct):
    found = difference(correct, correct)
    assert (found.mean, found.p_value) == (0, pytest.approx(1))
    assert mcnemar(correct[0], correct[0]).p_value == 1


@quick
@given(two_answers, seeds)
def test_mcnemar_counts_in_any_order_and_both_ways(models, seed):
    first, second = models[0][0], models[1][0]
    found, back = mcnemar(first, second), mcnemar(second, first)
    assert (found.only_first, found.only_second) == (back.only_second, back.only_first)
    assert found.p_value == back.p_value
    order = np.random.default_rng(seed).permutation(len(first))
    assert mcnemar(first[order], second[order]) == found


@quick
@given(p_values)
def test_holm_keeps_the_order_and_lowers_nothing(values):
    adjusted = holm(values)
    assert all(0 <= value <= after <= 1 for value, after in zip(values, adjusted, strict=True))
    pairs = itertools.combinations(zip(values, adjusted, strict=True), 2)
    assert all(one[1] <= other[1] for one, other in map(sorted, pairs))


@quick
@given(p_values, st.floats(0, 1), seeds)
def test_one_more_test_lowers_no_adjusted_p_and_their_order_changes_none(values, another, seed):
    adjusted = holm(values)
    with_another = holm([*values, another])[:-1]
    assert all(before <= after for before, after in zip(adjusted, with_another, strict=True))
    order = np.random.default_rng(seed).permutation(len(values))
    assert holm([values[i] for i in order]) == [adjusted[i] for i in order]


@quick
@given(
    st.integers(1, 7).flatmap(
        lambda n: st.tuples(
            st.just(n), st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)))
        )
    )
)
def test_two_models_share_a_letter_just_where_they_cannot_be_told_apart(drawn):
    number, apart = drawn
    alike = np.ones((number, number), dtype=bool)
    for i, j in apart:
        alike[i, j] = alike[j, i] = i == j
    letters = group_letters(alike)
    for i, j in itertools.combinations(range(number), 2):
        assert bool({*letters[i]} & {*letters[j]}) == alike[i, j]
    assert "a" in letters[0]
    assert all(letters)


classified = st.tuples(st.integers(2, 5), st.integers(1, 20)).flatmap(
    lambda n: st.tuples(
        arrays(np.int64, n[1], elements=st.integers(0, n[0] - 1)),
        arrays(np.float64, (n[1], n[0]), elements=st.floats(-20, 20)),
        st.permutations(range(n[0])),
    )
)


@quick
@given(classified)
def test_other_numbers_for_the_classes_change_no_score(drawn):
    labels, logits, order = drawn
    order = np.array(order)
    renamed, moved = np.argsort(order)[labels], logits[:, order]
    number = len(order)
    plain = class_scores(confusion_matrix(logits.argmax(-1), labels, number))
    other = class_scores(confusion_matrix(np.argsort(order)[logits.argmax(-1)], renamed, number))
    assert [other[i] for i in np.argsort(order)] == plain
    before = score("single_label_classification", logits, labels).values
    after = score("single_label_classification", moved, renamed).values
    for metric in ("nll", "brier"):
        assert after[metric] == pytest.approx(before[metric], **CLOSE)
