import itertools

import numpy as np
import pytest

from hfbench.evidence.letters import group_letters


def alike_by(pairs, number):
    """Models that cannot be distinguished, by the pairs that can."""
    alike = np.ones((number, number), dtype=bool)
    for i, j in pairs:
        alike[i, j] = alike[j, i] = False
    return alike


def intervals(rng, number):
    """Models in the order of their means, of which near ones mostly cannot be distinguished."""
    means = np.sort(rng.normal(size=number))[::-1]
    width = 0.4 + 0.5 * rng.random((number, number))
    alike = np.abs(means[:, None] - means) < (width + width.T) / 2
    np.fill_diagonal(alike, True)
    return alike


def columns(letters):
    return len({letter for text in letters for letter in (text.split() if " " in text else text)})


def test_letters_of_a_known_display():
    # best and middle alike, middle and worst alike, best and worst not
    assert group_letters(alike_by([(0, 2)], 3)) == ["a", "ab", "b"]
    assert group_letters(alike_by([], 2)) == ["a", "a"]
    assert group_letters(alike_by([(0, 1)], 2)) == ["a", "b"]
    assert group_letters(np.ones((1, 1), dtype=bool)) == ["a"]


def fewest_columns(alike):
    """By trying all sets of cliques, the smallest first."""
    models = range(len(alike))
    cliques = [
        set(clique)
        for size in range(1, len(alike) + 1)
        for clique in itertools.combinations(models, size)
        if alike[np.ix_(clique, clique)].all()
    ]
    cliques = [c for c in cliques if not any(c < other for other in cliques)]
    edges = {(i, j) for i in models for j in models if alike[i, j]}
    for number in range(1, len(cliques) + 1):
        for some in itertools.combinations(cliques, number):
            if edges <= {pair for clique in some for pair in itertools.product(clique, clique)}:
                return number
    raise AssertionError("cliques of one cover all models")


@pytest.mark.parametrize("seed", range(40))
def test_there_are_hardly_more_letters_than_need_be(seed):
    rng = np.random.default_rng(seed)
    alike = intervals(rng, 7) if seed % 2 else alike_by(
        [pair for pair in itertools.combinations(range(6), 2) if rng.random() < 0.4], 6
    )  # fmt: skip
    assert columns(group_letters(alike)) <= fewest_columns(alike) + (seed in _ONE_MORE)


_ONE_MORE: set[int] = set()
"""Draws in which a greedy method needs one letter more than the fewest."""


def test_no_letter_can_be_left_out_of_any_row():
    alike = intervals(np.random.default_rng(3), 18)
    letters = [set(text) for text in group_letters(alike)]
    for row, own in enumerate(letters):
        for letter in own:
            others = [own - {letter} if i == row else text for i, text in enumerate(letters)]
            shared = [bool(others[row] & others[i]) for i in range(18)]
            assert shared != alike[row].tolist() or not others[row]


def test_beyond_z_letters_go_on_and_are_parted():
    number = 30
    apart = alike_by(itertools.combinations(range(number), 2), number)
    letters = group_letters(apart)
    assert letters[:2] == ["a", "b"]
    assert letters[25:28] == ["z", "aa", "ab"]
    chain = alike_by(
        [(i, j) for i, j in itertools.combinations(range(number), 2) if j > i + 1], number
    )
    joined = group_letters(chain)
    assert joined[26] == "z aa"
    assert joined[1] == "a b"
