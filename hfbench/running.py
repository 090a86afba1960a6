"""From a recipe to its results, said in the end; the body of the verbs and of the scripts.

Heavy imports are inside the functions, for the sake of --help.
"""

import argparse
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from hfbench.errors import HubError, UserError, WorkerError
from hfbench.quiet import quiet_libraries

if TYPE_CHECKING:
    from hfbench.experiment import Outcome
    from hfbench.recipe import Recipe


def run_comparison(
    recipe: "Recipe",
    results_dir: Path,
    *,
    rerun: bool = False,
    jobs: int | None = None,
    shard: str | None = None,
    engine: Literal["local", "ray"] = "local",
) -> None:
    """Compare, write and print the table, and say where it is.

    Raises:
        SystemExit: with code 1, if a cell failed.
    """
    from hfbench.plan import Shard

    part = Shard.parse(shard) if shard is not None else None
    if engine == "ray" and jobs is not None:
        raise UserError(
            "--jobs is for this machine; with --engine ray, Ray decides where cells run"
        )
    if engine == "local":
        _expect_workers(recipe, results_dir, jobs)
    quiet_libraries()
    from hfbench.comparison import load_comparison
    from hfbench.experiment import compare
    from hfbench.table import print_table, write_table

    with _process_group():
        outcome = compare(recipe, results_dir, rerun=rerun, jobs=jobs, shard=part, engine=engine)
    if _is_main_process() and (outcome.ran or outcome.kept):  # there are more shards than cells
        comparison = load_comparison(outcome.folder)
        write_table(comparison, outcome.folder)
        print_table(comparison, Console())
    _summarise(outcome, "tables: README.md, accuracy.csv, accuracy.tex; evidence: records/")


def run_pretraining(
    recipe: "Recipe", results_dir: Path, *, rerun: bool = False, jobs: int | None = None
) -> None:
    """Pretrain the recipe's models and say where they are.

    Raises:
        SystemExit: with code 1, if one failed.
    """
    _expect_workers(recipe, results_dir, jobs, only_pretraining=True)
    quiet_libraries()
    from hfbench.experiment import compare

    with _process_group():
        outcome = compare(recipe, results_dir, rerun=rerun, only_pretraining=True, jobs=jobs)
    _summarise(outcome, "weights: models/; evidence: records/")


def run_script(run: "Callable[[Recipe, Path], None]", description: str | None) -> None:
    """Body of a script for launchers: ``script.py --config RECIPE [key=value ...]``."""
    from hfbench.recipe_file import load_recipe

    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", type=Path, required=True, help="the recipe")
    parser.add_argument("--results-dir", type=Path, default=Path("results"))
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="keys to change")
    args = parser.parse_args()
    with exit_on_user_error():
        run(load_recipe(args.config, args.overrides), args.results_dir)


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turn a UserError into its message and exit code 2, other expected errors into exit code 1."""
    try:
        yield
    except (UserError, HubError, WorkerError) as error:
        if _is_main_process():
            print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, UserError) else 1) from None


def _expect_workers(
    recipe: "Recipe", results_dir: Path, jobs: int | None, *, only_pretraining: bool = False
) -> None:
    """Let what workers are forked from import while this process does, if there may be any."""
    from hfbench import fork_server
    from hfbench.plan import open_cells

    if jobs == 1 or "WORLD_SIZE" in os.environ:
        return
    cells = open_cells(recipe, results_dir / recipe.name, only_pretraining=only_pretraining)
    if sum(cell.model.control is None for cell in cells) > 1:
        fork_server.start()


@contextmanager
def _process_group() -> Iterator[None]:
    """Take leave of the other processes.

    A trainer that still holds the group when Python ends makes torch abort the process.
    """
    import torch.distributed

    try:
        yield
    finally:
        if torch.distributed.is_initialized():
            gc.collect()
            torch.distributed.destroy_process_group()


def _summarise(outcome: "Outcome", what: str) -> None:
    failed = outcome.failed
    if _is_main_process():
        counts = f"{len(outcome.ran) - len(failed)} cells ran, {outcome.kept} were finished before"
        counts += f", {len(failed)} FAILED" if failed else ""
        Console(highlight=False).print(f"{counts}. Results in {outcome.folder} ({what}).")
        for record in failed:
            assert record.failure is not None
            print(f"  {record.stem}: {record.failure.type}: {record.failure.message}")
        for problem in outcome.unpublished:
            print(f"  {problem}")
    if failed or outcome.unpublished:
        raise SystemExit(1)


def _is_main_process() -> bool:
    return int(os.environ.get("RANK", "0")) == 0
