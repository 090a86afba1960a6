"""Checks of how a model starts and learns."""

import inspect
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from datasets import Dataset, DatasetDict
from torch import Tensor
from transformers import PreTrainedModel, set_seed

from hfbench.checks.behaviour import difference, logits
from hfbench.checks.checked_model import LABELS, CheckedModel
from hfbench.checks.dropout import no_dropout
from hfbench.checks.outcome import TOLERANCE, Failed, Skipped, at_most
from hfbench.data.tokens import TokenizedData
from hfbench.recipe.types import Head, ProblemType
from hfbench.training.arguments import training_arguments
from hfbench.training.build import build_trainer
from hfbench.training.seeds import derive_streams

_START_TOLERANCE = 0.5  # nats off ln(classes) that a new model may lose; T5's classifier: 0.36
_LARGEST_NEW_WEIGHT = 10.0
_IGNORED = -100
_ENOUGH_TO_MEASURE = 1000  # numbers, whose standard deviation is known to 2 %
_CLEARLY_LARGER = 1.2
# Lengths of the step by which gradients are measured. One has to agree: rounding spoils the short
# ones, curvature and an expert that is no longer chosen the long ones.
_STEPS = torch.tensor([0.02, 0.005, 0.001, 0.0003])
_GRADIENT_TOLERANCE = 0.005  # a right one is off by 0.0001 to 0.001


def check_initialisation(checked: CheckedModel, head: Head) -> float:
    """New weights are finite and moderate, and know nothing; gives the loss less ln(classes)."""
    model = checked.new(head)
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all() or weight.abs().max() > _LARGEST_NEW_WEIGHT:
            raise Failed(
                weight.abs().max().item(),
                f"{name} starts non-finite or above {_LARGEST_NEW_WEIGHT:g}: give it a branch in "
                "_init_weights (a bare nn.Parameter needs one of its own)",
            )
    ids = checked.rows(24, 12)
    scores = logits(model, ids)
    if head == "language model":
        scores = scores[:, :-1].flatten(0, 1)
    targets = checked.labels(head, ids)
    targets = targets[:, 1:].flatten() if head == "language model" else targets
    excess = F.cross_entropy(scores.float(), targets).item() - math.log(scores.shape[-1])
    at_most(
        abs(excess),
        _START_TOLERANCE,
        f"a new model should lose ln({scores.shape[-1]}) within {_START_TOLERANCE} nats: draw "
        "smaller weights (initializer_range)",
    )
    return excess


def check_scaled_initialisation(checked: CheckedModel, head: Head) -> float:
    """Where `_init_weights` reads the number of layers, it decides how some weight starts.

    Gives the largest ratio of standard deviations between 2 layers and 8: 2 for GPT-2's
    1/sqrt(2 * n_layer) on what is added to the residual stream.
    """
    model = checked.new(head, num_hidden_layers=2)
    if not checked.prepared.is_own_architecture:
        raise Skipped("transformers tests its own")
    if not _reads_depth(model):
        raise Skipped("_init_weights does not look at the number of layers")
    deep = checked.new(head, num_hidden_layers=8)
    ratios = [
        (weight.std() / deep.get_parameter(name).std()).item()
        for name, weight in model.named_parameters()
        if weight.numel() >= _ENOUGH_TO_MEASURE and weight.std() > 0
    ]
    ratio = max(ratios)
    if ratio < _CLEARLY_LARGER:
        raise Failed(
            ratio,
            "_init_weights looks at the number of layers, and no weight starts smaller in a deeper "
            "model: transformers shows _init_weights of custom code no module without parameters "
            "of its own, so mark the nn.Linear, not the block",
        )
    return ratio


