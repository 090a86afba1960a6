"""What each evaluation example is by: its length, and columns of the data that a recipe names."""

from collections.abc import Mapping, Sequence

import pyarrow as pa
from datasets import Dataset

from hfbench.data.tables import texts_of
from hfbench.errors import UserError, nearest
from hfbench.recipe.task import Task

LENGTH = "length"
"""Names no column, but the number of words of both texts."""


def slice_columns(task: Task, source: Mapping[str, Dataset]) -> dict[str, dict[str, list[str]]]:
    """Column -> split of the source -> the values as text, a row each.

    Raises:
        UserError: if a split has no such column.
    """
    splits = [task.validation_split or task.train_split, task.test_split]
    found: dict[str, dict[str, list[str]]] = {}
    for column in task.slices:
        if column == LENGTH:
            continue
        for split in filter(None, splits):
            known = source[split].column_names if split in source else []
            if column not in known:
                raise UserError(
                    f"task.slices: split {split!r} of {task.source} has no column {column!r}"
                    f"{nearest(column, known)} (columns: {', '.join(known)})"
                )
            feature = source[split].features[column]
            names = getattr(feature, "int2str", str)
            values = source[split][column][:]
            found.setdefault(column, {})[split] = [
                "none" if value is None else str(names(value)) for value in values
            ]
    return found


def slices_of(
    data: Dataset, names: Sequence[str], columns: Mapping[str, Mapping[str, list[str]]]
) -> dict[str, pa.Array]:
    """Name -> the value of each row: the number of words, or a text.

    Args:
        data: a split with ids as `columns.standard_columns` gives them.
        names: of the slices.
        columns: see `slice_columns`.
    """
    found: dict[str, pa.Array] = {}
    for name in names:
        if name == LENGTH:
            words = [sum(len(part.split()) for part in texts) for texts in texts_of(data)]
            found[name] = pa.array(words, pa.int64())
            continue
        places = [identifier.rpartition("/") for identifier in data["id"][:]]
        values = [columns[name][split][int(row)] for split, _, row in places]
        found[name] = pa.array(values, pa.string())
    return found
