"""Which process this is of how many that train together, and what it may use: cores and GPUs."""

import multiprocessing
import os
import sys
from pathlib import Path


def rank() -> int:
    """Number of this process among those that a launcher started, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Processes that a launcher started to train together; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Whether this process writes and speaks for those that train together with it."""
    return rank() == 0


def is_worker() -> bool:
    """Whether another Python process started this one to run cells side by side."""
    return multiprocessing.parent_process() is not None


def is_launched() -> bool:
    """Whether ``torchrun`` or ``accelerate launch`` made this a member of a process group.

    With one process, too: workers would inherit its rank and its rendezvous.
    """
    return "LOCAL_RANK" in os.environ or world_size() > 1


def shards_models() -> bool:
    """Whether ``accelerate launch`` was told to shard models over its processes (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def usable_cores() -> int:
    """Cores that this process may run on."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """CUDA devices of this process, as CUDA_VISIBLE_DEVICES names them."""
    import torch  # here: the command line asks who it is without it

    number = torch.cuda.device_count()  # CUDA itself is not started by this
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return [str(device) for device in range(number)]
    return [name.strip() for name in names.split(",")][:number]


def has_mps() -> bool:
    """Whether NVIDIA's Multi-Process Service runs: a GPU computes for several processes at once.

    Its control daemon listens at this pipe (https://docs.nvidia.com/deploy/mps).
    """
    folder = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")  # noqa: S108 - NVIDIA's
    return Path(folder, "control").exists()


def gpu_of_worker(worker: int, gpus: list[str]) -> str:
    """The one of ``gpus`` that the worker with this number has; they take turns."""
    return gpus[worker % len(gpus)]
