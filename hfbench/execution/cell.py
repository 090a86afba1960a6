"""One cell of a comparison, from its settings to its record."""

import gc
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from safetensors import SafetensorError

from hfbench.execution.estimates import threads_of, using_threads
from hfbench.execution.inputs import Workbench
from hfbench.execution.kinds import Run, fit_control, pretrain, train_classifier
from hfbench.publish.checkpoint_push import CheckpointPush
from hfbench.recipe.cells import Cell
from hfbench.records.schema import WEIGHT_FILES, Failure, Record
from hfbench.records.store import save_record
from hfbench.system.environment import environment_stamp
from hfbench.system.files import clear_unfinished, writing
from hfbench.system.hashes import hash_files
from hfbench.system.launch import is_main_process
from hfbench.system.locks import hold
from hfbench.system.redaction import redact
from hfbench.training.checkpoints import clear
from hfbench.training.determinism import determinism_of_its_own
from hfbench.training.limits import TimeLimit, TimeLimitError, in_parts
from hfbench.training.losses import NonFiniteLossError
from hfbench.training.progress import StepBar

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """One start of a comparison."""

    folder: Path
    """``<results>/<recipe>``."""
    seen: dict[str, str] = field(default_factory=dict)
    """Cell's stem -> start of the run whose record was there, of records that do not count."""


@dataclass(frozen=True)
class CellResult:
    """How a cell went."""

    record: Record
    is_ours: bool = True
    """False: another process ran it meanwhile."""
    unpublished: str | None = None
    """Why a pretrained model that was to be published was not."""


def run_cell(
    cell: Cell,
    bench: Workbench,
    session: Session,
    bar: StepBar,
    push: CheckpointPush | None = None,
) -> CellResult | None:
    """Train and evaluate; the weights, if they are kept, the predictions and the record last.

    In several processes of a launcher each calls this, and the first one writes.

    Args:
        cell: what to run.
        bench: what it shares with others.
        session: where its result goes, and which results count.
        bar: is moved step by step.
        push: publishes checkpoints of a pretraining.

    Returns:
        None where another process runs the cell now.

    Raises:
        StorageError: if what came out cannot be written.
    """
    with turn(cell, bench, session) as (is_ours, found):
        if not is_ours:
            return None
        if found:
            return CellResult(found, is_ours=False)
        with using_threads(threads_of(cell, bench)), determinism_of_its_own():
            record, run = _train_and_describe(cell, bench, session.folder, bar, push)
        problem = None
        if is_main_process():
            is_kept = bench.recipe.save_models or cell.kind == "pretraining"
            keep(cell, session.folder, record, run.predictions, run.save_model if is_kept else None)
            if cell.kind == "pretraining" and record.status == "finished":
                with writing(str(cell.run_folder(session.folder))):
                    clear(cell.run_folder(session.folder))
                problem = push.finish(cell.checkpoint(session.folder)) if push else None
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # the others read what the first process wrote
        del run
        _free_memory()
        return CellResult(record, unpublished=problem)


def keep(
    cell: Cell,
    folder: Path,
    record: Record,
    predictions: pa.Table | None,
    save_model: Callable[[Path], None] | None,
) -> None:
    """Write what came of a cell to ``folder``, the record last.

    Raises:
        StorageError: if the disk is full, or whatever else prevents it.
    """
    with writing(f"the result of {cell.stem}"):
        if save_model:
            weights = cell.checkpoint(folder)
            _replace_folder(weights, save_model)
            changes = {"saved_weights": hash_files(weights, WEIGHT_FILES)}
            record = record.model_copy(update=changes)
        save_record(record, folder / "records", predictions)


@contextmanager
def turn(cell: Cell, bench: Workbench, session: Session) -> Iterator[tuple[bool, Record | None]]:
    """Whether the cell is this process's until the end, and what another made of it meanwhile.

    The processes of a launcher are as one: the first holds the cell, and tells the others.
    """
    held, found = True, None
    with ExitStack() as stack:
        if is_main_process():
            held = stack.enter_context(hold(cell.stem, session.folder))
            found = _made_meanwhile(cell, bench, session) if held else None
        if torch.distributed.is_initialized():
            told: list[Any] = [held, found]
            torch.distributed.broadcast_object_list(told)
            held, found = told
        if held and is_main_process():
            for ending in (".json", ".parquet"):
                clear_unfinished(session.folder / "records" / f"{cell.stem}{ending}")
        yield held, found


def _made_meanwhile(cell: Cell, bench: Workbench, session: Session) -> Record | None:
    """The record of this cell that another process has written since this one looked."""
    record = cell.recorded(session.folder)
    if record is None or record.started == session.seen.get(cell.stem):
        return None
    return record if record.cell_id == bench.cell_id(cell) else None


def _train_and_describe(
    cell: Cell, bench: Workbench, folder: Path, bar: StepBar, push: CheckpointPush | None
) -> tuple[Record, Run]:
    started, start = _now(), time.perf_counter()
    try:
        run = _run(cell, bench, folder, bar, push)
        status, failure = "finished", None
    # whatever it is: models and their libraries raise what they like (tokenizers a plain Exception,
    # where the disk is full), and one cell must not take the others of a night with it
    except Exception as error:
        logger.debug("cell %s failed", cell.stem, exc_info=True)
        run, status = Run({}), "failed"
        step = error.step if isinstance(error, (NonFiniteLossError, TimeLimitError)) else None
        failure = Failure(type=type(error).__name__, message=redact(str(error)), step=step)
    record = Record(
        kind=cell.kind,
        status=status,
        failure=failure,
        recipe=bench.recipe.name,
        model=cell.model.name,
        seed=cell.seed,
        train_size=cell.train_size,
        cell_id=bench.cell_id(cell),
        identity=bench.identity(cell),
        settings=cell.settings,
        started=started,
        environment=environment_stamp(),
        cell_seconds=time.perf_counter() - start,
        predictions=f"{cell.stem}.parquet" if run.predictions is not None else None,
        **run.fields,
    )
    return record, run


def _run(
    cell: Cell, bench: Workbench, folder: Path, bar: StepBar, push: CheckpointPush | None
) -> Run:
    if cell.model.control:
        return fit_control(cell, bench)
    limit = TimeLimit(bench.recipe.max_cell_seconds)
    if cell.kind == "pretraining":
        train = partial(pretrain, cell, bench, folder, bar, limit, push)
    else:
        train = partial(train_classifier, cell, bench, folder, bar, limit)
    rows = bench.arguments(cell).per_device_train_batch_size

    def say(message: str) -> None:
        _free_memory()  # here: what was thrown away is no longer held by the exception
        bar.say(f"{cell.stem}: {message}")

    return in_parts(rows, train, say)


def _replace_folder(path: Path, write: Callable[[Path], None]) -> None:
    """``path`` holds all that ``write`` wrote, or is as before."""
    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        write(temporary)
    except Exception as error:  # broad: a plain Exception is what tokenizers raises
        if type(error) in (SafetensorError, Exception):  # the file system's, in other clothes
            raise OSError(str(error)) from error
        raise
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)


def _free_memory() -> None:
    """A Trainer and its model hold each other; without this, models of past cells pile up."""
    gc.collect()
    gc.freeze()  # what is left outlasts the cells, as what they import: not to be looked at again
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")
