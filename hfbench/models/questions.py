"""What a language model is asked before it is pretrained, lest it be none.

An encoder that sees the next token has a training loss near 0 and a perplexity that means nothing;
so has a decoder that leaks it. The answers hold for an architecture and its configuration: they are
asked of new weights, on the CPU, and once; those of transformers' own architectures are kept on the
disk, see `known_answers`.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel, set_seed
from transformers.pytorch_utils import Conv1D

from hfbench.errors import UserError
from hfbench.models.architecture import AUTO_CLASSES
from hfbench.models.embedding import embedding_rows, fit_embedding
from hfbench.models.facts import parameter_count
from hfbench.models.known_answers import fault_of
from hfbench.models.prepare import PreparedModel, built
from hfbench.models.twin import shallow, with_few_words

TOLERANCE = 1e-4
"""Largest change of a logit of size 1 that rounding may cause in float32; a defect makes 1e-3."""

_LARGE = 10_000_000  # parameters; of a larger model a twin of two layers and few words answers
_SHORT = 16

_known: dict[tuple[Any, ...], str | None] = {}


def refuse_unfit(prepared: PreparedModel, length: int, what: str = "pretrain") -> None:
    """Refuse to pretrain, or to prompt, what is no causal language model.

    Args:
        prepared: a model with a language-model head.
        length: tokens of the longest example.
        what: key of the recipe that wants one.

    Raises:
        UserError: naming the model, and what it does.
    """
    config = prepared.config
    key = (type(config), config.to_json_string(), length, prepared.embedding_rows)
    if key not in _known:
        _known[key] = _kept_fault(prepared, length)
    if fault := _known[key]:
        entry = prepared.entry
        raise UserError(
            f"models.{entry.name}.{what}: {entry.source} {fault}"
            + (" (unfair: true pretrains it all the same)" if what == "pretrain" else "")
        )


def _kept_fault(prepared: PreparedModel, length: int) -> str | None:
    if not type(prepared.config).__module__.startswith("transformers."):
        return _find_fault(prepared, length)
    about = {
        "class": type(prepared.config).__name__,
        "config": prepared.config.to_json_string(),
        "length": length,
        "words": prepared.embedding_rows,
    }
    return fault_of(about, lambda: _find_fault(prepared, length))


def _find_fault(prepared: PreparedModel, length: int) -> str | None:
    """What makes its loss mean something else, in words; None where nothing was found."""
    with built(prepared.entry, type(prepared.config).__name__):
        model = _new_model(prepared)
    ids = _random_rows(prepared, model, length)
    place = _leak(model, ids)
    if place is not None:
        # only encoders that can be decoders have such a field
        way = " (config: {is_decoder: true} makes it one)" if _is_encoder(model) else ""
        return (
            f"is no causal language model{way}: its logits at place {place + 1:,} change with the "
            "tokens after it, so that its loss is that of a model which sees the answer"
        )
    short = ids[:, :_SHORT].contiguous()
    change = _loss_difference(model, short)
    if change > TOLERANCE:
        return (
            "has another loss than that of predicting the next token from those before it: it is "
            f"off by {change:.2g} from the mean over its logits, shifted by one"
        )
    if not prepared.is_own_architecture:
        return None
    first, second = (_logits(model, short) for _ in range(2))
    if not torch.equal(first, second):
        return "gives other logits each time it is asked, in evaluation mode, too"
    return None


def _new_model(prepared: PreparedModel) -> PreTrainedModel:
    """With new weights, so large that every part shows in the logits; in evaluation mode."""
    config, rows = prepared.config, prepared.embedding_rows
    if parameter_count(prepared, "language model", None) > _LARGE:
        config, rows = with_few_words(shallow(config)), 0
    config = type(config).from_dict(config.to_dict())
    set_seed(0)
    model = AUTO_CLASSES["language model"].from_config(
        config, trust_remote_code=prepared.entry.trust_remote_code, dtype=torch.float32
    )
    fit_embedding(model, rows)
    model.loss_type = "ForCausalLM"  # as `load_causal_lm` has it
    model.config.use_cache = False
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in model.modules():
            # what else there is, as the decay of a state, has a meaning by its size
            if isinstance(module, nn.Linear | nn.Embedding | Conv1D):
                weight = module.weight
                noise = torch.randn(weight.shape, generator=generator)
                weight.copy_(noise * weight.shape[-1] ** -0.5)
    return model.eval()


def _random_rows(prepared: PreparedModel, model: PreTrainedModel, length: int) -> Tensor:
    """Two rows of ids, shape (2, length), without special tokens."""
    tokenizer, rows = prepared.tokenizer, embedding_rows(model)
    special = set(tokenizer.all_special_ids)
    known = [
        number
        for number in sorted(set(tokenizer.get_vocab().values()) - special)
        if rows is None or number < rows
    ]
    chosen = torch.randint(len(known), (2, length), generator=torch.Generator().manual_seed(1))
    return torch.tensor(known)[chosen]


def _leak(model: PreTrainedModel, ids: Tensor) -> int | None:
    """A place whose logits change with tokens after it, counted from 0; None where none was found.

    All tokens after a place are replaced by others, for several places of the whole length. Each
    place is an even number, so that the border of a chunk of 2^n tokens does not lie behind it.
    """
    before, length = _logits(model, ids[:1])[0], ids.shape[1]
    for place in sorted({length // 6 * 2, length // 3 * 2, (length - 2) // 2 * 2}):
        mixed = torch.cat([ids[:1, : place + 1], ids[1:, place + 1 :]], 1)
        after = _logits(model, mixed)[0]
        if difference(before[: place + 1], after[: place + 1]) > TOLERANCE:
            return place
    return None


def _is_encoder(model: PreTrainedModel) -> bool:
    return model.config.to_dict().get("is_decoder") is False


def _loss_difference(model: PreTrainedModel, ids: Tensor) -> float:
    """How far the model's loss is from the mean by hand, relative where that is above 1."""
    with torch.no_grad():
        output = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids)
    expected = F.cross_entropy(output.logits[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())
    return difference(expected, output.loss)


def _logits(model: PreTrainedModel, ids: Tensor) -> Tensor:
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


def difference(first: Tensor, second: Tensor) -> float:
    """Largest difference, relative to the largest value where that is above 1."""
    scale = max(1.0, first.abs().max().item())
    return (first - second).abs().max().item() / scale
