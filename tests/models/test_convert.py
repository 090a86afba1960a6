"""GPT-2 <-> custom GPT: equal logits both ways, folders that load, clear refusals."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2DoubleHeadsModel,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
    LlamaConfig,
    set_seed,
)
from typer.testing import CliRunner

from hfbench.cli import app as cli
from hfbench.errors import UserError
from hfbench.execution.compare import compare
from hfbench.models import (
    CustomGPTConfig,
    CustomGPTForCausalLM,
    CustomGPTForSequenceClassification,
    CustomGPTModel,
)
from hfbench.models.convert import convert, convert_config, convert_model
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.load import load_recipe

TINY_GPT2 = Path(__file__).parents[3] / "shared" / "hub" / "models" / "sshleifer" / "tiny-gpt2"
PAIRS = {
    GPT2LMHeadModel: CustomGPTForCausalLM,
    GPT2Model: CustomGPTModel,
    GPT2ForSequenceClassification: CustomGPTForSequenceClassification,
}
SMALL = {"n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 50, "n_positions": 24}
SHAPES = (
    {"n_embd": 8, "n_layer": 1, "n_head": 1, "vocab_size": 11, "n_positions": 8},
    {**SMALL, "n_inner": 20},
    {**SMALL, "tie_word_embeddings": False},
    {**SMALL, "activation_function": "relu", "layer_norm_epsilon": 1e-3},
    {"n_embd": 48, "n_layer": 3, "n_head": 3, "vocab_size": 300, "n_positions": 40},
)


def random_gpt2(model_class, **fields):
    """A GPT-2 in which every weight and bias shows in the output."""
    set_seed(1)
    config = {"initializer_range": 0.2, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    model = model_class(GPT2Config(**{**SMALL, **config, **fields}))
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or ".ln_" in name:
            nn.init.normal_(parameter, mean=0.5, std=0.2)
    return model.eval()


def some_ids(model, rows=3):
    shape = (rows, model.config.n_positions)
    return torch.randint(1, model.config.vocab_size, shape)


def assert_close(first, second):
    torch.testing.assert_close(first, second, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("model_class", PAIRS)
def test_a_gpt2_becomes_a_custom_gpt_and_comes_back(model_class, shape):
    gpt2 = random_gpt2(model_class, **shape)
    ours = convert_model(gpt2)
    back = convert_model(ours)
    assert (type(ours), type(back)) == (PAIRS[model_class], model_class)
    ids = some_ids(gpt2)
    with torch.no_grad():
        expected = gpt2(ids)[0]
        assert expected.std() > 0.05  # else the comparison would say little
        assert_close(ours(ids)[0], expected)
        assert_close(back(ids)[0], expected)
    for name, weight in gpt2.state_dict().items():
        assert torch.equal(back.state_dict()[name], weight), name
    hidden = {"architectures", "_name_or_path"}
    assert back.config.to_dict() | dict.fromkeys(hidden) == (
        gpt2.config.to_dict() | dict.fromkeys(hidden)
    )


def test_what_a_classifier_calls_its_labels_is_kept():
    names = {"id2label": {0: "a", 1: "b", 2: "c"}, "problem_type": "single_label_classification"}
    ours = convert_model(random_gpt2(GPT2ForSequenceClassification, **names))
    assert ours.config.id2label == names["id2label"]
    assert ours.config.problem_type == names["problem_type"]
    assert ours.score.out_features == 3


def test_generation_goes_on_as_before():
    gpt2 = random_gpt2(GPT2LMHeadModel, eos_token_id=None)
    gpt2.generation_config.max_new_tokens = 4
    ours = convert_model(gpt2)
    assert ours.generation_config is not gpt2.generation_config
    ids = some_ids(gpt2)[:, :5]
    options = {"attention_mask": torch.ones_like(ids), "do_sample": False}
    assert torch.equal(ours.generate(ids, **options), gpt2.generate(ids, **options))


@pytest.mark.parametrize(
    "field",
    [
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"add_cross_attention": True},
    ],
)
def test_what_the_custom_gpt_cannot_express_is_refused(field):
    ((name, value),) = field.items()
    with pytest.raises(UserError, match=f"cannot express GPT-2's {name}={value}"):
        convert_config(GPT2Config(**field))


def test_a_bias_that_gpt2_has_no_place_for_is_refused():
    model = CustomGPTForSequenceClassification(CustomGPTConfig(**SMALL, eos_token_id=0))
    convert_model(model)
    nn.init.ones_(model.score.bias)
    with pytest.raises(UserError, match="no bias, and this one's is not zero"):
        convert_model(model)


def save_gpt2(folder, model_class=GPT2LMHeadModel, **fields):
    tokenizer = train_tokenizer(["the cat sat on the mat", "a dog and a cat"], 270)
    tokenizer.save_pretrained(folder)
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    model = random_gpt2(model_class, vocab_size=len(tokenizer), **ids, **fields)
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_folder_becomes_a_folder_with_its_tokenizer_and_dtype(tmp_path, dtype):
    gpt2 = save_gpt2(tmp_path / "gpt2", dtype=dtype).to(dtype)
    gpt2.save_pretrained(tmp_path / "gpt2")
    made = convert(str(tmp_path / "gpt2"), tmp_path / "new" / "ours")
    assert (made.source_class, made.class_name) == ("GPT2LMHeadModel", "CustomGPTForCausalLM")
    assert made.parameters == gpt2.num_parameters()
    assert made.has_tokenizer
    assert made.probe_tokens == 24
    assert made.difference < 1e-5 < made.largest_logit
    files = {path.name for path in (tmp_path / "new" / "ours").iterdir()}
    assert {"modeling_custom_gpt.py", "configuration_custom_gpt.py", "tokenizer.json"} <= files
    assert not any(name.startswith("convert") for name in files)

    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "new" / "ours", dtype="auto")
    assert ours.dtype == dtype
    assert isinstance(ours, CustomGPTForCausalLM)
    tokenizers = [AutoTokenizer.from_pretrained(tmp_path / name) for name in ("gpt2", "new/ours")]
    first, second = (tokenizer("a cat <|pad|>").input_ids for tokenizer in tokenizers)
    assert first == second

    back = convert(str(tmp_path / "new" / "ours"), tmp_path / "back")
    assert (back.source_class, back.class_name) == (made.class_name, made.source_class)
    assert back.difference < 1e-5
    again = GPT2LMHeadModel.from_pretrained(tmp_path / "back", dtype="auto")
    assert again.dtype == dtype
    assert all(torch.equal(again.state_dict()[n], w) for n, w in gpt2.state_dict().items())


def test_the_reported_difference_is_that_of_what_was_written(tmp_path, monkeypatch):
    save_gpt2(tmp_path / "gpt2")
    save = CustomGPTForCausalLM.save_pretrained

    def save_wrongly(self, folder):
        with torch.no_grad():
            self.transformer.wpe.weight[:, 0] += 1
        save(self, folder)

    monkeypatch.setattr(CustomGPTForCausalLM, "save_pretrained", save_wrongly)
    assert convert(str(tmp_path / "gpt2"), tmp_path / "ours").difference > 0.01


def test_the_verb_says_what_it_did(tmp_path):
    save_gpt2(tmp_path / "gpt2", GPT2ForSequenceClassification)
    (tmp_path / "ours").mkdir()  # an empty folder is fine
    arguments = ["convert", str(tmp_path / "gpt2"), str(tmp_path / "ours")]
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    first, second, third = result.stdout.splitlines()
    assert first.endswith("/ours (CustomGPTForSequenceClassification)")
    assert "/gpt2 (GPT2ForSequenceClassification) -> " in first
    assert second.endswith(" parameters; tokenizer copied")
    assert third.startswith("largest difference of logits on 24 random tokens after reloading: ")


def test_what_cannot_be_converted_is_refused_and_nothing_is_written(tmp_path):
    def refusal(source, destination):
        with pytest.raises(UserError) as error:
            convert(str(tmp_path / source), tmp_path / destination)
        return str(error.value)

    save_gpt2(tmp_path / "gpt2")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    for name in ("full", "full/mine.txt"):
        assert refusal("gpt2", name).endswith(f"{name} exists and is not an empty folder")
    LlamaConfig().save_pretrained(tmp_path / "llama")
    assert "is a 'llama'; only 'gpt2' and 'custom_gpt' can be" in refusal("llama", "new")
    random_gpt2(GPT2DoubleHeadsModel).save_pretrained(tmp_path / "double")
    assert "is a GPT2DoubleHeadsModel; only GPT2LMHeadModel, " in refusal("double", "new")
    assert "nowhere' is no folder here" in refusal("nowhere", "new")
    save_gpt2(tmp_path / "other", scale_attn_by_inverse_layer_idx=True)
    assert "scale_attn_by_inverse_layer_idx=True" in refusal("other", "new")
    assert not (tmp_path / "new").exists()


def test_a_recipe_can_start_the_custom_gpt_from_a_gpt2(tmp_path, write_recipe):
    gpt2 = save_gpt2(tmp_path / "gpt2")
    convert(str(tmp_path / "gpt2"), tmp_path / "ours")
    still = {"learning_rate": 0.0, "per_device_train_batch_size": 16, "num_train_epochs": 1}
    models = [{"name": "ours", "model_name_or_path": str(tmp_path / "ours")}]
    recipe = write_recipe(models=models, seeds=[0], training_arguments=still, tokenizer=None)
    outcome = compare(load_recipe(recipe), tmp_path / "results")
    (record,) = outcome.ran
    assert record.status == "finished"
    assert record.model_facts.class_name == "CustomGPTForSequenceClassification"
    assert record.model_facts.parameters == gpt2.transformer.num_parameters() + 2 * 16 + 2


@pytest.mark.skipif(not TINY_GPT2.exists(), reason="../shared with the real tiny-gpt2 is absent")
def test_the_real_tiny_gpt2_can_be_converted(tmp_path):
    made = convert(str(TINY_GPT2), tmp_path / "ours")
    assert made.parameters == 102_714
    assert made.has_tokenizer
    assert made.difference < 1e-6 < made.largest_logit
    assert convert(str(tmp_path / "ours"), tmp_path / "back").difference < 1e-6
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "back")
    assert tokenizer("He and I").input_ids == [1544, 290, 314]
    assert json.loads((tmp_path / "back" / "config.json").read_text())["model_type"] == "gpt2"
