"""Cells as tasks of a Ray cluster, for comparisons beyond one machine.

Ray decides where a cell runs, waits for a free place, and starts a cell again whose machine died.
What comes out travels back as bytes, and the driver writes it: the machines need no common file
system. They do need hfbench in the same versions, the environment variables of the Hub where it is
needed, and what the recipe names by a path at that same path; what is missing there is an error.
"""

import os
import platform
import shutil
import socket
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from hfbench.errors import HubError, UserError, WorkerError
from hfbench.execution.cell import CellResult, Session, run_cell, turn
from hfbench.execution.estimates import threads_of, using_threads
from hfbench.execution.identity import cell_id_of
from hfbench.execution.inputs import Inputs
from hfbench.execution.jobs import CELLS_PER_GPU
from hfbench.execution.progress import Reporter
from hfbench.execution.schedule import Waiting, line_up, put_off, ready, seconds_to_wait
from hfbench.execution.tasks import AllInputs
from hfbench.recipe.cells import Cell, pretraining_of
from hfbench.recipe.schema import Recipe
from hfbench.records.record_file import load_record
from hfbench.records.schema import ComparedRecord
from hfbench.records.store import ResultsFolder
from hfbench.system.launch import is_launched
from hfbench.system.quiet import quiet_libraries
from hfbench.training.progress import StepBar

Files = dict[str, bytes]
"""Contents of a folder by path in it."""

_LONGEST_WAIT = 2.0  # seconds, after which it is looked whether the head of the cluster is there
_SECONDS_WITHOUT_HEAD = 20.0
"""After which it does not come back; after a minute Ray ends this process, and nothing is said."""


class RayCluster:
    """See `engine.Engine`: cells on the cluster at RAY_ADDRESS or on a new one of this machine.

    A cell on a CPU takes as many of its node's CPUs as it has threads; one on a GPU shares it with
    `CELLS_PER_GPU` - 1 others. A pretraining that is interrupted starts from its beginning. A cell
    whose process dies is run again, three times; then it is lost, and those that start from it do
    not run.
    """

    @staticmethod
    def there(
        recipe: Recipe, cell: Cell, threads: int, needed: Files
    ) -> Files | UserError | HubError:
        """What a node does: run a cell; its record, predictions and weights."""
        return _run_there(recipe, cell, threads, needed)

    def run(
        self, cells: list[Cell], inputs: AllInputs, session: Session, reporter: Reporter
    ) -> Generator[CellResult]:
        """See `engine.Engine`; also raises UserError if Ray is missing, and WorkerError if it does
        not start.
        """
        ray = _import_ray()
        _refuse(cells)
        is_ours = not ray.is_initialized()
        if is_ours:
            # by itself Ray would try, for minutes, whatever cluster this machine has seen last
            address = os.environ.get("RAY_ADDRESS", "local")
            _start_ray(ray, address)
        head = _Head(ray.get_runtime_context().gcs_address)
        remote = ray.remote(type(self).there)
        # room is Ray's matter
        waiting = [replace(one, slots=0) for one in line_up(cells, inputs, 1)]
        cell_of = {cell.name: cell for cell in cells}
        running: dict[Any, Waiting] = {}
        lost: list[str] = []
        turns: dict[Waiting, ExitStack] = {}
        try:
            places = _Places(ray, inputs)
            while True:
                for chosen in ready(waiting, list(running.values()), 0):
                    waiting.remove(chosen)
                    cell = cell_of[chosen.name]
                    own = inputs.of(cell)
                    turns[chosen] = ExitStack()
                    is_ours_now, found = turns[chosen].enter_context(
                        turn(cell, cell_id_of(cell, own), own, session)
                    )
                    if found:
                        turns[chosen].close()
                        yield CellResult(found, is_ours=False)
                    elif not is_ours_now:
                        waiting.append(put_off(chosen))
                    else:
                        folder = session.folder_of(cell)
                        reference = _start(remote, places, cell, own, folder)
                        running[reference] = chosen
                if not running and not waiting:
                    break
                seconds = seconds_to_wait(waiting)
                seconds = _LONGEST_WAIT if seconds is None else min(seconds, _LONGEST_WAIT)
                references, _ = ray.wait(list(running), timeout=seconds)
                if not references:
                    head.refuse_if_gone()
                for reference in references:
                    ended = running.pop(reference)
                    with turns.pop(ended):
                        try:
                            returned = ray.get(reference)
                        except ray.exceptions.RayError as error:
                            lost.append(f"{ended.name}: {type(error).__name__}: {error}")
                            waiting = [one for one in waiting if one.after != ended.name]
                            continue
                        if isinstance(returned, Exception):
                            raise returned
                        cell = cell_of[ended.name]
                        result = _keep(returned, cell, session.folder_of(cell))
                    yield result
        finally:
            for held in turns.values():
                held.close()
            # else Ray's own end waits for it, until it ends this process (exit code 1) in a minute
            if head.is_there():
                for reference in running:
                    ray.cancel(reference, force=True)
                if is_ours:
                    ray.shutdown()
        if lost:
            raise WorkerError(f"{'; '.join(lost)}. What is finished is kept and is not run again")