def check_every_parameter_learns(checked: CheckedModel, head: Head) -> float:
    """One step of AdamW; gives the number of parameters that it moved."""
    model = checked.strong(head).train()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    constants = _constants(checked, head)
    with no_dropout():
        _backward(checked, head, model)
    still = [name for name, weight in model.named_parameters() if not _has_gradient(weight)]
    torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0).step()
    still += [
        name
        for name, weight in model.named_parameters()
        if name not in still and torch.equal(before[name], weight)
    ]
    still = [name for name in still if name not in constants]
    learned = len(before) - len(still) - len(constants)
    used = [name for name in still if _has_effect(checked, head, name)]
    if used:
        raise Failed(
            learned,
            f"{len(used)} of {len(before)} parameters decide logits and get no gradient or do not "
            f"move, first {used[0]}: look for requires_grad=False and detach()",
        )
    if still and checked.prepared.is_own_architecture:
        raise Failed(
            learned,
            f"{len(still)} of {len(before)} parameters change no logit, first {still[0]}: they are "
            "counted, saved, and waited for by several processes; leave them out",
            "advice",
        )
    return learned


def check_gradients(checked: CheckedModel, head: Head) -> float:
    """Gradients against how the loss changes on a small step, along a few directions.

    Gives the largest difference, relative to what the gradients say.
    """
    model = checked.strong(head).train()
    with no_dropout():
        gradients = _backward(checked, head, model)
        worst = 0.0
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            # sign by sign: each gradient counts, and those of the few large ones do not drown it
            step = {
                name: gradient.sign() * torch.rand(gradient.shape, generator=generator)
                for name, gradient in gradients.items()
            }
            expected = sum((gradients[name] * step[name]).sum().item() for name in step)
            size = math.sqrt(sum(part.square().sum().item() for part in step.values()))
            errors = []
            for share in (_STEPS / size).tolist():
                ahead = _loss_after(checked, head, model, step, share)
                behind = _loss_after(checked, head, model, step, -share)
                errors.append(abs((ahead - behind) / (2 * share) - expected) / abs(expected))
            worst = max(worst, min(errors))
    advice = (
        "the loss does not change as the gradients say: look for detach(), no_grad() and backward "
        "passes of your own"
    )
    return at_most(worst, _GRADIENT_TOLERANCE, advice)


def check_checkpointing(checked: CheckedModel, head: Head) -> float:
    """Gradients with activation checkpointing against those without, and what is kept for them."""
    model = checked.strong(head).train()
    if not model.supports_gradient_checkpointing:
        if not checked.prepared.is_own_architecture:
            raise Skipped("the class does not say supports_gradient_checkpointing = True")
        raise Failed(
            None,
            "the class does not say supports_gradient_checkpointing = True, by which a larger "
            "batch fits: let the block be a GradientCheckpointingLayer",
            "advice",
        )
    with no_dropout(), _saved_numbers() as all_saved:
        plain = _backward(checked, head, model)
    with warnings.catch_warnings():
        # its new name is not in the oldest transformers that hfbench allows
        warnings.simplefilter("ignore", FutureWarning)
        model.gradient_checkpointing_enable()
    with no_dropout(), _saved_numbers() as saved:
        checkpointed = _backward(checked, head, model)
    if sum(saved) >= sum(all_saved):
        raise Failed(
            sum(saved) / sum(all_saved),
            "with activation checkpointing as much is kept as without: let the block be a "
            "GradientCheckpointingLayer, and give it the hidden states by position",
            "broken on the Hub",
        )
    changes = [
        difference(plain[name], checkpointed[name]) if name in checkpointed else math.inf
        for name in plain
    ]
    advice = (
        "activation checkpointing changes gradients: the block must compute the same again from "
        "its inputs (GradientCheckpointingLayer, hidden states given by position)"
    )
    return at_most(max(changes), TOLERANCE, advice)


