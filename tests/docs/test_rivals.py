"""The samples of docs/rivals.md are recipes, and its Python makes an estimator."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from hfbench.recipe.schema import Recipe

PAGE = (Path(__file__).parents[2] / "docs" / "rivals.md").read_text("utf-8")
SAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
TASK = {"builtin": "sentiment", "validation_split": "validation"}


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_sample_is_a_recipe_of_rows_that_are_not_trained(sample):
    values = YAML(typ="safe", pure=True).load(sample)
    tokenizer = {"train_on": "task"}
    recipe = Recipe.from_values(
        {"name": "n", "task": TASK, "tokenizer": tokenizer, **values}, Path()
    )
    assert all(model.kind != "classification" for model in recipe.models)


def test_the_estimator_of_the_page_tells_texts_apart():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(code, names)
    fitted = names["bayes"]().fit(["good film", "bad film"] * 3, [1, 0] * 3)
    assert fitted.predict(["good", "bad"]).tolist() == [1, 0]
