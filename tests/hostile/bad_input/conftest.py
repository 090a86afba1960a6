import sys

import pytest

from hfbench.cli import app as cli
from hfbench.errors import UserError
from hfbench.recipe.load import load_recipe


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command line in this process: its exit code and what it wrote to standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hfbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as leave:
            cli.main()
        return leave.value.code or 0, capsys.readouterr().err

    return run


@pytest.fixture
def recipe_mistake(tmp_path):
    """The message about the text of a recipe, without the path that it begins with."""
    path = tmp_path / "recipe.yaml"

    def read(content, *overrides):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UserError) as error:
            load_recipe(path, list(overrides))
        message = str(error.value)
        assert overrides or message.startswith(f"{path}: ")
        return message.removeprefix(f"{path}: ")

    return read
