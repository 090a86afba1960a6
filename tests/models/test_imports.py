import importlib
import itertools
import sys
from pathlib import Path

import pytest

from hfbench.errors import UserError
from hfbench.models.imports import import_modules

NUMBERS = itertools.count()


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes a module into a folder and gives its name, which no other has."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    names = []

    def write(code="", folder=tmp_path, name=None):
        names.append(name := name or f"imported_{next(NUMBERS)}")
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
        importlib.invalidate_caches()
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)


def mistake(name, folder):
    with pytest.raises(UserError) as error:
        import_modules({name: "imports"}, folder)
    return str(error.value)


def test_a_module_is_found_beside_the_recipe_with_those_that_it_imports(write, tmp_path):
    other = write("VALUE = 3")
    name = write(f"def value():\n    import {other}\n    return {other}.VALUE")
    import_modules({name: "imports"}, tmp_path)
    assert sys.modules[name].value() == 3  # also when it asks later


def test_a_relative_folder_is_put_on_the_path_as_it_is_now(write, tmp_path, monkeypatch):
    name = write(folder=tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    import_modules({name: "imports"}, Path("recipes"))
    assert sys.path[-1] == str(tmp_path / "recipes")


def test_a_recipe_that_names_no_module_opens_no_folder_to_imports(tmp_path):
    import_modules({}, tmp_path)
    assert str(tmp_path) not in sys.path


def test_a_library_is_not_hidden_by_a_file_beside_the_recipe(write, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "tabnanny", raising=False)
    (tmp_path / "tabnanny.py").write_text("raise RuntimeError", encoding="utf-8")
    import_modules({write("import tabnanny"): "imports"}, tmp_path)
    assert not sys.modules["tabnanny"].__file__.startswith(str(tmp_path))


def test_a_module_that_is_not_there_is_named_with_the_places(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert mistake("not_there.at_all", tmp_path) == (
        "imports: not_there.at_all cannot be imported: No module named 'not_there'; "
        f"looked for where Python looks, and in {tmp_path}"
    )


def test_what_a_module_lacks_is_not_taken_for_the_module(write, tmp_path):
    name = write("import not_there")
    message = f"imports: {name} cannot be imported: No module named 'not_there'"
    assert mistake(name, tmp_path) == message


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "def f():\n    return 1 / 0\n\nf()",
            "ZeroDivisionError: division by zero ({}.py, line 4)",
        ),
        ("x = (", "SyntaxError: '(' was never closed ({}.py, line 1)"),
    ],
)
def test_a_module_that_fails_is_named_with_the_line(write, tmp_path, code, reason):
    name = write(code)
    assert mistake(name, tmp_path) == f"imports: {name} cannot be imported: {reason.format(name)}"


def test_another_module_of_the_same_name_is_not_taken_for_it(write, tmp_path):
    name = write()
    import_modules({name: "imports"}, tmp_path)
    write(folder=tmp_path / "elsewhere", name=name)
    assert mistake(name, tmp_path / "elsewhere") == (
        f"imports: {name} is imported from {tmp_path / name}.py, but "
        f"{tmp_path / 'elsewhere' / name}.py is there, too; rename one of the two"
    )
    (tmp_path / "errno.py").touch()
    assert "errno is imported from Python itself, but" in mistake("errno", tmp_path)
