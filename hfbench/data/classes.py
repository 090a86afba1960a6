"""Which classes there are: those too small to learn, those that a beginning lacks, their names."""

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
from datasets import Dataset

from hfbench.data.tables import labels_of, take, with_labels
from hfbench.errors import UserError, nearest
from hfbench.recipe.task import Task


def leave_out_rare_classes(
    splits: dict[str, Dataset], groups: dict[str, np.ndarray] | None, task: Task
) -> tuple[dict[str, Dataset], dict[str, np.ndarray] | None, dict[str, int] | None]:
    """Splits and groups without classes of fewer than ``min_class_size`` training rows.

    Args:
        splits: with labels as `standard_columns` gives them.
        groups: role -> the group of each row, shape (rows,).
        task: says the size; without one every class stays.

    Returns:
        Besides: class -> its rows in all splits, of those left out; None without a size.

    Raises:
        UserError: if fewer than two classes are left.
    """
    if task.min_class_size is None:
        return splits, groups, None
    trained = Counter(splits["train"]["label"][:])
    large = {label for label, count in trained.items() if count >= task.min_class_size}
    if len(large) < 2:
        second = sorted(trained.values())[-2:][0]
        raise UserError(
            f"task.min_class_size: {task.min_class_size}: of the classes of {task.source} "
            f"{len(large)} has so many rows, and a comparison needs two; give at most {second}"
        )
    rows: dict[str, list[int]] = {}
    left_out: Counter[str] = Counter()
    for role, split in splits.items():
        values = split["label"][:]
        # a class that training lacks is no rare one: it is refused later
        rows[role] = [n for n, value in enumerate(values) if value in large or not trained[value]]
        left_out.update(str(v) for v in values if v not in large and trained[v])
    splits = {role: take(split, np.array(rows[role])) for role, split in splits.items()}
    groups = groups and {role: numbers[rows[role]] for role, numbers in groups.items()}
    return splits, groups, dict(sorted(left_out.items()))


def refuse_sorted_beginning(labels: list[Any], first: int, task: Task) -> None:
    """Refuse the first rows of data that are sorted by label, where classes are missing in them.

    Args:
        labels: of the whole split, as they came.
        first: rows that are taken.
        task: for messages.

    Raises:
        UserError: naming ``task.first``, the classes and what would be right.
    """
    missing = set(labels) - set(labels[:first]) - {None}
    changes = sum(one != other for one, other in pairwise(labels))
    if not missing or changes >= len(set(labels)):
        return
    needed = max(labels.index(label) for label in missing) + 1
    raise UserError(
        f"task.first: {first}: split {task.train_split!r} of {task.source} is sorted by label, and "
        f"its first {first:,} rows lack {len(missing)} of {len(set(labels))} classes; shuffle the "
        f"rows, or take at least {needed:,}"
    )


def name_classes(
    splits: dict[str, Dataset], labels: list[str], task: Task
) -> tuple[dict[str, Dataset], list[str]]:
    """The splits and the names of their classes as ``label_names`` says.

    Raises:
        UserError: if it names a class that there is not, or not all.
    """
    if task.label_names is None:
        return splits, labels
    where = f"task.label_names: {task.source}"
    for label in task.label_names:
        if label not in labels:
            raise UserError(
                f"{where} has no class {label!r}{nearest(label, labels)} "
                f"(classes: {', '.join(labels[:20])}{', ...' if len(labels) > 20 else ''})"
            )
    if unnamed := [label for label in labels if label not in task.label_names]:
        raise UserError(f"{where}: the class {unnamed[0]!r} has no name; name every class")
    names = [task.label_names[label] for label in labels]
    renamed = {role: with_labels(split, labels_of(split), names) for role, split in splits.items()}
    return renamed, names
