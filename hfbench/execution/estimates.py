"""What a cell costs, estimated before it runs: by this its threads are chosen, and how many jobs.

The threads of a cell follow from its own size and from nothing beside it, since sums of floating
point numbers are rounded otherwise with another number of threads: a cell gives the same numbers
alone and side by side with others.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import TrainingArguments

from hfbench.execution.inputs import Workbench
from hfbench.recipe.cells import Cell

_FLOPS_PER_THREAD = 2e9

_CHARACTERS_PER_TOKEN = 4  # roughly, of English


@dataclass(frozen=True)
class Workload:
    """The size of a cell's training."""

    passes: int
    """Forward and backward passes: optimizer steps times accumulation."""
    pass_flops: float
    """Floating-point operations of one: 6 for each token and parameter of a matrix product."""


def torch_threads(pass_flops: float, limit: int) -> int:
    """Threads for a cell on a CPU: one for each 2e9 operations of a forward and backward pass.

    Measured with custom GPTs on two cores, an optimizer step of one thread against that of two,
    which is all that a second core can give to one cell, while a second cell would use it whole:

    ====================================  =======  ====================
    model, batch x tokens                 FLOPs    as fast with two
    ====================================  =======  ====================
    gpt-nano, 16 x 12                     1.0e8    1.1
    gpt-nano, 16 x 64                     5.1e8    1.2
    gpt-micro, 16 x 16                    1.2e9    1.3
    gpt-nano, 32 x 128                    2.0e9    1.5
    gpt-nano with a head of 50,257, 4x32  1.9e9    1.4
    the same, 16 x 16                     3.8e9    1.7
    gpt-mini, 16 x 16                     4.1e9    1.4
    gpt-micro, 16 x 64                    4.8e9    1.5
    2 layers of gpt2, 4 x 16              5.4e9    1.4
    gpt-mini, 16 x 64                     1.6e10   1.6
    2 layers of gpt2, 16 x 16             2.2e10   1.7
    2 layers of gpt2, 16 x 64             8.7e10   1.7
    ====================================  =======  ====================

    Args:
        pass_flops: see `Workload`.
        limit: threads that there may be, at least 1.
    """
    return max(1, min(limit, int(pass_flops / _FLOPS_PER_THREAD)))


def threads_of(cell: Cell, bench: Workbench) -> int:
    """Threads for ``cell``: at most those that torch has now, which OMP_NUM_THREADS bounds."""
    if cell.model.control or bench.arguments(cell).device.type != "cpu":
        return 1  # a control uses no torch, and a GPU is kept busy by one thread
    return torch_threads(estimate(cell, bench).pass_flops, torch.get_num_threads())


@contextmanager
def using_threads(number: int) -> Iterator[None]:
    """Within, torch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def optimizer_steps(args: TrainingArguments, examples: int) -> tuple[int, int]:
    """Examples of a step, over all processes, and how many steps a run with ``examples`` takes."""
    batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    if args.max_steps > 0:
        return batch, args.max_steps
    return batch, math.ceil(args.num_train_epochs * math.ceil(examples / batch))


def estimate(cell: Cell, bench: Workbench) -> Workload:
    """The size of a cell that is no control; the same in every process, whatever else runs."""
    args, tokens = bench.arguments(cell), bench.mean_tokens(cell)
    _, steps = optimizer_steps(args, _examples(cell, bench))
    rows = args.per_device_train_batch_size
    return Workload(
        passes=steps * args.gradient_accumulation_steps,
        pass_flops=6 * bench.matrix_parameters(cell) * rows * tokens,
    )


def _examples(cell: Cell, bench: Workbench) -> int:
    """Training examples, roughly where a text is cut into blocks of tokens."""
    if cell.kind == "classification":
        return cell.train_size or bench.task.facts.splits["train"].examples
    assert cell.model.pretrain is not None
    texts = bench.corpus(cell.model).texts["train"]
    if cell.model.pretrain.corpus.cut != "blocks":
        return len(texts)
    characters = sum(map(len, texts))
    return math.ceil(characters / _CHARACTERS_PER_TOKEN / bench.mean_tokens(cell))
