"""Cross-validation: in which fold each row of the train split is evaluated."""

import warnings

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from hfbench.data.strata import in_one_row, split_label_sets, strata
from hfbench.errors import UserError
from hfbench.recipe.folds import Folds
from hfbench.recipe.task import Task


def fold_of_rows(
    numbers: np.ndarray, groups: np.ndarray | None, task: Task, labels: list[str], repeat: int
) -> np.ndarray:
    """The fold of each row, from 0, shape (rows,): of each class, label or tenth its share.

    Args:
        numbers: labels as `tables.labels_of` gives them.
        groups: of each row, shape (rows,), of which none is parted; None: rows have none.
        task: says how many folds, and by which seed.
        labels: the names of the classes.
        repeat: which of several ways to part them, from 0.

    Raises:
        UserError: if there are too few rows or groups, or a class has one row.
    """
    folds = task.folds
    assert folds is not None
    units = len(numbers) if groups is None else len(np.unique(groups))
    if units < folds.folds:
        what = "examples" if groups is None else f"groups of {task.group_column!r}"
        raise UserError(f"task.folds: {folds.folds} folds of {units} {what} of {task.source}")
    if rare := in_one_row(numbers):
        raise UserError(
            f"task.folds: {task.source}: label {labels[min(rare)]!r} has one example in split "
            f"{task.train_split!r}, which is evaluated by a model that never saw it; "
            "`task.min_class_size: 2` leaves such classes out"
        )
    seed = _seed(task, repeat)
    if groups is None and numbers.ndim == 2:
        return _label_sets(numbers, folds, seed)
    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    found = np.empty(len(numbers), dtype=np.int64)
    parts = splitter(folds.folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # that a class has fewer rows than folds, so that some have none of it
        warnings.simplefilter("ignore", UserWarning)
        for number, (_, rows) in enumerate(parts.split(numbers, strata(numbers), groups)):
            found[rows] = number
    return found


def _seed(task: Task, repeat: int) -> int:
    stream = np.random.SeedSequence(task.split_seed, spawn_key=(repeat,))
    return int(stream.generate_state(1)[0])


def _label_sets(numbers: np.ndarray, folds: Folds, seed: int) -> np.ndarray:
    """Fold after fold out of the rows that are left, see `strata.split_label_sets`."""
    found = np.zeros(len(numbers), dtype=np.int64)
    left = np.arange(len(numbers))
    for number in range(folds.folds - 1, 0, -1):
        size = len(left) // (number + 1)
        spared = np.zeros(len(left), dtype=bool)
        kept, drawn = split_label_sets(numbers[left], size, seed + number, spared)
        found[left[drawn]] = number
        left = left[kept]
    return found
