"""Whether what a record says fits together and fits its predictions, beyond what its schema says.

A record is never edited by hfbench; one that was edited by hand, or whose files were mixed up, must
not become a row of a table.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from hfbench.metrics.registry import BUILT_IN

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
    highest = logits.max(1, initial=-np.inf)  # the maximum of a NaN is NaN
    if not np.isfinite(highest).all():  # -inf is a logit: what cannot be
        bad = predictions["id"][(~np.isfinite(highest)).argmax()]
        return f"logits of {bad} that are not finite"
    if len(set(predictions["id"].tolist())) != len(labels):
        return "an example more than once"
    return _other_metric(record.metrics[split], logits, labels)


def _other_metric(recorded: dict[str, float], logits: np.ndarray, labels: np.ndarray) -> str | None:
    """Which metric is not that of the logits; one of the user's own may have changed since."""
    for metric in BUILT_IN:
        name = "loss" if metric.name == "nll" else metric.name
        if metric.head != "classifier" or name not in recorded:
            continue
        found = metric.compute(logits, labels)
        if not math.isclose(recorded[name], found, rel_tol=1e-5, abs_tol=1e-6):
            return f"{metric.name} {found:.4f}, not {recorded[name]:.4f} as the record says"
    return None
