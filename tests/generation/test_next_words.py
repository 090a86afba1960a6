import math
from pathlib import Path

import pytest
import torch

from hfbench.data.builtin import pets
from hfbench.errors import UserError
from hfbench.execution.compare import compare
from hfbench.generation.generate import generate, load_language_model
from hfbench.generation.next_words import compare_next_words
from hfbench.models.custom_gpt import CustomGPTConfig, CustomGPTForCausalLM
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.load import load_recipe


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["He and I can hold a dog."], 270)  # "rub" is several tokens


@pytest.fixture(scope="module")
def model(tokenizer):
    torch.manual_seed(0)
    shape = {"n_layer": 1, "n_head": 1, "n_embd": 8, "initializer_range": 0.5}
    return CustomGPTForCausalLM(CustomGPTConfig(vocab_size=len(tokenizer), **shape))


def test_a_words_probability_is_the_product_of_its_tokens(model, tokenizer):
    found = compare_next_words(model, tokenizer, "He and I ")
    assert found.grammar == {"can": 0.5, "hold": 0.25, "rub": 0.25}
    assert found.model.keys() == found.grammar.keys()
    for word, probability in found.model.items():
        ids, expected = tokenizer("He and I")["input_ids"], 1.0
        for token in tokenizer(f" {word}")["input_ids"]:
            with torch.no_grad():
                logits = model.eval()(torch.tensor([ids])).logits[0, -1]
            expected *= logits.softmax(-1)[token].item()
            ids = [*ids, token]
        assert probability == pytest.approx(expected, rel=1e-4)
    by_hand = sum(p * math.log(p / found.model[word]) for word, p in found.grammar.items())
    assert found.kl_divergence == pytest.approx(by_hand)


def test_a_full_stop_follows_without_a_space(model, tokenizer):
    found = compare_next_words(model, tokenizer, "He and I hold a dog")
    assert found.grammar == {".": 1.0}
    ids = tokenizer("He and I hold a dog")["input_ids"]
    with torch.no_grad():
        shares = model.eval()(torch.tensor([ids])).logits[0, -1].softmax(-1)
    (stop,) = tokenizer(".")["input_ids"]
    assert found.model["."] == pytest.approx(shares[stop].item())
    assert found.kl_divergence == pytest.approx(-math.log(found.model["."]))


@pytest.mark.parametrize("prompt", ["A stranger", "He and I hold a dog."])
def test_where_no_sentence_goes_on_is_an_error(model, tokenizer, prompt):
    with pytest.raises(UserError, match="no sentence of the grammar goes on after"):
        compare_next_words(model, tokenizer, prompt)


@pytest.mark.parametrize("share", [1.0, 0.8])
def test_next_words_after_two_people_are_counted_by_hand(share):
    # 16 sentences: 8 with "can", 4 with each verb; all are among the first 80 %
    assert pets.next_words("He and I", share) == {"can": 8 / 16, "hold": 4 / 16, "rub": 4 / 16}


def test_next_words_of_the_training_part_are_those_of_its_sentences():
    # of "She ..." there are 48 alone (24 "can", 12 with each verb) and 32 with another person, of
    # which the first 166 sentences hold 6
    assert pets.next_words("She") == {
        "and": 32 / 80, "can": 24 / 80, "holds": 12 / 80, "rubs": 12 / 80,
    }  # fmt: skip
    assert pets.next_words("She", 0.8) == {
        "can": 24 / 54, "holds": 12 / 54, "rubs": 12 / 54, "and": 6 / 54,
    }  # fmt: skip


def test_next_words_lead_through_every_sentence_with_its_probability():
    """The chain rule: products of next-word shares give each of the 208 sentences 1/208."""
    for sentence in pets.sentences():
        probability, prefix = 1.0, ""
        for word in sentence.replace(".", " .").split():
            probability *= pets.next_words(prefix)[word]
            prefix += f" {word}"
        assert probability == pytest.approx(1 / 208)
        assert pets.next_words(sentence) == {}


@pytest.mark.slow
def test_the_studys_recipe_learns_the_grammar(tmp_path):
    """With a tokenizer that needs no network in the place of GPT-2's."""
    path = Path(__file__).parents[2] / "recipes" / "study_small_corpus.yaml"
    recipe = load_recipe(path, ["tokenizer={train_on: corpus, vocab_size: 300}"])
    outcome = compare(recipe, tmp_path, only_pretraining=True)
    (record,) = outcome.ran
    losses = [point["loss"] for point in record.curves["train"]]
    assert losses[0] == pytest.approx(math.log(record.model_facts.vocab_size), abs=0.1)
    assert 0.55 < losses[-1] < 0.75
    folder = str(outcome.folder / "models" / record.stem)
    model, tokenizer = load_language_model(folder)
    (generation,) = generate(model, tokenizer, ["He and I"])
    best = {found.text.strip() for found in generation.steps[0].top[:3]}
    assert best == {"can", "hold", "rub"}
    assert compare_next_words(model, tokenizer, "He and I").kl_divergence < 0.15