def check_labels(checked: CheckedModel, head: Head) -> float:
    """The model's loss against the mean by hand over the labels that are not -100."""
    model, ids = checked.strong(head), checked.rows(6, 8)
    labels = checked.labels(head, ids)
    labels[1] = _IGNORED
    if head == "language model":
        labels[0, :5] = _IGNORED
    with torch.no_grad():
        output = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels)
    scores, targets = output.logits, labels
    if head == "language model":
        scores, targets = scores[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    expected = F.cross_entropy(scores.float(), targets, ignore_index=_IGNORED)
    advice = (
        "the loss is not the mean over labels that are not -100 (a language model shifts them by "
        "one): use self.loss_function"
    )
    return at_most(difference(expected, output.loss), TOLERANCE, advice)


def check_problem_types(checked: CheckedModel, head: Head) -> float:
    """Several labels of a text, and a number: shapes of logits, and the losses by hand.

    hfbench has its own losses; whoever trains the model further elsewhere has the model's.
    """
    ids = checked.rows(6, 8)
    numbers = torch.linspace(-2, 2, len(ids))
    sets = (torch.arange(len(ids))[:, None] % (torch.arange(len(LABELS)) + 2) == 0).float()
    asked: tuple[tuple[ProblemType, list[str], Tensor, Callable[..., Tensor]], ...] = (
        ("multi_label_classification", LABELS, sets, F.binary_cross_entropy_with_logits),
        ("regression", LABELS[:1], numbers, lambda x, y: F.mse_loss(x[:, 0], y)),
    )
    worst = 0.0
    for kind, names, labels, loss_by_hand in asked:
        model = checked.strong_classifier(names, kind)
        with torch.no_grad():
            output = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels)
        shape = (len(ids), len(names))
        if output.logits.shape != shape:
            found = tuple(output.logits.shape)
            raise Failed(None, f"{kind}: logits have the shape {found}, not {shape}")
        expected = loss_by_hand(output.logits.float(), labels)
        advice = (
            f"{kind}: the loss is not transformers' (BCEWithLogitsLoss of several labels, MSELoss "
            "of a number): use self.loss_function with the configuration, which has problem_type"
        )
        worst = max(worst, at_most(difference(expected, output.loss), TOLERANCE, advice))
    return worst


def check_determinism(checked: CheckedModel, head: Head) -> float:
    """The same seed twice: new weights, evaluation, and a training step with dropout."""
    first, second = (checked.new(head, dropout=True) for _ in range(2))
    for name, weight in first.named_parameters():
        if not torch.allclose(weight, second.get_parameter(name), rtol=0, atol=0, equal_nan=True):
            raise Failed(None, f"{name} starts otherwise with the same seed: draw it by torch")
    model, ids = checked.strong(head, dropout=True), checked.rows(3, 9)
    evaluated = difference(logits(model, ids), logits(model, ids))
    at_most(
        evaluated,
        0.0,
        "in evaluation mode the same input gives other logits: dropout must look at self.training",
    )
    trained = []
    for _ in range(2):
        set_seed(5)
        trained.append(logits(model.train(), ids))
    advice = "with the same seed a training step differs: draw nothing but from torch's generator"
    return at_most(difference(*trained), 0.0, advice)


def check_training_mode(checked: CheckedModel, head: Head) -> float:
    """Logits in training, without dropout, against those in evaluation."""
    model, ids = checked.strong(head), checked.rows(6, 9)
    evaluated = logits(model, ids)
    with no_dropout():
        trained = logits(model.train(), ids)
    advice = (
        "in training, dropout apart, logits are others than in evaluation: let self.training "
        "decide on dropout alone"
    )
    return at_most(difference(evaluated, trained), TOLERANCE, advice)


def check_fairness(checked: CheckedModel, head: Head) -> float:
    """Batches of 16 against 8 with 2 accumulated, in hfbench's own Trainer.

    Gives the largest difference, relative, of losses, gradient norms and evaluation loss over two
    optimizer steps. The rows have one length, for padding is another check's; the language model's
    have different numbers of labels, so that a mean of means is not the mean.
    """
    whole = train_two_steps(checked, head, batch=16)
    halves = train_two_steps(checked, head, batch=8, accumulation=2)
    advice = (
        "the same 16 examples train otherwise as 8 x 2: the language model must pass **kwargs "
        "(num_items_in_batch) on to self.loss_function, and no layer look across the batch"
    )
    return at_most(largest_change(whole, halves), TOLERANCE, advice)


def largest_change(first: list[float], second: list[float]) -> float:
    """Largest difference, relative where a number is above 1."""
    return max(abs(a - b) / max(1.0, abs(a)) for a, b in zip(first, second, strict=True))


