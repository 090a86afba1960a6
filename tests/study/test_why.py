"""The checkpoints of recipes/study/why.py, on a tiny model."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from hfbench.errors import UserError
from hfbench.models import CustomGPTConfig, CustomGPTForCausalLM, CustomGPTForSequenceClassification
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.cells import plan_comparison, plan_pretraining
from hfbench.recipe.load import load_recipe

STUDY = Path(__file__).parents[2] / "recipes" / "study"
WIDTH = 16
TRAINED = torch.arange(0, 200, 3)
"""Words that the pretraining has seen; the others are as they were drawn."""


def plain(config):
    """The mixes' own new model, made by hand."""
    torch.manual_seed(0)
    return CustomGPTForCausalLM(config)


@pytest.fixture
def source(tmp_path):
    """As if pretrained: no weight of it is one that a new model could have, but untrained words."""
    tokenizer = train_tokenizer(["a text about coins, and another"], 300)
    torch.manual_seed(1)
    model = CustomGPTForCausalLM(
        CustomGPTConfig(
            n_layer=2, n_head=2, n_embd=WIDTH, n_positions=32, vocab_size=len(tokenizer),
            bos_token_id=None, eos_token_id=None,
        )
    )  # fmt: skip
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name != "transformer.wte.weight":
                weight.normal_(std=0.5)
        model.transformer.wte.weight[TRAINED] = torch.randn(len(TRAINED), WIDTH)
    model.save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    return model


def rows_taken_over(mixed, source):
    """Parameter of the body -> which of its rows are equal, to the last bit."""
    found = {}
    for name, weight in mixed.transformer.state_dict().items():
        equal = (weight == source.transformer.state_dict()[name]).reshape(len(weight), -1)
        assert (equal.all(1) == equal.any(1)).all(), name  # no row is half of each
        found[name] = equal.all(1).tolist()
    return found


def expected_rows(name, rows, parts):
    """Which of ``rows`` rows of a parameter are to be equal, told by its name alone."""
    if "c_attn" in name:
        return [part in parts for part in ("query", "key", "value") for _ in range(WIDTH)]
    words = {"attn.c_proj": "attention output", "mlp": "mlp", "ln_": "norm"}
    names = {"wte": "wte", "wpe": "wpe", **words}
    (part,) = {part for word, part in names.items() if word in name}
    return [part in parts] * rows


def test_each_part_is_what_the_mix_says(script, source, tmp_path):
    why = script("why")
    why.write_mixes(tmp_path / "lm", tmp_path / "mixes", tmp_path / "norms.json")
    assert {folder.name for folder in (tmp_path / "mixes").iterdir()} == set(why.MIXES)
    new = plain(source.config).transformer.state_dict()
    for name, mix in why.MIXES.items():
        if mix.change:
            continue
        mixed = CustomGPTForCausalLM.from_pretrained(tmp_path / "mixes" / name)
        found = rows_taken_over(mixed, source)
        assert found == {
            weight: expected_rows(weight, len(rows), mix.parts) for weight, rows in found.items()
        }, name
        for weight, values in mixed.transformer.state_dict().items():
            fresh = ~torch.tensor(found[weight])
            assert torch.equal(values[fresh], new[weight][fresh]), (name, weight)


def test_the_norms_are_those_of_the_words_that_training_has_made_long(script, source, tmp_path):
    why = script("why")
    why.write_mixes(tmp_path / "lm", tmp_path / "mixes", tmp_path / "norms.json")
    found = json.loads((tmp_path / "norms.json").read_text("utf-8"))
    assert (found["words"], found["width"]) == (len(TRAINED), WIDTH)
    assert {*found["mean_norm"]} == {*why.MIXES}
    for name, mean in found["mean_norm"].items():
        mixed = CustomGPTForCausalLM.from_pretrained(tmp_path / "mixes" / name)
        norms = mixed.transformer.wte.weight[TRAINED].norm(dim=1)
        assert mean == pytest.approx(norms.mean().item(), rel=1e-5)
    assert found["mean_norm"]["all"] > 10 * found["mean_norm"]["none"]


def test_the_names_of_the_mixes_say_what_is_new(script, source):
    why = script("why")

    def new(name):
        found = rows_taken_over(why.build(source, why.MIXES[name]), source)
        return {weight for weight, rows in found.items() if not all(rows)}

    assert new("all") == set()
    assert new("no-words") == {"wte.weight"}
    assert new("no-pattern") == {
        f"h.{layer}.attn.c_attn.{kind}" for layer in range(2) for kind in ("weight", "bias")
    }
    everything = set(source.transformer.state_dict())
    assert new("only-words") == everything - {"wte.weight"}
    assert new("none") == everything


