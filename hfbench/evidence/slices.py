"""Models by parts of the evaluation examples: where one is better that is not better overall."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hfbench.evidence.difference import Difference, Interval
from hfbench.evidence.judge import judge
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.standing import judging
from hfbench.evidence.stats import ALPHA, holm
from hfbench.metrics.estimate import UndefinedMeasureError

_VALUES = 8
"""Parts of a column with many values: the most frequent, and all others together."""
_LEAST = 20
"""Examples of a part about which something can be said."""


@dataclass(frozen=True)
class Part:
    """The examples with one value of a slice, and what the models do on them."""

    slice: str
    """``length``, or the name of a column."""
    value: str
    """Of these examples: ``12 to 19 words``, or what the column has."""
    examples: int
    measured: dict[str, Interval]
    """Model -> its measure on them; empty where they are too few, or it has no number."""
    against_best: list[Difference]
    """By how much the model that is best overall is better than each other one on them."""


@dataclass(frozen=True)
class Turn:
    """A part on which the best model is shown to be worse than another."""

    part: Part
    better: str
    difference: Difference
    """By how much ``better`` is better there."""
    adjusted_p: float
    """After Holm for all parts and models together."""


def cut_slices(models: Sequence[ModelRuns]) -> list[Part]:
    """Every part of every slice, in the order of the recipe.

    Args:
        models: with a result, of the same examples; the best first.
    """
    return [
        _judge_part(name, value, is_in, models)
        for name, values in models[0].slices.items()
        for value, is_in in parts_of(name, values)
    ]


def find_turns(parts: Sequence[Part]) -> list[Turn]:
    """Where the order turns, with 5 % error for all parts and models together."""
    all_of_them = [(part, found) for part in parts for found in part.against_best]
    adjusted = holm([found.p_value for _, found in all_of_them])
    return [
        Turn(part, found.second, -found, p_value)
        for (part, found), p_value in zip(all_of_them, adjusted, strict=True)
        if found.mean < 0 and p_value < ALPHA
    ]


def parts_of(name: str, values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """What a part is called, and whether each example is in it.

    Numbers of more than `_VALUES` values are cut into quarters, equal ones together.
    """
    numbers = _as_numbers(values)
    if numbers is not None and len(np.unique(numbers)) > _VALUES:
        unit = " words" if name == "length" else ""
        return _quarters(numbers, unit)
    names, counts = np.unique(values.astype(str), return_counts=True)
    order = np.lexsort((names, -counts))
    shown = names[order] if len(names) <= _VALUES else names[order][: _VALUES - 1]
    found = [(str(value), values.astype(str) == value) for value in shown]
    rest = ~np.isin(values.astype(str), shown)
    return [*found, *([(f"{len(names) - len(shown)} other values", rest)] if rest.any() else [])]


def _as_numbers(values: np.ndarray) -> np.ndarray | None:
    try:
        found = values.astype(float)
    except ValueError:
        return None
    return found if np.isfinite(found).all() else None


def _quarters(numbers: np.ndarray, unit: str) -> list[tuple[str, np.ndarray]]:
    cuts = np.unique(np.quantile(numbers, [0.25, 0.5, 0.75], method="inverted_cdf"))
    number = np.searchsorted(cuts, numbers)  # a cut belongs to the part below it
    found = []
    for part in np.unique(number):
        is_in = number == part
        low, high = numbers[is_in].min(), numbers[is_in].max()
        ends = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
        found.append((f"{ends}{unit}", is_in))
    return found


def _judge_part(name: str, value: str, is_in: np.ndarray, models: Sequence[ModelRuns]) -> Part:
    examples = int(is_in.sum())
    nothing = Part(name, value, examples, {}, [])
    if examples < _LEAST:
        return nothing
    metric = models[0].metric
    cut = [_only(model, is_in) for model in models]
    try:
        scores = {model.name: model.pseudo_values for model in cut}
    except UndefinedMeasureError:
        return nothing
    known = judging(cut, metric)
    if known["clusters"] is not None and len(np.unique(known["clusters"])) < 2:
        return nothing
    # which runs collapsed is known from all examples
    known["collapsed"] = {model.name: model.collapsed.tolist() for model in models}
    judged = judge(scores, **known)
    sign = 1 if metric.higher_is_better else -1
    rows = {row.name: Interval(row.mean, row.low, row.high) for row in judged.rows}
    best = models[0].name
    return replace(
        nothing,
        measured={model.name: rows[model.name] if sign > 0 else -rows[model.name] for model in cut},
        against_best=[
            pair if pair.first == best else -pair
            for pair in judged.pairs
            if best in (pair.first, pair.second)
        ],
    )


def _only(model: ModelRuns, is_in: np.ndarray) -> ModelRuns:
    """The model on these examples alone."""
    return replace(
        model,
        ids=model.ids[is_in],
        labels=model.labels[is_in],
        logits=model.logits[:, is_in],
        groups=None if model.groups is None else model.groups[is_in],
        slices={},
    )
