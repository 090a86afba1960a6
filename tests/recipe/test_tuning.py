"""What a recipe's ``tune`` may say, and which trials follow from it."""

import pytest

from hfbench.errors import UserError
from hfbench.recipe.cells import plan_comparison
from hfbench.recipe.load import load_recipe
from hfbench.recipe.trials import Trial, parse_trial, trials_recipe, tuning_seeds, with_chosen
from hfbench.recipe.tuning import Choices, Range, Tune

RATE = {"learning_rate": {"log": [1e-5, 1e-3]}}
SOME = {"space": RATE, "trials": 4}
FILE = {"train": "train.jsonl"}
TFIDF = {"name": "tfidf", "control": "tfidf-logreg"}
MINE = {"name": "mine", "preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
TEST = {
    "data_files": {"train": "train.jsonl", "exam": "train.jsonl"},
    "validation_size": 0.25,
    "test_split": "exam",
}


def of(key, written):
    return {"space": {key: written}, "trials": 1}


def load(write_recipe, tune=None, **changes):
    tune = SOME if tune is None else tune
    return load_recipe(write_recipe(tune=tune, **changes))


def test_a_space_holds_ranges_and_choices(write_recipe):
    space = {**RATE, "num_train_epochs": [1, 3], "warmup_steps": {"uniform": [0, 0.2]}}
    recipe = load(write_recipe, {"space": space, "trials": 4})
    assert recipe.models[0].space(recipe.tune) == {
        "learning_rate": Range("log", 1e-5, 1e-3),
        "num_train_epochs": Choices((1, 3)),
        "warmup_steps": Range("uniform", 0, 0.2),
    }
    assert recipe.models[1].space(recipe.tune) == {}  # a control has no training arguments


def test_what_a_model_gives_itself_is_not_tried_for_it_and_its_own_space_goes_before(write_recipe):
    own = {"learning_rate": 1e-4}
    models = [
        {**MINE, "training_arguments": own},
        {
            **MINE,
            "name": "wide",
            "tune": {"learning_rate": [1e-3, 1e-2], "config.n_embd": [24, 48]},
        },
        {**MINE, "name": "as-it-is", "tune": {"learning_rate": None}},
        {**TFIDF, "tune": {"config.C": {"log": [0.1, 10]}}},
    ]
    recipe = load(write_recipe, {"space": RATE, "trials": 3}, models=models)
    spaces = [[*model.space(recipe.tune)] for model in recipe.models]
    assert spaces == [[], ["learning_rate", "config.n_embd"], [], ["config.C"]]
    assert recipe.models[1].space(recipe.tune)["learning_rate"] == Choices((1e-3, 1e-2))


@pytest.mark.parametrize(
    ("tune", "changes", "message"),
    [
        (of("learning_rat", [1, 2]), {}, "space: unknown key 'learning_rat'; did you"),
        (of("learning_rate", {"lgo": [1, 2]}), {}, "no scale 'lgo'; did you mean 'log'"),
        (of("learning_rate", {"log": [0, 2]}), {}, "log: 0 must be more than 0"),
        (of("learning_rate", {"log": [2, 1]}), {}, "log: 2 must be less than 1"),
        (of("learning_rate", {"uniform": [1]}), {}, "must be two numbers"),
        (of("num_train_epochs", {"int": [1, 2.5]}), {}, "must be two whole numbers"),
        (of("learning_rate", 1e-3), {}, r"0.001 must be \[a, b, ...\]"),
        (of("learning_rate", [1e-3]), {}, "a list of choices has two or more"),
        (of("learning_rate", [-1.0, 1e-3]), {}, "-1.0 must be at least 0"),
        (of("logging_steps", [1, 2]), {}, "logging_steps decides nothing"),
        (of("model.x", [1, 2]), {}, "a key with a dot is of config or lora"),
        (of("config.n_layer", [1, 2]), {}, "give it as tune of that model"),
        ({"space": RATE}, {}, "give a budget: trials, train_seconds or flops"),
        ({"space": RATE, "trials": 4, "sampler": "grid"}, {}, "trials: the sampler grid tries all"),
        ({"space": RATE, "sampler": "grid"}, {}, "of model 'mine' is a range; give a list"),
        ({**of("num_train_epochs", [1, 2]), "trials": 9}, {}, "'mine' has 2 combinations, and"),
        ({"trials": 4}, {}, "no model has anything to tune"),
        (of("lora.r", [1, 2]), {}, "no model has anything to tune"),
        ({"space": {**RATE, "lora.r": [1, 2]}, "trials": 4}, {}, "lora.r: no model has it"),
        ({"space": RATE, "trials": 4, "folds": 1}, {}, "tune.folds"),
        ({**SOME, "sampler": "random", "pruner": "median"}, {}, "the first 5 run to the end"),
        (
            {"space": RATE, "trials": 20, "pruner": "median"},
            {"training_arguments": {"eval_strategy": "no"}},
            "tune.pruner: median needs evaluations during training, but model 'mine' has",
        ),
        (SOME, {"train_sizes": [20]}, "tune: settings would be chosen with more"),
        (SOME, {"models": [{**MINE, "name": "m" * 60}]}, "up to 58 characters"),
        (
            {"trials": 4},
            {"models": [MINE, {**TFIDF, "tune": {"config.c": [1.0, 2.0]}}]},
            "tune: config.c: 1.0: config: the control 'tfidf-logreg' has no 'c'; it takes C",
        ),
        (
            {"trials": 4},
            {"models": [{**TFIDF, "tune": {"learning_rate": [1.0, 2.0]}}]},
            "learning_rate has no meaning for the control",
        ),
        (
            {"trials": 4},
            {"models": [{**MINE, "tune": {"config.n_layr": [1, 2]}}]},
            "tune: config.n_layr: 1: config: unknown key 'n_layr'; did you mean",
        ),
        (
            {"trials": 4},
            {"models": [{**MINE, "tune": {"lora.r": [1, 2]}}]},
            "lora.r goes with lora, which is not given",
        ),
        (
            {"trials": 4},
            {"models": [{**MINE, "training_arguments": {"learning_rate": 1.0}, "tune": RATE}]},
            "learning_rate: training_arguments gives it, too",
        ),
        (
            {"flops": 1e9},
            {"models": [{**TFIDF, "tune": {"config.C": {"log": [0.1, 10]}}}]},
            "those of 'tfidf', which is not trained, are not counted; give trials",
        ),
        (
            SOME,
            {"task": {"data_files": FILE, "validation_size": 9, "split": "last"}},
            "rows are in the order of time, which folds would break",
        ),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_key_and_what_would_be_right(
    write_recipe, tune, changes, message
):
    with pytest.raises(UserError, match=message):
        load(write_recipe, tune, **changes)


def test_a_model_s_space_needs_the_recipe_s_tune(write_recipe):
    with pytest.raises(UserError, match=r"models.mine.tune goes with tune, which is not given"):
        load_recipe(write_recipe(models=[{**MINE, "tune": RATE}]))


def test_trials_see_no_test_and_have_seeds_of_their_own(write_recipe):
    recipe = load(write_recipe, {"space": RATE, "trials": 4, "seeds": 2}, task=TEST)
    trials = trials_recipe(recipe, {None: [Trial("mine", 0, {"learning_rate": 1e-4})]})
    cells = plan_comparison(trials)
    assert [cell.model.training_arguments["learning_rate"] for cell in cells] == [1e-4, 1e-4]
    assert not {cell.seed for cell in cells} & {*recipe.seeds}
    assert {cell.settings["task"]["trial"] for cell in cells} == {"validation"}
    assert {cell.task for cell in cells} == {"tuning"}
    assert parse_trial(cells[0].model.name) == ("mine", 0)
    assert cells[0].settings["models"][0]["tuned"] == {"learning_rate": 1e-4}


def test_without_a_test_trials_see_parts_of_the_train_split(write_recipe):
    recipe = load(write_recipe)
    trials = trials_recipe(recipe, {None: [Trial("mine", 0, {"learning_rate": 1e-4})]})
    cells = plan_comparison(trials)
    assert [cell.settings["task"]["trial"] for cell in cells] == [
        {"number": number, "of": 5} for number in range(1, 6)
    ]


def test_seeds_of_trials_are_none_of_the_reported():
    tune = Tune(space=RATE, trials=1, seeds=2)
    first, second = tuning_seeds(tune, [])
    assert tuning_seeds(tune, [first]) == [second, tuning_seeds(tune, [first])[1]]
    assert first not in tuning_seeds(tune, [first])


def test_chosen_settings_are_those_of_the_cells_of_each_task(write_recipe):
    one, two = ({"name": name, **TEST} for name in ("one", "two"))
    recipe = load(write_recipe, task=None, tasks=[one, two])
    chosen = {("one", "mine"): {"learning_rate": 1e-4}, ("two", "mine"): {"learning_rate": 1e-3}}
    tuned = with_chosen(recipe, chosen).only(["mine"], [7])
    found = {cell.task: cell.training_arguments["learning_rate"] for cell in plan_comparison(tuned)}
    assert found == {"one": 1e-4, "two": 1e-3}
    assert {cell.seed for cell in plan_comparison(tuned)} == {7}
