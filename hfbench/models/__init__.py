"""Models of our own; importing this package makes the Auto classes know them."""

from .custom_gpt import (
    PRESETS,
    CustomGPTConfig,
    CustomGPTForCausalLM,
    CustomGPTForSequenceClassification,
    CustomGPTModel,
    CustomGPTPreTrainedModel,
)

__all__ = [
    "PRESETS",
    "CustomGPTConfig",
    "CustomGPTForCausalLM",
    "CustomGPTForSequenceClassification",
    "CustomGPTModel",
    "CustomGPTPreTrainedModel",
]

VERSION = 1  # of numbers, see `execution.identity`
"""To be raised when a model is loaded, initialised or given a head otherwise."""
