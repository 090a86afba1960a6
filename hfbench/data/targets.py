"""The numbers that a regression is to predict."""

import math
from typing import Any

import numpy as np
from datasets import Dataset

from hfbench.data.tables import first_rows, labels_of
from hfbench.errors import UserError
from hfbench.recipe.fields import shown
from hfbench.recipe.task import Task
from hfbench.records.data import Target


def read_targets(source: Dataset, split: str, task: Task) -> list[float]:
    """The number of each row, as it stands in the data.

    Raises:
        UserError: naming the rows, where there is none or one outside of ``target_range``.
    """
    column = task.label_columns[0]
    values: list[Any] = source[column][:]
    where = f"task.label_column: {task.source}"
    wrong = [row for row, value in enumerate(values) if _number(value) is None]
    if wrong:
        raise UserError(
            f"{where}: {len(wrong)} of {len(values)} rows of split {split!r} have no number in "
            f"column {column!r} ({first_rows(wrong)}; the first has {shown(values[wrong[0]])}), "
            "and regression needs one; remove these rows"
        )
    numbers = [float(value) for value in values]
    if task.target_range is not None:
        low, high = task.target_range
        outside = [row for row, number in enumerate(numbers) if not low <= number <= high]
        if outside:
            raise UserError(
                f"task.target_range: {task.source}: {len(outside)} of {len(values)} rows of split "
                f"{split!r} have a number in column {column!r} that is not from {low:g} to "
                f"{high:g} ({first_rows(outside)}; the first has {numbers[outside[0]]:g}); give "
                "the range that they have, or remove these rows"
            )
    return numbers


def _number(value: Any) -> float | None:
    """A finite number, also written as text; None of what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def refuse_constant_targets(splits: dict[str, Dataset], task: Task) -> None:
    """Refuse a split in which every example has the same number.

    Nothing can be learned from it, and no correlation is defined on it.
    """
    for role, split in splits.items():
        low, high = np.quantile(labels_of(split), [0, 1])
        if low == high:
            raise UserError(
                f"task.label_column: {task.source}: each of the {len(split):,} {role} examples has "
                f"{low:g} in column {task.label_column!r}; regression needs numbers that differ"
            )


def describe_targets(numbers: np.ndarray) -> Target:
    """Of one split; ``numbers`` of shape (rows,)."""
    return Target(
        mean=float(numbers.mean()),
        sd=float(numbers.std()),
        low=float(numbers.min()),
        high=float(numbers.max()),
    )
