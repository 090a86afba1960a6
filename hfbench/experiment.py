"""A comparison from its recipe to its records: the page that holds the whole flow."""

import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from hfbench.cells import CellResult, run_cell
from hfbench.check import is_own_architecture, quick_check
from hfbench.errors import UserError
from hfbench.jobs import choose_jobs
from hfbench.plan import Cell, Shard, open_cells, plan_classification, plan_pretraining
from hfbench.progress import Reporter
from hfbench.publish.checkpoints import CheckpointPush, open_pushes
from hfbench.ray_engine import run_on_ray
from hfbench.recipe import Recipe
from hfbench.record import Record
from hfbench.workbench import Workbench
from hfbench.workers import run_in_workers

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Outcome:
    """How a comparison went."""

    folder: Path
    """``<results>/<recipe>``: its records and models."""
    ran: list[Record]
    """The records written now."""
    kept: int
    """Cells that were finished before."""
    unpublished: list[str]
    """Why a pretrained model that was to be published now was not."""

    @property
    def failed(self) -> list[Record]:
        """The cells that failed now."""
        return [record for record in self.ran if record.status == "failed"]


def compare(
    recipe: Recipe,
    results: Path,
    *,
    rerun: bool = False,
    only_pretraining: bool = False,
    jobs: int | None = 1,
    shard: Shard | None = None,
    engine: Engine = "local",
    console: Console | None = None,
) -> Outcome:
    """Run the cells of ``recipe`` that have no finished record; pretraining comes first.

    In several processes (``torchrun``, ``accelerate launch``) each calls this; they train every
    cell together, and the first one writes.

    Args:
        recipe: the comparison.
        results: the folder that holds a folder for each recipe.
        rerun: run what is finished, too.
        only_pretraining: leave the comparison itself for later.
        jobs: cells side by side in processes of their own, which do not know an architecture that
            this one has registered; 1: one after another in this one; None: as many as pay.
        shard: run this part only.
        engine: "ray" spreads the cells over a Ray cluster, see `ray_engine`, whatever ``jobs`` is.
        console: where progress goes; default: standard output.

    Raises:
        UserError: before anything runs, if data or a model cannot be had or do not fit.
        WorkerError: if a process that ran a cell died.
    """
    folder = results / recipe.name
    planned = plan_pretraining(recipe) if only_pretraining else plan_classification(recipe)
    if not planned:
        what = "is to be pretrained" if only_pretraining else "is compared: the task is missing"
        raise UserError(f"recipe {recipe.name!r}: no model {what}")
    planned = shard.of(planned) if shard else planned
    cells = open_cells(recipe, folder, rerun=rerun, only_pretraining=only_pretraining, shard=shard)
    bench = Workbench(recipe, cells)
    _refuse_unfair_architectures(cells, bench)
    jobs = choose_jobs(jobs, cells, bench) if engine == "local" else None
    is_main = int(os.environ.get("RANK", "0")) == 0
    pushes = open_pushes(cells) if is_main else {}
    ended: dict[str, CellResult] = {}
    with Reporter(console or Console(), len(cells), quiet=not is_main) as reporter:
        if jobs is None:
            coming = run_on_ray(cells, bench, folder)
        elif jobs == 1:
            coming = _run_here(cells, bench, folder, pushes, reporter)
        else:
            coming = run_in_workers(cells, bench, folder, jobs, reporter)
        for result in coming:
            stem = result.record.stem
            ended[stem] = result
            reporter.finish(f"{stem}: {_in_words(result.record)}")
    in_order = [ended[cell.stem] for cell in cells]
    kept = sum(cell.id not in {other.id for other in cells} for cell in planned)
    return Outcome(
        folder,
        ran=[result.record for result in in_order],
        kept=kept,
        unpublished=[result.unpublished for result in in_order if result.unpublished],
    )


def _run_here(
    cells: list[Cell],
    bench: Workbench,
    folder: Path,
    pushes: dict[str, CheckpointPush],
    reporter: Reporter,
) -> Iterator[CellResult]:
    """One after another, in this process."""
    gc.freeze()  # what is there now outlasts the cells, after each of which garbage is collected
    try:
        for cell in cells:
            with reporter.cell(cell.stem) as bar:
                result = run_cell(cell, bench, folder, bar, pushes.get(cell.stem))
            yield result
    finally:
        gc.unfreeze()


def _refuse_unfair_architectures(cells: list[Cell], bench: Workbench) -> None:
    """Ask the models that nobody has tested; once each, whatever the seeds."""
    for name, kind in sorted({(cell.model.name, cell.kind) for cell in cells}):
        prepared = bench.prepared.get(name)  # a control has none
        if prepared and is_own_architecture(prepared):
            quick_check(prepared, "classifier" if kind == "classification" else "language model")


def _in_words(record: Record) -> str:
    if record.failure:
        return f"FAILED: {record.failure.type}: {record.failure.message}"
    if record.kind == "pretraining":
        loss = record.metrics["validation"]["loss"]
        what = f"validation loss {loss:.3f}"
    else:
        assert record.task is not None
        split = record.task.evaluation_split
        what = f"{split} accuracy {100 * record.metrics[split]['accuracy']:.2f} %"
    seconds = record.training.train_seconds if record.training else record.fit_seconds
    return f"{what}, {seconds:.1f} s"
