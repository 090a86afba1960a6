"""The curves of a training, from the Trainer's log."""

import math

from hfbench.metrics.registry import METRICS
from hfbench.records.schema import Curves
from hfbench.training.trainer import FairTrainer

_TRAIN = ("step", "epoch", "loss", "accuracy", "grad_norm", "learning_rate")


def training_curves(trainer: FairTrainer) -> Curves:
    """The Trainer's log as two curves; float16 training may log an infinite norm, left out."""
    names = dict.fromkeys(["loss", *METRICS, *(metric.name for metric in trainer.also)])
    train, validation = [], []
    for entry in trainer.state.log_history:
        if "loss" in entry:
            point = {key: entry[key] for key in _TRAIN if key in entry}
            train.append({key: value for key, value in point.items() if math.isfinite(value)})
        elif "eval_loss" in entry:
            found = {key: entry[f"eval_{key}"] for key in names if f"eval_{key}" in entry}
            validation.append({"step": entry["step"], "epoch": entry["epoch"], **found})
    return {"train": train, "validation": validation}
