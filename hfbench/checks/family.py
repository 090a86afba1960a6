"""What kind of model it is, which decides what it can be asked: seen from what it does.

Configurations do not tell: GPT-NeoX has ``is_decoder=False``, and BERT a causal language model that
sees later tokens.
"""

import inspect
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from transformers import PreTrainedModel

Family = Literal["encoder", "encoder-decoder", "decoder", "state space"]
FAMILIES: tuple[Family, ...] = get_args(Family)

# What forwards call the memory of earlier tokens; the first is the name from transformers 5.24 on.
_MEMORIES = ("cache", "past_key_values", "cache_params", "state")


def memory_argument(model: PreTrainedModel) -> str | None:
    """What the model's forward calls its memory of earlier tokens; None if it takes none."""
    names = inspect.signature(model.forward).parameters
    return next((name for name in _MEMORIES if name in names), None)


def memory_of(output: Any) -> Any:
    """The memory of earlier tokens in a model's output, or None."""
    return next((output[name] for name in _MEMORIES if output.get(name) is not None), None)


def has_state(model: PreTrainedModel) -> bool:
    """Whether its memory is a state of fixed size, and not the keys and values of all tokens."""
    if model._is_stateful or memory_argument(model) in ("cache_params", "state"):
        return True
    linear = getattr(model.config, "layer_types", None) or ()
    return any(kind in ("linear_attention", "mamba", "recurrent", "conv") for kind in linear)


def sees_later_tokens(model: PreTrainedModel, ids: Tensor) -> bool:
    """Whether another last token changes the logits of the tokens before it, by far."""
    changed = ids.clone()
    changed[:, -1] = ids[:, 0]
    with torch.no_grad():
        before, after = (
            model(input_ids=rows, attention_mask=torch.ones_like(rows)).logits[:, :-1]
            for rows in (ids, changed)
        )
    return (before - after).abs().max().item() > 1e-2
