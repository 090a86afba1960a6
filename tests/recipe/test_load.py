import dataclasses
from pathlib import Path

import pytest

from hfbench.errors import UserError
from hfbench.recipe.fields import (
    check_field,
    custom_gpt_fields,
    custom_gpt_presets,
    training_arguments_fields,
)
from hfbench.recipe.load import load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
GOOD = """
name: x
task: {builtin: sentiment, validation_split: validation}
tokenizer: {train_on: task}
models:
  - {name: a, preset: gpt-nano}
  - {name: b.c, control: majority}
"""


@pytest.fixture
def load(tmp_path):
    def load(text, *overrides):
        path = tmp_path / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        return load_recipe(path, list(overrides))

    return load


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_parses(path):
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: x", "nam: x", "nam: unknown key; did you mean 'name'?"),
        ("name: x", "", "name: this key is required"),
        ("name: x", "name: ../x", "name: '../x' is not a name"),
        ("name: b.c", "name: b--seed0", "models[1].name: 'b--seed0' is not a name"),
        ("name: x", "name: 3", "name: Input should be a valid string, not 3"),
        ("name: x", "name: x\nname: y", 'found duplicate key "name"'),
        ("name: x", "name: [x", "not valid YAML"),
        ("name: x", "name: x\nquestions: [[a, z]]", "questions: no model 'z'"),
        ("name: x", "name: x\nquestions: [[a]]", "questions: a question is two models, not ['a']"),
        ("name: x", "name: x\nquestions: [[a, a]]", "questions: 'a' is compared with itself"),
        ("name: x", "name: x\nquestions: [[a, b.c], [b.c, a]]", "are there more than once"),
        ("name: x", "name: x\nreference: z", "reference: no model 'z'"),
        ("name: x", "name: x\nseeds: {at_most: 3}", "seeds: looks must be a list of whole"),
        ("name: x", "name: x\nseeds: {looks: [2]}", "seeds: at_most must be a whole number"),
        (
            "name: x",
            "name: x\nseeds: {at_most: 5, looks: [3, 4]}",
            "rise from 2 or more to at_most",
        ),
        ("name: x", "name: x\nseeds: {at_most: 5, lok: [3]}", "seeds: unknown key 'lok'; did you"),
        ("name: x", "name: x\nmargin: 1", "margin: 1 must be less than 1"),
        ("name: x", "name: x\nseeds: []", "seeds: List should have at least 1 item"),
        ("name: x", "name: x\nseeds: [1, 1]", "seeds: seeds must differ: [1, 1]"),
        ("name: x", "name: x\nseeds: [-1]", "seeds[0]: Input should be greater than or equal to 0"),
        ("name: x", "name: x\ntrain_sizes: [0]", "train_sizes[0]: Input should be greater than 0"),
        ("name: x", "name: x\ntrain_sizes: [9, 9]", "train_sizes: train_sizes must differ: [9, 9]"),
        (
            "name: x",
            "name: x\nselection: best",
            "'best' must be last, best_loss",
        ),
        (
            "name: x",
            "name: x\nselection: best_loss",
            "selection: best_loss chooses on the validation examples, so the table needs others: "
            "give task.test_split",
        ),
        ("name: x", "name: x\noptimizer: studi", "optimizer: Input should be 'huggingface' or"),
        ("name: x", "name: x\noptimizer: studi", "did you mean 'study'?"),
        ("builtin: sentiment", "builtin: sentimnt", "did you mean 'sentiment'?"),
        ("builtin: sentiment,", "", "exactly one of dataset_name, data_files, builtin"),
        ("builtin: sentiment", "builtin: sentiment, dataset_name: a/b", "not dataset_name and"),
        ("builtin: sentiment", "builtin: sentiment, revision: abc", "revision goes with dataset_"),
        ("validation_split: validation", "validation_size: 1.5", "task.validation_size"),
        (
            "validation_split: validation",
            "first: 3",
            "validation_size, folds; none",
        ),
        ("builtin: sentiment", "data_files: {train: no.csv}", "data_files.train: there is no file"),
        (
            "preset: gpt-nano",
            "preset: gpt-nan",
            "unknown preset 'gpt-nan'; did you mean 'gpt-nano'",
        ),
        ("preset: gpt-nano", "preset: gpt-nano, config: {n_lyer: 3}", "did you mean 'n_layer'"),
        ("preset: gpt-nano", "preset: gpt-nano, config: {n_layer: 3.5}", "3.5 is not of type int"),
        ("preset: gpt-nano", "preset: gpt-nano, random_init: true", "random_init goes with model_"),
        ("preset: gpt-nano", "preset: gpt-nano, control: majority", "exactly one of"),
        ("name: b.c", "name: A", "'a' is there more than once"),
        ("control: majority", "control: majority, optimizer: study", "no meaning for the control"),
        ("tokenizer: {train_on: task}", "", "model 'a' needs a tokenizer"),
        ("train_on: task", "train_on: corpus", "model 'a' has no corpus to train a tokenizer on"),
        ("train_on: task", "train_on: task, vocab_size: 100", "greater than or equal to 258"),
        ("train_on: task", "name_or_path: a/b, vocab_size: 500", "vocab_size goes with train_on"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(load, old, new, message):
    with pytest.raises(UserError) as error:
        load(GOOD.replace(old, new))
    assert message in str(error.value)
    assert "recipe.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{learning_rte: 1}", "unknown key 'learning_rte'; did you mean 'learning_rate'?"),
        ("{learning_rate: fast}", "learning_rate: 'fast' is not of type float"),
        ("{max_steps: true}", "max_steps: True is not of type int"),
        ("{load_best_model_at_end: true}", "cannot be set here: set by `selection`"),
        ("{seed: 3}", "seed cannot be set here: derived from `seeds`"),
        ("{fsdp: full_shard}", "fsdp cannot be set here: the launcher shards models"),
        ("{fsdp_config: {version: 2}}", "fsdp_config cannot be set here: the launcher shards"),
        ("{hub_token: hf_x}", "hub_token cannot be set here: a token never belongs into a file"),
        ("{per_device_train_batch_size: 0}", "per_device_train_batch_size: 0 must be at least 1"),
    ],
)
def test_a_mistaken_training_argument_is_named(load, arguments, message):
    with pytest.raises(UserError, match=r"recipe\.yaml: training_arguments: ") as error:
        load(GOOD + f"training_arguments: {arguments}")
    assert message in str(error.value)
    with pytest.raises(UserError, match=r"models\[0\]\.training_arguments: "):
        load(GOOD.replace("gpt-nano}", f"gpt-nano, training_arguments: {arguments}}}"))


