"""The body of scripts: of those in recipes/, and of your own.

`run_script` is for what a launcher starts, `exit_on_user_error` for any that uses hfbench.
"""

import argparse
import atexit
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hfbench.errors import HfbenchError
from hfbench.system.launch import is_main_process
from hfbench.system.redaction import redact, redact_output
from hfbench.system.terminal import show

if TYPE_CHECKING:
    from hfbench.recipe.schema import Recipe


def run_script(run: "Callable[[Recipe, Path], None]", description: str | None) -> None:
    """Body of a script for launchers: ``script.py --config RECIPE [key=value ...]``."""
    from hfbench.recipe.load import load_recipe

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", type=Path, required=True, help="the recipe")
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="keys to change")
    args = parser.parse_args()
    with exit_on_user_error():
        run(load_recipe(args.config, args.overrides), args.results_dir)


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turn an expected error into its message and its exit code: 2 for a user's mistake, else 1."""
    redact_output()
    # Python looks at all objects several times as it ends: seconds, where torch has been imported
    atexit.register(gc.freeze)
    try:
        yield
    except HfbenchError as error:
        _say_error(error)
        raise SystemExit(error.exit_code) from None
    # of what is no result: standard output that goes to a full disk, the folder of temporary files
    except OSError as error:
        _say_error(error)
        raise SystemExit(HfbenchError.exit_code) from None


def _say_error(error: Exception) -> None:
    if is_main_process():
        show(redact(f"error: {error}"), file=sys.stderr)
