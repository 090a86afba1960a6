"""The custom GPT against GPT-2, against itself by another route, and in a process without us."""

import ast
import copy
import inspect
import json
import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from torch import nn
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    StaticCache,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.utils.logging import warning_once

from hfbench.models import (
    PRESETS,
    CustomGPTConfig,
    CustomGPTForCausalLM,
    CustomGPTForSequenceClassification,
    CustomGPTModel,
)
from hfbench.models.custom_gpt import configuration_custom_gpt

VOCAB_SIZE = 50
AUTO_CLASSES = {
    "AutoConfig": CustomGPTConfig,
    "AutoModel": CustomGPTModel,
    "AutoModelForCausalLM": CustomGPTForCausalLM,
    "AutoModelForSequenceClassification": CustomGPTForSequenceClassification,
}
MODEL_CLASSES = (CustomGPTModel, CustomGPTForCausalLM, CustomGPTForSequenceClassification)


def small_config(**overrides):
    """2 layers, 2 heads, width 16; weights large enough for every part to show in the logits."""
    sizes = {"vocab_size": VOCAB_SIZE, "n_positions": 24, "n_layer": 2, "n_head": 2, "n_embd": 16}
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    return CustomGPTConfig(**{**sizes, **ids, "initializer_range": 0.3, **overrides})


def build(model_class, seed=0, **overrides):
    """A model with random weights and biases, in evaluation mode."""
    set_seed(seed)
    model = model_class(small_config(**overrides))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or ".ln_" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def random_rows(*lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(1, VOCAB_SIZE, (length,), generator=generator) for length in lengths]


def pad(rows, width, side):
    """Input ids and attention mask of shape (len(rows), width); the pads are not all alike."""
    ids = torch.arange(len(rows) * width).reshape(len(rows), width) % VOCAB_SIZE
    mask = torch.zeros_like(ids)
    for number, row in enumerate(rows):
        real = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        ids[number, real] = row
        mask[number, real] = 1
    return {"input_ids": ids, "attention_mask": mask}


def assert_close(first, second, atol=1e-5):
    torch.testing.assert_close(first, second, atol=atol, rtol=0)


def count_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


# --- configuration


@pytest.mark.parametrize(("name", "sizes"), PRESETS.items())
def test_a_preset_has_the_parameters_that_arithmetic_gives(name, sizes):
    config = CustomGPTConfig.from_preset(name)
    with torch.device("meta"):
        body, classifier = CustomGPTModel(config), CustomGPTForSequenceClassification(config)
        language_model = CustomGPTForCausalLM(config)

    width, layers = sizes["n_embd"], sizes["n_layer"]
    attention = 4 * (width * width + width)
    mlp = (width * 4 * width + 4 * width) + (4 * width * width + width)
    norm = 2 * width
    expected = (50257 + 1024) * width + layers * (attention + mlp + 2 * norm) + norm

    assert count_parameters(body) == expected
    assert count_parameters(language_model) == expected + 50257 * width
    assert count_parameters(classifier) == expected + 2 * width + 2
    assert len(body.h) == layers
    assert body.h[0].attn.head_size * sizes["n_head"] == width


def test_the_published_sizes_are_met():
    def millions(name):
        with torch.device("meta"):
            return count_parameters(CustomGPTModel(CustomGPTConfig.from_preset(name))) / 1e6

    assert millions("gpt-nano") == pytest.approx(2.55, abs=0.01)  # the study's "about 2.5 M"
    assert millions("gpt2") == 124.439808  # openai-community/gpt2
    assert millions("gpt2-xl") == 1557.6112  # openai-community/gpt2-xl


def test_presets_can_be_read_without_importing_the_file():
    tree = ast.parse(Path(configuration_custom_gpt.__file__).read_text("utf-8"))
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "PRESETS"
    )
    assert ast.literal_eval(value) == PRESETS


def test_an_override_wins_over_its_preset_under_either_name():
    assert CustomGPTConfig.from_preset("gpt-nano", n_embd=96).n_embd == 96
    assert CustomGPTConfig.from_preset("gpt-nano", hidden_size=96).n_embd == 96
    assert CustomGPTConfig.from_preset("gpt-nano", vocab_size=7).hidden_size == 48


