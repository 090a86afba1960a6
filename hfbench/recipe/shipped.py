"""The recipes that come with hfbench: known by name wherever it is installed."""

from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def shipped_folder() -> Path:
    """Where they lie: in the installed package, or beside it in a checkout."""
    installed = _PACKAGE / "recipes"
    return installed if installed.is_dir() else _PACKAGE.parent / "recipes"


@cache
def shipped_recipes() -> dict[str, Path]:
    """Name -> file, as ``hfbench compare NAME`` finds it where no file has that name."""
    return {path.stem: path for path in sorted(shipped_folder().glob("*.yaml"))}