@pytest.mark.parametrize("selection", ["best_loss", "best_accuracy"])
def test_a_selection_without_evaluations_is_named_with_its_model(load, selection):
    text = GOOD.replace("validation}", "validation, test_split: test}")
    text += f"selection: {selection}\n"
    assert load(text).selection == selection
    never = "training_arguments: {eval_strategy: no}\n"
    with pytest.raises(UserError, match=f"selection: {selection} needs evaluations.*model 'a'"):
        load(text + never)
    with pytest.raises(UserError, match=f"selection: {selection} needs evaluations.*model 'a'"):
        load(text, "models.a.training_arguments.eval_strategy=no")
    load(text + never, "models.a.training_arguments.eval_strategy=steps")  # the model's own wins


def test_train_sizes_need_a_task_and_come_in_order(load):
    assert load(GOOD, "train_sizes=[30, 10]").train_sizes == [10, 30]
    pretrained = """
name: x
tokenizer: {train_on: corpus}
train_sizes: [10]
models: [{name: a, preset: gpt-nano, pretrain: {corpus: {builtin: pets}}}]
"""
    with pytest.raises(UserError, match="train_sizes goes with task, which is not given"):
        load(pretrained)


def test_all_mistakes_are_named_at_once(load):
    with pytest.raises(UserError) as error:
        load(GOOD.replace("name: x", "name: x\nsedes: [0]\noptimizer: 3"))
    assert len(str(error.value).splitlines()) == 2


def test_numbers_follow_yaml_1_2(load):
    recipe = load(GOOD + "training_arguments: {learning_rate: 2e-5}\ndescription: no")
    assert recipe.training_arguments["learning_rate"] == 2e-5
    assert recipe.description == "no"


def test_overrides_reach_nested_keys_and_models_by_name(load):
    recipe = load(
        GOOD,
        "seeds=[3, 4]",
        "training_arguments.learning_rate=1e-3",
        "models.a.config.n_layer=2",
        "task.first=100",
    )
    assert recipe.seeds == [3, 4]
    assert recipe.training_arguments == {"learning_rate": 1e-3}
    assert recipe.models[0].config == {"n_layer": 2}
    assert recipe.task.first == 100
    assert load(GOOD, "models.b.c.control=tfidf-logreg").models[1].control == "tfidf-logreg"


def test_an_override_is_for_one_model_also_where_an_alias_gives_others_the_same(load):
    models = """models:
  - {name: a, preset: gpt-nano, training_arguments: &same {learning_rate: 1.0e-3}}
  - {name: b, preset: gpt-nano, training_arguments: *same}
"""
    text = GOOD[: GOOD.index("models:")] + models
    recipe = load(text, "models.a.training_arguments.learning_rate=2e-3")
    assert [m.training_arguments["learning_rate"] for m in recipe.models] == [2e-3, 1e-3]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seeds", "write it as key=value"),
        ("models.z.preset=gpt-nano", "no model 'z'"),
        ("name.x=3", "'name' has no keys"),
        ("seedz=[1]", "seedz: unknown key; did you mean 'seeds'?"),
    ],
)
def test_a_mistaken_override_is_named(load, override, message):
    with pytest.raises(UserError) as error:
        load(GOOD, override)
    assert message in str(error.value)


def test_a_missing_recipe_names_the_nearest(tmp_path):
    (tmp_path / "quickstart.yaml").write_text(GOOD)
    with pytest.raises(UserError, match=r"did you mean 'quickstart\.yaml'"):
        load_recipe(tmp_path / "quikstart.yaml")


def test_fields_read_from_source_are_those_of_the_classes():
    from transformers import TrainingArguments

    from hfbench.models import PRESETS, CustomGPTConfig

    imported = {field.name for field in dataclasses.fields(TrainingArguments) if field.init}
    assert set(training_arguments_fields()) == imported
    assert set(custom_gpt_fields()) <= set(CustomGPTConfig().to_dict())
    assert custom_gpt_presets() == PRESETS


def test_defaults_of_training_arguments_pass_their_own_check():
    from transformers import TrainingArguments

    fields = training_arguments_fields()
    defaults = {
        field.name: field.default
        for field in dataclasses.fields(TrainingArguments)
        if isinstance(field.default, (int, float, str, type(None)))
    }
    assert len(defaults) > 80
    assert [p for name, value in defaults.items() if (p := check_field(name, value, fields))] == []


def test_the_code_that_a_recipe_would_run_is_listed(load):
    text = GOOD.replace("preset: gpt-nano", "model: mine.models:Config").replace(
        "control: majority", "model_name_or_path: a/b, trust_remote_code: true"
    )
    recipe = load(text + "imports: [mine.controls]\n")
    assert recipe.modules == {"mine.controls": "imports", "mine.models": "models.a.model"}
    assert recipe.foreign_code == ["mine.controls", "mine.models", "a/b"]
    assert load(GOOD).foreign_code == []