def test_an_unknown_preset_names_the_nearest_and_all():
    with pytest.raises(ValueError, match="did you mean 'gpt-nano'") as error:
        CustomGPTConfig.from_preset("gpt-nanno")
    assert all(name in str(error.value) for name in PRESETS)
    with pytest.raises(ValueError, match=r"'bert' \(known"):
        CustomGPTConfig.from_preset("bert")


@pytest.mark.parametrize("n_head", [3, 0])
def test_a_width_that_does_not_divide_into_heads_is_refused(n_head):
    message = rf"n_embd \(50\) must be a multiple of n_head \({n_head}\)"
    with pytest.raises(StrictDataclassClassValidationError, match=message) as error:
        CustomGPTConfig(n_embd=50, n_head=n_head)
    assert isinstance(error.value.__cause__, ValueError)


# --- initialisation


def test_each_kind_of_weight_starts_with_its_standard_deviation():
    set_seed(0)
    wide = {"n_embd": 128, "n_layer": 3, "n_head": 4, "vocab_size": 1000, "n_positions": 256}
    config = CustomGPTConfig(**wide, eos_token_id=None, bos_token_id=None, num_labels=64)
    models = [CustomGPTForCausalLM(config), CustomGPTForSequenceClassification(config)]
    weights = {
        (kind, name): parameter
        for kind, model in enumerate(models)
        for name, parameter in model.named_parameters()
        if ".ln_" not in name
    }
    kinds = set()
    for (_, name), weight in weights.items():
        if name.endswith("bias"):
            assert torch.equal(weight, torch.zeros_like(weight)), name
            continue
        # 5 standard errors of the estimate
        expected = 0.02 / math.sqrt(2 * 3) if "c_proj" in name else 0.02
        bound = 5 / math.sqrt(2 * weight.numel())
        assert weight.std().item() == pytest.approx(expected, rel=bound), name
        assert abs(weight.mean().item()) < 5 * expected / math.sqrt(weight.numel()), name
        kinds.add(name.split(".")[-2])
    assert kinds == {"wte", "wpe", "c_attn", "c_proj", "c_fc", "lm_head", "score"}


def test_norms_start_as_the_identity():
    model = CustomGPTModel(small_config())
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 2 * 2 + 1
    for norm in norms:
        assert torch.equal(norm.weight, torch.ones(16))
        assert torch.equal(norm.bias, torch.zeros(16))


def test_a_head_that_no_checkpoint_has_starts_like_any_weight(tmp_path):
    CustomGPTForCausalLM(small_config(n_embd=128, initializer_range=0.02)).save_pretrained(tmp_path)
    set_seed(0)
    model = CustomGPTForSequenceClassification.from_pretrained(tmp_path, num_labels=64)
    bound = 5 / math.sqrt(2 * model.score.weight.numel())
    assert model.score.weight.std().item() == pytest.approx(0.02, rel=bound)
    assert torch.equal(model.score.bias, torch.zeros(64))


def test_a_new_language_model_knows_nothing():
    set_seed(0)
    config = CustomGPTConfig.from_preset("gpt-nano", vocab_size=5000, n_positions=32)
    model = CustomGPTForCausalLM(config).eval()
    ids = torch.randint(0, 5000, (16, 32))
    # the final norm makes hidden states of length sqrt(n_embd), so logits from N(0, n_embd 0.02^2)
    expected = math.log(5000) + 48 * 0.02**2 / 2
    with torch.no_grad():
        assert model(ids, labels=ids).loss.item() == pytest.approx(expected, abs=0.02)


# --- parity with GPT-2


def copy_from_gpt2(gpt2, model_class, **overrides):
    """Ours with the weights of a GPT-2; its Conv1D keeps matrices the other way round."""
    names = ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner")
    config = small_config(**{name: getattr(gpt2.config, name) for name in names}, **overrides)
    model = model_class(config)
    matrices = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
    weights = {
        name: weight.T if name.endswith(matrices) else weight
        for name, weight in gpt2.state_dict().items()
    }
    result = model.load_state_dict(weights, strict=False)
    assert not result.unexpected_keys
    return model.eval(), result.missing_keys


