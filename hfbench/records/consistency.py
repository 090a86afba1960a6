"""Whether what a record says fits together and fits its predictions, beyond what its schema says.

A record is never edited by hfbench; one that was edited by hand, or whose files were mixed up, must
not become a row of a table.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hfbench.metrics.built_in import BUILT_IN, DEFAULTS, LOSSES
from hfbench.metrics.registry import Metric
from hfbench.recipe.types import ModuleName, ProblemType, Truncation
from hfbench.records.data import TaskData
from hfbench.records.schema import Compared, ControlRecord, FailedRecord, TrainedRecord

_STAMPS = ("packages", "python", "commit", "uncommitted_changes")
_PACKAGES = ("hfbench", "torch", "transformers")


class _Section(BaseModel):
    """Of a record's settings, which may be those of an older hfbench: what readers look at."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Pretrain(_Section):
    seeds: list[int] = []
    seed: int = 0


class _Model(_Section):
    tuned: dict[str, Any] = {}
    pretrain: _Pretrain | None = None


class _Task(_Section):
    truncation: Truncation = "head"


class _Settings(_Section):
    models: list[_Model] = Field(min_length=1, max_length=1)
    imports: list[ModuleName] = []
    task: _Task = _Task()


def contradiction(record: Compared | FailedRecord) -> str | None:
    """What the record of a row lacks or says against itself; None if all is well."""
    stamps = record.environment
    if missing := [name for name in _STAMPS if name not in stamps]:
        return f"environment has no {missing[0]!r}"
    packages = stamps["packages"]
    if not isinstance(packages, dict) or not all(isinstance(v, str) for v in packages.values()):
        return "environment.packages are not names and versions"
    if missing := [name for name in _PACKAGES if name not in packages]:
        return f"environment.packages has no {missing[0]!r}"
    if not isinstance(stamps["commit"], str | None) or not isinstance(stamps["python"], str):
        return "environment.commit or environment.python is no text"
    try:
        _Settings.model_validate(record.settings)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        return f"settings.{place} is not as a recipe has it"
    if not isinstance(record.identity.get("pretraining"), dict | None):
        return "identity.pretraining is not an object"
    if problem := _fold_misfit(record):
        return problem
    if record.status == "failed":
        return None
    if isinstance(record, TrainedRecord):
        points = [point for curve in record.curves.values() for point in curve]
        if not all({"step", "epoch"} <= point.keys() for point in points):
            return "curves have a point without step or epoch"
        if record.training.patience and not record.training.planned_steps:
            return "training.patience is given without training.planned_steps"
    task = record.task
    problem = _task_misfit(task) or _counts_misfit(record) or _threshold_misfit(record)
    if problem:
        return problem
    default = DEFAULTS[task.problem_type]
    if default not in record.metrics.get(task.evaluation_split, {}):
        return f"metrics has no {default} of {task.evaluation_split!r}"
    return None


def _task_misfit(task: TaskData) -> str | None:
    for split in ("train", task.evaluation_split):
        if split not in task.splits:
            return f"task.splits has no {split!r}"
    counted = {f"splits.{name}": data for name, data in task.splits.items()}
    if task.fold:
        counted["fold.whole"] = task.fold.whole
    labels = set() if task.problem_type == "regression" else {*task.labels}
    for place, data in counted.items():
        if {*data.label_counts} != labels:
            return f"task.{place}.label_counts are not those of task.labels"
    if task.problem_type == "regression" and len(task.labels) != 1:
        return f"task.labels are {len(task.labels)}, and a regression has one"
    return None


def _counts_misfit(record: Compared) -> str | None:
    task = record.task
    counted: dict[str, Mapping[str, Any] | None] = {
        "task.overlap": task.overlap,
        "corpus_overlap": record.corpus_overlap,
        "unknown_texts": record.unknown_texts if isinstance(record, ControlRecord) else None,
    }
    for key, counts in counted.items():
        if counts and task.evaluation_split not in counts:
            return f"{key} has no {task.evaluation_split!r}"
    if strange := (record.cut_tokens or {}).keys() - task.splits.keys():
        return f"tokens has {min(strange)!r}, which is no split"
    return None


def _fold_misfit(record: Compared | FailedRecord) -> str | None:
    if record.status == "failed":
        task = record.settings.get("task")
        folds = task.get("folds") if isinstance(task, dict) else None
        said = folds.get("folds") if isinstance(folds, dict) else None
        fits = record.fold is None or (record.fold > 0 and isinstance(said, int) and said > 1)
        return None if fits else "settings.task.folds do not say of what `fold` is one"
    fold = record.task.fold
    if (fold.number if fold else None) != record.fold:
        return "fold is not that of task.fold"
    if fold and not (fold.folds > 1 and 1 <= fold.number <= fold.folds * fold.repeats):
        return "task.fold is none of so many"
    return None


def misfit(record: Compared, predictions: dict[str, np.ndarray]) -> str | None:
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
    if problem := _labels_misfit(task.problem_type, labels, num_labels):
        return problem
    if not logits.size or not np.isfinite(logits).all():  # at a glance
        highest = logits.max(1, initial=-np.inf)  # the maximum of a NaN is NaN
        if not np.isfinite(highest).all():  # -inf is a logit: what cannot be
            bad = predictions["id"][(~np.isfinite(highest)).argmax()]
            return f"logits of {bad} that are not finite"
    # of one file, reading has refused it
    if record._of_folds and len(set(predictions["id"].tolist())) != len(labels):
        return "an example more than once"
    seen = partial(Metric.seen, outputs=logits, thresholds=record.thresholds)
    return _other_metric(task.problem_type, record.metrics[split], seen, labels)


def _threshold_misfit(record: Compared) -> str | None:
    found, task = record.thresholds, record.task
    if found is None:
        return None
    wanted = 1 if task.problem_type == "single_label_classification" else len(task.labels)
    fits = len(found) == wanted and (wanted > 1 or len(task.labels) == 2)
    if task.problem_type == "regression" or not fits or not all(0 < one < 1 for one in found):
        return "thresholds are not a probability for each label, or for the second of two classes"
    return None


def _labels_misfit(kind: ProblemType, labels: np.ndarray, num_labels: int) -> str | None:
    if kind == "regression":
        is_right = labels.ndim == 1 and labels.dtype.kind == "f" and np.isfinite(labels).all()
        return None if is_right else "labels that are not finite numbers"
    if kind == "multi_label_classification":
        is_right = labels.shape[1:] == (num_labels,) and np.isin(labels, (0, 1)).all()
        return None if is_right else f"labels that are not 0 or 1 for each of {num_labels}"
    is_right = labels.ndim == 1 and labels.dtype.kind == "i"
    if not is_right or not ((labels >= 0) & (labels < num_labels)).all():
        return f"labels that are not from 0 to {num_labels - 1}"
    return None


def _other_metric(
    kind: ProblemType,
    recorded: dict[str, float],
    seen: Callable[[Metric], np.ndarray],
    labels: np.ndarray,
) -> str | None:
    """Which metric is not that of the logits; one of the user's own may have changed since.

    Args:
        kind: of the labels.
        recorded: what the record says.
        seen: gives the logits as a metric looks at them.
        labels: of the examples.
    """
    for metric in BUILT_IN:
        name = "loss" if metric.name == LOSSES[kind] else metric.name
        if kind not in metric.kinds or name not in recorded:
            continue
        found = metric.compute(seen(metric), labels)
        if not math.isclose(recorded[name], found, rel_tol=1e-5, abs_tol=1e-6):
            return f"{metric.name} {found:.4f}, not {recorded[name]:.4f} as the record says"
    return None
