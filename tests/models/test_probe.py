"""What a record says of a model's weights and logits, against other routes to them."""

import hashlib

import pytest
import torch
from transformers import GPT2Config, GPT2ForSequenceClassification, pipeline

from hfbench.models.probe import TEXTS, probe_model
from hfbench.models.tokenizer import train_tokenizer
from hfbench.system.hashes import hash_tensors


@pytest.fixture(scope="module")
def model():
    """As narrow as tiny-gpt2, whose last bits depend on how its sums are taken."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=300, n_positions=64, n_embd=2, n_head=2, n_layer=2, pad_token_id=299,
        initializer_range=1.0,
    )  # fmt: skip
    return GPT2ForSequenceClassification(config).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a film so good that I saw it twice"], 300)


def test_its_logits_are_the_pipelines_bit_for_bit(model, tokenizer):
    probe = probe_model(model, tokenizer, 64)
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    answers = classify(
        list(TEXTS), top_k=None, function_to_apply="none", truncation=True, max_length=64
    )
    torch.set_num_threads(threads)
    scores = [{answer["label"]: answer["score"] for answer in one} for one in answers]
    assert probe.logits == [[score["LABEL_0"], score["LABEL_1"]] for score in scores]
    assert len({tuple(row) for row in probe.logits}) == len(TEXTS)


def test_it_leaves_the_model_as_it_was(model, tokenizer):
    model.train()
    before, threads = hash_tensors(model.state_dict()), torch.get_num_threads()
    probe = probe_model(model, tokenizer, 64)
    assert model.training
    assert model.config.use_cache
    assert torch.get_num_threads() == threads
    assert probe.weights == hash_tensors(model.state_dict()) == before
    model.eval()


def test_every_weight_and_its_name_count(model):
    weights = dict(model.state_dict())
    first = hash_tensors(weights)
    assert hash_tensors(dict(reversed(weights.items()))) == first
    by_hand = hashlib.sha256(b"w (1, 2)\n" + torch.tensor([1.0, 2.0]).numpy().tobytes())
    assert hash_tensors({"w": torch.tensor([[1.0, 2.0]])}) == by_hand.hexdigest()
    for name in weights:
        changed = weights[name].clone()
        changed.view(-1)[-1] += 1
        assert hash_tensors({**weights, name: changed}) != first, name
    renamed = {f"x{name}": weight for name, weight in weights.items()}
    assert hash_tensors(renamed) != first
