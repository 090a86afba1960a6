"""The recipes of the study, in recipes/study, and the scripts beside them; no network."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from hfbench import load_records
from hfbench.checks import quick_check
from hfbench.errors import UserError
from hfbench.execution.identity import identify
from hfbench.execution.inputs import Inputs
from hfbench.execution.tuning import Grid
from hfbench.models import CustomGPTConfig, CustomGPTForCausalLM, CustomGPTForSequenceClassification
from hfbench.models.prepare import prepare_model
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.cells import plan_comparison, plan_pretraining
from hfbench.recipe.load import load_recipe
from hfbench.recipe.model import Model

STUDY = Path(__file__).parents[2] / "recipes" / "study"
RECIPES = sorted(path.stem for path in STUDY.glob("[0-9]*.yaml"))
TUNED = "_tuned"
CELLS = {  # pretrainings, and cells of the comparison
    "01_small_corpus": (2, 0),
    "02_larger_corpus": (3, 0),
    "03_novels": (2, 0),
    "04_unlabelled": (1, 0),
    "05_sst2": (8, 16 * 10 + 2),
    "06_sst2_240": (1, 4 * 10 + 2),
    "07_sst2_reads_padding": (1, 2 * 10 + 1),
    "08_sst2_sizes": (2, 7 * 5 * 10),
    "09_rotten_tomatoes": (2, 5 * 5 + 2),
    "10_trec": (2, 5 * 5 + 2),
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The recipes by their stems, with texts that are there."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "corpora").mkdir()
    for name in ("LargerCorpus", "novels", "sst2_unlabelled"):
        (folder / "corpora" / f"{name}.txt").write_text("A text.\n", encoding="utf-8")
    for stem in RECIPES:
        shutil.copy(STUDY / f"{stem}.yaml", folder)
    return {stem: load_recipe(folder / f"{stem}.yaml") for stem in RECIPES}


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


def test_there_is_a_recipe_for_each_step():
    assert {stem.removesuffix(TUNED) for stem in RECIPES} == set(CELLS)


def test_the_readme_has_a_command_for_every_recipe_and_names_what_there_is():
    readme = (STUDY / "README.md").read_text("utf-8")
    named = set(re.findall(r"recipes/study/(\w+\.(?:yaml|py))", readme))
    tuned = f"05_sst2{TUNED}.yaml"
    assert named - {tuned} <= {path.name for path in STUDY.iterdir()}
    assert named >= {f"{stem}.yaml" for stem in CELLS}
    assert tuned in named


@pytest.mark.parametrize("stem", RECIPES)
def test_a_recipe_is_valid_and_plans_its_cells(study, stem):
    recipe = study[stem]
    assert recipe.name == f"study_{stem}"
    planned = len(plan_pretraining(recipe)), len(plan_comparison(recipe))
    assert planned == CELLS[stem.removesuffix(TUNED)]


def test_a_name_stands_for_the_same_pretraining_in_every_recipe(study):
    """Else it would not be found, but done again: 100,000 steps."""
    content = {}
    for recipe in study.values():
        for cell in plan_pretraining(recipe):
            model = cell.model
            content.setdefault(model.name, set()).add(
                json.dumps([model.preset, model.config, model.pretrain.model_dump(mode="json")])
            )
    assert len(content) == 8
    assert {name: len(found) for name, found in content.items()} == dict.fromkeys(content, 1)


def test_every_comparison_holds_a_test_and_the_floor(study):
    for stem, recipe in study.items():
        if recipe.task:
            assert recipe.task.test_split, stem
            assert "majority" in [model.control for model in recipe.models], stem


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


def test_the_tuned_recipe_is_the_other_with_a_grid_whose_trials_are_in_the_results(study):
    """The committed results are of a script that wrote the chosen settings into a recipe."""
    plain, tuned = (study[f"05_sst2{ending}"] for ending in ("", TUNED))
    own = {"tune": {}}
    assert [model.model_copy(update=own) for model in tuned.models] == plain.models
    assert tuned.task == plain.task
    searched = [model for model in tuned.models if model.space(tuned.tune)]
    grid = {
        f"{model.name}.lr{settings['learning_rate']:g}.epochs{settings['num_train_epochs']}"
        for model in searched
        for settings in Grid(model.space(tuned.tune)).ask(100)
    }
    results = STUDY.parents[1] / "results" / "study"
    found = load_records(results / "study_05_sst2_tuning")
    trials = [record for record in found if record.kind == "classification"]
    assert {record.model for record in trials} == grid
    accuracies = {}
    for record in trials:
        of_model = accuracies.setdefault(record.model, [])
        of_model.append(record.metrics["validation"]["accuracy"])
    assert {len(runs) for runs in accuracies.values()} == {tuned.tune.seeds}
    chosen = [
        record
        for record in load_records(results / "study_05_sst2_tuned")
        if record.kind == "classification"
    ]
    for model in searched:
        (settings,) = {
            (r.training.arguments["learning_rate"], r.training.arguments["num_train_epochs"])
            for r in chosen
            if r.model == model.name
        }
        best = f"{model.name}.lr{settings[0]:g}.epochs{settings[1]:g}"
        means = {name: round(sum(runs) / 3, 9) for name, runs in accuracies.items()}
        own_trials = [name for name in means if name.startswith(f"{model.name}.lr")]
        assert means[best] == max(means[name] for name in own_trials)


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


def test_the_unlabelled_text_is_that_of_the_recipes_task(script, study):
    unlabelled = script("unlabelled")
    task = study["05_sst2"].task
    assert (task.dataset_name, task.dataset_config) == unlabelled.DATASET
    assert task.first == unlabelled.FIRST
    corpus = study["04_unlabelled"].models[0].pretrain.corpus
    assert STUDY / corpus.text_file == unlabelled.OUTPUT
