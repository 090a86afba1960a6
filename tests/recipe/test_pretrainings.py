"""Several pretrainings of a model: which there are, and from which each run starts."""

from pathlib import Path

import pytest

from hfbench.errors import UserError
from hfbench.recipe.cells import plan_comparison, plan_pretraining, pretraining_of
from hfbench.recipe.load import load_recipe
from hfbench.recipe.schema import Recipe

CORPUS = {"corpus": {"builtin": "pets"}}


def recipe_of(pretrain, seeds=(0, 1, 2, 3), **entry):
    model = {"name": "m", "preset": "gpt-nano", "pretrain": {**CORPUS, **pretrain}, **entry}
    values = {
        "name": "r",
        "task": {"builtin": "sentiment", "validation_size": 0.2},
        "tokenizer": {"train_on": "task"},
        "models": [model],
        "seeds": [*seeds],
    }
    return Recipe.from_values(values, Path())


def starts(recipe):
    return [(cell.seed, pretraining_of(cell, recipe).stem) for cell in plan_comparison(recipe)]


def test_a_run_starts_from_the_pretraining_of_its_seed_mod_k():
    recipe = recipe_of({"seeds": [7, 8, 9]})
    assert [(c.stem, c.pretraining_seed) for c in plan_pretraining(recipe)] == [
        (f"pretrain--m--seed{seed}", seed) for seed in (7, 8, 9)
    ]
    assert starts(recipe) == [
        (run, f"pretrain--m--seed{seed}") for run, seed in [(0, 7), (1, 8), (2, 9), (3, 7)]
    ]
    # which runs there are beside it changes nothing: looks and shards run some of them alone
    assert starts(recipe.only({"m"}, [3])) == [(3, "pretrain--m--seed7")]


def test_what_a_cell_keeps_of_its_recipe_plans_the_same_cell_again():
    recipe = recipe_of({"seeds": [7, 8]})
    for cell in [*plan_comparison(recipe), *plan_pretraining(recipe)]:
        again = Recipe.from_values({"name": "r", **cell.settings}, Path())
        plan = plan_comparison if cell.is_compared else plan_pretraining
        (found,) = plan(again)
        assert (found.stem, found.pretraining_seed) == (cell.stem, cell.pretraining_seed)


@pytest.mark.parametrize(("pretrain", "seed"), [({}, 0), ({"seed": 3}, 3)])
def test_one_pretraining_is_that_of_all_runs_and_has_no_seed_in_its_name(pretrain, seed):
    recipe = recipe_of(pretrain)
    (cell,) = plan_pretraining(recipe)
    assert (cell.stem, cell.pretraining_seed) == ("pretrain--m", seed)
    assert cell.settings["models"][0]["pretrain"]["seed"] == seed
    assert {start for _, start in starts(recipe)} == {"pretrain--m"}


def test_a_frozen_model_has_a_run_for_each_seed_where_its_pretrainings_differ():
    assert [run for run, _ in starts(recipe_of({}, probe="linear"))] == [None]
    assert [run for run, _ in starts(recipe_of({"seeds": [0, 1]}, probe="linear"))] == [0, 1, 2, 3]


def test_checkpoints_of_each_are_published_to_a_repo_of_their_own():
    push = {"push_to_hub": True, "hub_model_id": "me/m", "save_strategy": "steps"}
    several = recipe_of({"seeds": [0, 1], "training_arguments": push})
    found = [cell.publishing["hub_model_id"] for cell in plan_pretraining(several)]
    assert found == ["me/m-seed0", "me/m-seed1"]
    (cell,) = plan_pretraining(recipe_of({"training_arguments": push}))
    assert cell.publishing["hub_model_id"] == "me/m"


@pytest.mark.parametrize(
    ("pretrain", "message"),
    [
        ({"seed": 0, "seeds": [0, 1]}, "give seed, of one pretraining, or seeds, of several"),
        ({"seeds": [1, 1]}, "seeds: [1, 1] has a seed twice"),
        ({"seeds": []}, "at least 1"),
    ],
)
def test_what_is_not_clear_is_refused(pretrain, message, write_recipe):
    models = [{"name": "m", "preset": "gpt-nano", "pretrain": {**CORPUS, **pretrain}}]
    with pytest.raises(UserError) as error:
        load_recipe(write_recipe(models=models))
    assert message in str(error.value)
