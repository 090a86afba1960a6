"""Floating-point operations of training, counted operator by operator and not by a rule of thumb.

What counts is what PyTorch's counter knows: matrix products (and convolutions), a multiplication
and an addition as two. Attention counts as the whole square, its masked half included.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from hfbench.recipe.types import Head

_COUNTED_LENGTH = 16  # tokens; short, and beyond what an architecture may treat as a special case


def count_flops(model: PreTrainedModel, head: Head, longest: int) -> list[int]:
    """Operations of one example's forward and backward pass, for 0, 1, ..., ``longest`` tokens.

    Linear layers grow with the length and attention with its square, so that three lengths tell
    all others exactly. Without padding; recomputation under activation checkpointing is not
    counted. The model and the random states are left as they were.

    Args:
        model: as loaded, not wrapped for several processes or for mixed precision.
        head: whether it classifies or models language.
        longest: tokens of the longest example, at least 1.
    """
    top = min(longest, _COUNTED_LENGTH)
    start = max(1, top - 2)  # with one or two tokens at most, fewer lengths tell all
    with _plain(model):
        counts = [_count(model, head, length) for length in range(start, top + 1)]
    first = counts[0]
    slope = counts[1] - first if len(counts) > 1 else 0
    bend = counts[2] - 2 * counts[1] + first if len(counts) > 2 else 0
    steps = range(-start, longest + 1 - start)
    # Newton's forward differences: whole numbers, and exact in Python's, which do not overflow
    return [first + n * slope + n * (n - 1) // 2 * bend for n in steps]


def total_flops(flops: list[int], lengths: np.ndarray) -> int:
    """Operations of examples of these lengths, by what `count_flops` gave."""
    return sum(flops[length] * int(times) for length, times in enumerate(np.bincount(lengths)))


def _count(model: PreTrainedModel, head: Head, length: int) -> int:
    ids = torch.zeros((1, length), dtype=torch.long, device=model.device)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if head == "language model":
        inputs["labels"] = ids
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with FlopCounterMode(display=False) as counter:
        outputs = model(**inputs)
        result = outputs["loss"] if head == "language model" else outputs["logits"].sum()
        # not `backward()`, which would leave gradients behind
        torch.autograd.grad(result, trained, allow_unused=True)
    return counter.get_total_flops()


@contextmanager
def _plain(model: PreTrainedModel) -> Iterator[None]:
    """Attention in operators that the counter knows; no dropout and no checkpointing."""
    attention, mode = model.config._attn_implementation, model.training
    devices = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        model.set_attn_implementation("eager")
        model.eval()
        try:
            yield
        finally:
            model.train(mode)
            model.set_attn_implementation(attention)
