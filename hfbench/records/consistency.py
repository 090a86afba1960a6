"""Whether what a record says fits together and fits its predictions, beyond what its schema says.

A record is never edited by hfbench; one that was edited by hand, or whose files were mixed up, must
not become a row of a table.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from hfbench.records.schema import Compared, FailedRecord

_STAMPS = ("packages", "python", "commit")


def contradiction(record: "Compared | FailedRecord") -> str | None:
    """What the record of a row lacks or says against itself; None if all is well."""
    if missing := [name for name in _STAMPS if name not in record.environment]:
        return f"environment has no {missing[0]!r}"
    if record.status == "failed":
        return None
    task = record.task
    for split in ("train", task.evaluation_split):
        if split not in task.splits:
            return f"task.splits has no {split!r}"
        if set(task.splits[split].label_counts) != set(task.labels):
            return f"task.splits.{split}.label_counts are not those of task.labels"
    if "accuracy" not in record.metrics.get(task.evaluation_split, {}):
        return f"metrics has no accuracy of {task.evaluation_split!r}"
    return None


def misfit(record: "Compared", predictions: dict[str, np.ndarray]) -> str | None:
    """Why the predictions on the evaluation split are not this record's; None if they are.

    Args:
        record: without a `contradiction`.
        predictions: as `predictions.load_predictions` gives them.
    """
    task = record.task
    split, num_labels = task.evaluation_split, len(task.labels)
    labels, logits = predictions["label"], predictions["logits"]
    if len(labels) != task.splits[split].examples:
        return f"{len(labels):,} rows of {split!r}, not {task.splits[split].examples:,}"
    if logits.shape[1] != num_labels:
        return f"logits of {logits.shape[1]} labels, not {num_labels}"
    if not ((labels >= 0) & (labels < num_labels)).all():
        return f"labels that are not from 0 to {num_labels - 1}"
    if not logits.max(initial=-np.inf) < np.inf:  # the maximum of a NaN is NaN
        bad = np.isnan(logits).any(1) | np.isposinf(logits).any(1)
        return f"logits of {predictions['id'][bad.argmax()]} that are not finite"
    if len(set(predictions["id"].tolist())) != len(labels):
        return "an example more than once"
    recorded = record.metrics[split]["accuracy"]
    found = np.count_nonzero(logits.argmax(1) == labels) / max(len(labels), 1)
    if abs(recorded - found) > 1e-6:
        return f"an accuracy of {found:.4f}, not {recorded:.4f} as the record says"
    return None
