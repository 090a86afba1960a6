"""tests/probe.py with steps as they are replayed on GPUs, but not recorded, which a CPU cannot."""

import runpy
from pathlib import Path

import torch

from hfbench import cuda_graphs, trainer


class Unrecorded:
    """In the place of `ReplayedFunction`."""

    def __init__(self, function):
        self.function = function

    def __call__(self, *key):
        self.function(*key)


if __name__ == "__main__":
    torch.cuda.is_current_stream_capturing = lambda: False
    trainer.can_replay = lambda *_: True
    trainer.ReplayedFunction = cuda_graphs.ReplayedFunction = Unrecorded
    runpy.run_path(str(Path(__file__).with_name("probe.py")), run_name="__main__")
