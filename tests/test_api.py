"""What hfbench promises to programs: the names in `hfbench.__all__`, and nothing else."""

import ast
import inspect
import json
from importlib.resources import files
from pathlib import Path

import pytest
from rich.console import Console

import hfbench

QUIET = Console(quiet=True)
CLASSES = {
    "Comparison", "HfbenchError", "HubError", "Judgement", "Outcome", "Recipe", "Record",
    "UserError",
}  # fmt: skip
SMALL = {"name": "mine", "preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
FLOOR = {"name": "floor", "control": "majority"}


def test_the_surface_is_this():
    assert set(hfbench.__all__) - CLASSES == {
        "__version__", "check", "compare", "decide", "gate", "judge", "load_comparison",
        "load_recipe", "load_records", "plan", "pretrain", "push_model", "push_results",
        "verify", "verify_push",
    }  # fmt: skip
    for name in hfbench.__all__:
        assert getattr(hfbench, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        hfbench.nothing  # noqa: B018


def test_type_checkers_see_the_same_names():
    tree = ast.parse(Path(hfbench.__file__).read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: imported.module
        for imported in block.body
        if isinstance(imported, ast.ImportFrom)
        for alias in imported.names
    }
    assert seen.keys() == set(hfbench.__all__) - {"__version__"}
    for name, module in seen.items():
        assert f"hfbench.{hfbench._HOMES[name]}" == module
    assert files("hfbench").joinpath("py.typed").is_file()


def test_every_public_function_says_what_it_does_and_takes_a_text_for_a_path():
    for name in set(hfbench.__all__) - CLASSES - {"__version__"}:
        function = getattr(hfbench, name)
        assert inspect.getdoc(function), name
        for parameter in inspect.signature(function).parameters.values():
            if "Path" in str(parameter.annotation):
                assert parameter.annotation == str | Path, (name, parameter)


def test_errors_have_one_base_and_an_exit_code():
    for error, code in ((hfbench.UserError, 2), (hfbench.HubError, 1)):
        assert issubclass(error, hfbench.HfbenchError)
        assert error.exit_code == code


def test_from_a_recipe_to_a_table_by_public_names(write_recipe, tmp_path):
    recipe = hfbench.load_recipe(str(write_recipe(models=[SMALL, FLOOR])), ["seeds=[3]"])
    results = str(tmp_path / "results")
    planned = hfbench.plan(recipe, results)
    assert [(status.cell.stem, status.reasons) for status in planned] == [
        ("mine--seed3", ["has not run yet"]), ("floor", ["has not run yet"]),
    ]  # fmt: skip
    assert not Path(results).exists()
    assert [s.cell.stem for s in hfbench.plan(recipe, results, shard="2/2")] == ["floor"]
    outcome = hfbench.compare(recipe, results, console=QUIET)
    assert outcome.folder == tmp_path / "results" / "tiny"
    assert {record.stem for record in outcome.ran} == {"mine--seed3", "floor"}
    folder = str(outcome.folder)
    assert {record.stem for record in hfbench.load_records(folder)} == {"mine--seed3", "floor"}
    assert {model.name for model in hfbench.load_comparison(folder).models} == {"mine", "floor"}
    assert not any(status.reasons for status in hfbench.plan(recipe, results))
    assert all(status.reasons for status in hfbench.plan(recipe, results, rerun=True))
    again = hfbench.verify(folder, ["floor"], relative_to=str(tmp_path), console=QUIET)
    assert [repetition.difference for repetition in again] == [None]


def test_only_what_is_to_be_pretrained_is(write_recipe, tmp_path):
    pretrain = {"corpus": {"builtin": "pets", "first": 200}, "training_arguments": {"max_steps": 2}}
    recipe = hfbench.load_recipe(write_recipe(models=[{**SMALL, "pretrain": pretrain}, FLOOR]))
    planned = hfbench.plan(recipe, tmp_path, only_pretraining=True)
    assert [status.cell.stem for status in planned] == ["pretrain--mine"]
    outcome = hfbench.pretrain(recipe, str(tmp_path), console=QUIET)
    assert [record.stem for record in outcome.ran] == ["pretrain--mine"]


def test_a_check_gives_its_findings(monkeypatch):
    # all of them take half a minute, and are asked in tests/checks
    from hfbench import checks

    kept = [check for check in checks.CHECKS if check.name == "padding"]
    monkeypatch.setattr(checks, "CHECKS", kept)
    found = hfbench.check("transformers:LlamaConfig")
    assert [verdict.status for verdict in found["padding"]] == ["ok", "ok"]


def test_what_is_no_results_folder_is_a_users_mistake(tmp_path):
    for look in (hfbench.load_records, hfbench.load_comparison):
        with pytest.raises(hfbench.UserError, match="no records here"):
            look(str(tmp_path))
    with pytest.raises(hfbench.UserError, match="there is no recipe"):
        hfbench.load_recipe(str(tmp_path / "nowhere.yaml"))
    (tmp_path / "recipe.yaml").write_text(json.dumps({"nam": "x"}), encoding="utf-8")
    with pytest.raises(hfbench.HfbenchError, match="did you mean 'name'"):
        hfbench.load_recipe(tmp_path / "recipe.yaml")
