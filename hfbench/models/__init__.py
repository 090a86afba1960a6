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
