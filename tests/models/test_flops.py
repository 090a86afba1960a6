import random

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    CanineConfig,
    CanineForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from hfbench.models.custom_gpt import (
    CustomGPTConfig,
    CustomGPTForCausalLM,
    CustomGPTForSequenceClassification,
)
from hfbench.models.flops import count_flops, total_flops

IDS = {"vocab_size": 40, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 0}
SHAPES = {
    "custom GPT classifier": (
        "classifier",
        lambda: CustomGPTForSequenceClassification(
            CustomGPTConfig(n_layer=2, n_head=4, n_embd=32, n_positions=64, num_labels=3, **IDS)
        ),
    ),
    "custom GPT language model": (
        "language model",
        lambda: CustomGPTForCausalLM(
            CustomGPTConfig(n_layer=1, n_head=2, n_embd=48, n_positions=64, **IDS)
        ),
    ),
    "GPT-2 language model": (
        "language model",
        lambda: GPT2LMHeadModel(GPT2Config(n_layer=3, n_head=2, n_embd=16, n_positions=64, **IDS)),
    ),
    "BERT classifier": (
        "classifier",
        lambda: BertForSequenceClassification(
            BertConfig(
                num_hidden_layers=2,
                num_attention_heads=2,
                hidden_size=24,
                intermediate_size=40,
                max_position_embeddings=64,
                **IDS,
            )
        ),
    ),
    "Llama classifier": (
        "classifier",
        lambda: LlamaForSequenceClassification(
            LlamaConfig(
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                hidden_size=64,
                intermediate_size=96,
                max_position_embeddings=64,
                **IDS,
            )
        ),
    ),
}


def row(length):
    """An example of so many tokens."""
    ids = [2 + n * 7 % 38 for n in range(length)]
    return {"input_ids": ids, "attention_mask": [1] * length}


def counted_as_trained(model, kind, length):
    """The operators of a training step on one example, its weights' gradients and all."""
    model.set_attn_implementation("eager")
    model.train()
    ids = torch.randint(2, 40, (1, length))
    labels = ids if kind == "language model" else torch.tensor([1])
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss.backward()
    return counter.get_total_flops()


def gpt2_by_hand(layers, width, vocabulary, length):
    """Forward: a layer's matrices 24 T d^2, its attention 4 T^2 d; backward twice as many."""
    layer = 24 * length * width**2 + 4 * length**2 * width
    return 3 * (layers * layer + 2 * length * width * vocabulary)


@pytest.mark.parametrize("shape", SHAPES)
def test_flops_of_any_length_are_those_that_a_training_step_takes(shape):
    kind, build = SHAPES[shape]
    model = build()
    flops = count_flops(model, kind, row(64), 1)
    assert len(flops) == 65
    for length in (2, 9, 16, 37, 64):
        assert flops[length] == counted_as_trained(model, kind, length), length


@pytest.mark.parametrize(
    ("shape", "layers", "width"),
    [("GPT-2 language model", 3, 16), ("custom GPT language model", 1, 48)],
)
def test_flops_are_those_of_the_matrices_by_hand(shape, layers, width):
    kind, build = SHAPES[shape]
    flops = count_flops(build(), kind, row(64), 1)
    for length in (1, 5, 16, 64):
        assert flops[length] == gpt2_by_hand(layers, width, 40, length)


@pytest.mark.parametrize("shape", SHAPES)
def test_data_of_one_or_two_tokens_have_flops_too(shape):
    kind, build = SHAPES[shape]
    model = build()
    flops = count_flops(model, kind, row(20), 1)
    for longest in (1, 2, 3, 4):
        assert count_flops(model, kind, row(longest), 1)[1:] == flops[1 : longest + 1]


def test_of_a_model_that_goes_in_strides_nothing_is_made_up():
    """Lengths of 10 to 12 characters, from which 5 would have less than no operations."""
    shape = {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "max_position_embeddings": 64, "num_hash_buckets": 16,
    }  # fmt: skip
    model = CanineForSequenceClassification(CanineConfig(**shape))
    assert len(count_flops(model, "classifier", row(12), 10)) == 13
    for shortest, longest in ((5, 9), (5, 12), (4, 16)):
        with pytest.raises(ValueError, match=f"do not follow from the length: .* {shortest} tok"):
            count_flops(model, "classifier", row(longest), shortest)


def test_what_is_frozen_has_no_gradient_to_compute():
    kind, build = SHAPES["GPT-2 language model"]
    model = build()
    whole = count_flops(model, kind, row(8), 1)[8]
    for parameter in model.transformer.parameters():
        parameter.requires_grad = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    head = 2 * 8 * 16 * 40
    assert (
        count_flops(model, kind, row(8), 1)[8] == whole // 3 + head
    )  # forward, and the head's gradient


def test_recomputation_under_checkpointing_does_not_count():
    kind, build = SHAPES["custom GPT classifier"]
    model = build().train()
    plain = count_flops(model, kind, row(16), 1)
    model.gradient_checkpointing_enable()
    assert count_flops(model, kind, row(16), 1) == plain
    assert counted_as_trained(model, kind, 16) > plain[16]


@pytest.mark.parametrize("shape", SHAPES)
def test_counting_leaves_everything_as_it_was(shape):
    kind, build = SHAPES[shape]
    model = build().train()
    model.set_attn_implementation("sdpa")
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    count_flops(model, kind, row(32), 1)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), str(np.random.get_state())) == states[1:]
    assert {m.config._attn_implementation for m in model.modules() if hasattr(m, "config")} == {
        "sdpa"
    }
    assert all(module.training for module in model.modules())


def test_random_numbers_drawn_while_counting_are_not_missed_afterwards():
    kind, build = SHAPES["GPT-2 language model"]
    model = build()

    def draw(*_):
        torch.rand(1)

    model.register_forward_hook(draw)
    state = torch.get_rng_state()
    count_flops(model, kind, row(8), 1)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_total_is_the_sum_over_the_examples_seen():
    assert total_flops([0, 10, 100, 10**18], np.array([1, 1, 2])) == 120
    assert total_flops([0, 10, 100, 10**18], np.full(1000, 3)) == 10**21  # beyond 64 bits
