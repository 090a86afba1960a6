"""The train split in parts, of which one at a time becomes the validation: for tuning."""

import numpy as np
from datasets import Dataset

from hfbench.data.groups import order_by_groups
from hfbench.data.strata import classes_in, strata
from hfbench.data.subsets import nested_order
from hfbench.data.tables import labels_of, take
from hfbench.errors import UserError
from hfbench.recipe.task import Task
from hfbench.recipe.tuning import Fold


def part_of_train(
    splits: dict[str, Dataset],
    groups: dict[str, np.ndarray] | None,
    task: Task,
    fold: Fold,
) -> tuple[dict[str, Dataset], dict[str, np.ndarray] | None]:
    """Only the train split: without a part of it, and that part as the validation.

    Args:
        splits: with labels as `tables.labels_of` reads them.
        groups: role -> the group of each row, shape (rows,), whose rows stay together.
        task: has the seed of the parts.
        fold: which part, of how many.

    Raises:
        UserError: if the split cannot be parted so.
    """
    train, own = splits["train"], groups["train"] if groups else None
    parts = fold_numbers(labels_of(train), own, fold.of, task.split_seed)
    rows = {
        "train": np.flatnonzero(parts != fold.number - 1),
        "validation": np.flatnonzero(parts == fold.number - 1),
    }
    labels = labels_of(train)
    if labels.dtype.kind != "f":
        missing = classes_in(labels) - classes_in(labels[rows["train"]])
    if len(rows["validation"]) == 0 or (labels.dtype.kind != "f" and missing):
        raise UserError(
            f"tune.folds: {fold.of} parts of {len(train):,} training examples of {task.source} "
            "leave one of them without an example, or the others without one of a label; give "
            "fewer, or a task.test_split, which leaves the validation split to tuning"
        )
    return (
        {role: take(train, own_rows) for role, own_rows in rows.items()},
        None if own is None else {role: own[own_rows] for role, own_rows in rows.items()},
    )


def fold_numbers(
    labels: np.ndarray, groups: np.ndarray | None, folds: int, seed: int
) -> np.ndarray:
    """The part of each row, from 0, shape (rows,): of equal sizes, each label spread evenly.

    Args:
        labels: as `tables.labels_of` gives them.
        groups: group numbers, shape (rows,), which stay whole; None: rows are independent.
        folds: how many parts.
        seed: of the order in which rows are dealt out.
    """
    numbers = strata(labels)
    if groups is None:
        order = nested_order(numbers, seed)
        parts = np.empty(len(order), dtype=np.int64)
        for number, rows in enumerate(np.array_split(order, folds)):
            parts[rows] = number
        return parts
    order = order_by_groups(numbers, groups, seed)
    parts, ends = np.empty(len(order), dtype=np.int64), len(order) / folds
    before = 0
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        parts[rows] = min(folds - 1, int((before + len(rows) / 2) / ends))  # where its middle lies
        before += len(rows)
    return parts
