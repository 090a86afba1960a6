"""How many cells run side by side, and on what."""

import math
import os
import sys
import time
from dataclasses import dataclass, replace

import torch

from hfbench.errors import UserError
from hfbench.plan import Cell
from hfbench.workbench import Workbench
from hfbench.workload import estimate, threads_of

CELLS_PER_GPU = 4
"""Small models leave most of a GPU idle: their steps wait for one operation after the other."""

# From the choice until workers train: 2 s on two cores where the fork server was started early, as
# the command line does, 9 s where it was not; meanwhile this process would have trained.
_START_SECONDS = 5.0

_SECONDS_PUT_OFF = 1.0

# For the choice alone: what a step takes even of the smallest model, and how fast the rest goes.
_STEP_SECONDS = {"cpu": 5e-3, "cuda": 2e-3}
_FLOPS_PER_SECOND = {"cpu": 3e10, "cuda": 1e13}


@dataclass(frozen=True)
class Task:
    """A cell as the schedule sees it."""

    name: str
    slots: int
    """Of the jobs' slots; all of them for a cell whose threads use every core."""
    after: str | None = None
    """The task whose result it needs."""
    not_before: float = -math.inf
    """Of ``time.monotonic``: when it may be tried again."""


def put_off(task: Task) -> Task:
    """For a cell that another process runs now: it is looked at again after a second or so."""
    return replace(task, not_before=time.monotonic() + _SECONDS_PUT_OFF)


def seconds_to_wait(waiting: list[Task]) -> float | None:
    """Until the next task that was put off may be tried; None where none was."""
    times = [task.not_before for task in waiting if task.not_before > -math.inf]
    return max(0.0, min(times) - time.monotonic()) if times else None


def ready(waiting: list[Task], running: list[Task], jobs: int) -> list[Task]:
    """Those of ``waiting`` that may start now, in their order, into ``jobs`` slots.

    What does not fit is passed over, so that a task that takes every slot runs when no smaller one
    is left.
    """
    free = jobs - sum(task.slots for task in running)
    unfinished = {task.name for task in (*waiting, *running)}
    now = time.monotonic()
    chosen = []
    for task in waiting:
        if task.slots <= free and task.after not in unfinished and task.not_before <= now:
            chosen.append(task)
            free -= task.slots
    return chosen


def plan_tasks(cells: list[Cell], bench: Workbench, jobs: int) -> list[Task]:
    """The cells in their order; those of a pretrained model wait for its pretraining."""
    pretraining = {cell.model.name: cell.stem for cell in cells if cell.kind == "pretraining"}
    return [
        Task(
            name=cell.stem,
            slots=slots(threads_of(cell, bench), jobs, usable_cores()),
            after=pretraining.get(cell.model.name) if cell.kind == "classification" else None,
        )
        for cell in cells
    ]


def slots(threads: int, jobs: int, cores: int) -> int:
    """The share of ``jobs`` slots that a cell takes which uses ``threads`` of the ``cores``."""
    return 1 if threads == 1 else min(jobs, math.ceil(jobs * threads / cores))


def choose_jobs(jobs: int | None, cells: list[Cell], bench: Workbench) -> int:
    """``jobs`` or, for None, as many as pay.

    That is, on CPUs, a core for each cell that cannot use more, and on GPUs `CELLS_PER_GPU` each,
    unless the models are large; and one, where the work is done before workers have started.

    Raises:
        UserError: if a launcher started this process, or if one process is to train where it sees
            several GPUs.
    """
    if is_launched():
        if jobs not in (None, 1):
            raise UserError(
                f"--jobs {jobs}: the processes of a launcher train each cell together; give --jobs "
                "to `hfbench compare` without a launcher"
            )
        return 1
    if jobs == 1:
        _refuse_several_gpus(cells, bench)
    if jobs is not None:
        return jobs
    trained = [cell for cell in cells if not cell.model.control]
    most = _most_jobs(trained, bench)
    seconds = sum(_seconds(cell, bench) for cell in trained) if most > 1 else 0.0
    pays = seconds * (1 - 1 / most) > _START_SECONDS
    # this process would train on all GPUs at once; a worker has one
    least = 2 if _uses_several_gpus(trained, bench) else 1
    return max(most if pays else 1, least)


def is_launched() -> bool:
    """Whether ``torchrun`` or ``accelerate launch`` made this a member of a process group.

    With one process, too: workers would inherit its rank and its rendezvous.
    """
    return "LOCAL_RANK" in os.environ or int(os.environ.get("WORLD_SIZE", "1")) > 1


def usable_cores() -> int:
    """Cores that this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """CUDA devices of this process, as CUDA_VISIBLE_DEVICES names them."""
    number = torch.cuda.device_count()  # CUDA itself is not started by this
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return [str(device) for device in range(number)]
    return [name.strip() for name in names.split(",")][:number]


def gpu_of_worker(worker: int, gpus: list[str]) -> str | None:
    """The GPU of the worker with this number, in turn; None where there is none."""
    return gpus[worker % len(gpus)] if gpus else None


def _refuse_several_gpus(cells: list[Cell], bench: Workbench) -> None:
    """The Trainer would spread each batch over all GPUs that it sees.

    Raises:
        UserError: if it would.
    """
    if _uses_several_gpus(cells, bench):
        raise UserError(
            f"{len(visible_gpus())} GPUs are visible to one process: leave out --jobs (cells side "
            "by side on all of them), launch with `accelerate launch` (one process a GPU, all for "
            "one cell) or choose one by CUDA_VISIBLE_DEVICES=0"
        )


def _uses_several_gpus(cells: list[Cell], bench: Workbench) -> bool:
    return len(visible_gpus()) > 1 and any(_device(cell, bench) == "cuda" for cell in cells)


def _most_jobs(trained: list[Cell], bench: Workbench) -> int:
    cores = usable_cores()
    devices = {_device(cell, bench) for cell in trained}
    if devices == {"cpu"}:
        narrow = [cell for cell in trained if 2 * threads_of(cell, bench) <= cores]
        most = min(cores, len(narrow))
    elif "cuda" in devices:
        each = min(_cells_that_fit(c, bench) for c in trained if _device(c, bench) == "cuda")
        most = min(len(trained), cores - 1, each * len(visible_gpus()))
    else:  # nothing is known of others
        most = 1
    return max(1, most)


def _cells_that_fit(cell: Cell, bench: Workbench) -> int:
    """Cells like this one that share a GPU: so many that its memory is not in question."""
    # weights, gradients and two moments in float32, and as much again; CUDA itself
    needed = 2 * 16 * bench.parameter_count(cell) + 2**30
    memory = torch.cuda.get_device_properties(bench.arguments(cell).device).total_memory
    return max(1, min(CELLS_PER_GPU, memory // needed))


def _seconds(cell: Cell, bench: Workbench) -> float:
    """A guess, for the choice of jobs alone."""
    device, work = _device(cell, bench), estimate(cell, bench)
    return work.passes * (_STEP_SECONDS[device] + work.pass_flops / _FLOPS_PER_SECOND[device])


def _device(cell: Cell, bench: Workbench) -> str:
    return "" if cell.model.control else bench.arguments(cell).device.type