def _start(
    remote: Any, places: "_Places", cell: Cell, inputs: Inputs, folder: ResultsFolder
) -> Any:
    """Ray's reference to what a cell that was started now will give."""
    threads = places.threads(cell)
    start = remote.options(num_cpus=threads, num_gpus=places.gpus(cell))
    needed = _pack(folder.path, _needed(cell, inputs.recipe, folder))
    return start.remote(inputs.recipe, cell, threads, needed)


class _Head:
    """The process that keeps the cluster together."""

    def __init__(self, address: str) -> None:
        """``address``: host:port."""
        self.address = address
        self._seen = time.monotonic()

    def is_there(self) -> bool:
        """Whether it takes a connection."""
        host, _, port = self.address.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _LONGEST_WAIT).close()
        except OSError:
            return False
        return True

    def refuse_if_gone(self) -> None:
        """End the comparison where it has been away for too long.

        Raises:
            WorkerError: then; cells under way are lost.
        """
        if self.is_there():
            self._seen = time.monotonic()
        elif time.monotonic() - self._seen > _SECONDS_WITHOUT_HEAD:
            raise WorkerError(
                f"--engine ray: the head of the cluster, {self.address}, is gone. What is finished "
                "is kept, and the same command goes on"
            )


class _Places:
    """What the nodes of the cluster can give to a cell."""

    def __init__(self, ray: Any, inputs: AllInputs) -> None:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self.inputs = inputs
        self.has_gpus = any(node.get("GPU") for node in nodes)
        self.most_threads = max(int(node.get("CPU", 0)) for node in nodes)

    def gpus(self, cell: Cell) -> float:
        """The share of a GPU."""
        wants = cell.has_network and not cell.training_arguments.get("use_cpu")
        return 1 / CELLS_PER_GPU if self.has_gpus and wants else 0

    def threads(self, cell: Cell) -> int:
        """As on this machine, if there is a node with so many CPUs."""
        if self.gpus(cell):
            return 1
        with using_threads(max(1, min(torch.get_num_threads(), self.most_threads))):
            return threads_of(cell, self.inputs.of(cell))


def _run_there(
    recipe: Recipe, cell: Cell, threads: int, needed: Files
) -> Files | UserError | HubError:
    """Run a cell on some node; its record, predictions and weights."""
    quiet_libraries()
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _unpack(needed, folder)
        bar = StepBar(lambda step, total: None, print)
        try:
            cells = [pretraining_of(cell, recipe)] if cell.model.pretrain else []
            # with one task, and its own folder, as far as this node knows
            cell = replace(cell, task=None)
            session = Session(ResultsFolder(folder))
            inputs = Inputs(recipe, [*cells, cell]).expect_all()
            run_cell(cell, inputs, session, bar)
        except (UserError, HubError) as error:
            node = platform.node()
            return type(error)(f"on the Ray node {node}: {error}")
        return _pack(folder, [path for path in _files(folder) if str(path) not in needed])


def _keep(files: Files, cell: Cell, folder: ResultsFolder) -> CellResult:
    """Write what a node has sent as if it had come about here."""
    with tempfile.TemporaryDirectory() as temporary:
        there = ResultsFolder(Path(temporary))
        _unpack(files, there.path)
        record = load_record(there.record_path(cell.stem))
        predictions = None
        if isinstance(record, ComparedRecord):
            predictions = pq.read_table(there.predictions_path(record))
        weights = there.weights(cell.stem)
        copy = partial(shutil.copytree, weights, dirs_exist_ok=True) if weights.is_dir() else None
        folder.keep(record, predictions, copy)
    return CellResult(record)


def _needed(cell: Cell, recipe: Recipe, folder: ResultsFolder) -> list[Path]:
    """Files of the pretraining that a cell starts from, relative to the folder."""
    if not (cell.is_compared and cell.model.pretrain):
        return []
    source = pretraining_of(cell, recipe)
    weights = folder.weights(source.stem)
    paths = [folder.record_path(source.stem), *filter(Path.is_file, weights.rglob("*"))]
    return [path.relative_to(folder.path) for path in paths]


def _files(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]


def _pack(folder: Path, paths: list[Path]) -> Files:
    return {str(path): (folder / path).read_bytes() for path in paths}


def _unpack(files: Files, folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _refuse(cells: list[Cell]) -> None:
    if is_launched():
        raise UserError("--engine ray: start hfbench without a launcher; Ray starts the processes")
    if any(cell.publishing for cell in cells):
        raise UserError(
            "--engine ray: checkpoints are not published from other machines; pretrain before, "
            "with `hfbench pretrain`"
        )


def _start_ray(ray: Any, address: str) -> None:
    try:
        ray.init(address, logging_level="error", log_to_driver=False)
    except Exception as error:  # Ray raises Exception itself where its processes do not come up
        where = "a Ray of this machine" if address == "local" else f"RAY_ADDRESS={address}"
        raise WorkerError(
            f"--engine ray: {where} did not start or cannot be reached ({error}); `ray status` and "
            "the logs in /tmp/ray/session_latest/logs tell more"
        ) from error


def _import_ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it reports to its makers
    try:
        import ray
    except ImportError:
        raise UserError("--engine ray needs Ray: pip install 'hfbench[ray]'") from None
    return ray
