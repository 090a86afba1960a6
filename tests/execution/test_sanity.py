"""Settings with which trainings are known to fail are told before."""

import pytest
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
)

from hfbench.execution.inputs import Inputs
from hfbench.execution.sanity import doubtful_settings
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.cells import plan_comparison
from hfbench.recipe.load import load_recipe

SIZES = {"vocab_size": 300, "num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2}


@pytest.fixture
def warnings(write_recipe, tmp_path):
    tokenizer = train_tokenizer(["a b c"], 300)
    tokenizer.pad_token = tokenizer.eos_token
    encoder = BertForSequenceClassification(
        BertConfig(**SIZES, intermediate_size=8, pad_token_id=0)
    )
    decoder = GPT2ForSequenceClassification(
        GPT2Config(vocab_size=300, n_layer=1, n_embd=8, n_head=2, pad_token_id=0)
    )
    for name, model in (("encoder", encoder), ("decoder", decoder)):
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)

    def of(name, rate, **changes):
        entry = {"name": name, "model_name_or_path": str(tmp_path / name), **changes}
        arguments = {"learning_rate": rate, "per_device_train_batch_size": 16}
        recipe = load_recipe(write_recipe(models=[entry], training_arguments=arguments))
        cells = plan_comparison(recipe)
        return [*doubtful_settings(cells, Inputs(recipe, cells))]

    return of


def test_a_high_rate_of_a_pretrained_encoder_is_told(warnings):
    (line,) = warnings("encoder", 5e-4)
    assert line.startswith("encoder: learning_rate 0.0005 is likely to make a pretrained encoder")
    assert "warmup_steps: 0.1" in line
    assert warnings("encoder", 1e-4) == []
    assert warnings("encoder", 5e-4, random_init=True) == []
    assert warnings("decoder", 5e-4) == []
