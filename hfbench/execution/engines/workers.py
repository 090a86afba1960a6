"""Cells side by side in worker processes, which import once and stay warm.

Each worker loads the inputs of the comparison for itself and runs its cells as `--jobs 1` does,
one after another. An import of seconds is paid once, see `fork_server`.
"""

import gc
import logging
import os
import signal
import threading
from collections.abc import Generator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from hfbench.errors import HfbenchError, WorkerError
from hfbench.execution import fork_server
from hfbench.execution.cell import CellResult, Session, run_cell
from hfbench.execution.inputs import arguments
from hfbench.execution.progress import Reporter
from hfbench.execution.schedule import (
    SharedGpus,
    Waiting,
    line_up,
    put_off,
    ready,
    seconds_to_wait,
)
from hfbench.execution.tasks import AllInputs, load_inputs
from hfbench.models import lengths
from hfbench.recipe.cells import Cell
from hfbench.recipe.schema import Recipe
from hfbench.system.interruption import STOPPING, Interrupted, interruptible, leave
from hfbench.system.launch import gpu_of_worker, visible_gpus
from hfbench.system.log import is_verbose, log_to_terminal
from hfbench.system.quiet import quiet_libraries
from hfbench.training.process import start_cuda
from hfbench.training.progress import StepBar

_PATIENCE = 5.0  # seconds, for a process to end when told to
_LONGEST_WAIT = 1.0  # seconds, until it is asked again whether a signal came


@dataclass(frozen=True)
class _Setup:
    """All that a worker is told once."""

    recipe: Recipe
    cells: list[Cell]
    session: Session
    threads: int
    """Of torch, at most."""
    environment: dict[str, str]
    max_lengths: dict[tuple[str, ...], int]
    """What models were asked already, see `lengths.FOUND`."""
    trains_on_gpu: bool
    verbose: bool
    """Whether what is logged is shown."""


class Workers:
    """See `engine.Engine`: cells in up to ``jobs`` processes.

    When one of them dies, no cell is started any more, and those under way are waited for.
    """

    def __init__(self, jobs: int, worker: "type[Worker] | None" = None) -> None:
        """``jobs``: at least 1; ``worker``: what stands for a process, by default `Worker`."""
        self.jobs, self.worker = jobs, worker or Worker

    def run(
        self, cells: list[Cell], inputs: AllInputs, session: Session, reporter: Reporter
    ) -> Generator[CellResult]:
        """See `engine.Engine`; also raises UserError for what cannot be had a second time."""
        waiting = line_up(cells, inputs, self.jobs)
        cell_of = {cell.name: cell for cell in cells}
        devices = {arguments(c, inputs.of(c)).device.type for c in cells if c.has_network}
        setup = _Setup(
            inputs.recipe,
            cells,
            session,
            torch.get_num_threads(),
            dict(os.environ),
            dict(lengths.FOUND),
            "cuda" in devices,
            is_verbose(),
        )
        gpus = visible_gpus()
        shared = SharedGpus(gpus, len(cells)) if gpus else None
        session.publishers(cells)  # before the first cell runs: whether the Hub will take them
        workers: list[Worker] = []
        lost: list[str] = []
        try:
            while True:
                leave()  # what a signal raises while something is collected is lost there
                running = [worker.given for worker in workers if worker.given]
                # what killed a process was most likely a lack of memory, so one fewer goes on
                for chosen in ready(waiting, running, max(1, self.jobs - len(lost))):
                    number = self._next(workers, shared, len(waiting))
                    if number is None:
                        break
                    waiting.remove(chosen)
                    if number == len(workers):
                        workers.append(self.worker(number, setup, reporter))
                    workers[number].start(chosen, cell_of[chosen.name])
                busy = {worker.connection: worker for worker in workers if worker.given}
                if not busy and not waiting:
                    break
                seconds = seconds_to_wait(waiting)
                seconds = _LONGEST_WAIT if seconds is None else min(seconds, _LONGEST_WAIT)
                for connection in wait(list(busy), seconds):
                    worker = busy[connection]
                    given = worker.given
                    try:
                        result = worker.receive()
                    except EOFError:
                        workers.remove(worker)
                        lost.append(worker.bury())
                        reporter.say(lost[-1])
                    else:
                        if result:
                            yield result
                        elif given and not worker.given:  # another process has the cell
                            reporter.put_off(given.name)
                            waiting.append(put_off(given))
        finally:
            with ExitStack() as leaving:  # each is called, whatever another raises; the last first
                for worker in workers:
                    leaving.callback(worker.end)
                for worker in workers:
                    leaving.callback(worker.dismiss)
        if lost:
            raise WorkerError(
                f"{'; '.join(lost)}. What is finished is kept and is not run again; a lack of "
                "memory is met by fewer --jobs"
            )

    def _next(self, workers: list["Worker"], shared: SharedGpus | None, waiting: int) -> int | None:
        """Number of the worker that takes the next cell, a new one if it comes after all others.

        None where it is better to wait, see `SharedGpus`.
        """
        numbers = [number for number, worker in enumerate(workers) if worker.is_idle()]
        if len(workers) < self.jobs or not numbers:
            numbers.append(len(workers))
        if shared is None:
            return numbers[0]
        running = [number for number, worker in enumerate(workers) if worker.given]
        return shared.choose(numbers, running, waiting)


