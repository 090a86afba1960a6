"""``full_determinism`` of TrainingArguments, which sets what is global, for one cell alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# What `transformers.enable_full_determinism` sets.
_VARIABLES = (
    "CUDA_LAUNCH_BLOCKING",
    "CUBLAS_WORKSPACE_CONFIG",
    "ASCEND_LAUNCH_BLOCKING",
    "HCCL_DETERMINISTIC",
    "FLASH_ATTENTION_DETERMINISTIC",
)


@contextmanager
def determinism_of_its_own() -> Iterator[None]:
    """Within, a Trainer may ask for deterministic algorithms; afterwards all is as before."""
    variables = {name: os.environ.get(name) for name in _VARIABLES}
    algorithms = torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(algorithms)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
