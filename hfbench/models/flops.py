"""Floating-point operations of training, counted operator by operator and not by a rule of thumb.

What counts is what PyTorch's counter knows: matrix products (and convolutions), a multiplication
and an addition as two. Attention counts as the whole square, its masked half included.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from hfbench.recipe.types import Head

Row = Mapping[str, Sequence[int]]
"""The columns of an example that have a number for each token, as the model takes them."""

_COUNTED_LENGTH = 16  # tokens; short, and beyond what an architecture may treat as a special case
_LONGER = 40  # tokens of an example by which it is seen whether the length tells


def count_flops(model: PreTrainedModel, head: Head, row: Row, shortest: int) -> list[int]:
    """Operations of one example's forward and backward pass, for 0, 1, ... tokens, to all of it.

    Linear layers grow with the length and attention with its square, so that three lengths tell
    all others exactly. Without padding; recomputation under activation checkpointing is not
    counted. The model and the random states are left as they were.

    Args:
        model: as loaded, not wrapped for several processes or for mixed precision.
        head: whether it classifies or models language.
        row: the longest example, of at least 1 token. Shorter ones are made of its beginning and
            its last token, for BART looks for the EOS.
        shortest: tokens of the shortest example.

    Raises:
        ValueError: where the length does not tell, as of attention in chunks.
    """
    longest = len(row["input_ids"])
    top = min(longest, _COUNTED_LENGTH)
    start = max(1, top - 2)  # with one or two tokens at most, fewer lengths tell all
    others = {max(1, shortest), min(longest, _LONGER)} - {*range(start, top + 1)}
    with _plain(model):
        counts = [_count(model, head, _cut(row, length)) for length in range(start, top + 1)]
        counted = {length: _count(model, head, _cut(row, length)) for length in sorted(others)}
    first = counts[0]
    slope = counts[1] - first if len(counts) > 1 else 0
    bend = counts[2] - 2 * counts[1] + first if len(counts) > 2 else 0
    steps = range(-start, longest + 1 - start)
    # Newton's forward differences: whole numbers, and exact in Python's, which do not overflow
    found = [first + n * slope + n * (n - 1) // 2 * bend for n in steps]
    for length, operations in counted.items():
        if found[length] != operations:
            raise ValueError(
                f"its operations do not follow from the length: {operations:,} for {length} "
                f"tokens, and {found[length]:,} by those for {start} to {top}"
            )
    return found


def total_flops(flops: list[int], lengths: np.ndarray) -> int:
    """Operations of examples of these lengths, by what `count_flops` gave."""
    return sum(flops[length] * int(times) for length, times in enumerate(np.bincount(lengths)))


def _cut(row: Row, length: int) -> Row:
    return {name: [*values[: length - 1], values[-1]] for name, values in row.items()}


def _count(model: PreTrainedModel, head: Head, row: Row) -> int:
    inputs = {name: torch.tensor([values], device=model.device) for name, values in row.items()}
    if head == "language model":
        inputs["labels"] = inputs["input_ids"]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with FlopCounterMode(display=False) as counter:
        outputs = model(**inputs)
        result = outputs["loss"] if head == "language model" else outputs["logits"].sum()
        result.backward()  # not `torch.autograd.grad`, which DeBERTa's attention refuses
    for parameter in trained:
        parameter.grad = None
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
