"""What identities and records of several kinds have in common."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from hfbench.data.tables import labels_of
from hfbench.execution.inputs import Inputs, once_a_model
from hfbench.metrics.built_in import DEFAULTS
from hfbench.metrics.measure import classification_metrics
from hfbench.metrics.registry import METRICS, find_metric
from hfbench.metrics.threshold import best_f1_thresholds
from hfbench.models.architecture import hash_source
from hfbench.models.facts import describe_config, hash_weights
from hfbench.models.prepare import PreparedModel
from hfbench.recipe.cells import Cell
from hfbench.records.data import TaskData
from hfbench.records.predictions import label_column
from hfbench.records.schema import ComparedRecord
from hfbench.system.hashes import hash_files


def describe_task(cell: Cell, inputs: Inputs) -> dict[str, Any]:
    """The task as ``cell`` sees it, as a part of its identity."""
    facts: TaskData = inputs.task_of(cell).facts
    splits = {name: split.content_hash for name, split in facts.splits.items()}
    described: dict[str, Any] = {"labels": facts.labels, **splits}
    # said where it is not what every result was from before there was a choice
    if facts.problem_type != "single_label_classification":
        described["problem_type"] = facts.problem_type
    if (weights := inputs.class_weights(cell)) is not None:
        described["class_weights"] = list(weights)
    if inputs.recipe.task and inputs.recipe.task.threshold:
        # by each evaluation as well, so that it has a say in which weights are selected
        described["threshold"] = f"{inputs.recipe.task.threshold} of each evaluation"
    return described


@once_a_model
def describe_network(cell: Cell, inputs: Inputs) -> dict[str, Any]:
    """Architecture, weights and tokenizer of a cell's model, as a part of its identity."""
    prepared = inputs.prepared[cell.model.name]
    return {
        "model": _describe_model(prepared),
        "tokenizer": inputs.tokenizer_hashes[cell.model.name],
    }


def measure(
    logits: dict[str, np.ndarray], inputs: Inputs, *, only_labels: bool = False
) -> dict[str, Any]:
    """The record's ``metrics`` and ``thresholds``, of the logits of each split.

    Args:
        logits: by split, shape (examples, outputs).
        inputs: have the labels.
        only_labels: whether logits say which label was given, and no probability is meant by them.
    """
    kind, task = inputs.task.facts.problem_type, inputs.recipe.task
    labels = {split: labels_of(inputs.task.splits[split]) for split in logits}
    thresholds = None
    if task and task.threshold:
        thresholds = best_f1_thresholds(logits["validation"], labels["validation"])
    also = []
    if task and task.metric:
        also = [find_metric(task.metric, kind, inputs.task.facts.labels, "task.metric")]
    metrics = {
        split: classification_metrics(values, labels[split], kind, thresholds, also)
        for split, values in logits.items()
    }
    if only_labels:
        unknown = {name for name, metric in METRICS.items() if metric.of_probabilities} | {"loss"}
        metrics = {
            split: {name: value for name, value in found.items() if name not in unknown}
            for split, found in metrics.items()
        }
    return {"metrics": metrics, "thresholds": thresholds}


def tabulate(logits: dict[str, np.ndarray], inputs: Inputs) -> pa.Table:
    """Columns split, id, label, group and slices where there are any, logits; no texts, which may
    not be ours to copy.
    """
    tables = []
    for split, values in logits.items():
        data = inputs.task.splits[split]
        columns = {
            "split": [split] * len(data),
            "id": data["id"][:],
            "label": label_column(labels_of(data)),
            **({"group": inputs.task.groups[split]} if inputs.task.groups else {}),
            **{f"slice.{name}": column for name, column in inputs.task.slices[split].items()},
            "logits": pa.array(list(values), pa.list_(pa.float32())),
        }
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def compared_outcome(record: ComparedRecord) -> str:
    """The figure that the table will show."""
    split = record.task.evaluation_split
    task = record.task
    name = record.settings["task"].get("metric") or DEFAULTS[task.problem_type]
    metric = find_metric(name, task.problem_type, task.labels, "task.metric")
    value = record.metrics[split].get(metric.name)
    unit = " %" if metric.is_percentage else ""
    shown = "none" if value is None else f"{metric.text(value)}{unit}"
    return f"{split} {metric.label} {shown}"


def _describe_model(prepared: PreparedModel) -> dict[str, Any]:
    entry = prepared.entry
    described = {
        "class": type(prepared.config).__name__,
        "config": describe_config(prepared.config),
        "weights": None,
    }
    if entry.model_name_or_path and not entry.random_init:
        # a commit of the Hub stands for the bytes of its files
        described["weights"] = prepared.revision or hash_weights(entry.model_name_or_path)
    if entry.trust_remote_code:
        folder = Path(entry.model_name_or_path or "")
        described["code"] = prepared.revision or hash_files(folder, (".py",))
    elif prepared.is_own_architecture:  # one that this process has registered
        described["code"] = hash_source(type(prepared.config))
    return described
