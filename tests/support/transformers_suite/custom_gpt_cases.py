"""transformers' common tests for models, asked of the custom GPT, and of GPT-2 for comparison.

It is copied into the `tests` folder of transformers' source distribution and runs there, see
`tests/models/test_custom_gpt_in_transformers_suite.py`; it imports what lies beside it there.
"""

import unittest

from transformers import GPT2Config, GPT2ForSequenceClassification, GPT2LMHeadModel, GPT2Model
from transformers.models.auto import modeling_auto

from hfbench.models.custom_gpt import (
    CustomGPTConfig,
    CustomGPTForCausalLM,
    CustomGPTForSequenceClassification,
    CustomGPTModel,
)

from .generation.test_utils import GenerationTesterMixin
from .test_configuration_common import ConfigTester
from .test_modeling_common import ModelTesterMixin, ids_tensor, random_attention_mask

# by these names the tests know which labels a class wants
for mapping, model_class in (
    (modeling_auto.MODEL_MAPPING_NAMES, CustomGPTModel),
    (modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, CustomGPTForCausalLM),
    (
        modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
        CustomGPTForSequenceClassification,
    ),
):
    mapping["custom_gpt"] = model_class.__name__


class Tester:
    is_training = True
    batch_size, seq_length = 5, 7
    hidden_size, num_hidden_layers, num_attention_heads, vocab_size = 32, 2, 4, 99

    def __init__(self, config_class):
        self.config_class = config_class

    def get_config(self):
        return self.config_class(
            vocab_size=self.vocab_size,
            n_embd=self.hidden_size,
            n_layer=self.num_hidden_layers,
            n_head=self.num_attention_heads,
            n_positions=512,
            bos_token_id=98,
            eos_token_id=98,
            pad_token_id=98,
        )

    def prepare_config_and_inputs_for_common(self):
        shape = [self.batch_size, self.seq_length]
        inputs = {
            "input_ids": ids_tensor(shape, self.vocab_size - 1),
            "attention_mask": random_attention_mask(shape),
        }
        return self.get_config(), inputs


class CustomGPTTest(ModelTesterMixin, GenerationTesterMixin, unittest.TestCase):
    config_class = CustomGPTConfig
    all_model_classes = (CustomGPTModel, CustomGPTForCausalLM, CustomGPTForSequenceClassification)
    all_generative_model_classes = (CustomGPTForCausalLM,)

    def setUp(self):
        self.model_tester = Tester(self.config_class)
        self.config_tester = ConfigTester(self, config_class=self.config_class, n_embd=36)

    def test_config(self):
        self.config_tester.run_common_tests()


class GPT2Test(CustomGPTTest):
    config_class = GPT2Config
    all_model_classes = (GPT2Model, GPT2LMHeadModel, GPT2ForSequenceClassification)
    all_generative_model_classes = (GPT2LMHeadModel,)
