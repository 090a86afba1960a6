"""The custom GPT; importing it makes the Auto classes know it.

A saved model carries the four files beside this one, so that it loads elsewhere without hfbench.
"""

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
)

from .configuration_custom_gpt import PRESETS, CustomGPTConfig
from .modeling_custom_gpt import (
    CustomGPTForCausalLM,
    CustomGPTForSequenceClassification,
    CustomGPTModel,
    CustomGPTPreTrainedModel,
)

AutoConfig.register(CustomGPTConfig.model_type, CustomGPTConfig)
CustomGPTConfig.register_for_auto_class()
for _auto_class, _model_class in (
    (AutoModel, CustomGPTModel),
    (AutoModelForCausalLM, CustomGPTForCausalLM),
    (AutoModelForSequenceClassification, CustomGPTForSequenceClassification),
):
    _auto_class.register(CustomGPTConfig, _model_class)  # for loading in this process
    _model_class.register_for_auto_class(_auto_class.__name__)  # for saving code with the weights

__all__ = [
    "PRESETS",
    "CustomGPTConfig",
    "CustomGPTForCausalLM",
    "CustomGPTForSequenceClassification",
    "CustomGPTModel",
    "CustomGPTPreTrainedModel",
]

VERSION = 1  # of numbers, see `execution.identity`
"""To be raised when the custom GPT computes or initialises otherwise."""
