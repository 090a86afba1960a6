"""The standard columns of a split, from whatever they were called, and what they may hold."""

import math
from typing import Any

from datasets import ClassLabel, Dataset

from hfbench.data.labels import refuse_mixed_labels
from hfbench.errors import UserError, nearest
from hfbench.recipe.fields import shown
from hfbench.recipe.schema import Task
from hfbench.system.hub import user_errors


def standard_columns(source: Dataset, split: str, task: Task, first: int | None) -> Dataset:
    """Columns id, text, (text_pair,) label; the labels are class names or numbers.

    Args:
        source: a split as it came.
        split: its name.
        task: says which columns hold texts and label.
        first: only the first this many rows; None: all.

    Raises:
        UserError: naming split, column and rows, if there is no such column or if a text or a label
            is none.
    """
    names = ["text", "text_pair"][: len(task.text_columns)]
    keys = dict.fromkeys(task.text_columns, "task.text_column")
    for column, key in {**keys, task.label_column: "task.label_column"}.items():
        if column not in source.column_names:
            known = ", ".join(source.column_names)
            raise UserError(
                f"{key}: split {split!r} of {task.source} has no column {column!r}"
                f"{nearest(column, source.column_names)} (columns: {known})"
            )
    if first is not None:
        if first > len(source):
            raise UserError(f"task.first: {first} rows wanted, split {split!r} has {len(source)}")
        source = source.select(range(first))
    if len(source) == 0:
        raise UserError(f"{task.source}: split {split!r} is empty")
    columns: dict[str, Any] = {"id": [f"{split}/{row}" for row in range(len(source))]}
    for name, column in zip(names, task.text_columns, strict=True):
        columns[name] = _read_column(source, column, f"task.text_column: split {split!r}")
        _check_texts(columns[name], split, column, task)
    columns["label"] = _read_column(source, task.label_column, f"task.label_column: {split!r}")
    feature = source.features[task.label_column]
    if isinstance(feature, ClassLabel):
        _check_class_numbers(columns["label"], feature, split, task)
        columns["label"] = [feature.int2str(label) for label in columns["label"]]
    _check_labels(columns["label"], split, task)
    return Dataset.from_dict(columns)


def _read_column(source: Dataset, column: str, where: str) -> list[Any]:
    with user_errors(f"{where}: column {column!r}"):  # bytes that are no UTF-8 show here
        return source[column][:]  # `list` would read row by row: 100 times as long


def _check_texts(texts: list[Any], split: str, column: str, task: Task) -> None:
    where = f"task.text_column: {task.source}"
    for row, text in enumerate(texts):
        if text is not None and not isinstance(text, str):
            raise UserError(
                f"{where}: row {row} of split {split!r} has {shown(text)} in column {column!r}, "
                f"of type {type(text).__name__}; a text is wanted"
            )
    bad = [row for row, text in enumerate(texts) if text is None or not text.strip()]
    if bad:
        raise UserError(
            f"{where}: {len(bad)} of {len(texts)} rows of split {split!r} have an empty text or "
            f"none in column {column!r} ({_first(bad)}); remove these rows{_none_in_csv(task)}"
        )


def _check_class_numbers(labels: list[Any], feature: ClassLabel, split: str, task: Task) -> None:
    bad = [label for label in labels if label is None or not 0 <= label < feature.num_classes]
    if bad:
        raise UserError(
            f"task.label_column: {task.source}: {len(bad)} of {len(labels)} rows of split "
            f"{split!r} have the label {bad[0]} in column {task.label_column!r}, whose classes "
            f"are 0 to {feature.num_classes - 1} ({', '.join(feature.names)}); a split without "
            "labels (as GLUE's test) cannot be evaluated"
        )


def _check_labels(labels: list[Any], split: str, task: Task) -> None:
    where, column = f"task.label_column: {task.source}", f"column {task.label_column!r}"
    missing = [row for row, label in enumerate(labels) if _is_missing(label)]
    if missing:
        found = labels[missing[0]]
        raise UserError(
            f"{where}: {len(missing)} of {len(labels)} rows of split {split!r} have no label in "
            f"{column} ({_first(missing)}; the first has {found!r}, which means none); remove "
            f"these rows{_none_in_csv(task)}"
        )
    for row, label in enumerate(labels):
        if not isinstance(label, (str, int)) or (isinstance(label, str) and "\n" in label):
            raise UserError(
                f"{where}: row {row} of split {split!r} has the label {shown(label)} in {column}; "
                "a label is a class name in one line or a whole number"
            )
    refuse_mixed_labels(labels, task)


def _is_missing(label: Any) -> bool:
    if isinstance(label, str):
        return not label.strip()
    return label is None or label == -1 or (isinstance(label, float) and math.isnan(label))


def _first(rows: list[int]) -> str:
    """The numbers of the first few rows."""
    return f"rows {', '.join(map(str, rows[:5]))}{', ...' if len(rows) > 5 else ''}"


def _none_in_csv(task: Task) -> str:
    files = (task.data_files or {}).values()
    is_csv = any(file.lower().endswith((".csv", ".tsv")) for file in files)
    return " (in CSV a bare NA, nan, null or None means none, too)" if is_csv else ""
