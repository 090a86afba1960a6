"""Code of one's own: the modules that a recipe names, imported before models are built.

Reading a recipe imports nothing. Comparing, pretraining or planning one does, in every process that
has a part in it, since an architecture or a control is known only where its module was imported.
"""

import importlib
import sys
import traceback
from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from hfbench.errors import UserError, nearest
from hfbench.models.controls import refuse_unknown_control
from hfbench.recipe.schema import Recipe
from hfbench.system.hashes import hash_file, hash_files


def import_code(recipe: Recipe) -> None:
    """Import what ``recipe`` names; after that its architectures and controls are known.

    Raises:
        UserError: naming the key, if a module cannot be imported or registers no such control.
    """
    import_modules(recipe.modules, recipe.folder)
    for model in recipe.models:
        if model.control:
            refuse_unknown_control(model.control, f"models.{model.name}.control")


def import_modules(modules: Mapping[str, str], folder: Path) -> None:
    """Import modules as Python finds them, and also from ``folder``.

    Args:
        modules: name as after ``import`` -> the key that names it, for messages.
        folder: of the recipe. It is put at the end of `sys.path`, so that what lies beside a recipe
            does not stand in for a library, and stays there for modules that import each other.

    Raises:
        UserError: if one cannot be imported, or if ``folder`` has another of the same name.
    """
    if not modules:
        return
    folder = folder.resolve()
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    importlib.invalidate_caches()  # a file may be younger than what Python has seen of its folder
    for name, key in modules.items():
        import_module(name, key, f"; looked for where Python looks, and in {folder}")
        _refuse_another(name, folder, key)


def import_module(name: str, key: str, where: str = "") -> ModuleType:
    """A module by its name, as after ``import``.

    Args:
        name: of the module.
        key: which names it, for messages.
        where: it was looked for, in words, for a module that is not there.

    Raises:
        UserError: with ``key``, if it cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        looked = where if error.name and f"{name}.".startswith(f"{error.name}.") else ""
        raise UserError(f"{key}: {name} cannot be imported: {error}{looked}") from error
    except Exception as error:  # a stranger's code runs, and may raise anything
        reason = f"{type(error).__name__}: {error}{_line_of(error)}"
        raise UserError(f"{key}: {name} cannot be imported: {reason}") from error


def find_function(path: str, key: str) -> Any:
    """What ``package.module:name`` names; its module is imported already.

    Raises:
        UserError: with ``key``, if there is no such function or class.
    """
    module_name, _, name = path.partition(":")
    module = sys.modules[module_name]
    found = vars(module).get(name)
    if not callable(found):
        names = [one for one, value in vars(module).items() if callable(value)]
        raise UserError(f"{key}: {module_name} has no function {name!r}{nearest(name, names)}")
    return found


def hash_module(name: str) -> str:
    """SHA-256 of the source of an imported module: its file, and its package's where it has one."""
    module = sys.modules[name]
    path = Path(str(module.__file__))
    return hash_files(path.parent, (".py",)) if module.__package__ else hash_file(path)


def _line_of(error: Exception) -> str:
    """Where in its own code a module failed, in words."""
    if isinstance(error, SyntaxError):  # which says it by itself
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    line = next(frame for frame in reversed(frames) if frame.name == "<module>")
    return f" ({Path(line.filename).name}, line {line.lineno})"


def _refuse_another(name: str, folder: Path, key: str) -> None:
    """Else the model that runs might not be the one that lies beside the recipe."""
    package = name.partition(".")[0]
    beside = PathFinder.find_spec(package, [str(folder)])
    imported = vars(sys.modules[package]).get("__file__")  # built-in modules have none
    if beside is None or not beside.has_location or beside.origin is None:
        return
    if imported is None or Path(beside.origin).resolve() != Path(imported).resolve():
        raise UserError(
            f"{key}: {package} is imported from {imported or 'Python itself'}, but "
            f"{beside.origin} is there, too; rename one of the two"
        )
