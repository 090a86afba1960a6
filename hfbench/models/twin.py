"""A small twin of a large model, which answers in its place what does not depend on its size."""

from typing import Any

from transformers import PreTrainedConfig

_LAYERS = 2
_WORDS = 1000


def shallow(config: PreTrainedConfig) -> PreTrainedConfig:
    """The configuration with two layers, of whose kinds all are; as it is where it has no more."""
    values = config.to_dict()
    own = config.attribute_map.get("num_hidden_layers", "num_hidden_layers")
    layers = values.get(own)
    if not isinstance(layers, int) or layers <= _LAYERS:
        return config
    lists = {
        name: value[:_LAYERS]
        for name, value in values.items()
        if isinstance(value, list) and len(value) == layers
    }
    return type(config).from_dict({**values, **lists, own: _LAYERS})


def with_few_words(config: PreTrainedConfig) -> PreTrainedConfig:
    """The configuration with at most 1,000 words, its special tokens among them."""
    values = config.to_dict()
    if not isinstance(values.get("vocab_size"), int) or values["vocab_size"] <= _WORDS:
        return config
    special: dict[str, Any] = {
        name: 0
        for name, value in values.items()
        if name.endswith("_token_id") and isinstance(value, int) and value >= _WORDS
    }
    return type(config).from_dict({**values, **special, "vocab_size": _WORDS})
