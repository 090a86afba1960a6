"""What a recipe may say of rows that are not trained, and which cells follow from it."""

from pathlib import Path

import pytest

from hfbench.errors import UserError
from hfbench.recipe.cells import plan_comparison, plan_pretraining
from hfbench.recipe.load import check_recipe
from hfbench.recipe.rivals import Prompt

TASK = {"builtin": "sentiment", "validation_split": "validation"}
HUB = {"name": "m", "model_name_or_path": "a/b"}
PROMPT = {"template": "{text}: it was", "labels": {"a": " good", "b": " bad"}}
PRETRAINED = {
    "name": "m",
    "preset": "gpt-nano",
    "pretrain": {"corpus": {"builtin": "pets"}},
    "tokenizer": {"train_on": "task"},
}


def recipe_of(*models, **changes):
    values = {"name": "n", "task": TASK, "models": list(models), "seeds": [3, 4], **changes}
    return check_recipe(values, [], Path("r.yaml"))


@pytest.mark.parametrize(
    ("model", "seeds"),
    [
        ({**HUB, "probe": "linear"}, [None]),
        ({**HUB, "probe": {"head": "knn", "pooling": "last"}}, [None]),
        ({**HUB, "probe": "mlp"}, [3, 4]),
        ({**HUB, "prompt": PROMPT}, [None]),
        ({**HUB, "prompt": {**PROMPT, "shots": 2}}, [3, 4]),
        ({"name": "m", "estimator": "my.module:make"}, [None]),
        ({**PRETRAINED, "probe": "linear"}, [None]),
    ],
)
def test_what_has_no_seed_runs_once_and_a_subset_with_every_seed(model, seeds):
    recipe = recipe_of(model)
    kind = recipe.models[0].kind
    assert [(cell.kind, cell.seed) for cell in plan_comparison(recipe)] == [
        (kind, s) for s in seeds
    ]
    assert not recipe.models[0].is_trained
    of_sizes = plan_comparison(recipe_of(model, train_sizes=[20, 40]))
    assert [cell.seed for cell in of_sizes] == [3, 4] * 2
    for cell in plan_comparison(recipe):  # a record's settings are a recipe again
        again = check_recipe({"name": "n", **cell.settings}, [], Path("r.yaml"))
        assert plan_comparison(again)[0].settings == cell.settings


def test_of_the_recipes_training_arguments_only_where_to_run_is_for_a_probe():
    recipe = recipe_of(
        {**HUB, "probe": "linear"}, training_arguments={"use_cpu": True, "learning_rate": 1.0}
    )
    (cell,) = plan_comparison(recipe)
    assert cell.training_arguments == {"use_cpu": True}


def test_a_pretraining_is_the_same_whatever_becomes_of_the_model():
    probed, prompted, tuned = (
        plan_pretraining(recipe_of({**PRETRAINED, **use}))[0].settings
        for use in ({"probe": "linear"}, {"prompt": PROMPT}, {})
    )
    assert probed == prompted == tuned


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({**HUB, "probe": "lineer"}, "did you mean 'linear'"),
        ({**HUB, "probe": {"pooling": "max"}}, "probe.pooling"),
        ({**HUB, "probe": "linear", "prompt": PROMPT}, "prompt has no meaning for the probe"),
        ({**HUB, "probe": "linear", "random_init": True}, "probe needs weights to start from"),
        ({"name": "m", "model_type": "gpt2", "prompt": PROMPT}, "prompt needs weights"),
        (
            {**HUB, "probe": "linear", "training_arguments": {"learning_rate": 1.0}},
            "a probe is not trained; it has use_cpu alone",
        ),
        ({**HUB, "probe": "linear", "lora": {}}, "lora has no meaning for the probe"),
        ({**HUB, "probe": {"pooling": "best"}}, "best chooses on the validation examples"),
        ({"name": "m", "estimator": "make"}, "write it as package.module:make"),
        ({"name": "m", "control": "majority", "probe": "linear"}, "no meaning for the control"),
        ({**HUB, "prompt": {**PROMPT, "template": "it was"}}, "it must have {text} once"),
        ({**HUB, "prompt": {**PROMPT, "template": "{text} {txt}"}}, "{txt} is none of {text}"),
        ({**HUB, "prompt": {**PROMPT, "template": "{text!r}"}}, "is none of {text}"),
        ({**HUB, "prompt": {**PROMPT, "template": "{text.__class__}"}}, "is none of {text}"),
        ({**HUB, "prompt": {**PROMPT, "template": "{text"}}, "a brace itself is {{"),
        ({**HUB, "prompt": {**PROMPT, "labels": {"a": " x", "b": " x"}}}, "more than one label"),
        ({**HUB, "prompt": {**PROMPT, "labels": {"a": " x"}}}, "two labels or more"),
        ({**HUB, "prompt": {**PROMPT, "labels": {"a": " x", "b": " "}}}, "are no words"),
        ({**HUB, "prompt": {**PROMPT, "separator": "\n"}}, "separator goes with shots"),
    ],
)
def test_mistakes_are_said_with_what_would_be_right(model, message):
    with pytest.raises(UserError) as error:
        recipe_of(model)
    assert message in str(error.value)
    assert str(error.value).startswith("r.yaml: models")


def test_a_template_is_filled_with_texts_as_they_are():
    prompt = Prompt(template="{{{text}}} and {text_pair}!", labels={"a": "x", "b": "y"})
    assert prompt.fill(text="{text_pair}", text_pair="%s {0}") == "{{text_pair}} and %s {0}!"
    assert prompt.ending == "!"
    assert prompt.names_pairs