def random_gpt2(model_class, **sizes):
    set_seed(1)
    gpt2 = model_class(GPT2Config(**sizes, initializer_range=0.2, eos_token_id=0, bos_token_id=0))
    for name, parameter in gpt2.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(parameter, std=0.2)
    return gpt2.eval()


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_layer": 1, "n_head": 1, "n_embd": 8},
        {"n_layer": 3, "n_head": 3, "n_embd": 48},
        {"n_layer": 2, "n_head": 4, "n_embd": 32, "n_inner": 20},
    ],
)
def test_logits_and_loss_equal_those_of_gpt2_with_the_same_weights(sizes):
    gpt2 = random_gpt2(GPT2LMHeadModel, vocab_size=VOCAB_SIZE, n_positions=24, **sizes)
    model, missing = copy_from_gpt2(gpt2, CustomGPTForCausalLM, tie_word_embeddings=True)
    assert missing == []
    ids = torch.randint(0, VOCAB_SIZE, (3, 24))
    ours, theirs = model(ids, labels=ids), gpt2(ids, labels=ids)
    assert theirs.logits.std() > 0.5  # else the comparison would say little
    assert_close(ours.logits, theirs.logits)
    assert_close(ours.loss, theirs.loss)


def test_the_classifier_equals_that_of_gpt2_without_padding():
    sizes = {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": VOCAB_SIZE, "n_positions": 24}
    gpt2 = random_gpt2(GPT2ForSequenceClassification, **sizes, pad_token_id=0)
    model, missing = copy_from_gpt2(gpt2, CustomGPTForSequenceClassification)
    assert missing == ["score.bias"]
    nn.init.zeros_(model.score.bias)
    ids, labels = torch.randint(1, VOCAB_SIZE, (4, 9)), torch.tensor([0, 1, 1, 0])
    ours, theirs = model(ids, labels=labels), gpt2(ids, labels=labels)
    assert_close(ours.logits, theirs.logits)
    assert_close(ours.loss, theirs.loss)


# --- padding


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padding_and_company_do_not_change_what_the_classifier_says(attention):
    model = build(CustomGPTForSequenceClassification, num_labels=3, attn_implementation=attention)
    rows = random_rows(1, 4, 9)
    with torch.no_grad():
        alone = torch.cat([model(row[None]).logits for row in rows])
        assert (alone[0] - alone[1]).abs().max() > 0.01
        for side in ("left", "right"):
            for width in (9, 10, 24):
                assert_close(model(**pad(rows, width, side)).logits, alone)
                alone_padded = [model(**pad([row], width, side)).logits for row in rows]
                assert_close(torch.cat(alone_padded), alone)
            fewer = pad(rows[:2], 5, side)
            assert_close(model(**fewer).logits, alone[:2])
            boolean = fewer["attention_mask"].bool()
            assert_close(model(fewer["input_ids"], attention_mask=boolean).logits, alone[:2])


def test_without_a_mask_the_classifier_reads_the_last_position():
    model = build(CustomGPTForSequenceClassification)
    ids = torch.stack(random_rows(7, 7))
    ids[:, -2:] = 0  # the pad id, which only a mask can declare to be padding
    full = model(ids, attention_mask=torch.ones_like(ids)).logits
    assert_close(model(ids).logits, full)
    masked = model(ids, attention_mask=(ids != 0).long()).logits
    assert (masked - full).abs().max() > 0.01


def test_the_head_is_applied_to_one_position_of_each_row():
    model = build(CustomGPTForSequenceClassification)
    shapes = []
    model.score.register_forward_hook(lambda _, inputs, __: shapes.append(inputs[0].shape))
    model(**pad(random_rows(3, 5), 8, "left"))
    assert shapes == [(2, 16)]


def test_the_classifier_refuses_a_mask_that_does_not_say_which_tokens_are_real():
    model = build(CustomGPTForSequenceClassification)
    with pytest.raises(ValueError, match=r"\(batch, tokens\), not \(1, 1, 4, 4\)"):
        model(random_rows(4)[0][None], attention_mask=torch.zeros(1, 1, 4, 4))


def test_both_sides_of_padding_give_the_same_next_token_scores():
    model = build(CustomGPTForCausalLM)
    rows = random_rows(2, 6, 8)
    with torch.no_grad():
        left, right = (model(**pad(rows, 11, side)).logits for side in ("left", "right"))
        for number, row in enumerate(rows):
            alone = model(row[None]).logits[0]
            assert_close(left[number, 11 - len(row) :], alone)
            assert_close(right[number, : len(row)], alone)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_does_not_change_gradients(side):
    rows, labels = random_rows(2, 6), torch.tensor([0, 1])
    model = build(CustomGPTForSequenceClassification)
    model(**pad(rows, 9, side), labels=labels).loss.backward()
    padded = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    for row, label in zip(rows, labels, strict=True):
        (model(row[None], labels=label[None]).loss / 2).backward()
    for name, parameter in model.named_parameters():
        assert_close(padded[name], parameter.grad)


# --- attention and cache


def test_hidden_states_and_attentions_are_recorded_where_asked_for():
    model = build(CustomGPTForCausalLM, attn_implementation="eager")
    ids = torch.stack(random_rows(6, 6))
    outputs = model(ids, output_hidden_states=True, output_attentions=True)
    assert [tuple(states.shape) for states in outputs.hidden_states] == [(2, 6, 16)] * 3
    assert_close(model.lm_head(outputs.hidden_states[-1]), outputs.logits)
    for weights in outputs.attentions:
        assert weights.shape == (2, 2, 6, 6)
        assert_close(weights.sum(-1), torch.ones(2, 2, 6))
        assert weights.triu(1).abs().max() == 0
    assert len(outputs.attentions) == 2
    assert model(ids).attentions is None


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_later_token_does_not_change_an_earlier_score(attention):
    model = build(CustomGPTForCausalLM, attn_implementation=attention)
    ids = random_rows(8)[0][None]
    changed = ids.clone()
    changed[0, 5] = (ids[0, 5] + 1) % VOCAB_SIZE
    with torch.no_grad():
        before, after = model(ids).logits[0], model(changed).logits[0]
    assert torch.equal(before[:5], after[:5])
    assert ((before[5:] - after[5:]).abs().amax(-1) > 1e-3).all()


def cache_of(output):
    """The cache of an output, by the name that this transformers has for it."""
    return output.cache if "cache" in output.__dataclass_fields__ else output.past_key_values


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
@pytest.mark.parametrize("side", [None, "left"])
@pytest.mark.parametrize("step", [1, 3])
def test_scores_with_a_cache_equal_those_without(side, step, name):
    model = build(CustomGPTForCausalLM)
    rows = random_rows(9, 6)
    inputs = {"input_ids": torch.stack(random_rows(9, 9))} if side is None else pad(rows, 9, side)
    ids, mask = inputs["input_ids"], inputs.get("attention_mask")
    cache, parts = None, []
    with torch.no_grad():
        whole = model(**inputs, use_cache=False)
        for start in range(0, 9, step):
            part = model(
                ids[:, start : start + step],
                attention_mask=None if mask is None else mask[:, : start + step],
                use_cache=True,
                **{name: cache},
            )
            cache = cache_of(part)
            parts.append(part.logits)
    real = torch.ones(2, 9).bool() if mask is None else mask.bool()
    assert cache_of(whole) is None
    assert cache.get_seq_length() == 9
    assert_close(torch.cat(parts, dim=1)[real], whole.logits[real])


@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_the_classifier_keeps_a_cache_only_where_asked_for(name):
    model = build(CustomGPTForSequenceClassification)
    ids = torch.stack(random_rows(7, 7))
    assert cache_of(model(ids)) is None
    first = model(ids[:, :4], use_cache=True)
    mask = torch.ones_like(ids)
    mask[1, 6] = 0
    rest = model(ids[:, 4:], attention_mask=mask, **{name: cache_of(first)})
    assert_close(rest.logits, model(ids, attention_mask=mask).logits)


def generate(model, inputs, **options):
    return model.generate(**inputs, max_new_tokens=8, do_sample=False, **options)


def test_generation_warns_of_nothing(caplog, recwarn):
    model, batch = build(CustomGPTForCausalLM), pad(random_rows(2, 5, 7), 7, "left")
    warning_once.cache_clear()  # it may have been said before
    monitored = logging.getLogger("transformers")
    monitored.addHandler(caplog.handler)  # they do not propagate
    try:
        generate(model, batch)
    finally:
        monitored.removeHandler(caplog.handler)
    assert caplog.messages == []
    assert [str(warning.message) for warning in recwarn] == []


def test_greedy_generation_does_not_depend_on_cache_batch_or_padding():
    model = build(CustomGPTForCausalLM)
    rows = random_rows(2, 5, 7)
    batch = pad(rows, 7, "left")
    with_cache = generate(model, batch)
    assert torch.equal(generate(model, batch, use_cache=False), with_cache)
    for number, row in enumerate(rows):
        one = {"input_ids": row[None], "attention_mask": torch.ones(1, len(row), dtype=torch.long)}
        alone = generate(model, one)[0, len(row) :]
        assert torch.equal(with_cache[number, 7:], alone)
        assert len(set(alone.tolist())) > 2  # a model that repeats one token would prove nothing
    static = StaticCache(config=model.config, max_cache_len=15)
    assert torch.equal(generate(model, batch, past_key_values=static), with_cache)


def test_only_the_scores_asked_for_are_computed():
    model = build(CustomGPTForCausalLM)
    ids = torch.stack(random_rows(6, 6))
    whole = model(ids).logits
    assert_close(model(ids, logits_to_keep=2).logits, whole[:, -2:])
    chosen = torch.tensor([1, 4])
    assert_close(model(ids, logits_to_keep=chosen).logits, whole[:, chosen])


def test_packed_sequences_do_not_see_each_other():
    model = build(CustomGPTForCausalLM)
    rows = random_rows(4, 6)
    positions = torch.cat([torch.arange(4), torch.arange(6)])[None]
    # transformers looks for packed rows only where there is neither a mask nor a cache
    packed = model(torch.cat(rows)[None], position_ids=positions, use_cache=False).logits[0]
    assert_close(packed, torch.cat([model(row[None]).logits[0] for row in rows]))


def test_embeddings_may_be_given_instead_of_ids():
    model = build(CustomGPTForCausalLM)
    ids = random_rows(5)[0][None]
    embeddings = model.get_input_embeddings()(ids)
    assert torch.equal(model(inputs_embeds=embeddings).logits, model(ids).logits)
    for inputs in ({}, {"input_ids": ids, "inputs_embeds": embeddings}):
        with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
            model(**inputs)


def test_a_sequence_longer_than_the_positions_is_refused():
    message = r"a text of 25 tokens is longer than n_positions \(24\)"
    for model_class in MODEL_CLASSES:
        with pytest.raises(ValueError, match=message):
            build(model_class)(torch.ones(1, 25, dtype=torch.long))
    model = build(CustomGPTForCausalLM)
    model(torch.ones(1, 24, dtype=torch.long))


def test_padding_uses_up_no_positions():
    rows = random_rows(4, 24)
    for model_class in (CustomGPTForCausalLM, CustomGPTForSequenceClassification):
        model = build(model_class)
        with torch.no_grad():
            for side in ("left", "right"):
                inputs = pad(rows, 40, side)
                padded = model(**inputs).logits
                alone = [model(row[None]).logits[0] for row in rows]
                if model_class is CustomGPTForCausalLM:
                    padded, alone = padded[inputs["attention_mask"].bool()], [torch.cat(alone)]
                assert_close(padded, torch.stack(alone).squeeze(0))


# --- loss and training


@pytest.mark.parametrize("items", [None, 40])
@pytest.mark.parametrize("tied", [False, True])
def test_skipping_logits_changes_neither_the_loss_nor_a_gradient(tied, items):
    rows = random_rows(3, 9, 6)
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
    labels = torch.where(mask == 1, ids, -100)
    labels[1, 4] = -100  # not at the end of a row
    inputs = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    found = []
    for skip_logits in (False, True):
        model = build(CustomGPTForCausalLM, tie_word_embeddings=tied)
        outputs = model(**inputs, num_items_in_batch=items, skip_logits=skip_logits)
        outputs.loss.backward()
        assert (outputs.logits is None) == skip_logits
        gradients = {name: p.grad for name, p in model.named_parameters()}
        found.append((outputs.loss, gradients))
    (loss, gradients), (other_loss, other_gradients) = found
    torch.testing.assert_close(other_loss, loss, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(other_gradients, gradients, rtol=1e-5, atol=1e-6)
    assert build(CustomGPTForCausalLM)(ids, skip_logits=True).logits is not None  # without labels


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("model_class", [CustomGPTForCausalLM, CustomGPTForSequenceClassification])
def test_skipping_padding_changes_neither_logits_nor_a_gradient(model_class, side, attention):
    inputs = pad(random_rows(3, 9, 6), 11, side)
    real = inputs["attention_mask"].bool()
    labels = torch.tensor([0, 1, 1])
    if model_class is CustomGPTForCausalLM:
        labels = inputs["input_ids"].where(real, -100)
        labels[torch.arange(3), inputs["attention_mask"].argmax(1)] = -100  # only padding precedes
    found = []
    for skip_padding in (False, True):
        model = build(model_class, attn_implementation=attention)
        outputs = model(**inputs, labels=labels, use_cache=False, skip_padding=skip_padding)
        outputs.loss.backward()
        logits = outputs.logits[real] if outputs.logits.ndim == 3 else outputs.logits
        found.append((logits, {name: p.grad for name, p in model.named_parameters()}))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_told_the_real_tokens_it_has_the_same_loss_and_gradients_and_looks_at_no_value(side):
    inputs = pad(random_rows(3, 9, 6), 11, side)
    mask = inputs["attention_mask"].flatten()
    labels = inputs["input_ids"].where(inputs["attention_mask"].bool(), -100)
    labels[torch.arange(3), inputs["attention_mask"].argmax(1)] = -100  # only padding precedes
    # 18 real tokens and six of the padding
    index = torch.cat([mask.nonzero().flatten(), (mask == 0).nonzero().flatten()[:6]])
    found, sizes = [], []
    for skip_padding in (False, index):
        model = build(CustomGPTForCausalLM, attn_implementation="sdpa")
        for block in model.transformer.h:
            block.mlp.register_forward_hook(lambda *call: sizes.append(call[1][0].shape[:2]))
        options = {"use_cache": False, "skip_logits": True, "skip_padding": skip_padding}
        loss = model(**inputs, labels=labels, **options).loss
        loss.backward()
        found.append((loss, {name: p.grad for name, p in model.named_parameters()}))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)
    layers = len(model.transformer.h)
    assert sizes == [(3, 11)] * layers + [(1, 24)] * layers
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:  # which has no values
        fake = {name: mode.from_tensor(tensor) for name, tensor in inputs.items()}
        options["skip_padding"] = mode.from_tensor(index)
        model(**fake, **options)
        with pytest.raises(DynamicOutputShapeException):
            model(**fake, **{**options, "skip_padding": True})


def test_skipping_padding_looks_at_the_real_tokens_alone(monkeypatch):
    inputs = pad(random_rows(3, 9, 6), 11, "left")
    model, rows = build(CustomGPTForCausalLM), []
    for block in model.transformer.h:
        block.mlp.register_forward_hook(lambda *call: rows.append(call[1][0].shape[:2]))
    model(**inputs, use_cache=False, skip_padding=True)
    assert rows == [(1, 3 + 9 + 6)] * len(model.transformer.h)
    rows.clear()
    model(**inputs)
    assert rows == [(3, 11)] * len(model.transformer.h)


def test_the_language_model_divides_its_loss_by_the_tokens_of_the_step():
    model = build(CustomGPTForCausalLM)
    ids = torch.stack(random_rows(6, 6))
    labels = ids.clone()
    labels[0, :4] = -100
    scores = model(ids).logits[:, :-1].log_softmax(-1)
    right = scores.gather(-1, ids[:, 1:, None]).squeeze(-1)
    total = -right[labels[:, 1:] != -100].sum()
    assert_close(model(ids, labels=labels).loss, total / 7)
    assert_close(model(ids, labels=labels, num_items_in_batch=28).loss, total / 28)


def test_the_classifier_takes_the_mean_of_its_batch_whatever_the_trainer_counts():
    model = build(CustomGPTForSequenceClassification)
    ids, labels = torch.stack(random_rows(6, 6)), torch.tensor([1, 0])
    expected = -model(ids).logits.log_softmax(-1)[[0, 1], labels].mean()
    assert_close(model(ids, labels=labels).loss, expected)
    assert_close(model(ids, labels=labels, num_items_in_batch=28).loss, expected)
    assert model.accepts_loss_kwargs is False


@pytest.mark.parametrize("model_class", [CustomGPTForCausalLM, CustomGPTForSequenceClassification])
def test_the_trainer_predicts_the_logits_and_nothing_else(model_class, tmp_path):
    model = build(model_class)
    ids = torch.stack(random_rows(6, 6))
    labels = ids if model_class is CustomGPTForCausalLM else torch.tensor([0, 1])
    examples = [{"input_ids": row, "labels": label} for row, label in zip(ids, labels, strict=True)]
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    predictions = Trainer(model, arguments).predict(examples).predictions
    assert_close(torch.from_numpy(predictions), model(ids).logits.detach())


@pytest.mark.parametrize("model_class", [CustomGPTForCausalLM, CustomGPTForSequenceClassification])
def test_gradient_checkpointing_gives_the_same_gradients(model_class):
    model = build(model_class).train()
    ids = torch.stack(random_rows(6, 6))
    labels = ids if model_class is CustomGPTForCausalLM else torch.tensor([0, 1])

    def gradients():
        model.zero_grad()
        set_seed(3)  # dropout is on
        model(ids, labels=labels).loss.backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    plain = gradients()
    calls = []
    model.transformer.h[0].ln_1.register_forward_hook(lambda *_: calls.append(1))
    model.gradient_checkpointing_enable()
    checkpointed = gradients()
    assert len(calls) == 2  # forward, and again on the way back
    for name, gradient in plain.items():
        assert gradient.abs().sum() > 0, name
        assert_close(gradient, checkpointed[name], atol=1e-7)


@pytest.mark.parametrize("field", ["embd_pdrop", "resid_pdrop", "attn_pdrop"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_each_dropout_acts_in_training_only(field, attention):
    off = {"embd_pdrop": 0, "resid_pdrop": 0, "attn_pdrop": 0}
    ids = torch.stack(random_rows(6, 6))
    model = build(CustomGPTModel, **{**off, field: 0.5}, attn_implementation=attention)
    still = model(ids).last_hidden_state
    assert torch.equal(model(ids).last_hidden_state, still)
    model.train()
    assert (model(ids).last_hidden_state - still).abs().max() > 0.01


def test_where_all_that_blocks_add_is_dropped_only_the_embeddings_remain():
    model = build(CustomGPTModel, embd_pdrop=0, resid_pdrop=1.0, attn_pdrop=0).train()
    ids = torch.stack(random_rows(6, 6))
    expected = model.ln_f(model.wte.weight[ids] + model.wpe.weight[:6])
    assert_close(model(ids).last_hidden_state, expected)


# --- saving and loading


@pytest.mark.parametrize("tied", [False, True])
def test_a_language_model_becomes_a_classifier_and_comes_back(tmp_path, tied):
    start = build(CustomGPTForCausalLM, tie_word_embeddings=tied)
    start.save_pretrained(tmp_path / "lm")
    classifier, there = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "lm", num_labels=3, output_loading_info=True
    )
    classifier.save_pretrained(tmp_path / "classifier")
    end, back = AutoModelForCausalLM.from_pretrained(
        tmp_path / "classifier", output_loading_info=True
    )
    assert isinstance(classifier, CustomGPTForSequenceClassification)
    assert isinstance(end, CustomGPTForCausalLM)
    assert there["missing_keys"] == {"score.weight", "score.bias"}
    assert there["unexpected_keys"] == (set() if tied else {"lm_head.weight"})
    assert back["missing_keys"] == (set() if tied else {"lm_head.weight"})
    assert back["unexpected_keys"] == {"score.weight", "score.bias"}
    body = AutoModel.from_pretrained(tmp_path / "lm").state_dict()
    for name, weight in start.transformer.state_dict().items():
        assert torch.equal(weight, end.transformer.state_dict()[name]), name
        assert torch.equal(weight, body[name]), name


@pytest.mark.parametrize("tied", [False, True])
def test_a_language_model_survives_saving(tmp_path, tied):
    model = build(CustomGPTForCausalLM, tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    loaded, report = CustomGPTForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    for one in (model, loaded):
        assert (one.lm_head.weight is one.transformer.wte.weight) is tied
        assert count_parameters(one) == count_parameters(one.transformer) + (not tied) * 16 * 50
    ids = torch.stack(random_rows(6, 6))
    assert torch.equal(model(ids).logits, loaded(ids).logits)


def test_every_saved_folder_says_where_each_auto_class_finds_its_code(tmp_path):
    expected = {
        auto: f"{inspect.getfile(own).rpartition('/')[2][:-3]}.{own.__name__}"
        for auto, own in AUTO_CLASSES.items()
    }
    for model_class in MODEL_CLASSES:
        folder = tmp_path / model_class.__name__
        build(model_class).save_pretrained(folder)
        config = json.loads((folder / "config.json").read_text("utf-8"))
        assert config["auto_map"] == expected
        assert config["architectures"] == [model_class.__name__]
    CustomGPTConfig().save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text("utf-8"))["auto_map"] == expected
    kept = CustomGPTConfig(auto_map={"AutoModel": "someone/repo--modeling_custom_gpt.X"}).auto_map
    assert kept == expected | {"AutoModel": "someone/repo--modeling_custom_gpt.X"}
    assert CustomGPTConfig().auto_map == expected


def test_auto_classes_know_the_model_without_trusting_code_in_its_folder(tmp_path):
    build(CustomGPTForCausalLM).save_pretrained(tmp_path)
    loaders = (AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification)
    assert type(AutoConfig.from_pretrained(tmp_path)) is CustomGPTConfig
    for loader, model_class in zip(loaders, MODEL_CLASSES, strict=True):
        assert type(loader.from_pretrained(tmp_path)) is model_class
        assert type(loader.from_pretrained(tmp_path, trust_remote_code=True)) is model_class
        assert type(loader.from_config(small_config())) is model_class


def test_a_configuration_survives_saving_and_copying(tmp_path):
    config = small_config(n_inner=20, id2label={0: "a", 1: "b", 2: "c"}, attn_pdrop=0)
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path).to_dict()
    assert loaded | {"_name_or_path": ""} == config.to_dict() | {"_name_or_path": ""}
    assert CustomGPTConfig.from_dict(config.to_dict()).to_dict() == config.to_dict()
    assert copy.deepcopy(config).to_dict() == config.to_dict()


STRANGER = """
import sys
from pathlib import Path

sys.modules["hfbench"] = None
try:
    import hfbench
except ImportError:
    pass
else:
    raise AssertionError("hfbench can be imported here")

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

folder = Path(sys.argv[1])
ids, mask = torch.load(folder / "inputs.pt")
logits = {}
for name, loader, source in (
    ("classifier", AutoModelForSequenceClassification, "classifier"),
    ("lm", AutoModelForCausalLM, "lm"),
    ("lm_as_classifier", AutoModelForSequenceClassification, "lm"),
):
    try:
        AutoConfig.from_pretrained(folder / source, trust_remote_code=False)
    except ValueError:
        pass
    else:
        raise AssertionError("the folder was loaded as if transformers knew the model")
    model = loader.from_pretrained(folder / source, trust_remote_code=True)
    assert type(model).__module__.startswith("transformers_modules."), type(model)
    model.eval()
    logits[name] = model(ids, attention_mask=mask).logits.detach()
    model.save_pretrained(folder / f"{name}_again")
    if name == "lm":
        options = {"do_sample": False, "max_new_tokens": 3}
        logits["generated"] = model.generate(ids, attention_mask=mask, **options)
assert "hfbench.models" not in sys.modules
torch.save(logits, folder / "logits.pt")
"""


def run_as_a_stranger(folder):
    """Run `STRANGER` from another folder, isolated from PYTHONPATH, without network or caches."""
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hf_home"),
        "HF_MODULES_CACHE": str(folder / "modules"),
    }
    (folder / "elsewhere").mkdir()
    subprocess.run(
        [sys.executable, "-I", "-c", STRANGER, str(folder)],
        cwd=folder / "elsewhere",
        env=environment,
        stdin=subprocess.DEVNULL,  # a prompt to trust the code would fail
        check=True,
        timeout=120,
    )


