"""Whether a trained classifier gives a text the same logits however it is asked."""

from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from hfbench.training.trainer import FairTrainer

_ROWS = 4
_TOLERANCE = 1e-3  # of the largest logit; on a GPU other shapes are summed up in another order
_LOWER_PRECISION = ("bf16", "fp16", "tf32", "bf16_full_eval", "fp16_full_eval")


def unsteady(trainer: FairTrainer, dataset: Dataset) -> list[str]:
    """What changes the logits of some rows that should not, in words; mostly nothing.

    Some short rows are asked alone, again, and beside the longest row, for which they are padded.
    Nothing is asked in a lower precision than float32, in which all of it changes them a little.
    """
    if any(getattr(trainer.args, name) for name in _LOWER_PRECISION):
        return []
    rows = trainer.pack(dataset)
    by_length = np.argsort(rows.lengths, kind="stable")
    short, longest = by_length[:_ROWS].tolist(), int(by_length[-1])
    model = trainer.accelerator.unwrap_model(trainer.model)
    was_training = model.training
    model.eval()
    try:
        with torch.random.fork_rng(), torch.no_grad():
            alone, again = (
                torch.cat([_logits(model, rows.__getitems__([row]), trainer) for row in short])
                for _ in range(2)
            )
            padded = _logits(model, rows.__getitems__([*short, longest]), trainer)[: len(short)]
    finally:
        model.train(was_training)
    if _change(alone, again) > _TOLERANCE:
        return ["the same text has other predictions each time"]
    if _change(alone, padded) > _TOLERANCE:
        return ["padding changes its predictions"]
    return []


def _logits(model: Any, batch: dict[str, Tensor], trainer: FairTrainer) -> Tensor:
    inputs = {n: v.to(trainer.args.device) for n, v in batch.items() if n != "labels"}
    return model(**inputs)["logits"].float()


def _change(first: Tensor, second: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return ((first - second).abs().max() / first.abs().max().clamp_min(1e-6)).item()
