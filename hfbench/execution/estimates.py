"""What a cell costs, estimated before it runs: by this its threads are chosen, and how many jobs.

The threads of a cell follow from its own size and from nothing beside it, since sums of floating
point numbers are rounded otherwise with another number of threads: a cell gives the same numbers
alone and side by side with others.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel, TrainingArguments

from hfbench.execution.inputs import Inputs, arguments, once_a_model
from hfbench.models.facts import count_parameters, matrix_parameters, model_without_weights
from hfbench.models.rivals.features import body_without_weights
from hfbench.recipe.cells import Cell

_FLOPS_PER_THREAD = 2e9
_READ_AT_ONCE = 2048  # tokens of a batch that is only read, on a CPU
_SAMPLE = 1000  # training examples by which the mean length is told
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


def threads_of(cell: Cell, inputs: Inputs) -> int:
    """Threads for ``cell``: at most those that torch has now, which OMP_NUM_THREADS bounds."""
    if not cell.has_network or arguments(cell, inputs).device.type != "cpu":
        return 1  # a control uses no torch, and a GPU is kept busy by one thread
    return torch_threads(estimate(cell, inputs).pass_flops, torch.get_num_threads())


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


def estimate(cell: Cell, inputs: Inputs) -> Workload:
    """The size of a cell with a network; the same in every process, whatever else runs."""
    if cell.head is None:
        return _estimate_reading(cell, inputs)
    args = arguments(cell, inputs)
    _, steps = optimizer_steps(args, _roughly_examples(cell, inputs))
    tokens = args.per_device_train_batch_size * _mean_tokens(cell, inputs)
    return Workload(
        passes=steps * args.gradient_accumulation_steps,
        pass_flops=6 * _matrix_parameters(cell, inputs) * tokens,
    )


def _estimate_reading(cell: Cell, inputs: Inputs) -> Workload:
    """Of a network that reads every text once, in batches, and learns nothing."""
    tokens = _READ_AT_ONCE
    examples = sum(split.examples for split in inputs.task.facts.splits.values())
    prompts = 1 + (cell.model.prompt.shots if cell.model.prompt else 0)
    read = examples * _mean_tokens(cell, inputs) * prompts
    flops = 2 * _matrix_parameters(cell, inputs) * tokens
    return Workload(passes=math.ceil(read / tokens), pass_flops=flops)


@once_a_model
def parameters(cell: Cell, inputs: Inputs) -> int:
    """All parameters of a cell's network, counted without making its weights."""
    return count_parameters(_network(cell, inputs))[0]


@once_a_model
def _matrix_parameters(cell: Cell, inputs: Inputs) -> int:
    """Parameters that every token is multiplied by: matrices that are no embeddings."""
    return matrix_parameters(_network(cell, inputs))


def _network(cell: Cell, inputs: Inputs) -> PreTrainedModel:
    """Without its weights."""
    prepared = inputs.prepared[cell.model.name]
    if cell.kind == "probe":
        return body_without_weights(prepared)
    num_labels = len(inputs.task.facts.labels) if cell.head == "classifier" else None
    return model_without_weights(prepared, cell.head or "language model", num_labels)


@once_a_model
def _mean_tokens(cell: Cell, inputs: Inputs) -> float:
    """Tokens of a training example, by the first of them; a block's, where there are blocks."""
    prepared, pairs = inputs.prepared[cell.model.name], None
    if cell.head == "language model":
        corpus = cell.pretraining.corpus
        if corpus.cut == "blocks":
            return min(corpus.block_size, prepared.max_length)
        max_length = min(corpus.max_length, prepared.max_length)
        texts = inputs.corpus(cell.model).texts["train"][:_SAMPLE]
    else:
        max_length = inputs.max_length(cell.model)
        first = inputs.task.splits["train"][:_SAMPLE]
        texts, pairs = first["text"], first.get("text_pair")
    # cut here: a tokenizer that is asked to truncate keeps that as part of its state
    encoded = prepared.tokenizer(texts, pairs, truncation=False, verbose=False)
    return float(np.mean([min(len(ids), max_length) for ids in encoded["input_ids"]]))


def _roughly_examples(cell: Cell, inputs: Inputs) -> int:
    """Training examples, roughly where a text is cut into blocks of tokens."""
    if cell.head == "classifier":
        return cell.train_size or inputs.task.facts.splits["train"].examples
    texts = inputs.corpus(cell.model).texts["train"]
    if cell.pretraining.corpus.cut != "blocks":
        return len(texts)
    characters = sum(map(len, texts))
    return math.ceil(characters / _CHARACTERS_PER_TOKEN / _mean_tokens(cell, inputs))
