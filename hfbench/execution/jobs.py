"""How many cells run side by side, and on what."""

from dataclasses import dataclass

import torch

from hfbench.errors import UserError
from hfbench.execution.estimates import estimate, parameters, threads_of
from hfbench.execution.inputs import Inputs, arguments
from hfbench.execution.tasks import AllInputs
from hfbench.recipe.cells import Cell
from hfbench.system.launch import has_mps, is_launched, usable_cores, visible_gpus

CELLS_PER_GPU = 4
"""Small models leave most of a GPU idle: their steps wait for one operation after the other."""
CELLS_PER_GPU_BY_MPS = 8
"""Where a GPU computes for several processes at once and not in turn, see `system.launch.has_mps`:
on an H200 steps of a small GPT in 8 took a third to half of the time that they took in turn."""

# From the choice until workers train: 2 s on two cores where the fork server was started early, as
# the command line does, 9 s where it was not; meanwhile this process would have trained.
_START_SECONDS = 5.0

# For the choice alone: what a step takes even of the smallest model, and how fast the rest goes.
# Nothing is known of other devices: their cells run one after another.
_STEP_SECONDS = {"cpu": 5e-3, "cuda": 2e-3}
_FLOPS_PER_SECOND = {"cpu": 3e10, "cuda": 1e13}
_CONTROL_SECONDS = 0.5


@dataclass(frozen=True)
class Demand:
    """What a cell that trains asks of the machine, roughly."""

    device: str
    """The type that torch has for it."""
    threads: int
    seconds: float
    parameters: int


@dataclass(frozen=True)
class Machine:
    """What this process may use."""

    cores: int
    gpus: int
    gpu_memory: int
    """Bytes of the first one; 0 without one."""
    cells_per_gpu: int = CELLS_PER_GPU


def choose_jobs(jobs: int | None, cells: list[Cell], inputs: AllInputs) -> int:
    """``jobs`` or, for None, as many as pay.

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
    if jobs is not None and jobs > 1:
        return jobs
    demands = [_demand(cell, inputs.of(cell)) for cell in cells if cell.has_network]
    if jobs is None:
        return as_many_as_pay(demands, _this_machine())
    refuse_several_gpus(demands, _this_machine())
    return 1


def as_many_as_pay(demands: list[Demand], machine: Machine) -> int:
    """Jobs: on CPUs a core for each cell that cannot use more, on GPUs `CELLS_PER_GPU` each,
    or `CELLS_PER_GPU_BY_MPS`.

    Fewer where models are large, and one where the work is done before workers have started.
    """
    most = _most_jobs(demands, machine)
    seconds = sum(demand.seconds for demand in demands) if most > 1 else 0.0
    pays = seconds * (1 - 1 / most) > _START_SECONDS
    # this process would train on all GPUs at once; a worker has one
    least = 2 if _uses_several_gpus(demands, machine) else 1
    return max(most if pays else 1, least)


def refuse_several_gpus(demands: list[Demand], machine: Machine) -> None:
    """The Trainer would spread each batch over all GPUs that it sees.

    Raises:
        UserError: if it would.
    """
    if _uses_several_gpus(demands, machine):
        raise UserError(
            f"{machine.gpus} GPUs are visible to one process: leave out --jobs (cells side by side "
            "on all of them), launch with `accelerate launch` (one process a GPU, all for one "
            "cell) or choose one by CUDA_VISIBLE_DEVICES=0"
        )


def _uses_several_gpus(demands: list[Demand], machine: Machine) -> bool:
    return machine.gpus > 1 and any(demand.device == "cuda" for demand in demands)


def _most_jobs(demands: list[Demand], machine: Machine) -> int:
    devices = {demand.device for demand in demands}
    if devices == {"cpu"}:
        narrow = [demand for demand in demands if 2 * demand.threads <= machine.cores]
        most = min(machine.cores, len(narrow))
    elif "cuda" in devices:
        each = min(_cells_that_fit(d, machine) for d in demands if d.device == "cuda")
        most = min(len(demands), machine.cores - 1, each * machine.gpus)
    else:
        most = 1
    return max(1, most)


def _cells_that_fit(demand: Demand, machine: Machine) -> int:
    """Cells like this one that share a GPU: so many that its memory is not in question."""
    # weights, gradients and two moments in float32, and as much again; CUDA itself
    needed = 2 * 16 * demand.parameters + 2**30
    return max(1, min(machine.cells_per_gpu, machine.gpu_memory // needed))


def _demand(cell: Cell, inputs: Inputs) -> Demand:
    device = arguments(cell, inputs).device.type
    seconds = expected_seconds(cell, inputs)
    return Demand(device, threads_of(cell, inputs), seconds, parameters(cell, inputs))


def expected_seconds(cell: Cell, inputs: Inputs) -> float:
    """Of one cell, roughly, by its size; 0 where nothing is known of the device.

    A control takes a fraction of a second, or a few, whatever it is.
    """
    if not cell.has_network:
        return _CONTROL_SECONDS
    device = arguments(cell, inputs).device.type
    if device not in _STEP_SECONDS:
        return 0.0
    work = estimate(cell, inputs)
    step = _STEP_SECONDS[device] + work.pass_flops / _FLOPS_PER_SECOND[device]
    return work.passes * step


def _this_machine() -> Machine:
    gpus = len(visible_gpus())
    memory = torch.cuda.get_device_properties(0).total_memory if gpus else 0
    each = CELLS_PER_GPU_BY_MPS if has_mps() else CELLS_PER_GPU
    return Machine(usable_cores(), gpus, memory, each)
