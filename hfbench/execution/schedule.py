"""Which cells may start now: those that fit, and whose pretraining has ended."""

import math
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache

from hfbench.execution.estimates import threads_of
from hfbench.execution.identity import cell_id_of
from hfbench.execution.tasks import AllInputs
from hfbench.recipe.cells import Cell, pretraining_of
from hfbench.system.launch import gpu_of_worker, usable_cores

_SECONDS_PUT_OFF = 1.0


@dataclass(frozen=True)
class Waiting:
    """A cell as the schedule sees it."""

    name: str
    slots: int
    """Of the jobs' slots; all of them for a cell whose threads use every core."""
    after: str | None = None
    """The task whose result it needs."""
    not_before: float = -math.inf
    """Of ``time.monotonic``: when it may be tried again."""


def put_off(task: Waiting) -> Waiting:
    """For a cell that another process runs now: it is looked at again after a second or so."""
    return replace(task, not_before=time.monotonic() + _SECONDS_PUT_OFF)


def seconds_to_wait(waiting: list[Waiting]) -> float | None:
    """Until the next task that was put off may be tried; None where none was."""
    times = [task.not_before for task in waiting if task.not_before > -math.inf]
    return max(0.0, min(times) - time.monotonic()) if times else None


def ready(waiting: list[Waiting], running: list[Waiting], jobs: int) -> list[Waiting]:
    """Those of ``waiting`` that may start now, in their order, into ``jobs`` slots.

    What does not fit is passed over, so that a task that takes every slot runs when no smaller one
    is left. One that was to take every slot of more jobs than there still are takes all of these.
    """
    free = jobs - sum(task.slots for task in running)
    unfinished = {task.name for task in (*waiting, *running)}
    now = time.monotonic()
    chosen = []
    for task in waiting:
        if (
            min(task.slots, jobs) <= free
            and task.after not in unfinished
            and task.not_before <= now
        ):
            chosen.append(task)
            free -= task.slots
    return chosen


class SharedGpus:
    """Which GPU takes the next cell: that with the fewest, until it has had its share of all.

    Cells side by side on a GPU take turns. So the last ones would take longer than they must, if
    the first GPUs that come free took them and left none. One that is ahead of the others takes
    more than its share, as many at once as all GPUs could.
    """

    def __init__(self, gpus: list[str], cells: int) -> None:
        self.gpus = gpus
        self._left = Counter(dict.fromkeys(gpus, math.ceil(cells / len(gpus))))

    def choose(self, free: list[int], running: list[int], waiting: int) -> int | None:
        """The worker that takes the next cell; None: not now, but when other cells end.

        Args:
            free: numbers of the workers that could, in order of preference.
            running: numbers of those that have a cell.
            waiting: how many cells do not run yet.
        """
        cells = Counter(gpu_of_worker(worker, self.gpus) for worker in running)
        beyond = max(1, waiting // len(self.gpus))  # cells at once, of a GPU that had its share
        places = {worker: gpu_of_worker(worker, self.gpus) for worker in free}
        may = [w for w, gpu in places.items() if self._left[gpu] > 0 or cells[gpu] < beyond]
        chosen = min(may, key=lambda worker: cells[places[worker]], default=None)
        if chosen is not None:
            self._left[places[chosen]] -= 1
        return chosen


def line_up(cells: list[Cell], inputs: AllInputs, jobs: int) -> list[Waiting]:
    """The cells in their order; those of a pretrained model wait for its pretraining."""
    compared = [cell for cell in cells if cell.is_compared]
    open_ids = {cell_id_of(c, inputs.of(c)): c.name for c in cells if not c.is_compared}

    @cache
    def pretraining(task: str | None, model: str, seed: int) -> str | None:
        cell = next(
            c
            for c in compared
            if c.model.pretrain
            and (c.task, c.model.name) == (task, model)
            and c.pretraining_seed == seed
        )
        own = inputs.of(cell)
        # by its content, since tasks share it: it runs as a cell of the first of them
        return open_ids.get(cell_id_of(pretraining_of(cell, own.recipe), own))

    def line_up_one(cell: Cell) -> Waiting:
        waits = open_ids and cell.is_compared and cell.model.pretrain
        return Waiting(
            name=cell.name,
            slots=slots(threads_of(cell, inputs.of(cell)), jobs, usable_cores()),
            after=pretraining(cell.task, cell.model.name, cell.pretraining_seed) if waits else None,
        )

    return [line_up_one(cell) for cell in cells]


def slots(threads: int, jobs: int, cores: int) -> int:
    """The share of ``jobs`` slots that a cell takes which uses ``threads`` of the ``cores``."""
    return 1 if threads == 1 else min(jobs, math.ceil(jobs * threads / cores))
