"""The verbs of the first minute: `hfbench quickstart` and `hfbench list`."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from hfbench.system.terminal import Console, note, tell

_EXTRAS = {
    "lora": "peft",
    "tune": "optuna",
    "ray": "ray",
}
"""Extra -> the package that it brings."""
_TRACKERS = ("trackio", "wandb", "tensorboard", "mlflow")
"""What `report_to` may name that is a package of its own."""


def quickstart(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Keys of the recipe to change, e.g. seeds=[0,1].", metavar="[KEY=VALUE]..."
        ),
    ] = None,
    results_dir: Annotated[
        Path, typer.Option(help="The folder that holds a folder for each recipe.")
    ] = Path("results/local"),
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Cells side by side; by default as many as pay.")
    ] = None,
) -> None:
    """Compare six models on built-in data: what hfbench does, in a few minutes, without a network.

    It is `hfbench compare quickstart`; `hfbench list` says where its recipe lies.
    """
    from hfbench.cli.run import run_comparison
    from hfbench.recipe.load import load_recipe

    run_comparison(load_recipe("quickstart", overrides), results_dir, jobs=jobs)
    report = f"hfbench report {results_dir / 'quickstart'}"
    note(
        f"Next: `{report}` makes one page of it; `hfbench init reviews.csv` writes a recipe for "
        "data of your own."
    )


def list_known() -> None:
    """List what is there: recipes, presets of the custom GPT, built-in data, extras."""
    from hfbench.recipe.fields import custom_gpt_presets
    from hfbench.recipe.load import load_recipe
    from hfbench.recipe.model import BUILTIN_CORPORA
    from hfbench.recipe.shipped import shipped_folder, shipped_recipes
    from hfbench.recipe.task import BUILTIN_TASKS

    here = Path("recipes")
    is_shipped = here.is_dir() and here.resolve() == shipped_folder().resolve()
    own = [] if is_shipped else sorted(here.glob("*.yaml"))
    recipes = {name: load_recipe(path).description for name, path in shipped_recipes().items()}
    recipes |= {str(path): load_recipe(path).description for path in own}
    recipes = {name: " ".join(text.split()) for name, text in recipes.items()}
    presets = custom_gpt_presets()
    extras = {name: _is_installed(package) for name, package in _EXTRAS.items()}
    trackers = {name: _is_installed(name) for name in _TRACKERS}

    console = Console(highlight=False)
    say = console.print
    say("[bold]Recipes[/bold] (hfbench compare NAME; they lie in the folder below)")
    for name, description in recipes.items():
        say(f"  {name}: {description}", markup=False)
    say(f"  {shipped_folder()}", markup=False, soft_wrap=True)
    say("[bold]Presets of the custom GPT[/bold] (layers/heads/width)")
    for name, sizes in presets.items():
        say(f"  {name:<12} {sizes['n_layer']}/{sizes['n_head']}/{sizes['n_embd']}")
    say("[bold]Built-in tasks[/bold]  " + ", ".join(BUILTIN_TASKS))
    say("[bold]Built-in corpora[/bold]  " + ", ".join(BUILTIN_CORPORA))
    say("[bold]Extras[/bold]")
    for name, is_there in extras.items():
        say(f"  {name:<12} {'installed' if is_there else f'pip install hfbench[{name}]'}",
            markup=False)  # fmt: skip
    found = [name for name, is_there in trackers.items() if is_there]
    say(f"[bold]Trackers for report_to[/bold]  {', '.join(found) or 'none installed'}")
    tell(
        {
            "recipes": recipes,
            "folder": shipped_folder(),
            "presets": presets,
            "tasks": list(BUILTIN_TASKS),
            "corpora": list(BUILTIN_CORPORA),
            "extras": extras,
            "trackers": trackers,
        }
    )


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
