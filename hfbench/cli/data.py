"""The verb `hfbench data`: what is odd about data, before anything is trained on them."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hfbench.system.terminal import show, tell

if TYPE_CHECKING:
    from hfbench.recipe.schema import Recipe

_RECIPES = (".yaml", ".yml")


def data(
    target: Annotated[
        Path,
        typer.Argument(
            help="A recipe (YAML), or a csv, tsv, json, jsonl or parquet file.",
            metavar="RECIPE|FILE",
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="Keys to change: of the recipe as for compare, or of the task of a file, e.g. "
            "text_column=review.",
            metavar="[KEY=VALUE]...",
        ),
    ] = None,
) -> None:
    """Look at data: encoding, rows, classes, duplicates, groups, lengths; train nothing.

    A file is split as `validation_size: 0.25` would split it. Exit code 1 if a finding is of
    severity high.
    """
    from hfbench.errors import UserError
    from hfbench.recipe.load import load_recipe
    from hfbench.recipe.shipped import shipped_recipes

    if target.suffix.lower() in _RECIPES or str(target) in shipped_recipes():
        recipe = load_recipe(target, overrides)
    else:
        recipe = _recipe_of(target, overrides or [])
    if not recipe.all_tasks:
        raise UserError(f"{target}: it has no task, whose data could be looked at")
    import datasets

    from hfbench.data.doctor import diagnose
    from hfbench.data.doctor.report import format_report

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # its errors are raised, too
    parts = recipe.by_task
    found = [diagnose(_name(target, part), part) for part in parts]
    for one in found:
        tell(dataclasses.asdict(one))
    show("\n\n".join(map(format_report, found)))
    if any(finding.severity == "high" for one in found for finding in one.findings):
        raise SystemExit(1)


def _name(target: Path, part: "Recipe") -> str:
    """What was asked for; of one of several tasks with the task."""
    return f"{target}: task {part.task_name}" if part.task_name else str(target)


def _recipe_of(path: Path, overrides: list[str]) -> "Recipe":
    """A comparison of the data in a file, whose columns are guessed where they are not given."""
    from hfbench.data.doctor.diagnosis import guess_columns
    from hfbench.data.doctor.files import can_read, read_file
    from hfbench.data.files import DataFile
    from hfbench.errors import UserError, nearest
    from hfbench.recipe.load import check_recipe

    if not path.exists():
        siblings = [file.name for file in path.parent.glob(f"*{path.suffix}")]
        raise UserError(f"there is no file {str(path)!r}{nearest(path.name, siblings)}")
    task = {"data_files": {"train": path.name}, "validation_size": 0.25}
    values = {"name": "data", "task": task, "models": [{"name": "floor", "control": "majority"}]}
    keys = [f"task.{override}" for override in overrides]
    asked = check_recipe(values, keys, path).task
    assert asked
    file = DataFile(path, "task.data_files.train", asked.encoding)
    if can_read(file, asked) and (guessed := guess_columns(read_file(file, asked).columns)):
        pairs = zip(("text_column", "label_column"), guessed, strict=True)
        task |= {key: name for key, name in pairs if not (asked.text and key == "text_column")}
    return check_recipe(values, keys, path)
