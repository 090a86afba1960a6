"""What a recipe's ``config`` may not say, though the constructors of transformers take it.

With -1 layers they make a model without layers, with -2 heads one that fails at its first batch.
"""

from transformers import PreTrainedConfig

from hfbench.errors import UserError
from hfbench.recipe.model import Model

_HEADS, _GROUPS = "num_attention_heads", "num_key_value_heads"

# by the names that transformers' architectures have in common; n_inner is GPT-2's own
_LEAST = {
    "vocab_size": 1,
    "max_position_embeddings": 1,
    "hidden_size": 1,
    "intermediate_size": 1,
    "n_inner": 1,
    "num_hidden_layers": 1,
    _HEADS: 1,
    _GROUPS: 1,
    "initializer_range": 0,
    "layer_norm_eps": 0,
    "layer_norm_epsilon": 0,
    "rms_norm_eps": 0,
}


def refuse_impossible_sizes(entry: Model, config: PreTrainedConfig) -> None:
    """Check the fields that ``entry.config`` gives; what a checkpoint says is not looked at.

    Args:
        entry: of the recipe.
        config: the whole configuration, by which fields are known under the architecture's names.

    Raises:
        UserError: naming the field, its value and what would be right.
    """
    key = f"models.{entry.name}.config"
    common_names = {own: common for common, own in config.attribute_map.items()}
    given = {common_names.get(name, name): name for name in entry.config}
    for common, name in given.items():
        value, least = entry.config[name], _LEAST.get(common)
        if least is not None and isinstance(value, int | float) and value < least:
            raise UserError(f"{key}.{name}: {value} must be at least {least}")
    if given.keys() & {_HEADS, _GROUPS}:
        heads, groups = getattr(config, _HEADS, None), getattr(config, _GROUPS, None)
        # an architecture may have no groups, or a list of them, one a layer
        if isinstance(heads, int) and isinstance(groups, int) and groups > 0 and heads % groups:
            raise UserError(f"{key}: {_HEADS} ({heads}) must be a multiple of {_GROUPS} ({groups})")