def test_a_saved_model_loads_in_a_process_without_hfbench(tmp_path):
    classifier = build(CustomGPTForSequenceClassification, num_labels=3)
    language_model = build(CustomGPTForCausalLM)
    classifier.save_pretrained(tmp_path / "classifier")
    language_model.save_pretrained(tmp_path / "lm")
    inputs = pad(random_rows(4, 7), 9, "left")
    torch.save((inputs["input_ids"], inputs["attention_mask"]), tmp_path / "inputs.pt")

    run_as_a_stranger(tmp_path)

    logits = torch.load(tmp_path / "logits.pt")
    assert torch.equal(logits["classifier"], classifier(**inputs).logits)
    assert torch.equal(logits["lm"], language_model(**inputs).logits)
    assert logits["lm_as_classifier"].shape == (2, 2)
    generated = language_model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert torch.equal(logits["generated"], generated)
    code = {f"{name}_custom_gpt.py" for name in ("configuration", "loss", "modeling", "padding")}
    always = {"config.json", "model.safetensors"} | code
    for name in ("classifier", "lm", "classifier_again", "lm_again", "lm_as_classifier_again"):
        files = {path.name for path in (tmp_path / name).iterdir()}
        is_generator = name in ("lm", "lm_again")
        assert files == (always | {"generation_config.json"} if is_generator else always)
        config = json.loads((tmp_path / name / "config.json").read_text("utf-8"))
        assert config["auto_map"].keys() == AUTO_CLASSES.keys()
