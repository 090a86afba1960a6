"""Letters for groups of models that cannot be distinguished: a compact letter display."""

from collections.abc import Collection

import numpy as np


def group_letters(alike: np.ndarray) -> list[str]:
    """Letters of each model: two share one just where they cannot be distinguished.

    Letters are cliques that cover all edges of the graph "cannot be distinguished". They are grown
    one model at a time and made as wide as they go; then what other letters say already is swept
    away (Piepho 2004; Gramm et al. 2007, who find this close to the fewest).

    Args:
        alike: symmetric, whether two models cannot be distinguished, shape (models, models); the
            best first, which has an ``a``.

    Returns:
        For each model its letters; separated by spaces where there are more than 26.
    """
    groups = _sweep(_widen(_grow(alike), alike), alike)
    groups.sort(key=sorted)
    names = [_letter(number) for number in range(len(groups))]
    between = " " if len(names) > 26 else ""
    return [
        between.join(name for name, group in zip(names, groups, strict=True) if model in group)
        for model in range(len(alike))
    ]


def _grow(alike: np.ndarray) -> list[set[int]]:
    """Cliques that cover all edges and all models (Kellerman 1973)."""
    groups: list[set[int]] = []
    for model in range(len(alike)):
        before = {other for other in range(model) if alike[model, other]}
        if not before:
            groups.append({model})
            continue
        open_edges = set(before)
        for group in groups:
            if group <= before:
                open_edges -= group
                group.add(model)
        while open_edges:
            # the group that has most of them, the first among equals
            best = max(groups, key=lambda group: len(group & open_edges))
            groups.append((best & before) | {model})
            open_edges -= best
    return groups


def _widen(groups: list[set[int]], alike: np.ndarray) -> list[set[int]]:
    """Each as a clique to which no model can be added; once each."""
    wide: list[set[int]] = []
    for group in groups:
        joined = np.asarray(alike[list(group)].all(0))  # who is alike with all of it
        for model in range(len(alike)):
            if joined[model]:
                joined &= alike[model]
        found = set(np.flatnonzero(joined).tolist())
        if found not in wide:
            wide.append(found)
    return wide


def _sweep(groups: list[set[int]], alike: np.ndarray) -> list[set[int]]:
    """Without groups, and then without members, whose edges are all in other groups."""
    covered = np.zeros(alike.shape, dtype=int)
    for group in groups:
        covered[_block(group)] += 1
    kept = []
    for group in sorted(groups, key=len):
        if (covered[_block(group)] > 1).all():
            covered[_block(group)] -= 1
        else:
            kept.append(group)
    for group in sorted(kept, key=len, reverse=True):
        for model in sorted(group, reverse=True):
            edges = list(group)
            if (covered[model, edges] > 1).all():
                covered[model, edges] -= 1
                covered[edges, model] -= 1
                covered[model, model] += 1  # it is in both lines
                group.remove(model)
    return kept


def _block(group: Collection[int]) -> tuple[np.ndarray, ...]:
    return np.ix_(list(group), list(group))


def _letter(number: int) -> str:
    """``a`` to ``z``, then ``aa``, ``ab`` and so on."""
    letters = ""
    number += 1
    while number:
        number, last = divmod(number - 1, 26)
        letters = chr(ord("a") + last) + letters
    return letters
