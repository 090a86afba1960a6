"""The plan of a comparison, printed before anything runs."""

import math
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from hfbench.plan import Cell, open_cells, plan_classification, plan_pretraining
from hfbench.recipe import Recipe
from hfbench.seeds import derive_streams
from hfbench.trainer import training_arguments
from hfbench.workbench import Workbench


def print_plan(
    recipe: Recipe, results: Path, console: Console, *, rerun: bool, only_pretraining: bool
) -> None:
    """Print cells, sizes and steps, and which cells would run."""
    folder = results / recipe.name
    cells = plan_pretraining(recipe)
    if not only_pretraining:
        cells += plan_classification(recipe)
    to_run = {
        cell.id
        for cell in open_cells(recipe, folder, rerun=rerun, only_pretraining=only_pretraining)
    }
    bench = Workbench(recipe, cells)
    if recipe.task and not only_pretraining:
        facts = bench.task.facts
        sizes = ", ".join(f"{data.examples:,} {name}" for name, data in facts.splits.items())
        console.print(f"Data: {facts.source}: {sizes} examples; labels {', '.join(facts.labels)}")
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("cell", "parameters", "batch", "steps", "max\nlength", "state"):
        is_text = name in ("cell", "state")
        table.add_column(name, justify="left" if is_text else "right", overflow="fold")
    for cell in cells:
        state = "to run" if cell.id in to_run else "finished"
        table.add_row(cell.stem, *_sizes(cell, bench), state)
    console.print(table)
    console.print(f"{len(to_run)} of {len(cells)} cells to run; results would go to {folder}")


def _sizes(cell: Cell, bench: Workbench) -> list[str]:
    if cell.model.control:
        return ["", "", "", ""]
    key = f"models.{cell.model.name}.training_arguments"
    args = training_arguments(cell.training_arguments, derive_streams(0), Path(), key)
    if cell.kind == "pretraining":
        examples = len(bench.tokenized_corpus(cell.model).splits["train"])
        max_length = bench.prepared[cell.model.name].max_length
    else:
        examples = cell.train_size or bench.task.facts.splits["train"].examples
        max_length = bench.max_length(cell.model)
    batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
    steps = args.max_steps
    if steps <= 0:
        steps = math.ceil(args.num_train_epochs * math.ceil(examples / batch))
    sizes = [bench.parameter_count(cell), batch, steps, max_length]
    return [f"{size:,}" for size in sizes]
