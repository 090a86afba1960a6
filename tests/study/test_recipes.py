"""The scripts of recipes/study and its README; no network. The recipes: test_study.py."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from hfbench.checks import quick_check
from hfbench.errors import UserError
from hfbench.execution.identity import identify
from hfbench.execution.inputs import Inputs
from hfbench.models import CustomGPTConfig, CustomGPTForCausalLM, CustomGPTForSequenceClassification
from hfbench.models.prepare import prepare_model
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.cells import plan_comparison
from hfbench.recipe.load import load_recipe
from hfbench.recipe.model import Model

STUDY = Path(__file__).parents[2] / "recipes" / "study"


@pytest.fixture
def language_model(tmp_path):
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["a text about coins, and another"], 300)
    tokenizer.pad_token = tokenizer.eos_token  # as GPT-2's in a recipe; its own has the number 1
    config = CustomGPTConfig(
        n_layer=1, n_head=2, n_embd=16, n_positions=32, vocab_size=len(tokenizer)
    )
    CustomGPTForCausalLM(config).save_pretrained(tmp_path / "lm")
    tokenizer.save_pretrained(tmp_path / "lm")
    return tmp_path / "lm"


def test_the_readme_has_a_command_for_every_recipe_and_names_what_there_is():
    readme = (STUDY / "README.md").read_text("utf-8")
    named = set(re.findall(r"recipes/study/(\w+\.(?:yaml|py))", readme))
    there = {path.name for path in STUDY.iterdir()}
    assert named <= there
    assert named >= {name for name in there if name.endswith(".yaml")}


def test_the_study_s_classifier_reads_padding_and_the_right_one_does_not(script):
    reads_padding = script("reads_padding")
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 16, "vocab_size": 20, "num_labels": 2}
    torch.manual_seed(0)
    right = CustomGPTForSequenceClassification(CustomGPTConfig(**sizes)).eval()
    wrong = reads_padding.ReadsPaddingForSequenceClassification(
        reads_padding.ReadsPaddingConfig(**sizes)
    ).eval()
    wrong.load_state_dict(right.state_dict())
    ids = torch.tensor([[5, 6, 7]])
    pads = torch.full((1, 2), reads_padding.PAD_ID)
    padded = {
        "input_ids": torch.cat([ids, pads], 1),
        "attention_mask": torch.tensor([[1, 1, 1, 0, 0]]),
    }

    def change(model):
        with torch.no_grad():
            return float((model(**padded).logits - model(input_ids=ids).logits).abs().max())

    assert change(right) < 1e-6
    assert change(wrong) > 1e-3


def test_it_starts_from_the_weights_of_the_pretraining(script, language_model, tmp_path):
    reads_padding = script("reads_padding")
    reads_padding.convert(language_model, tmp_path / "wrong")
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "wrong")
    assert type(model) is reads_padding.ReadsPaddingForSequenceClassification
    source = CustomGPTForCausalLM.from_pretrained(language_model).transformer.state_dict()
    body = model.transformer.state_dict()
    assert all(torch.equal(body[name], weight) for name, weight in source.items())
    pads = [
        AutoTokenizer.from_pretrained(path).pad_token_id
        for path in (language_model, tmp_path / "wrong")
    ]
    assert pads == [0, 1]
    assert model.config.pad_token_id == 1
    with pytest.raises(UserError, match="holds a reads_padding_gpt, not a custom GPT"):
        reads_padding.convert(tmp_path / "wrong", tmp_path / "again")
    with pytest.raises(UserError, match="there is no model in"):
        reads_padding.convert(tmp_path / "none", tmp_path / "again")


def test_hfbench_finds_that_it_reads_padding(script, language_model, tmp_path):
    script("reads_padding").convert(language_model, tmp_path / "wrong")
    entry = Model(name="wrong", model_name_or_path=str(tmp_path / "wrong"))
    with pytest.raises(UserError, match="the check 'padding' fails"):
        quick_check(prepare_model(entry, lambda _: []), "classifier")


def test_the_code_of_the_wrong_one_is_part_of_what_decides_its_cells(
    script, language_model, write_recipe, tmp_path, monkeypatch
):
    reads_padding = script("reads_padding")
    reads_padding.convert(language_model, tmp_path / "wrong")
    models = [
        {"name": name, "model_name_or_path": str(tmp_path / folder)}
        for name, folder in (("wrong", "wrong"), ("right", "lm"))
    ]
    recipe = load_recipe(write_recipe(models=models, seeds=[0]))

    def code(name):
        cells = plan_comparison(recipe)
        bench = Inputs(recipe, cells)
        (cell,) = (cell for cell in cells if cell.model.name == name)
        return identify(cell, bench)["model"].get("code")

    before = code("wrong")
    edited = tmp_path / "edited.py"
    edited.write_text(Path(reads_padding.__file__).read_text("utf-8") + "#", encoding="utf-8")
    monkeypatch.setattr(reads_padding, "__file__", str(edited))
    assert before != code("wrong")
    assert code("right") is None


def test_what_gives_an_evaluation_sentence_away_is_left_out(script):
    unlabelled = script("unlabelled")
    long = "one two three four five six seven eight nine ten"
    evaluated = {"the test": ["A fine film .", long], "the first": ["so-so", "... !"]}
    kept = [
        "a fine film indeed",
        "two three four five six seven eight",  # seven words of it
        "one two three four and five six seven eight",
        "so",
        "...",
    ]
    gone = ["a FINE film", f"and {long[4:]}", "it has " + long, "so so", "... !"]
    left, left_out = unlabelled.leave_out([*kept, *gone], evaluated)
    assert left == kept
    assert left_out == {
        (unlabelled.SAME, "the test"): 1,
        (unlabelled.SHARED, "the test"): 2,
        (unlabelled.SAME, "the first"): 2,
    }
    unlabelled.check(kept, evaluated)
    with pytest.raises(UserError, match=r"of the test 1 sentences are among .* and 1 nearly"):
        unlabelled.check([*kept, *gone[:2]], evaluated)


def test_the_unlabelled_text_is_that_of_the_recipes_task(script):
    unlabelled = script("unlabelled")
    recipe = yaml.safe_load((STUDY / "study.yaml").read_text("utf-8"))
    task = next(task for task in recipe["tasks"] if task["name"] == "sst2")
    assert (task["dataset_name"], task["dataset_config"]) == unlabelled.DATASET
    assert task["first"] == unlabelled.FIRST
    (row,) = (row for row in recipe["models"] if row["name"] == "gpt-nano-unlabelled")
    assert STUDY / row["pretrain"]["corpus"]["text_file"] == unlabelled.OUTPUT
