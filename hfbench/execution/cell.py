"""One cell of a comparison, from its settings to its record."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hfbench.execution.estimates import threads_of, using_threads
from hfbench.execution.identity import cell_id_of, identify
from hfbench.execution.inputs import Inputs
from hfbench.execution.kinds import KINDS, Run, Surroundings
from hfbench.execution.kinds.train import free_memory, run_labels
from hfbench.execution.publisher import OpenPublishers, Publisher
from hfbench.execution.survey import Survey
from hfbench.execution.tasks import AllInputs
from hfbench.recipe.cells import Cell
from hfbench.records.identity import cell_id
from hfbench.records.schema import FailedRecord, Failure, FinishedRecord, Record
from hfbench.records.store import ResultsFolder
from hfbench.system.environment import environment_stamp
from hfbench.system.files import writing
from hfbench.system.frames import place_of
from hfbench.system.launch import is_main_process
from hfbench.system.redaction import redact
from hfbench.training.checkpoints import clear
from hfbench.training.limits import TimeLimitError
from hfbench.training.losses import NonFiniteLossError
from hfbench.training.process import process_of_its_own
from hfbench.training.progress import StepBar
from hfbench.training.trackers import tracked

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """One start of a comparison."""

    folder: ResultsFolder
    """Of the recipe; see `folder_of`."""
    seen: dict[str, str] = field(default_factory=dict)
    """Cell's name -> start of the run whose record was there, of records that do not count."""
    open_publishers: OpenPublishers | None = None
    elsewhere: Path | None = None
    """The folder of all recipes, where the result of a pretraining may have come about meanwhile
    under another name; None: each runs."""

    def folder_of(self, cell: Cell) -> ResultsFolder:
        """Where its result goes: of several tasks each has a folder of its own."""
        return self.folder.of_task(cell.task)

    def publishers(self, cells: Sequence[Cell]) -> Mapping[str, Publisher]:
        """What publishes the checkpoints of ``cells``, by their names; the Hub is asked if it may.

        Raises:
            UserError, HubError: where it could not publish.
        """
        if self.open_publishers is None or not is_main_process():
            return {}
        return self.open_publishers(cells)


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
    inputs: AllInputs,
    session: Session,
    bar: StepBar,
    publisher: Publisher | None = None,
) -> CellResult | None:
    """Train and evaluate; the weights, if they are kept, the predictions and the record last.

    In several processes of a launcher each calls this, and the first one writes.

    Args:
        cell: what to run.
        inputs: what it shares with others.
        session: where its result goes, and which results count.
        bar: is moved step by step.
        publisher: publishes checkpoints of a pretraining.

    Returns:
        None where another process runs the cell now.

    Raises:
        StorageError: if what came out cannot be written.
    """
    own = inputs.of(cell)
    identity = identify(cell, own)
    with turn(cell, cell_id(identity), own, session) as (is_ours, found):
        if not is_ours:
            return None
        if found:
            return CellResult(found, is_ours=False)
        surroundings = Surroundings(
            own, session.folder_of(cell), bar, partial(cell_id_of, inputs=own), publisher
        )
        with using_threads(threads_of(cell, own)), process_of_its_own():
            record, run = _run_and_describe(cell, identity, surroundings)
        problem = _write(cell, surroundings, record, run) if is_main_process() else None
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # the others read what the first process wrote
        del run
        free_memory()
        return CellResult(record, unpublished=problem)


@contextmanager
def turn(
    cell: Cell, identity_hash: str, inputs: Inputs, session: Session
) -> Iterator[tuple[bool, Record | None]]:
    """Whether the cell is this process's until the end, and what another made of it meanwhile.

    A pretraining is held by its content, too: another part of the recipe (``--only``) may have it
    under another name. The processes of a launcher are as one: the first holds the cell, and tells
    the others.
    """
    held, found = True, None
    with ExitStack() as stack:
        if is_main_process():
            locks = [session.folder_of(cell).lock(cell.stem)]
            if KINDS[cell.kind].KEEPS_WEIGHTS:
                locks.append(session.folder.lock(f"same--{identity_hash}"))
            held = all(stack.enter_context(lock) for lock in locks)
            found = _made_meanwhile(cell, identity_hash, inputs, session) if held else None
        if torch.distributed.is_initialized():
            told: list[Any] = [held, found]
            torch.distributed.broadcast_object_list(told)
            held, found = told
        if held and is_main_process():
            session.folder_of(cell).clear_unfinished(cell.stem)
        yield held, found


