"""What is asked of a text, where the recipe leaves it to the data."""

from typing import Any

import numpy as np
from datasets import Dataset, Json, LargeList, List, Value

from hfbench.errors import UserError
from hfbench.recipe.task import Task
from hfbench.recipe.types import ProblemType


def find_problem_type(task: Task, source: dict[str, Dataset]) -> ProblemType:
    """What the recipe says, or else the label column of the train split.

    Lists are label sets, and numbers with fractions are to be predicted; all else are classes.

    Args:
        task: of the recipe.
        source: the splits as they came.

    Raises:
        UserError: if the recipe has a key that means nothing for it, or the column does not fit.
    """
    train = source.get(task.train_split)
    feature = train.features.get(task.label_columns[0]) if train is not None else None
    said, found = task.said_problem_type, _of_column(train, feature, task)
    kind = said or found
    where = f"task.problem_type: {task.source}: {task.label_column!r}"
    if found == "multi_label_classification" != kind:
        raise UserError(f"{where} holds lists, which are multi_label_classification, not {kind}")
    if unfit := task.keys_unfit_for(kind):
        raise UserError(
            f"task.{unfit[0]}: it has no meaning for {kind}, which {task.source} is by its column "
            f"{task.label_column!r}; if that is wrong, give `problem_type`"
        )
    return kind


def _of_column(train: Dataset | None, feature: Any, task: Task) -> ProblemType:
    if isinstance(feature, List | LargeList):
        return "multi_label_classification"
    if isinstance(feature, Json):  # as a JSON file's lists are read
        assert train is not None
        if any(isinstance(value, list) for value in train[task.label_columns[0]][:]):
            return "multi_label_classification"
    if isinstance(feature, Value) and feature.dtype.startswith(("float", "decimal")):
        assert train is not None
        values = np.array(train[task.label_columns[0]][:], dtype=np.float64)
        if (np.isfinite(values) & (values != np.round(values))).any():
            return "regression"
    return "single_label_classification"
