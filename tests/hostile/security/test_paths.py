"""Names in a recipe lead nowhere but into its folder of results."""

import json
import sys
from contextlib import suppress

import pytest

from hfbench.cli.app import main
from hfbench.errors import UserError
from hfbench.recipe.load import load_recipe

NAMES = [
    "../up", "..", "a/b", "/tmp/x", "a\\b", "..\\up", "C:x", "a\0b", "a\nb", ".hidden", "-rf",
    "~", "$HOME", "a b", "a*", "con", "NUL", "com1", "Lpt9.x", "aux.txt", "a.", "x" * 65, "",
    "a--seed0", "\u202etxt", "\u2024\u2024/x", "\uff0e\uff0e",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_of_recipes_and_models_are_names_of_files(write_recipe, name):
    for changes in (
        {"name": name},
        {"models": [{"name": name, "control": "majority"}]},
    ):
        with pytest.raises(UserError, match="name"):
            load_recipe(write_recipe(**changes))


@pytest.mark.parametrize("name", ["a", "gpt-2.1_x", "console", "nullify", "com", "auxiliary.1"])
def test_ordinary_names_stay(write_recipe, name):
    assert load_recipe(write_recipe(name=name)).name == name


@pytest.mark.parametrize("split", ["../../up", "/tmp/x", "a/b", "..", ".hidden"])
def test_the_name_of_a_split_is_no_path(write_recipe, tmp_path, monkeypatch, capsys, split):
    """Nothing is written outside the results, whether or not the name is taken."""
    work = tmp_path / "a" / "b"
    work.mkdir(parents=True)
    path = write_recipe(
        task={"data_files": {split: "train.jsonl"}, "train_split": split, "validation_size": 0.5},
        models=[{"name": "floor", "control": "majority"}],
    )
    monkeypatch.chdir(work)
    monkeypatch.setattr(sys, "argv", ["hfbench", "compare", str(path)])
    before = outside(tmp_path)
    with suppress(SystemExit):
        main()
    assert outside(tmp_path) == before
    for record in (work / "results").rglob("records/*.json"):
        assert json.loads(record.read_text("utf-8"))["task"]["evaluation_split"] == "validation"


def outside(folder):
    return {path for path in folder.rglob("*") if "results" not in path.parts}


@pytest.mark.parametrize(
    "name", ["../up", "/etc/passwd", "..", "a/../b", "a\nb", "user/../../x", "a\0b"]
)
@pytest.mark.parametrize("verb", ["generate", "check", "convert", "compare"])
def test_a_models_place_that_is_no_name_is_a_mistake(
    write_recipe, tmp_path, monkeypatch, capsys, name, verb
):
    models = [{"name": "m", "model_name_or_path": name}]
    lines = {
        "generate": [name, "--prompt", "x"],
        "check": [name],
        "convert": [name, "made"],
        "compare": [str(write_recipe(models=models, seeds=[0]))],
    }
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["hfbench", verb, *lines[verb]])
    before = outside(tmp_path)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code in (1, 2)
    assert "Traceback" not in capsys.readouterr().err
    assert outside(tmp_path) == before
