"""Configuration of the custom GPT and its named sizes."""

from difflib import get_close_matches
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

# Stays a plain literal: recipes are checked by reading it from this file without importing torch.
PRESETS = {
    "gpt-nano": {"n_layer": 3, "n_head": 3, "n_embd": 48},
    "gpt-micro": {"n_layer": 4, "n_head": 4, "n_embd": 128},
    "gpt-mini": {"n_layer": 6, "n_head": 6, "n_embd": 192},
    "gopher-44m": {"n_layer": 8, "n_head": 16, "n_embd": 512},
    "gpt2": {"n_layer": 12, "n_head": 12, "n_embd": 768},
    "gpt2-medium": {"n_layer": 24, "n_head": 16, "n_embd": 1024},
    "gpt2-large": {"n_layer": 36, "n_head": 20, "n_embd": 1280},
    "gpt2-xl": {"n_layer": 48, "n_head": 25, "n_embd": 1600},
}

_AUTO_MAP = {
    "AutoConfig": "configuration_custom_gpt.CustomGPTConfig",
    "AutoModel": "modeling_custom_gpt.CustomGPTModel",
    "AutoModelForCausalLM": "modeling_custom_gpt.CustomGPTForCausalLM",
    "AutoModelForSequenceClassification": "modeling_custom_gpt.CustomGPTForSequenceClassification",
}


@strict
class CustomGPTConfig(PreTrainedConfig):
    """Shape and dropout of a GPT-2-style decoder, under GPT-2's names.

    Saved, it names the class for each of four Auto classes, so that a folder written by the
    language model can be loaded as a classifier with `trust_remote_code=True`.

    Example:
        >>> CustomGPTConfig.from_preset("gpt-nano", num_labels=3).n_embd
        48
    """

    model_type = "custom_gpt"
    # Without annotations, which would make fields of them; the Trainer adds to the list, in which
    # both are the cache: transformers 5.24 renamed it.
    keys_to_ignore_at_inference = ["past_key_values", "cache"]  # noqa: RUF012
    attribute_map = {  # noqa: RUF012
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    vocab_size: int = 50257
    """Rows of the word embedding; the default is GPT-2's vocabulary."""
    n_positions: int = 1024
    """Most tokens of a text, padding not counted."""
    n_embd: int = 768
    """Width; a multiple of `n_head`."""
    n_layer: int = 12
    """Blocks."""
    n_head: int = 12
    """Attention heads in each block."""
    n_inner: int | None = None
    """Width inside the MLP; None for 4 * `n_embd`."""
    activation_function: str = "gelu_new"
    """Of the MLP, a name that transformers knows; the default is the tanh GELU."""
    embd_pdrop: float | int = 0.1
    """Dropout on the sum of word and position embedding."""
    resid_pdrop: float | int = 0.1
    """Dropout on what attention and MLP add to the residual stream."""
    attn_pdrop: float | int = 0.1
    """Dropout on the attention weights."""
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    """Standard deviation of new weights; of the residual projections, before their scaling."""
    use_cache: bool = True
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    pad_token_id: int | None = None
    """For collators and generation; the classifier goes by the attention mask alone."""
    tie_word_embeddings: bool = False
    """Whether `lm_head` shares the weight of the word embedding."""

    def __post_init__(self, **kwargs: Any) -> None:
        """Complete `auto_map`; saving by itself would name only the class that is being saved."""
        kwargs["auto_map"] = _AUTO_MAP | kwargs.get("auto_map", {})
        super().__post_init__(**kwargs)

    def validate_heads(self) -> None:
        """Check that the width divides into heads.

        Raises:
            ValueError: if `n_embd` is no multiple of `n_head`; whoever builds the configuration
                sees it inside a `StrictDataclassClassValidationError`.
        """
        if self.n_head < 1 or self.n_embd % self.n_head:
            raise ValueError(f"n_embd ({self.n_embd}) must be a multiple of n_head ({self.n_head})")

    @classmethod
    def from_preset(cls, name: str, **overrides: Any) -> "CustomGPTConfig":
        """Configuration of a named size.

        Args:
            name: one of `PRESETS`.
            overrides: further fields, for instance `vocab_size`; they win over the preset.

        Raises:
            ValueError: for an unknown name, with the nearest known one and the list.
        """
        if name not in PRESETS:
            matches = get_close_matches(name, PRESETS, n=1)
            hint = f"; did you mean {matches[0]!r}?" if matches else ""
            raise ValueError(f"unknown preset {name!r}{hint} (known: {', '.join(PRESETS)})")
        return cls(**{**PRESETS[name], **overrides})


__all__ = ["PRESETS", "CustomGPTConfig"]
