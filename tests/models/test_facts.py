import hashlib

import pytest
import torch

from hfbench.models import facts
from hfbench.models.facts import (
    count_parameters,
    matrix_parameters,
    model_without_weights,
    parameter_count,
)
from hfbench.models.load import load_causal_lm, load_classifier
from hfbench.models.prepare import prepare_model
from hfbench.recipe.model import Model

TEXTS = ["a film so good that I saw it twice", "the plot is thin and the jokes are old"] * 4
SIZES = {"n_layer": 2, "n_embd": 8, "n_head": 2, "n_positions": 16}


def prepare(**entry):
    tokenizer = {"train_on": "task", "vocab_size": 270}
    values = {"name": "m", "tokenizer": tokenizer, "config": SIZES, **entry}
    return prepare_model(Model.model_validate(values), lambda source: TEXTS)


@pytest.mark.parametrize("entry", [{"preset": "gpt-nano"}, {"model_type": "gpt2"}])
def test_parameters_without_weights_are_those_of_the_loaded_model(entry):
    prepared = prepare(**entry)
    classifier, lm = load_classifier(prepared, list("abc"), 0), load_causal_lm(prepared, 0)
    assert parameter_count(prepared, "classifier", 3) == count_parameters(classifier)[0]
    assert parameter_count(prepared, "language model", None) == count_parameters(lm)[0]


def test_a_vocabulary_that_was_added_to_is_counted():
    prepared = prepare(model_type="gpt2")
    prepared.tokenizer.add_tokens(["one more", "another"])
    more = parameter_count(prepared, "language model", None)
    assert more == parameter_count(prepare(model_type="gpt2"), "language model", None) + 2 * 8


def test_nothing_is_allocated_and_the_configuration_stays():
    prepared = prepare(preset="gpt-nano")
    model = model_without_weights(prepared, "classifier", 7)
    assert {parameter.device for parameter in model.parameters()} == {torch.device("meta")}
    assert model.config.num_labels == 7
    assert prepared.config.num_labels == 2


def test_matrices_are_those_of_the_blocks_and_of_the_head():
    prepared, width = prepare(preset="gpt-nano"), SIZES["n_embd"]
    classifier, lm = (
        model_without_weights(prepared, *of) for of in (("classifier", 3), ("language model", None))
    )
    blocks = SIZES["n_layer"] * 12 * width**2
    assert matrix_parameters(classifier) == blocks + 3 * width
    # the embedding's matrix is shared, and every token is multiplied by it
    vocabulary = prepared.config.vocab_size * width
    assert matrix_parameters(lm) == blocks + vocabulary


def test_weight_files_are_read_again_only_when_they_have_changed(tmp_path, monkeypatch):
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first = facts.hash_weights(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(facts, "hash_files", lambda *_: pytest.fail("read twice"))
        assert facts.hash_weights(str(tmp_path)) == first
    (tmp_path / "model.safetensors").write_bytes(b"two")
    second = facts.hash_weights(str(tmp_path))
    assert first == hashlib.sha256(b"one").hexdigest()
    assert second == hashlib.sha256(b"two").hexdigest()
