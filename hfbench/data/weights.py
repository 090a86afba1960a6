"""By how much the examples of a class count in training."""

import numpy as np

from hfbench.errors import UserError, nearest
from hfbench.recipe.task import Task


def class_weights(task: Task, labels: np.ndarray, names: list[str]) -> tuple[float, ...] | None:
    """For each label the weight that ``class_weights`` gives it; None without that key.

    Args:
        task: of the recipe.
        labels: of the training examples, as `tables.labels_of` reads them.
        names: of the labels, as results call them.

    Returns:
        Of classes by how much each example counts; of labels of which a text may have several by
        how much one that is there counts against one that is not. ``balanced``: as scikit-learn's
        ``class_weight="balanced"``; of several labels the examples without each (1 at least) by
        those with it.

    Raises:
        UserError: if there is no label of a name.
    """
    given = task.class_weights
    if given is None:
        return None
    if given == "balanced":
        if labels.ndim == 2:
            there = labels.sum(0)
            return tuple((np.maximum(len(labels) - there, 1) / there).tolist())
        counts = np.bincount(labels, minlength=len(names))
        return tuple((len(labels) / (len(names) * counts)).tolist())
    for name in given:
        if name not in names:
            raise UserError(
                f"task.class_weights: {task.source} has no label {name!r}{nearest(name, names)} "
                f"(labels: {', '.join(names[:20])}{', ...' if len(names) > 20 else ''})"
            )
    return tuple(given.get(name, 1.0) for name in names)
