"""How many cells run side by side, and on what."""

import torch

from hfbench.errors import UserError
from hfbench.execution.estimates import estimate, parameters, threads_of
from hfbench.execution.inputs import Inputs, arguments
from hfbench.recipe.cells import Cell
from hfbench.system.launch import is_launched, usable_cores, visible_gpus

CELLS_PER_GPU = 4
"""Small models leave most of a GPU idle: their steps wait for one operation after the other."""

# From the choice until workers train: 2 s on two cores where the fork server was started early, as
# the command line does, 9 s where it was not; meanwhile this process would have trained.
_START_SECONDS = 5.0


# For the choice alone: what a step takes even of the smallest model, and how fast the rest goes.
_STEP_SECONDS = {"cpu": 5e-3, "cuda": 2e-3}
_FLOPS_PER_SECOND = {"cpu": 3e10, "cuda": 1e13}


def choose_jobs(jobs: int | None, cells: list[Cell], inputs: Inputs) -> int:
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
        _refuse_several_gpus(cells, inputs)
    if jobs is not None:
        return jobs
    trained = [cell for cell in cells if cell.head]
    most = _most_jobs(trained, inputs)
    seconds = sum(_seconds(cell, inputs) for cell in trained) if most > 1 else 0.0
    pays = seconds * (1 - 1 / most) > _START_SECONDS
    # this process would train on all GPUs at once; a worker has one
    least = 2 if _uses_several_gpus(trained, inputs) else 1
    return max(most if pays else 1, least)


def _refuse_several_gpus(cells: list[Cell], inputs: Inputs) -> None:
    """The Trainer would spread each batch over all GPUs that it sees.

    Raises:
        UserError: if it would.
    """
    if _uses_several_gpus(cells, inputs):
        raise UserError(
            f"{len(visible_gpus())} GPUs are visible to one process: leave out --jobs (cells side "
            "by side on all of them), launch with `accelerate launch` (one process a GPU, all for "
            "one cell) or choose one by CUDA_VISIBLE_DEVICES=0"
        )


def _uses_several_gpus(cells: list[Cell], inputs: Inputs) -> bool:
    return len(visible_gpus()) > 1 and any(_device(cell, inputs) == "cuda" for cell in cells)


def _most_jobs(trained: list[Cell], inputs: Inputs) -> int:
    cores = usable_cores()
    devices = {_device(cell, inputs) for cell in trained}
    if devices == {"cpu"}:
        narrow = [cell for cell in trained if 2 * threads_of(cell, inputs) <= cores]
        most = min(cores, len(narrow))
    elif "cuda" in devices:
        each = min(_cells_that_fit(c, inputs) for c in trained if _device(c, inputs) == "cuda")
        most = min(len(trained), cores - 1, each * len(visible_gpus()))
    else:  # nothing is known of others
        most = 1
    return max(1, most)


def _cells_that_fit(cell: Cell, inputs: Inputs) -> int:
    """Cells like this one that share a GPU: so many that its memory is not in question."""
    # weights, gradients and two moments in float32, and as much again; CUDA itself
    needed = 2 * 16 * parameters(cell, inputs) + 2**30
    memory = torch.cuda.get_device_properties(arguments(cell, inputs).device).total_memory
    return max(1, min(CELLS_PER_GPU, memory // needed))


def _seconds(cell: Cell, inputs: Inputs) -> float:
    """A guess, for the choice of jobs alone."""
    device, work = _device(cell, inputs), estimate(cell, inputs)
    return work.passes * (_STEP_SECONDS[device] + work.pass_flops / _FLOPS_PER_SECOND[device])


def _device(cell: Cell, inputs: Inputs) -> str:
    return "" if cell.head is None else arguments(cell, inputs).device.type
