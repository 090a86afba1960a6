"""The standard columns of a split, from whatever they were called, and what they may hold."""

import math
from collections.abc import Callable
from itertools import repeat
from typing import Any

import pyarrow as pa
from datasets import ClassLabel, Dataset, Value

from hfbench.data.label_sets import read_label_sets
from hfbench.data.labels import refuse_mixed_labels, whole_number
from hfbench.data.tables import first_rows, in_memory, text_array, values
from hfbench.data.targets import read_targets
from hfbench.errors import UserError, nearest
from hfbench.recipe.fields import shown
from hfbench.recipe.task import Task
from hfbench.recipe.types import ProblemType
from hfbench.system.hub import user_errors


def standard_columns(
    source: Dataset, split: str, task: Task, first: int | None, kind: ProblemType
) -> Dataset:
    """Columns id, text, (text_pair,) label.

    The labels are class names or numbers, lists of these, or the numbers that are to be predicted.

    Args:
        source: a split as it came.
        split: its name.
        task: says which columns hold texts and label.
        first: only the first this many rows; None: all.
        kind: what is asked of a text.

    Raises:
        UserError: naming split, column and rows, if there is no such column or if a text or a label
            is none.
    """
    keys = dict.fromkeys(task.text_columns, _text_key(task))
    for column, key in {**keys, **dict.fromkeys(task.label_columns, "task.label_column")}.items():
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
    ids = (f"{split}/{row}" for row in range(len(source)))
    columns: dict[str, Any] = {"id": text_array(ids)}
    texts = {name: _read_texts(source, name, split, task) for name in task.text_columns}
    if task.text is None:
        for (column, values), name in zip(texts.items(), ("text", "text_pair"), strict=False):
            columns[name] = values
            _refuse_empty(values, f"in column {column!r}", split, task)
    else:
        columns["text"] = _fill_template(task.text_parts, texts)
        _refuse_empty(columns["text"], "by this template", split, task)
    with user_errors(f"task.label_column: split {split!r}"):  # bytes that are no UTF-8 show here
        columns["label"] = _READERS[kind](source, split, task)
    return in_memory(pa.table(columns))


def _text_key(task: Task) -> str:
    return "task.text_column" if task.text is None else "task.text"


def _read_column(source: Dataset, column: str, where: str) -> list[Any]:
    with user_errors(f"{where}: column {column!r}"):  # bytes that are no UTF-8 show here
        return source[column][:]  # `list` would read row by row: 100 times as long


def _read_classes(source: Dataset, split: str, task: Task) -> list[str] | list[int]:
    column = task.label_columns[0]
    labels = _read_column(source, column, f"task.label_column: {split!r}")
    names = {label: label for label in labels if isinstance(label, str)}
    labels = [names.get(label, label) for label in labels] if names else labels
    feature = source.features[column]
    if isinstance(feature, ClassLabel):
        _check_class_numbers(labels, feature, split, task)
        labels = [feature.int2str(label) for label in labels]
    return _check_labels(labels, split, task)


def _read_texts(source: Dataset, column: str, split: str, task: Task) -> pa.ChunkedArray:
    """Texts and nulls, which stay in Arrow: as a list they would take several times the memory."""
    feature = source.features[column]
    if isinstance(feature, Value) and feature.dtype in ("string", "large_string"):
        table = source.select_columns(column).with_format("arrow")[:]
        return table[column].cast(pa.string())
    key = _text_key(task)
    values = _read_column(source, column, f"{key}: split {split!r}")
    for row, value in enumerate(values):
        if value is not None and not isinstance(value, str):
            raise UserError(
                f"{key}: {task.source}: row {row} of split {split!r} has {shown(value)} in column "
                f"{column!r}, of type {type(value).__name__}; a text is wanted"
            )
    return pa.chunked_array([pa.array(values, pa.string())])


def _fill_template(
    parts: list[tuple[str, str | None]], texts: dict[str, pa.ChunkedArray]
) -> pa.ChunkedArray:
    """The text of each row: the pieces of the template, and behind each the value of its column."""
    columns = [values(texts[column]) if column else repeat("") for _, column in parts]
    filled = (
        "".join(before + (value or "") for (before, _), value in zip(parts, row, strict=True))
        for row in zip(*columns, strict=False)
    )
    return text_array(filled)


def _refuse_empty(texts: pa.ChunkedArray, place: str, split: str, task: Task) -> None:
    with user_errors(f"{_text_key(task)}: split {split!r}"):  # bytes that are no UTF-8 show here
        bad = [row for row, text in enumerate(values(texts)) if text is None or not text.strip()]
    if bad:
        raise UserError(
            f"{_text_key(task)}: {task.source}: {len(bad)} of {len(texts)} rows of split {split!r} "
            f"have an empty text or none {place} ({first_rows(bad)}); remove these rows"
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


def _check_labels(labels: list[Any], split: str, task: Task) -> list[str] | list[int]:
    """The labels, which are all names or all whole numbers (``1.0`` is 1)."""
    where, column = f"task.label_column: {task.source}", f"column {task.label_column!r}"
    # -1 is a class like another, unless there is no other: so splits without labels are marked
    none = all(label == -1 for label in labels)
    missing = [row for row, label in enumerate(labels) if none or _is_missing(label)]
    if missing:
        found = labels[missing[0]]
        raise UserError(
            f"{where}: {len(missing)} of {len(labels)} rows of split {split!r} have no label in "
            f"{column} ({first_rows(missing)}; the first has {found!r}, which means none); remove "
            "these rows"
        )
    labels = [_without_fraction(label) for label in labels]
    for row, label in enumerate(labels):
        if not isinstance(label, (str, int)) or (isinstance(label, str) and "\n" in label):
            raise UserError(
                f"{where}: row {row} of split {split!r} has the label {shown(label)} in {column}; "
                "a label is a class name in one line or a whole number"
            )
    refuse_mixed_labels(labels, task)
    return labels


def _is_missing(label: Any) -> bool:
    if isinstance(label, str):
        return not label.strip()
    return label is None or (isinstance(label, float) and math.isnan(label))


def _without_fraction(label: Any) -> Any:
    number = whole_number(label) if isinstance(label, float) else None
    return label if number is None else number


_READERS: dict[ProblemType, Callable[[Dataset, str, Task], Any]] = {
    "single_label_classification": _read_classes,
    "multi_label_classification": read_label_sets,
    "regression": read_targets,
}
