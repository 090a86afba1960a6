"""A comparison from its recipe to its records: the page that holds the whole flow."""

import gc
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from hfbench.checks import quick_check
from hfbench.errors import UserError
from hfbench.execution.cell import CellResult, Session, run_cell
from hfbench.execution.engines.ray import run_on_ray
from hfbench.execution.engines.workers import run_in_workers
from hfbench.execution.inputs import Workbench
from hfbench.execution.jobs import choose_jobs
from hfbench.execution.progress import Reporter
from hfbench.execution.schedule import plan_tasks, put_off, ready, seconds_to_wait
from hfbench.execution.survey import Survey, cells_to_look_at
from hfbench.publish.checkpoint_push import CheckpointPush, open_publishers
from hfbench.recipe.cells import Cell, Shard, plan_classification, plan_pretraining
from hfbench.recipe.schema import Recipe
from hfbench.records.schema import Record
from hfbench.system.launch import is_main_process, shards_models

Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Outcome:
    """How a comparison went."""

    folder: Path
    """``<results>/<recipe>``: its records and models."""
    results: list[CellResult]
    """Of the cells that were open, as far as they ended."""
    kept: int
    """Cells that were finished before, under whatever name."""
    not_run: int
    """Cells that were left because one failed."""

    @property
    def ran(self) -> list[Record]:
        """The records written now."""
        return [result.record for result in self.results if result.is_ours]

    @property
    def by_others(self) -> int:
        """Cells that other processes ran meanwhile."""
        return len(self.results) - len(self.ran)

    @property
    def failed(self) -> list[Record]:
        """The cells that failed now, whoever ran them."""
        records = [result.record for result in self.results]
        return [record for record in records if record.status == "failed"]

    @property
    def unpublished(self) -> list[str]:
        """Why a pretrained model that was to be published now was not."""
        return [result.unpublished for result in self.results if result.unpublished]


def compare(
    recipe: Recipe,
    results: Path,
    *,
    rerun: bool = False,
    only_pretraining: bool = False,
    fail_fast: bool = False,
    jobs: int | None = 1,
    shard: Shard | None = None,
    engine: Engine = "local",
    console: Console | None = None,
) -> Outcome:
    """Run the cells of ``recipe`` that have no result yet; pretraining comes first.

    Several of these on the same recipe, on machines that share ``results``, share the cells.

    In several processes (``torchrun``, ``accelerate launch``) each calls this; they train every
    cell together, and the first one writes.

    Args:
        recipe: the comparison.
        results: the folder that holds a folder for each recipe.
        rerun: run what is finished, too.
        only_pretraining: leave the comparison itself for later.
        fail_fast: start no cell after one has failed, and end those under way.
        jobs: cells side by side in processes of their own, which do not know an architecture that
            this one has registered; 1: one after another in this one; None: as many as pay.
        shard: run this part only.
        engine: "ray" spreads the cells over a Ray cluster, see `ray_engine`, whatever ``jobs`` is.
        console: where progress goes; default: standard output.

    Raises:
        UserError: before anything runs, if data or a model cannot be had or do not fit.
        StorageError: if a result cannot be written; what was written before is whole.
        WorkerError: if a process that ran a cell died.
    """
    if not only_pretraining and shards_models():
        raise UserError(
            "the launcher shards models over its processes (FSDP), which is for pretraining alone: "
            "use recipes/pretrain.py with it, and compare with one process a GPU (DDP) or without "
            "a launcher"
        )
    planned = plan_pretraining(recipe) if only_pretraining else plan_classification(recipe)
    if not planned:
        what = "is to be pretrained" if only_pretraining else "is compared: the task is missing"
        raise UserError(f"recipe {recipe.name!r}: no model {what}")
    console = console or Console()
    bench = Workbench(recipe, cells_to_look_at(recipe, only_pretraining=only_pretraining))
    survey = Survey(bench, results)
    statuses = survey.statuses(rerun=rerun, only_pretraining=only_pretraining, shard=shard)
    cells = [status.cell for status in statuses if status.reasons]
    session = Session(survey.folder, {s.cell.stem: s.record.started for s in statuses if s.record})
    _refuse_unfair_architectures(cells, bench)
    jobs = choose_jobs(jobs, cells, bench) if engine == "local" else None
    is_main = is_main_process()
    if is_main:
        survey.settle(statuses, console)
    pushes = open_publishers(cells) if is_main else {}
    ended: dict[str, CellResult] = {}
    with Reporter(console, len(cells), quiet=not is_main) as reporter:
        if jobs is None:
            coming = run_on_ray(cells, bench, session)
        elif jobs == 1:
            coming = _run_here(cells, bench, session, pushes, reporter)
        else:
            coming = run_in_workers(cells, bench, session, jobs, reporter)
        with closing(coming):
            for result in coming:
                stem = result.record.stem
                ended[stem] = result
                reporter.finish(f"{stem}: {_in_words(result)}")
                if fail_fast and result.record.failure:
                    break
    kept = sum(not status.reasons and status.cell.kind == planned[0].kind for status in statuses)
    in_order = [ended[cell.stem] for cell in cells if cell.stem in ended]
    return Outcome(session.folder, in_order, kept, not_run=len(cells) - len(in_order))


def _run_here(
    cells: list[Cell],
    bench: Workbench,
    session: Session,
    pushes: dict[str, CheckpointPush],
    reporter: Reporter,
) -> Generator[CellResult]:
    """One after another, in this process."""
    waiting = plan_tasks(cells, bench, jobs=1)
    cell_of = {cell.stem: cell for cell in cells}
    gc.freeze()  # what is there now outlasts the cells, after each of which garbage is collected
    try:
        while waiting:
            if not (tasks := ready(waiting, [], jobs=1)):
                time.sleep(seconds_to_wait(waiting) or 0)
                continue
            waiting.remove(tasks[0])
            cell = cell_of[tasks[0].name]
            with reporter.cell(cell.stem) as bar:
                result = run_cell(cell, bench, session, bar, pushes.get(cell.stem))
            if result:
                yield result
            else:
                waiting.append(put_off(tasks[0]))
    finally:
        gc.unfreeze()


def _refuse_unfair_architectures(cells: list[Cell], bench: Workbench) -> None:
    """Ask the models that nobody has tested, unless the recipe knows; once each, for all seeds."""
    for name, kind in sorted({(cell.model.name, cell.kind) for cell in cells}):
        prepared = bench.prepared.get(name)  # a control has none
        if prepared and prepared.is_own_architecture and not prepared.entry.unfair:
            quick_check(prepared, "classifier" if kind == "classification" else "language model")


def _in_words(result: CellResult) -> str:
    record = result.record
    if not result.is_ours:
        return "another process ran it"
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
