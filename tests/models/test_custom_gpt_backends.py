"""What transformers and torch offer for any model, used on the custom GPT."""

import logging
import warnings

import pytest
import torch
import transformers
from accelerate import infer_auto_device_map
from torch import nn
from torch._dynamo.testing import CompileCounter
from transformers import AutoModelForCausalLM, StaticCache, set_seed

from hfbench.models import (
    CustomGPTConfig,
    CustomGPTForCausalLM,
    CustomGPTForSequenceClassification,
    CustomGPTModel,
)

MODEL_CLASSES = (CustomGPTModel, CustomGPTForCausalLM, CustomGPTForSequenceClassification)
HEADS = (CustomGPTForCausalLM, CustomGPTForSequenceClassification)
ONE_OF_THEM = (  # the compiler takes seconds
    CustomGPTForSequenceClassification,
    pytest.param(CustomGPTForCausalLM, marks=pytest.mark.slow),
)


def build(model_class, **overrides):
    """A small model in evaluation mode whose weights all show in the logits."""
    set_seed(0)
    sizes = {"vocab_size": 50, "n_positions": 24, "n_layer": 2, "n_head": 2, "n_embd": 16}
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": 0}
    return model_class(
        CustomGPTConfig(**sizes | ids | {"initializer_range": 0.3} | overrides)
    ).eval()


def batch(*lengths, side="right"):
    """Rows of random tokens and their attention mask, padded to the longest."""
    mask = torch.tensor(
        [[position < length for position in range(max(lengths))] for length in lengths]
    )
    mask = mask.flip(1) if side == "left" else mask
    ids = torch.randint(1, 50, mask.shape, generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids * mask, "attention_mask": mask.long()}


def assert_close(first, second, atol=1e-5):
    torch.testing.assert_close(first, second, atol=atol, rtol=0)


# --- attention


# torch compiles flex attention, which takes 20 s on a CPU; uncompiled it computes the same
@pytest.mark.parametrize("stance", ["force_eager", pytest.param("default", marks=pytest.mark.slow)])
@pytest.mark.parametrize("model_class", HEADS)
def test_all_implementations_of_attention_agree(model_class, stance):
    model = build(model_class, n_positions=32)
    # torch 2.13's compiled flex attention, by itself, has wrong numbers for 8 or 24 tokens on a CPU
    lengths = [(16, 16), (16, 3, 5), (32, 1)]
    inputs = [batch(*some, side=side) for some in lengths for side in ("left", "right")]
    inputs.append({"input_ids": inputs[0]["input_ids"]})
    logits = {}
    for name in ("eager", "sdpa", "flex_attention"):
        model.set_attn_implementation(name)
        assert model.config._attn_implementation == name
        with torch.no_grad(), torch.compiler.set_stance(stance):
            logits[name] = [model(**some).logits for some in inputs]
    for some, eager, sdpa, flex in zip(inputs, *logits.values(), strict=True):
        real = some.get("attention_mask", torch.ones_like(some["input_ids"])).bool()
        for other in (sdpa, flex):
            if model_class is CustomGPTForCausalLM:
                assert_close(other[real], eager[real])
            else:
                assert_close(other, eager)


def test_flash_attention_is_declared_and_gets_what_it_needs(monkeypatch):
    model = build(CustomGPTForCausalLM)
    assert model._supports_flash_attn
    seen = {}

    def flash(module, query, key, value, attention_mask, **kwargs):
        seen.update(kwargs)
        return query.transpose(1, 2), None

    transformers.AttentionInterface.register("recording", flash)
    model.set_attn_implementation("recording")
    positions = torch.tensor([[0, 1, 2, 0, 1]])
    model(torch.ones(1, 5, dtype=torch.long), position_ids=positions)
    # without a mask it finds the rows of a packed batch by their positions
    assert torch.equal(seen["position_ids"], positions)
    assert seen["scaling"] == 8**-0.5


# --- compile and export


@pytest.mark.parametrize("model_class", ONE_OF_THEM)
def test_the_forward_is_one_graph_and_is_compiled_once_for_a_bucket_of_lengths(model_class):
    # the classifier's loss would fill in the type at the first call, a reason to compile again
    model = build(model_class, problem_type="single_label_classification")
    assert model._can_compile_fullgraph
    torch._dynamo.reset()
    for dynamic, buckets in ((False, [(9, 4), (9, 9), (9, 1)]), (True, [(9, 4), (6, 5), (24, 2)])):
        counter = CompileCounter()
        compiled = torch.compile(model, backend=counter, fullgraph=True, dynamic=dynamic)
        for lengths in buckets:
            inputs = batch(*lengths)
            labels = (
                inputs["input_ids"] if model_class is CustomGPTForCausalLM else torch.tensor([0, 1])
            )
            ours, expected = compiled(**inputs, labels=labels), model(**inputs, labels=labels)
            assert_close(ours.logits, expected.logits)
            assert_close(ours.loss, expected.loss)
        assert counter.frame_count == 1, f"dynamic={dynamic}"
        torch._dynamo.reset()


