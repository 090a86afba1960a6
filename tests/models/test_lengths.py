"""How many tokens a model takes: what is found without weights, against the model with its own."""

import pytest
import torch

from hfbench.errors import UserError
from hfbench.models.lengths import NO_LIMIT
from hfbench.models.load import load_classifier
from hfbench.models.prepare import prepare_model
from hfbench.recipe.model import Model

TEXTS = ["the cat sat on the mat", "a dog and a cat"]
SIZES = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": 34,
}  # fmt: skip
XLNET = {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 16}
MPT = {"d_model": 16, "n_layers": 1, "n_heads": 2}
# type, its sizes, and the tokens that it takes; of RoBERTa's kin positions start after the pad id
LIMITED = [
    ("bert", SIZES, 34),
    ("roberta", SIZES, 32),
    ("esm", SIZES, 32),
    ("mpnet", SIZES, 32),
    ("mpt", {**MPT, "max_seq_len": 30}, 30),
    ("gpt2", {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 21}, 21),
]
UNLIMITED = [
    ("xlnet", XLNET),
    ("bloom", {"hidden_size": 16, "n_layer": 1, "n_head": 2}),
    ("t5", {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2,
            "decoder_start_token_id": 1}),
]  # fmt: skip


def prepare(model_type, config):
    tokenizer = {"train_on": "task", "vocab_size": 270}
    values = {"name": "m", "model_type": model_type, "config": config, "tokenizer": tokenizer}
    return prepare_model(Model.model_validate(values), lambda source: TEXTS)


def read(prepared, length):
    """What the real model makes of a text of so many tokens."""
    model = load_classifier(prepared, ["x", "y"], init_seed=0).eval()
    ids = torch.full((1, length), 70)
    ids[0, -1] = prepared.tokenizer.eos_token_id  # which T5 looks for
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


@pytest.mark.parametrize(("model_type", "sizes", "limit"), LIMITED)
def test_the_limit_is_the_longest_text_that_the_model_reads(model_type, sizes, limit):
    prepared = prepare(model_type, sizes)
    assert prepared.max_length == limit
    assert read(prepared, limit).isfinite().all()


@pytest.mark.parametrize(("model_type", "sizes", "limit"), LIMITED)
def test_the_model_does_not_read_a_text_of_one_token_more(model_type, sizes, limit):
    with pytest.raises((IndexError, RuntimeError)):
        read(prepare(model_type, sizes), limit + 1)


@pytest.mark.parametrize(("model_type", "sizes"), UNLIMITED)
def test_relative_positions_have_no_limit(model_type, sizes):
    prepared = prepare(model_type, sizes)
    assert prepared.max_length == NO_LIMIT
    assert read(prepared, 700).isfinite().all()


def test_a_tokenizer_may_allow_less():
    prepared = prepare("bert", SIZES)
    prepared.tokenizer.model_max_length = 20
    assert prepared.max_length == 20


def test_asking_leaves_the_tokenizer_as_it_was():
    prepared = prepare("roberta", SIZES)
    before = prepared.tokenizer.backend_tokenizer.to_str()
    assert prepared.max_length == 32
    assert prepared.tokenizer.backend_tokenizer.to_str() == before


def test_a_model_that_reads_nothing_is_named_with_its_reason():
    prepared = prepare("gptj", {"n_embd": 16, "n_layer": 1, "n_head": 2, "rotary_dim": 64})
    with pytest.raises(
        UserError, match=r"models\.m: GPTJForSequenceClassification \(gptj\) cannot"
    ):
        prepared.max_length  # noqa: B018  it asks


def test_encoder_decoders_get_a_tokenizer_that_ends_each_text():
    prepared = prepare(*UNLIMITED[2])
    eos = prepared.tokenizer.eos_token_id
    assert prepared.tokenizer("a cat")["input_ids"][-1] == eos
    pair = prepared.tokenizer("a cat", "a dog")["input_ids"]
    assert (pair[-1], pair.count(eos)) == (eos, 2)