class Worker:
    """A worker process, seen from the one that started it; it starts with its first cell.

    So that one whose start a signal interrupts is known to who dismisses it.
    """

    def __init__(self, number: int, setup: "_Setup", reporter: Reporter) -> None:
        self.reporter = reporter
        self.given: Waiting | None = None
        if gpus := visible_gpus():
            gpu = gpu_of_worker(number, gpus)
            environment = {**setup.environment, "CUDA_VISIBLE_DEVICES": gpu}
            setup = replace(setup, environment=environment)
        context = fork_server.context(uses_gpus=bool(gpus))
        self.connection, self._theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(self._theirs, setup))

    def is_idle(self) -> bool:
        """Whether it can be given a cell."""
        return self.given is None and self.process.is_alive()

    def start(self, chosen: Waiting, cell: Cell) -> None:
        """Give it a cell."""
        if self.process.pid is None:
            self.process.start()
        self._theirs.close()  # else its end would not be noticed
        self.given = chosen
        self.reporter.start(chosen.name)
        with suppress(OSError):  # it has died: `receive` says so
            self.connection.send(cell)

    def receive(self) -> CellResult | None:
        """What it has to say; its cell's result, if it is that and there is one.

        Raises:
            EOFError: if it died.
        """
        try:
            message = self.connection.recv()
        except ConnectionResetError:
            raise EOFError from None
        match message:
            case CellResult() | None:
                self._stop()
                self.given = None
                return message
            case (step, total):
                assert self.given
                self.reporter.step(self.given.name, step, total)
            case str():
                self.reporter.say(message)
            case _:
                raise message
        return None

    def bury(self) -> str:
        """How its cell was lost, in words."""
        assert self.given
        self._stop()
        self.process.join(_PATIENCE)
        code = self.process.exitcode
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        else:
            how = f"ended with exit code {code}"
        return f"{self.given.name}: its worker process {how}"

    def dismiss(self) -> None:
        """Tell it to end, whatever it does."""
        self.connection.close()  # one that is idle waits for this
        if self.given:
            self._stop()
            self.process.terminate()

    def end(self) -> None:
        """See to it that it has ended."""
        if self.process.pid is None:
            return
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _stop(self) -> None:
        assert self.given
        self.reporter.stop(self.given.name)


def _work(connection: Connection, setup: _Setup) -> None:
    """The life of a worker: cells come, results go, until the other end is closed."""
    for number in STOPPING:  # Ctrl-C and a closed terminal reach all; the parent ends this one
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    with interruptible(signal.SIGTERM), suppress(Interrupted):
        _serve(connection, setup)


def _serve(connection: Connection, setup: _Setup) -> None:
    os.environ.clear()  # the fork server has kept that of its own start
    os.environ.update(setup.environment)
    torch.set_num_threads(setup.threads)
    quiet_libraries()
    lengths.FOUND.update(setup.max_lengths)
    if setup.trains_on_gpu:
        start_cuda()
    if setup.verbose:
        log_to_terminal(logging.DEBUG)
    lock = threading.Lock()

    def send(message: Any) -> None:
        try:
            with lock:  # a push speaks from a thread of its own
                connection.send(message)
        except OSError:
            os._exit(1)  # nobody waits for this cell any more

    inputs = None
    while True:
        try:
            cell = connection.recv()
        except EOFError:
            return
        try:
            if inputs is None:
                inputs = load_inputs(setup.recipe, setup.cells, all_can_run=True)
                gc.freeze()  # it outlasts the cells, after each of which garbage is collected
            bar = StepBar(lambda step, total: send((step, total)), send)
            publisher = setup.session.publishers([cell]).get(cell.name)
            send(run_cell(cell, inputs, setup.session, bar, publisher))
        except HfbenchError as error:
            send(error)