def test_a_step_with_a_static_cache_is_compiled_once():
    model = build(CustomGPTForCausalLM)
    ids = batch(8)["input_ids"]
    with torch.no_grad():
        expected = model(ids).logits
        cache = StaticCache(config=model.config, max_cache_len=24)
        model(ids[:, :3], past_key_values=cache)
        torch._dynamo.reset()
        counter = CompileCounter()
        compiled = torch.compile(model, backend=counter, fullgraph=True)
        for position in range(3, 8):
            step = compiled(ids[:, position : position + 1], past_key_values=cache).logits
            assert_close(step[:, 0], expected[:, position])
    assert counter.frame_count == 1


@pytest.mark.parametrize("model_class", ONE_OF_THEM)
def test_an_exported_program_takes_every_batch_and_length(model_class):
    model = build(model_class)
    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    program = torch.export.export(
        model,
        (),
        {**batch(6, 4), "use_cache": False},
        dynamic_shapes={"input_ids": dynamic, "attention_mask": dynamic, "use_cache": None},
        strict=False,
    ).module()
    for lengths in ((6, 4), (9, 3, 5), (24, 23, 2, 1)):
        inputs = batch(*lengths)
        assert_close(program(**inputs, use_cache=False).logits, model(**inputs).logits)


# --- memory


def test_no_block_is_split_between_devices():
    model = build(CustomGPTForCausalLM, n_layer=6)
    size = sum(parameter.nbytes for parameter in model.parameters())
    memory = {0: size // 2, "cpu": 2 * size}
    placed = infer_auto_device_map(
        model, memory, no_split_module_classes=list(model._no_split_modules)
    )
    assert set(placed.values()) == {0, "cpu"}
    assert not [
        name for name in placed if name.startswith("transformer.h.") and name.count(".") > 2
    ]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_half_precision_can_be_loaded_and_gives_nearly_the_same(dtype, attention, tmp_path):
    model = build(CustomGPTForCausalLM)
    model.save_pretrained(tmp_path)
    half = CustomGPTForCausalLM.from_pretrained(
        tmp_path, dtype=dtype, attn_implementation=attention, device_map={"": "cpu"}
    )
    assert {parameter.dtype for parameter in half.parameters()} == {dtype}
    inputs = batch(8, 5, side="left")
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        ours, expected = half(**inputs).logits, model(**inputs).logits
    assert ours.dtype == dtype
    assert_close(ours[real].float(), expected[real], atol=0.15)
    half.train()(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in half.parameters())


# --- embeddings and heads


@pytest.mark.parametrize("tied", [False, True])
def test_the_vocabulary_can_be_resized_and_saved(tied, tmp_path):
    model = build(CustomGPTForCausalLM, tie_word_embeddings=tied)
    inputs = batch(6, 4)
    before = model(**inputs).logits
    for size, step in ((60, tmp_path / "grown"), (50, tmp_path / "shrunk")):
        model.resize_token_embeddings(size, mean_resizing=False)
        assert model.config.vocab_size == size
        assert (model.lm_head.weight is model.transformer.wte.weight) is tied
        assert model.lm_head.weight.shape == (size, 16)
        model.save_pretrained(step)
        model = AutoModelForCausalLM.from_pretrained(step)
        assert_close(model(**inputs).logits[..., :50], before)
        assert model(**inputs, labels=inputs["input_ids"]).loss.isfinite()


@pytest.mark.parametrize("tied", [False, True])
def test_the_input_embeddings_can_be_replaced(tied):
    model = build(CustomGPTForCausalLM, tie_word_embeddings=tied)
    inputs = batch(6, 4)
    new = nn.Embedding(50, 16)
    embeddings, mask = new(inputs["input_ids"]), inputs["attention_mask"]
    hidden = model.transformer(inputs_embeds=embeddings, attention_mask=mask).last_hidden_state
    model.set_input_embeddings(new)
    assert model.get_input_embeddings() is new
    assert model.transformer.wte is new
    model.tie_weights()
    head = new.weight if tied else model.lm_head.weight
    assert_close(model(**inputs).logits, hidden @ head.T)


def test_the_output_embeddings_can_be_replaced():
    model = build(CustomGPTForCausalLM)
    new = nn.Linear(16, 50, bias=False)
    model.set_output_embeddings(new)
    assert model.get_output_embeddings() is new
    assert model.lm_head is new


# --- what the libraries ask


def test_the_loss_of_each_head_is_known_by_its_name():
    assert build(CustomGPTForCausalLM).loss_type == "ForCausalLM"
    classifier = build(CustomGPTForSequenceClassification)
    assert classifier.loss_type == "ForSequenceClassification"


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("model_class", MODEL_CLASSES)
def test_saving_and_loading_says_nothing(model_class, tied, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        build(model_class, tie_word_embeddings=tied).save_pretrained(tmp_path)
        model = model_class.from_pretrained(tmp_path)
        model(**batch(6, 4))
        model.set_attn_implementation("eager")
        outputs = model(**batch(6, 4), output_attentions=True, output_hidden_states=True)
    assert caplog.messages == []
    assert (len(outputs.hidden_states), len(outputs.attentions)) == (3, 2)
