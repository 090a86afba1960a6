"""What training arguments and a Trainer set in the whole process, kept to one cell; and CUDA."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from transformers.utils.import_utils import enable_tf32

# How exact a product of float32 is: `tf32` sets it, and `torch_compile` does on a GPU.
_TF32: list[tuple[object, str]] = (
    [(torch.backends, "fp32_precision")]
    if torch.__version__ >= "2.9"  # as versions, not as texts
    else [(torch.backends.cuda.matmul, "allow_tf32"), (torch.backends.cudnn, "allow_tf32")]
)
_FLAGS = [
    *_TF32,
    # of `full_determinism`
    (torch.backends.cudnn, "deterministic"),
    (torch.backends.cudnn, "benchmark"),
]


@contextmanager
def process_of_its_own() -> Iterator[None]:
    """Within, a cell may set what is global; afterwards all is as before."""
    algorithms = torch.are_deterministic_algorithms_enabled()
    flags = [(place, name, getattr(place, name)) for place, name in _FLAGS]
    enable_tf32.cache_clear()  # transformers sets it once a process, and then takes it for set
    with environment_of_its_own():
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(algorithms)
            for place, name, value in flags:
                setattr(place, name, value)


@contextmanager
def environment_of_its_own() -> Iterator[None]:
    """Within, anybody may set variables of the environment; afterwards it is as before."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def start_cuda() -> None:
    """Begin to start CUDA, which takes a second in which data can be loaded.

    Not in a daemon's thread: a process that ends meanwhile waits for it, and does not crash in it.
    """
    threading.Thread(target=_start_cuda).start()


def _start_cuda() -> None:
    with suppress(RuntimeError):  # the first cell says so
        torch.zeros(1, device="cuda")
