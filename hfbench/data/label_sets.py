"""Labels of which a text has any number: read from lists, from strings, or from columns of 0 and 1.

What is read of a row is the list of its labels; encoded, it is a row of 0 and 1, one for each name.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset

from hfbench.data.labels import refuse_mixed_labels, refuse_two_spellings, whole_number
from hfbench.data.tables import first_rows, with_labels
from hfbench.errors import UserError
from hfbench.recipe.fields import shown
from hfbench.recipe.task import Task

_YES_OR_NO = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


def read_label_sets(source: Dataset, split: str, task: Task) -> list[list[str]] | list[list[int]]:
    """The labels of each row; none of them may be empty.

    Raises:
        UserError: naming split, column and rows, if something is no list of labels.
    """
    if isinstance(task.label_column, list):
        return _from_columns(source, split, task)
    values: list[Any] = source[task.label_column][:]
    if task.label_separator is not None:
        sets: list[Any] = [_parts(value, task.label_separator) for value in values]
    else:
        sets = values
    where = f"task.label_column: {task.source}"
    wrong = [row for row, value in enumerate(sets) if not isinstance(value, list)]
    if wrong:
        raise UserError(
            f"{where}: {len(wrong)} of {len(sets)} rows of split {split!r} have no list of labels "
            f"in column {task.label_column!r} ({first_rows(wrong)}; the first has "
            f"{shown(values[wrong[0]])}); give `label_separator` if a string holds several labels "
            "(an empty list is a text without any)"
        )
    feature = class_label_of(source.features[task.label_column])
    if _are_rows_of_zeros_and_ones(sets):
        sets = [[n for n, is_there in enumerate(row) if is_there] for row in sets]
    if feature is not None:
        _refuse_numbers_out_of_range(sets, feature, split, task)
        sets = [[feature.int2str(label) for label in labels] for labels in sets]
    sets = [[_plain(label) for label in labels] for labels in sets]
    for row, labels in enumerate(sets):
        for label in labels:
            if not isinstance(label, str | int) or (
                isinstance(label, str) and (not label.strip() or "\n" in label)
            ):
                raise UserError(
                    f"{where}: row {row} of split {split!r} has the label {shown(label)} in column "
                    f"{task.label_column!r}; a label is a name in one line or a whole number"
                )
    refuse_mixed_labels(chain.from_iterable(sets), task)
    return sets


def class_label_of(feature: Any) -> ClassLabel | None:
    """Of a column of classes, or of lists of classes; None of any other."""
    inner = getattr(feature, "feature", feature)
    return inner if isinstance(inner, ClassLabel) else None


def encode_label_sets(
    splits: dict[str, Dataset], feature: Any, task: Task
) -> tuple[dict[str, Dataset], list[str], dict[str, int] | None]:
    """Label sets as rows of 0 and 1, one for each name of all splits together.

    Args:
        splits: with label sets as `standard_columns` gives them.
        feature: of the label column as it came. The order is that of the ClassLabel, if it is one,
            that of the columns, if they are several, else alphabetical or numerical.
        task: with ``min_class_size``, labels that fewer training rows have are taken from all sets.

    Returns:
        Besides the names, of the labels that were left out: label -> rows that had it; None without
        a size.

    Raises:
        UserError: if there are fewer than two labels, or no training row has any.
    """
    sets = {role: split["label"][:] for role, split in splits.items()}
    trained = Counter(chain.from_iterable(map(set, sets["train"])))
    values = Counter(label for rows in sets.values() for row in rows for label in set(row))
    if not trained:
        raise UserError(
            f"task.label_column: {task.source}: none of the {len(sets['train']):,} rows of split "
            f"{task.train_split!r} has a label; some must have one"
        )
    refuse_mixed_labels(values, task)
    classes = class_label_of(feature)
    columns = task.label_column if isinstance(task.label_column, list) else None
    if classes is None and not columns and isinstance(next(iter(values)), str):
        refuse_two_spellings(values, task)
    if columns and (never := [name for name in columns if name not in values]):
        raise UserError(
            f"task.label_column: {task.source}: column {never[0]!r} is 1 in no row; leave it out"
        )
    key: Any = classes.str2int if classes else columns.index if columns else None
    ordered, left_out = sorted(values, key=key), None
    if task.min_class_size is not None:
        size = task.min_class_size
        rare = [label for label in ordered if 0 < trained[label] < size]
        left_out = {str(label): values[label] for label in rare}
        ordered = [label for label in ordered if label not in rare]
    names = [str(label) for label in ordered]
    if len(names) < 2:
        raise UserError(
            f"task.label_column: {task.source} has only the labels {names}"
            f"{f' with {task.min_class_size} rows or more' if left_out else ''}; "
            "multi_label_classification needs two or more (of one, make two classes)"
        )
    numbers = {label: number for number, label in enumerate(ordered)}
    encoded = {
        role: with_labels(split, _matrix(sets[role], numbers), names)
        for role, split in splits.items()
    }
    return encoded, names, left_out


def _matrix(sets: list[list[Any]], numbers: dict[Any, int]) -> np.ndarray:
    """Of shape (rows, labels); a label without a number is left out."""
    matrix = np.zeros((len(sets), len(numbers)), dtype=np.int8)
    places = [
        (row, numbers[label])
        for row, labels in enumerate(sets)
        for label in labels
        if label in numbers
    ]
    if places:
        matrix[tuple(np.array(places).T)] = 1
    return matrix


def _from_columns(source: Dataset, split: str, task: Task) -> list[list[str]]:
    """The names of the columns that say yes, row by row."""
    sets: list[list[str]] = [[] for _ in range(len(source))]
    for column in task.label_columns:
        values = source[column][:]
        answers = [_YES_OR_NO.get(str(_plain(value)).lower()) for value in values]
        wrong = [row for row, answer in enumerate(answers) if answer is None]
        if wrong:
            raise UserError(
                f"task.label_column: {task.source}: {len(wrong)} of {len(values)} rows of split "
                f"{split!r} have neither 0 nor 1 in column {column!r} ({first_rows(wrong)}; the "
                f"first has {shown(values[wrong[0]])})"
            )
        for labels, answer in zip(sets, answers, strict=True):
            if answer:
                labels.append(column)
    return sets


def _parts(value: Any, separator: str) -> Any:
    """The labels within a string; none in an empty one, or where there is none."""
    if value is None:
        return []
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]  # a column of strings that are all one whole number
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(separator) if part.strip()]


def _are_rows_of_zeros_and_ones(sets: Sequence[list[Any]]) -> bool:
    """Whether lists say yes or no of each label, and are no lists of labels called 0 and 1."""
    lengths = set(map(len, sets))
    return (
        len(lengths) == 1
        and lengths.pop() > 1
        and all(value in (0, 1) for row in sets for value in row)
        and any(len(set(row)) < len(row) for row in sets)
    )


def _refuse_numbers_out_of_range(
    sets: list[list[Any]], feature: ClassLabel, split: str, task: Task
) -> None:
    most = feature.num_classes - 1
    for row, labels in enumerate(sets):
        for label in labels:
            if label is None or not 0 <= label <= most:
                raise UserError(
                    f"task.label_column: {task.source}: row {row} of split {split!r} has the label "
                    f"{label} in column {task.label_column!r}, whose classes are 0 to {most}"
                )


def _plain(value: Any) -> Any:
    """``1.0`` is 1, where it is a number."""
    number = whole_number(value) if isinstance(value, float) else None
    return value if number is None else number
