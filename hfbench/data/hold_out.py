"""Which rows of the train split become the validation."""

import math
from collections import Counter

import numpy as np
from datasets import Dataset
from datasets.utils.stratify import stratified_shuffle_split_generate_indices

from hfbench.data.groups import order_by_groups
from hfbench.data.strata import (
    classes_in,
    in_one_row,
    split_label_sets,
    strata,
    tenths,
)
from hfbench.data.tables import labels_of, take
from hfbench.errors import UserError
from hfbench.recipe.task import Task


def hold_out(
    splits: dict[str, Dataset],
    groups: dict[str, np.ndarray] | None,
    task: Task,
    labels: list[str],
) -> tuple[dict[str, Dataset], dict[str, np.ndarray] | None]:
    """The splits, and the groups of their rows, with a ``validation`` out of ``train``.

    Args:
        splits: with labels as `tables.labels_of` reads them.
        groups: role -> the group of each row, shape (rows,); None: rows have none.
        task: says how many rows, and which.
        labels: the names of the classes.

    Raises:
        UserError: if there are no such rows, naming the key and what would be right.
    """
    train = splits["train"]
    numbers = labels_of(train)
    own = groups["train"] if groups else None
    size = task.validation_size
    assert size is not None
    held_out = size if isinstance(size, int) else math.ceil(size * len(train))
    if task.split == "last":
        kept_rows, held_out_rows = _last(held_out, own, task, len(train))
    elif own is not None:
        kept_rows, held_out_rows = _whole_groups(numbers, own, held_out, task, labels)
    else:
        kept_rows, held_out_rows = _in_proportion(numbers, held_out, task, labels)
    parts = {"train": kept_rows, "validation": held_out_rows}
    splits = splits | {role: take(train, rows) for role, rows in parts.items()}
    if groups and own is not None:
        groups = groups | {role: own[rows] for role, rows in parts.items()}
    return splits, groups


def _in_proportion(
    numbers: np.ndarray, held_out: int, task: Task, labels: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Of each class, label or tenth of the numbers its share, at random."""
    rare = in_one_row(numbers)
    if rare and task.min_class_size is None:
        raise UserError(
            f"task.validation_size: {task.source}: label {labels[min(rare)]!r} has one example in "
            f"split {task.train_split!r}; a stratified split needs two of each: "
            "`task.min_class_size: 2` leaves such classes out, `1` keeps them in the training part"
        )
    if numbers.ndim == 1 and numbers.dtype.kind != "f":
        return _stratified(numbers, held_out, task, rare)
    spared = np.zeros(len(numbers), dtype=bool)
    if numbers.ndim == 2:
        spared = numbers[:, sorted(rare)].sum(1) > 0
    most = len(numbers) - max(int(spared.sum()), 1)
    if not 0 < held_out <= most:
        raise UserError(
            f"task.validation_size: {task.validation_size} of {len(numbers)} examples of "
            f"{task.source} is {held_out}; give from 1 to {most} examples"
        )
    if numbers.ndim == 2:
        return split_label_sets(numbers, held_out, task.split_seed, spared)
    bins = tenths(numbers, min(10, held_out, len(numbers) - held_out))
    return _stratified(bins, held_out, task, set())


def _stratified(
    numbers: np.ndarray, held_out: int, task: Task, rare: set[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Of each class its share; those with one row, which are ``rare``, stay in the first part."""
    counts = Counter(numbers.tolist())
    divisible = np.flatnonzero(~np.isin(numbers, list(rare)))
    examples, classes = len(divisible), len(counts) - len(rare)
    if not classes <= held_out <= examples - classes:
        raise UserError(
            f"task.validation_size: {task.validation_size} of {len(numbers)} examples of "
            f"{task.source} is {held_out}; give from {classes} to {examples - classes} examples, "
            f"so that each of {classes} labels can be in both parts"
        )
    # as Dataset.train_test_split draws them, which reads the labels row by row: 67,000 in 12 s
    kept, drawn = next(
        stratified_shuffle_split_generate_indices(
            numbers[divisible],
            examples - held_out,
            held_out,
            rng=np.random.default_rng(task.split_seed),
        )
    )
    spared = np.flatnonzero(np.isin(numbers, list(rare)))
    return np.concatenate([divisible[kept], spared]), divisible[drawn]


def _whole_groups(
    numbers: np.ndarray, groups: np.ndarray, held_out: int, task: Task, labels: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """At most ``held_out`` rows, of groups in a random order.

    A group that is too large is passed over, and where classes of one row may stay in the training
    part, one that has such a row.
    """
    spared = in_one_row(numbers) if task.min_class_size == 1 else set()
    taken: list[np.ndarray] = []
    order = order_by_groups(strata(numbers), groups, task.split_seed)
    left = held_out
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if len(rows) <= left and spared.isdisjoint(classes_in(numbers[rows])):
            taken.append(rows)
            left -= len(rows)
    drawn = np.sort(np.concatenate(taken)) if taken else np.empty(0, np.int64)
    kept = np.setdiff1d(np.arange(len(numbers)), drawn)
    for part, rows in (("validation", drawn), ("training", kept)):
        missing = classes_in(numbers) - classes_in(numbers[rows]) - spared
        if missing or not len(rows):
            lacking = f"the label {labels[min(missing)]!r}" if missing else "any example"
            raise UserError(
                f"task.validation_size: {task.validation_size} of {len(numbers)} examples of "
                f"{task.source}, in whole groups of {task.group_column!r} "
                f"(there are {len(np.unique(groups)):,}), leaves the {part} part without "
                f"{lacking}; give another size or split_seed"
            )
    return kept, drawn


def _last(
    held_out: int, groups: np.ndarray | None, task: Task, examples: int
) -> tuple[np.ndarray, np.ndarray]:
    """The last rows, in their order."""
    if not 0 < held_out < examples:
        raise UserError(
            f"task.validation_size: {task.validation_size} of {examples} examples of {task.source} "
            f"is {held_out}; give from 1 to {examples - 1} examples"
        )
    kept, drawn = np.split(np.arange(examples), [examples - held_out])
    if groups is not None:
        parted = np.intersect1d(groups[kept], groups[drawn])
        if len(parted):
            raise UserError(
                f"task.split: last parts the rows of {len(parted)} of {len(np.unique(groups))} "
                f"groups of {task.group_column!r} of {task.source}, which are not all among the "
                f"last {held_out} rows; give another validation_size, leave group_column out, or "
                "take `split: stratified`"
            )
    return kept, drawn
