"""The command line. Heavy imports are inside the verbs: --help and a typo answer at once."""

import fnmatch
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hfbench.cli.data import data
from hfbench.cli.decide import decide, gate
from hfbench.cli.first import list_known, quickstart
from hfbench.cli.fsck import fsck
from hfbench.cli.init import init
from hfbench.cli.judge import judge
from hfbench.cli.models import check, convert, generate
from hfbench.cli.output import Json, Quiet, Verbose, reset, speak, speaking
from hfbench.cli.pack import pack
from hfbench.cli.publish import push
from hfbench.cli.results import flips, report, table
from hfbench.cli.run import run_comparison, run_pretraining
from hfbench.cli.script import exit_on_user_error
from hfbench.cli.verify import verify
from hfbench.errors import UserError, nearest
from hfbench.system.quiet import quiet_libraries
from hfbench.system.terminal import Console, show
from hfbench.version import __version__

if TYPE_CHECKING:
    from hfbench.recipe.schema import Recipe

app = typer.Typer(
    help="Compare text classifiers honestly: one Trainer, many seeds, tables with intervals.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

RecipePath = Annotated[
    Path,
    typer.Argument(
        help="A recipe: a YAML file, or the name of one that `hfbench list` shows.",
        metavar="RECIPE",
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Keys of the recipe to change, e.g. seeds=[0,1] or "
        "models.gpt-nano.training_arguments.learning_rate=1e-3.",
        metavar="[KEY=VALUE]...",
    ),
]
ResultsDir = Annotated[Path, typer.Option(help="The folder that holds a folder for each recipe.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and run nothing.")]
Rerun = Annotated[bool, typer.Option("--rerun", help="Run what is finished, too.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Cells side by side, each in a process of its own; 1: one after another. By default "
        "as many as pay. The records do not depend on it.",
        metavar="N",
    ),
]
FailFast = Annotated[
    bool,
    typer.Option("--fail-fast", help="Stop when a cell has failed; by default the others run."),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        help="Run these models of the recipe alone, by name or with * and ?; may be given again. "
        "What they are asked, and how they are tuned, stays as in the recipe.",
        metavar="MODEL",
    ),
]


def _say_version(asked: bool) -> None:
    if asked:
        show(f"hfbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version."),
    ] = False,
    imports: Annotated[
        list[str] | None,
        typer.Option(
            "--imports",
            help="A module that registers measures of your own, imported first: tables of results "
            "need it as the recipe did. May be given again.",
            metavar="MODULE",
        ),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    speak(quiet=quiet, verbose=verbose, as_json=as_json)
    if imports:
        from hfbench.models.imports import import_modules

        import_modules(dict.fromkeys(imports, "--imports"), Path())


def compare(
    recipe: RecipePath,
    overrides: Overrides = None,
    results_dir: ResultsDir = Path("results"),
    only: Only = None,
    dry_run: DryRun = False,
    rerun: Rerun = False,
    fail_fast: FailFast = False,
    jobs: Jobs = None,
    shard: Annotated[
        str | None,
        typer.Option(
            help="Run only the I-th of N parts of the cells, which together are all: for machines "
            "that share a results folder.",
            metavar="I/N",
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(help="What runs the cells: this machine, or a Ray cluster (extra: ray)."),
    ] = "local",
) -> None:
    """Train and evaluate every model of a recipe with every seed; write records and the table.

    What is finished is not run again.
    """
    loaded = _load(recipe, overrides, only)
    if dry_run:
        _print_plan(loaded, results_dir, rerun=rerun, shard=shard)
    else:
        run_comparison(
            loaded,
            results_dir,
            rerun=rerun,
            jobs=jobs,
            fail_fast=fail_fast,
            shard=shard,
            engine=engine,
        )


def plan(
    recipe: RecipePath,
    overrides: Overrides = None,
    results_dir: ResultsDir = Path("results"),
    only: Only = None,
    difference: Annotated[
        float | None,
        typer.Option(
            min=1e-9,
            help="A difference of the measure to show, e.g. 0.03 of accuracies; by default the "
            "recipe's margin, or 0.05 of what is from 0 to 1.",
        ),
    ] = None,
    discordance: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=1,
            help="Share of the examples that just one of two models answers rightly; by default "
            "measured on finished runs, or 0.3.",
        ),
    ] = None,
) -> None:
    """Print the cells of a recipe, what differences it can show, and its time; run nothing."""
    _print_plan(
        _load(recipe, overrides, only),
        results_dir,
        difference=difference,
        discordance=discordance,
    )


def pretrain(
    recipe: RecipePath,
    overrides: Overrides = None,
    results_dir: ResultsDir = Path("results"),
    only: Only = None,
    dry_run: DryRun = False,
    rerun: Rerun = False,
    fail_fast: FailFast = False,
    jobs: Jobs = None,
) -> None:
    """Only pretrain the models of a recipe that have a pretrain block."""
    loaded = _load(recipe, overrides, only)
    if dry_run:
        _print_plan(loaded, results_dir, rerun=rerun, only_pretraining=True)
    else:
        run_pretraining(loaded, results_dir, rerun=rerun, jobs=jobs, fail_fast=fail_fast)


_VERBS: dict[str, tuple[Callable[..., None], ...]] = {
    "Compare": (quickstart, init, compare, plan, pretrain, data, judge, list_known),
    "Results": (decide, gate, table, report, flips, verify, fsck, pack),
    "Models": (check, convert, generate),
    "Publish": (push,),
}
"""As --help shows them, in the order in which they are wanted."""
for _group, _verbs in _VERBS.items():
    for _verb in _verbs:
        _name = "list" if _verb is list_known else None
        app.command(_name, rich_help_panel=_group)(speaking(_verb))


def main() -> None:
    """Entry point: what can be expected to go wrong is one message, never a traceback."""
    reset()
    with exit_on_user_error():
        app()


def _load(path: Path, overrides: list[str] | None, only: list[str] | None) -> "Recipe":
    """The recipe, or with some of its models alone.

    Raises:
        UserError: as `load_recipe`, and for a name that none of its models has.
    """
    from hfbench.recipe.load import load_recipe

    recipe = load_recipe(path, overrides)
    if not only:
        return recipe
    names = [model.name for model in recipe.models]
    chosen: set[str] = set()
    for pattern in only:
        found = fnmatch.filter(names, pattern)
        if not found:
            raise UserError(f"--only: no model {pattern!r}{nearest(pattern, names)}")
        chosen.update(found)
    return recipe.only(chosen, recipe.seeds)


def _print_plan(
    recipe: "Recipe",
    results_dir: Path,
    *,
    rerun: bool = False,
    only_pretraining: bool = False,
    shard: str | None = None,
    difference: float | None = None,
    discordance: float | None = None,
) -> None:
    quiet_libraries()
    from hfbench.cli.design import Target
    from hfbench.cli.plan import print_plan
    from hfbench.recipe.cells import Shard

    all_can_run = print_plan(
        recipe,
        results_dir,
        Console(),
        rerun=rerun,
        only_pretraining=only_pretraining,
        shard=Shard.parse(shard) if shard is not None else None,
        target=Target(difference, discordance),
    )
    if not all_can_run:
        raise typer.Exit(1)
