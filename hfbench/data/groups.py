"""Rows that belong together, because a model that saw one of them knows something of the others."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from hfbench.errors import UserError, nearest
from hfbench.recipe.task import Task


def number_groups(
    task: Task, source: dict[str, Dataset], splits: dict[str, Dataset]
) -> dict[str, np.ndarray] | None:
    """Role -> the number of each row's group, shape (rows,): equal where ``group_column`` is.

    Args:
        task: says which column holds the group; None: rows have no group.
        source: the splits as they came.
        splits: role -> the rows that are used, the first of those that came.

    Raises:
        UserError: if a split has no such column or a row has no value there.
    """
    if task.group_column is None:
        return None
    names = {"train": task.train_split, "validation": task.validation_split}
    names |= {"test": task.test_split}
    numbers: dict[Any, int] = {}
    groups = {}
    for role, split in splits.items():
        values = _values(source[names[role] or ""], names[role] or "", task)[: len(split)]
        groups[role] = np.array([numbers.setdefault(value, len(numbers)) for value in values])
    return groups


def has_few_values(values: Sequence[Any], classes: int) -> bool:
    """Whether a column says of what kind a row is, as an aspect or a source does, and not of whom.

    Args:
        values: of the column, a row each.
        classes: of the task.
    """
    different = len(set(values))
    return different < max(20, 3 * classes) or len(values) > 200 * different


def order_by_groups(labels: np.ndarray, groups: np.ndarray, seed: int) -> np.ndarray:
    """The rows, group by group, in an order whose every prefix has each class's share, roughly.

    The groups are spread evenly by the label that most of their rows have: of the groups with the
    same one, in a random order, the k-th of n has the rank (k + 0.5) / n.

    Args:
        labels: class numbers, shape (rows,).
        groups: group numbers, shape (rows,).
        seed: of the random order.
    """
    generator = np.random.default_rng(seed)
    _, owner = np.unique(groups, return_inverse=True)
    counts = np.zeros((owner.max() + 1, labels.max() + 1), dtype=np.int64)
    np.add.at(counts, (owner, labels), 1)
    commonest = counts.argmax(1)  # the first among equals
    ranks = np.empty(len(counts))
    for label in np.unique(commonest):
        members = generator.permutation(np.flatnonzero(commonest == label))
        ranks[members] = (np.arange(len(members)) + 0.5) / len(members)
    places = np.empty(len(counts), dtype=np.int64)
    places[np.lexsort((commonest, ranks))] = np.arange(len(counts))
    return np.argsort(places[owner], kind="stable")


def _values(source: Dataset, split: str, task: Task) -> list[Any]:
    if task.group_column not in source.column_names:
        known = ", ".join(source.column_names)
        raise UserError(
            f"task.group_column: split {split!r} of {task.source} has no column "
            f"{task.group_column!r}{nearest(str(task.group_column), source.column_names)} "
            f"(columns: {known})"
        )
    values = source[task.group_column][:]
    bad = [
        row
        for row, value in enumerate(values)
        if not isinstance(value, (str, int)) or (isinstance(value, str) and not value.strip())
    ]
    if bad:
        raise UserError(
            f"task.group_column: {task.source}: {len(bad)} of {len(values)} rows of split "
            f"{split!r} have {values[bad[0]]!r} in column {task.group_column!r} (the first is row "
            f"{bad[0]}); a group is a text or a whole number"
        )
    return values
