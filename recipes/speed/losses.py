"""Whether hfbench computes what the stock model does in a plain loop: the losses, step by step.

Both start from the same weights, without dropout, and see the same batches in the same order.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import GPT2ForSequenceClassification, GPT2LMHeadModel, PreTrainedModel, set_seed

from hfbench.models.convert import convert_model
from hfbench.training.sampler import EpochSampler
from hfbench.training.seeds import derive_streams
from speed import bare_loop, hfbench_side
from speed.bare_loop import Batch
from speed.measure import Check, Clock, device, quiet
from speed.work import Inputs, Work

# Largest absolute difference that may be: of the first step, and of all that are compared. In
# float32 roundings add up, the more so as Adam divides small gradients by small numbers.
TOLERANCES = {"float32": (1e-5, 1e-4), "bfloat16": (2e-2, 2e-2)}


def check_losses(work: Work, inputs: Inputs) -> Check:
    """Train some steps both ways."""
    work = replace(work, dropout=0.0, save_checkpoint=False)
    set_seed(0)
    is_language_model = work.kind == "language model"
    stock = GPT2LMHeadModel(work.gpt2_config()) if is_language_model else work.classifier()
    weights = inputs.scratch()
    # these are the same in hfbench; the presets are custom GPTs
    is_same = work.encoder or work.preset == "tiny-gpt2"
    own = stock if is_same else convert_model(stock)
    own.save_pretrained(weights)
    if own is not stock and not is_language_model:
        _give_head_a_bias(stock)
    stock_losses = _stock_losses(stock, work, inputs)
    with quiet():
        losses = hfbench_side.losses(work, inputs, weights)
    return compare(losses, stock_losses, "bfloat16" if work.bf16 else "float32")


def compare(losses: list[float], stock_losses: list[float], precision: str) -> Check:
    """The verdict on two lists of losses."""
    of_first, of_all = TOLERANCES[precision]
    pairs = zip(losses, stock_losses, strict=True)
    differences = np.array([abs(loss - stock) for loss, stock in pairs])
    first, largest = float(differences[0]), float(differences.max())  # NaN, if one is
    passed = first < of_first and largest < of_all
    summary = f"{first:.1e}; {largest:.1e} in {len(losses)} steps"
    details = {
        "precision": precision,
        "steps": len(losses),
        "hfbench": losses,
        "stock": stock_losses,
        "first_difference": first,
        "largest_difference": largest,
        "tolerance_of_first": of_first,
        "tolerance": of_all,
    }
    return Check(passed, summary if passed else f"FAILED: {summary}", details)


def _stock_losses(model: PreTrainedModel, work: Work, inputs: Inputs) -> list[float]:
    if work.kind == "classifier":
        rows: Sequence[Any] = bare_loop.classifier_rows(inputs)
        collate: Callable[[Any], Batch] = partial(bare_loop.classifier_batch, work.pad_token)
    else:
        rows = bare_loop.language_model_rows(work, inputs)
        collate = bare_loop.language_model_batch
    return bare_loop.train(
        model.to(device()),
        lambda batch: model(**batch).loss,
        (collate([rows[number] for number in numbers]) for numbers in _orders(len(rows), work)),
        work,
        Clock(warm_up=0),
        steps=work.loss_steps,
    )


def _orders(num_rows: int, work: Work) -> Iterator[list[int]]:
    """The rows of each step, as hfbench orders them."""
    sampler = EpochSampler(num_rows, work.batch, derive_streams(hfbench_side.SEED).order)
    epoch = 0
    while True:
        order = sampler.order(epoch).tolist()
        yield from (order[start : start + work.batch] for start in range(0, num_rows, work.batch))
        epoch += 1


def _give_head_a_bias(model: GPT2ForSequenceClassification) -> None:
    """As the custom GPT's head has one; it starts at zero."""
    head = nn.Linear(model.config.n_embd, model.config.num_labels)
    with torch.no_grad():
        head.weight.copy_(model.score.weight)
        head.bias.zero_()
    model.score = head