def train_two_steps(
    checked: CheckedModel, head: Head, *, batch: int, accumulation: int = 1
) -> list[float]:
    """Losses and gradient norms of two steps, and the evaluation loss.

    ``batch`` examples, which the processes share, are accumulated ``accumulation`` times.
    """
    values = {
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulation,
        "per_device_eval_batch_size": batch,
        "max_steps": 2,
        "logging_steps": 1,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "dataloader_pin_memory": False,
    }
    streams = derive_streams(0)
    with tempfile.TemporaryDirectory() as folder, no_dropout():
        trainer = build_trainer(
            head,
            checked.strong(head),
            checked.prepared.tokenizer,
            _data(checked, head),
            training_arguments(values, streams, Path(folder), "check"),
            "study",
            streams,
            [],
        )
        trainer.train()
        evaluated = trainer.evaluate()["eval_loss"]
    steps = [entry for entry in trainer.state.log_history if "grad_norm" in entry]
    return [entry[key] for entry in steps for key in ("loss", "grad_norm")] + [evaluated]


def _data(checked: CheckedModel, head: Head) -> TokenizedData:
    ids = checked.rows(32, 10)
    labels = checked.labels(head, ids)
    if head == "language model":
        for number, row in enumerate(labels):
            row[: number % 8] = _IGNORED
    columns: dict[str, Any] = {
        "input_ids": ids.tolist(),
        "attention_mask": torch.ones_like(ids).tolist(),
        "labels": labels.tolist(),
    }
    split = Dataset.from_dict(columns)
    return TokenizedData(DatasetDict(train=split, validation=split.select(range(21))), {})


def _backward(checked: CheckedModel, head: Head, model: PreTrainedModel) -> dict[str, Tensor]:
    """Gradients of the loss of a few rows."""
    ids = _training_rows(checked)
    model.zero_grad()
    labels = checked.labels(head, ids)
    model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss.backward()
    return {
        name: weight.grad.clone()
        for name, weight in model.named_parameters()
        if weight.grad is not None
    }


def _loss_after(
    checked: CheckedModel, head: Head, model: PreTrainedModel, step: dict[str, Tensor], size: float
) -> float:
    """The loss with all weights moved by ``size`` times ``step``; they are moved back."""
    ids = _training_rows(checked)
    labels = checked.labels(head, ids)
    weights = dict(model.named_parameters())
    kept = {name: weights[name].detach().clone() for name in step}
    with torch.no_grad():
        for name, part in step.items():
            weights[name].add_(size * part)
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
        for name, before in kept.items():
            weights[name].copy_(before)
    return loss.item()


def _training_rows(checked: CheckedModel) -> Tensor:
    """A few rows that are as long as is allowed, up to 32 tokens."""
    return checked.rows(len(LABELS) * 2, min(32, checked.prepared.max_length))


def _has_gradient(weight: Tensor) -> bool:
    return weight.grad is not None and bool(weight.grad.any())


def _constants(checked: CheckedModel, head: Head) -> set[str]:
    """Frozen parameters that no seed changes: tables of sines, and not weights."""
    first = checked.new(head)
    second = checked.new(head, seed=1)
    return {
        name
        for name, weight in first.named_parameters()
        if not weight.requires_grad and torch.equal(weight, second.get_parameter(name))
    }


def _has_effect(checked: CheckedModel, head: Head, name: str) -> bool:
    """Whether the logits are others with other numbers in this parameter."""
    model = checked.strong(head)
    ids = _training_rows(checked)
    before = logits(model, ids)
    with torch.no_grad():
        model.get_parameter(name).mul_(-1).add_(0.5)
    return not torch.equal(before, logits(model, ids))


def _reads_depth(model: PreTrainedModel) -> bool:
    """Whether the code that draws weights names the number of layers."""
    field = "num_hidden_layers"
    names = {field, model.config.attribute_map.get(field, field)}
    return bool(names & {*inspect.unwrap(type(model)._init_weights).__code__.co_names})


@contextmanager
def _saved_numbers() -> Iterator[list[int]]:
    """How many numbers are kept for the backward pass, tensor by tensor."""
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield sizes