def test_exchanged_words_are_those_that_were_trained_and_all_else_is_as_before(script, source):
    why = script("why")
    only, exchanged = (
        why.build(source, why.MIXES[name]).transformer.state_dict()
        for name in ("only-words", "only-words-exchanged")
    )
    before, after = only.pop("wte.weight"), exchanged.pop("wte.weight")
    assert all(torch.equal(exchanged[name], weight) for name, weight in only.items())
    moved = (before != after).any(1).nonzero().flatten()
    assert set(moved.tolist()) <= set(TRAINED.tolist())
    assert len(moved) > 0.8 * len(TRAINED)
    rows = [sorted(map(tuple, words[TRAINED].tolist())) for words in (before, after)]
    assert rows[0] == rows[1]


def test_equal_norms_keep_the_directions(script, source):
    why = script("why")
    before = source.transformer.wte.weight
    after = why.build(source, why.MIXES["only-words-equal-norms"]).transformer.wte.weight
    norms = after.norm(dim=1)
    new = plain(source.config).transformer.wte.weight.norm(dim=1).mean()
    assert torch.allclose(norms, new.expand_as(norms), rtol=1e-5)
    assert torch.nn.functional.cosine_similarity(before, after).min() > 1 - 1e-5


def test_a_shrunk_model_computes_the_same(script, source):
    why = script("why")
    shrunk = why.build(source, why.MIXES["all-shrunk"]).eval()
    ids = TRAINED[:12].reshape(2, 6)
    with torch.no_grad():
        before, after = source.eval()(ids).logits, shrunk(ids).logits
        norm = shrunk.transformer.wte.weight[TRAINED].norm(dim=1).mean()
        new_norm = plain(source.config).transformer.wte.weight.norm(dim=1).mean()
    assert (before - after).abs().max() < 0.01 * before.abs().max()  # the norms' epsilon
    assert norm.item() == pytest.approx(new_norm.item(), rel=1e-5)


def test_a_classifier_starts_from_a_mix(script, source, tmp_path):
    why = script("why")
    why.write_mixes(tmp_path / "lm", tmp_path / "mixes", tmp_path / "norms.json")
    folder = tmp_path / "mixes" / "no-pattern"
    classifier, info = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=3, output_loading_info=True, trust_remote_code=True
    )
    assert set(info["missing_keys"]) == {"score.weight", "score.bias"}
    ids = AutoTokenizer.from_pretrained(folder)("a text", return_tensors="pt")
    assert classifier(**ids).logits.shape == (1, 3)


def test_it_says_what_is_no_pretrained_language_model(script, source, tmp_path):
    why = script("why")
    with pytest.raises(UserError, match="there is no model in"):
        why.write_mixes(tmp_path / "none", tmp_path / "mixes", tmp_path / "norms.json")
    CustomGPTForSequenceClassification(source.config).save_pretrained(tmp_path / "classifier")
    with pytest.raises(UserError, match="holds no language model of a custom GPT"):
        why.write_mixes(tmp_path / "classifier", tmp_path / "mixes", tmp_path / "norms.json")
    with pytest.raises(UserError, match="was this model pretrained"):
        why.build(plain(source.config), why.MIXES["all-shrunk"])


def test_the_recipe_has_a_row_for_each_mix_and_asks_of_its_rows(script, tmp_path):
    why = script("why")
    (tmp_path / "corpora").mkdir()
    (tmp_path / "corpora" / "LargerCorpus.txt").write_text("A text.\n", encoding="utf-8")
    recipe = load_recipe(shutil.copy(STUDY / "why.yaml", tmp_path))
    rows = {model.name: model for model in recipe.models}
    folder = "recipes/study/models/why/coins/"
    own = {name: model for name, model in rows.items() if model.model_name_or_path}
    assert {model.model_name_or_path for model in own.values()} == {folder + m for m in why.MIXES}
    assert {*why.MIXES} <= {*own}
    for name in own.keys() - why.MIXES.keys():  # the ends again: all-probe, none-dropout
        end, _, how = name.partition("-")
        assert rows[name].model_name_or_path == folder + end
        other = rows[f"{'none' if end == 'all' else 'all'}-{how}"]
        alike = {"probe", "config", "training_arguments"}
        assert rows[name].model_dump(include=alike) == other.model_dump(include=alike)
        assert rows[name].model_dump(include=alike) != rows[end].model_dump(include=alike)
    pretrainings = {(cell.model.name, cell.seed) for cell in plan_pretraining(recipe)}
    assert len(pretrainings) == 2 * 3
    trained = len(rows) - 1
    assert len(plan_comparison(recipe)) == 2 * 2 * (10 * trained + 10)