def _made_meanwhile(
    cell: Cell, identity_hash: str, inputs: Inputs, session: Session
) -> Record | None:
    """The record of this cell that another process has written since this one looked."""
    record = session.folder_of(cell).record(cell.stem)
    is_new = record is not None and record.started != session.seen.get(cell.name)
    if record and is_new and record.cell_id == identity_hash:
        return record
    if session.elsewhere and KINDS[cell.kind].KEEPS_WEIGHTS:
        return Survey(inputs, session.elsewhere).take_over(cell)
    return None


def _run_and_describe(
    cell: Cell, identity: dict[str, Any], surroundings: Surroundings
) -> tuple[Record, Run]:
    started, start = datetime.now(timezone.utc), time.perf_counter()
    kind, failure = KINDS[cell.kind], None
    try:
        with tracked(run_labels(cell, surroundings)):
            run = kind.run(cell, surroundings)
    # whatever it is: models and their libraries raise what they like (tokenizers a plain Exception,
    # where the disk is full), and one cell must not take the others of a night with it
    except Exception as error:
        logger.debug("cell %s failed", cell.stem, exc_info=True)
        run = Run({})
        step = error.step if isinstance(error, (NonFiniteLossError, TimeLimitError)) else None
        failure = describe_failure(error, step)
    common: dict[str, Any] = {
        "kind": cell.kind,
        "recipe": surroundings.inputs.recipe.name,
        "model": cell.model.name,
        "seed": cell.seed,
        "train_size": cell.train_size,
        "fold": cell.fold,
        "cell_id": cell_id(identity),
        "identity": identity,
        "settings": cell.settings,
        "started": started.isoformat(timespec="milliseconds"),
        "environment": environment_stamp(),
        "cell_seconds": time.perf_counter() - start,
    }
    if failure:
        return FailedRecord(**common, failure=failure), run
    if run.predictions is not None:
        common["predictions"] = f"{cell.stem}.parquet"
    record: Any = kind.RECORD(**common, **run.fields)
    return record, run


def describe_failure(error: Exception, step: int | None = None) -> Failure:
    """An error as a record tells it."""
    place = place_of(error)
    where = {"module": place.module, "line": place.line, "frames": place.frames} if place else {}
    return Failure(type=type(error).__name__, message=redact(str(error)), step=step, **where)


def refused_record(cell: Cell, recipe: str, error: Exception) -> FailedRecord:
    """The record of a cell that did not start, since its model cannot be had or cannot run.

    What its content would have been is not known, so that its identity is empty.
    """
    return FailedRecord(
        kind=cell.kind,
        recipe=recipe,
        model=cell.model.name,
        seed=cell.seed,
        train_size=cell.train_size,
        fold=cell.fold,
        cell_id=cell_id({}),
        settings=cell.settings,
        started=datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        environment=environment_stamp(),
        cell_seconds=0.0,
        failure=describe_failure(error),
    )


def _write(cell: Cell, surroundings: Surroundings, record: Record, run: Run) -> str | None:
    """Keep what came out; why its model was not published, if it was to be and was not."""
    folder, keeps_weights = surroundings.folder, KINDS[cell.kind].KEEPS_WEIGHTS
    is_kept = surroundings.inputs.recipe.save_models or keeps_weights
    folder.refuse_if_gone(cell.stem)
    folder.keep(record, run.predictions, run.save_model if is_kept else None)
    if not (keeps_weights and isinstance(record, FinishedRecord)):
        return None
    with writing(str(folder.run(cell.stem))):
        clear(folder.run(cell.stem))  # its checkpoints, which nobody goes on from any more
    publisher = surroundings.publisher
    return publisher.finish(folder.weights(cell.stem)) if publisher else None
