"""What it costs to ask a finished model: measured on evaluation texts, in a second or so."""

import inspect
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import cycle, islice
from pickle import dumps
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hfbench.execution.inputs import Inputs
from hfbench.models.lengths import NO_LIMIT
from hfbench.recipe.cells import Cell
from hfbench.recipe.trials import parse_trial
from hfbench.records.use import UseFacts
from hfbench.system.environment import device_name, peak_memory, reset_peak_memory
from hfbench.system.launch import is_worker

Texts = Sequence[tuple[str, ...]]
"""Each is one text, or the two of a pair."""

_BATCHES = (8, 32, 128)
_MOST_ASKED = 200
_LEAST_ASKED = 5
_SECONDS_ALONE = 0.3
_SECONDS_A_BATCH = 0.15
_MOST_BATCHES = 10


def is_measured(cell: Cell, inputs: Inputs) -> bool:
    """Whether it is the one cell of its model that is: the first seed, on the most examples.

    And no trial of tuning, of which there are many.
    """
    recipe = inputs.recipe
    if parse_trial(cell.model.name):
        return False
    is_first = cell.seed in (None, recipe.seeds[0])
    return is_first and cell.train_size in (None, *recipe.train_sizes[-1:])


def evaluation_texts(inputs: Inputs) -> Texts:
    """Some of the evaluation examples, from the whole of the split."""
    data = inputs.task.splits[inputs.task.facts.evaluation_split]
    rows = np.unique(np.linspace(0, len(data) - 1, min(len(data), _MOST_ASKED)).astype(int))
    chosen = data.select(rows)
    columns = [name for name in ("text", "text_pair") if name in data.column_names]
    return [*zip(*(chosen[name][:] for name in columns), strict=True)]


def measure_use(
    ask: Callable[[Texts], Any],
    texts: Texts,
    held_bytes: int,
    device: torch.device | None = None,
) -> UseFacts:
    """Ask one text after another, then in batches.

    Where texts take long, few are asked, and larger batches not at all: the whole takes a second,
    or a few answers' time.

    Args:
        ask: answers texts, from their characters to numbers on the CPU.
        texts: of the evaluation.
        held_bytes: what it holds in memory while it waits.
        device: that computes; None: a CPU, without torch.
    """
    device = device or torch.device("cpu")
    ask(texts[:1])  # what is made at the first call
    before = _used(device)
    reset_peak_memory(device)
    alone: list[float] = []
    for text in islice(cycle(texts), _MOST_ASKED):
        alone.append(_seconds(ask, [text], device))
        if sum(alone) > _SECONDS_ALONE and len(alone) >= _LEAST_ASKED:
            break
    p50, p95 = np.quantile(alone, [0.5, 0.95], method="inverted_cdf")
    rates, last = {1: 1 / float(np.mean(alone))}, float(np.mean(alone))
    for size in _BATCHES:
        if last > _SECONDS_A_BATCH:  # the next one is four times as large
            break
        batch = list(islice(cycle(texts), size))
        seconds: list[float] = []
        while sum(seconds) < _SECONDS_A_BATCH / 2 and len(seconds) < _MOST_BATCHES:
            seconds.append(_seconds(ask, batch, device))
        last = min(seconds)
        rates[size] = size / last
    best = max(rates, key=lambda size: rates[size])
    peak, of = peak_memory(device)
    is_device = of == "device allocations"
    return UseFacts(
        latency_p50=float(p50),
        latency_p95=float(p95),
        asked=len(alone),
        texts_per_second=rates[best],
        batch=best,
        disk_bytes=held_bytes,
        memory_bytes=held_bytes + max(0, peak - before),
        memory_of=of if is_device else "growth of the process",
        device=device_name(device),  # the first of several processes asks alone
        threads=torch.get_num_threads(),
        alone=not is_worker(),
    )


def measure_network(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_length: int, inputs: Inputs
) -> UseFacts:
    """Of a classifier, on the device where it is."""
    takes = inspect.signature(model.forward).parameters
    # a copy: a tokenizer keeps how it was last told to cut
    tokenizer = deepcopy(tokenizer)
    is_cut = max_length < NO_LIMIT
    options = {"truncation": is_cut, "max_length": max_length if is_cut else None}

    @torch.no_grad()
    def ask(texts: Texts) -> Any:
        columns = [list(column) for column in zip(*texts, strict=True)]
        encoded = tokenizer(*columns, padding=True, return_tensors="pt", verbose=False, **options)
        used = {name: part.to(model.device) for name, part in encoded.items() if name in takes}
        return model(**used).logits.float().cpu()

    was_training = model.training
    model.eval()
    try:
        return measure_use(ask, evaluation_texts(inputs), weight_bytes(model), model.device)
    finally:
        model.train(was_training)


def weight_bytes(model: nn.Module) -> int:
    """Of a model's tensors, each once, as a safetensors file holds them."""
    tensors = {tensor.data_ptr(): tensor for tensor in model.state_dict().values()}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def pickled_bytes(fitted: Any) -> int:
    """Of what was fitted by NumPy and scikit-learn."""
    return len(dumps(fitted))


def _seconds(ask: Callable[[Texts], Any], texts: Texts, device: torch.device) -> float:
    started = time.perf_counter()
    ask(texts)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _used(device: torch.device) -> int:
    """Bytes in use now, of what `peak_memory` counts."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    import psutil

    return psutil.Process().memory_info().rss
