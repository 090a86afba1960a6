"""GPT-2 <-> custom GPT: the same weights under the same names, matrices transposed.

The two agree on text without padding. With padding GPT-2 counts pads as positions, and its
classifier looks for the pad token's id where the custom GPT reads the attention mask.
"""

import os
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoTokenizer,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
    PreTrainedConfig,
    PreTrainedModel,
)

from hfbench.errors import UserError
from hfbench.models.custom_gpt import (
    CustomGPTConfig,
    CustomGPTForCausalLM,
    CustomGPTForSequenceClassification,
    CustomGPTModel,
)
from hfbench.system.files import make_folder, saving
from hfbench.system.hub import refuse_adapter, resolve_revision, user_errors

# Loading a `.bin` starts a thread that asks the Hub to convert the repo; nobody asked for that.
os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")

_PAIRS: tuple[tuple[Any, Any], ...] = (
    (GPT2LMHeadModel, CustomGPTForCausalLM),  # first: for a configuration that names no class
    (GPT2Model, CustomGPTModel),
    (GPT2ForSequenceClassification, CustomGPTForSequenceClassification),
)
_CONV1D_WEIGHTS = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
# values of GPT-2's configuration by which the custom GPT computes, with no way to change them
_FIXED = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}
# fields that belong to a class or a file and not to the architecture
_NOT_COPIED = {"model_type", "architectures", "auto_map", "transformers_version", "_name_or_path"}
_PROBE_TOKENS = 64


@dataclass(frozen=True)
class Conversion:
    """What `convert` did."""

    source_class: str
    class_name: str
    parameters: int
    """Shared ones count once."""
    has_tokenizer: bool
    probe_tokens: int
    difference: float
    """Largest absolute difference of the source's and the reloaded copy's logits, in float32."""
    largest_logit: float
    """Largest absolute logit of the source; float32 keeps about 7 digits of it."""


def convert(source: str, destination: Path) -> Conversion:
    """Write a GPT-2 as a custom GPT or a custom GPT as a GPT-2, with its tokenizer if it has one.

    Args:
        source: Hub id or local folder of either kind.
        destination: a folder, new or empty.

    Raises:
        UserError: if there is something in the way, the source cannot be loaded, or the other
            architecture cannot express it.
    """
    if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
        raise UserError(f"{destination} exists and is not an empty folder")
    revision = resolve_revision(source, None, "model", "the source")
    options = {"revision": revision, "trust_remote_code": False}
    refuse_adapter(source, revision, "the source")
    with user_errors(source):
        # whatever its file says of attention: it may name a kernel of the Hub
        config = AutoConfig.from_pretrained(source, attn_implementation=None, **options)
        source_class = _class_of(config, source)
        model = source_class.from_pretrained(
            source, config=config, dtype="auto", revision=revision
        ).eval()
    converted = convert_model(model)
    tokenizer = None
    if _has_tokenizer(source):
        with user_errors(f"the tokenizer of {source}"):
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
    make_folder(destination)
    with saving(str(destination)):
        converted.save_pretrained(destination)
        if tokenizer is not None:
            tokenizer.save_pretrained(destination)

    reloaded = type(converted).from_pretrained(destination, dtype=torch.float32).eval()
    ids = _probe(config)
    with torch.no_grad():
        expected, actual = model.float()(ids)[0], reloaded(ids)[0]
    return Conversion(
        source_class=source_class.__name__,
        class_name=type(converted).__name__,
        parameters=converted.num_parameters(),
        has_tokenizer=tokenizer is not None,
        probe_tokens=ids.shape[1],
        difference=(expected - actual).abs().max().item(),
        largest_logit=expected.abs().max().item(),
    )


def convert_model(model: PreTrainedModel) -> PreTrainedModel:
    """The same model in the other architecture, with the same dtype, in evaluation mode.

    Raises:
        UserError: if the other architecture cannot express it.
    """
    (new_class,) = (
        ours if type(model) is theirs else theirs
        for theirs, ours in _PAIRS
        if type(model) in (theirs, ours)
    )
    new_model = new_class(convert_config(model.config)).to(model.dtype).eval()
    new_model.load_state_dict(_convert_weights(model))
    if new_model.can_generate():
        new_model.generation_config = deepcopy(model.generation_config)
    return new_model


def convert_config(config: PreTrainedConfig) -> PreTrainedConfig:
    """GPT-2's configuration for the custom GPT's or the other way round.

    Raises:
        UserError: if GPT-2's has a value by which the custom GPT cannot compute.
    """
    new_class = CustomGPTConfig if isinstance(config, GPT2Config) else GPT2Config
    for name, value in _FIXED.items():
        if isinstance(config, GPT2Config) and getattr(config, name) != value:
            raise UserError(f"the custom GPT cannot express GPT-2's {name}={not value}")
    known = new_class().to_dict().keys() - _NOT_COPIED
    return new_class(**{name: value for name, value in config.to_dict().items() if name in known})


def _convert_weights(model: PreTrainedModel) -> dict[str, Tensor]:
    weights = {
        name: weight.T if name.endswith(_CONV1D_WEIGHTS) else weight
        for name, weight in model.state_dict().items()
    }
    if isinstance(model, GPT2ForSequenceClassification):
        weights["score.bias"] = torch.zeros(model.config.num_labels)
    elif isinstance(model, CustomGPTForSequenceClassification) and weights.pop("score.bias").any():
        raise UserError("GPT-2's classification head has no bias, and this one's is not zero")
    return weights


def _class_of(config: PreTrainedConfig, source: str) -> Any:
    """The class that the configuration names, or the language model if it names none."""
    if config.model_type not in (GPT2Config.model_type, CustomGPTConfig.model_type):
        raise UserError(
            f"{source} is a {config.model_type!r}; only 'gpt2' and 'custom_gpt' can be converted"
        )
    side = 0 if isinstance(config, GPT2Config) else 1
    classes = {pair[side].__name__: pair[side] for pair in _PAIRS}
    (name,) = config.architectures or [next(iter(classes))]
    if name not in classes:
        raise UserError(f"{source} is a {name}; only {', '.join(classes)} can be converted")
    return classes[name]


def _has_tokenizer(source: str) -> bool:
    # without files AutoTokenizer would make up an empty tokenizer from the model's type
    names = ("tokenizer.json", "tokenizer_config.json", "vocab.json")
    return not Path(source).is_dir() or any((Path(source) / name).exists() for name in names)


def _probe(config: PreTrainedConfig) -> Tensor:
    """Token ids of shape (1, T), always the same; no pads, which GPT-2's classifier would skip."""
    known = torch.arange(config.vocab_size)
    if config.pad_token_id is not None:
        known = known[known != config.pad_token_id]
    shape = (1, min(_PROBE_TOKENS, config.n_positions))
    return known[torch.randint(len(known), shape, generator=torch.Generator().manual_seed(0))]
