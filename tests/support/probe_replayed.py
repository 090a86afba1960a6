"""tests/probe.py with steps as they are replayed on GPUs, but not recorded, which a CPU cannot."""

import runpy
from pathlib import Path

import torch

from hfbench.training import build, cuda_graphs, replay


class Unrecorded:
    """In the place of `ReplayedFunction`."""

    refusal = None

    def __init__(self, function, refuse=None):
        self.function = function

    def __call__(self, *key):
        self.function(*key)


def record_nothing(set_attribute):
    """Let steps go the way of replayed ones, unrecorded; ``set_attribute`` is as `setattr`."""
    set_attribute(torch.cuda, "is_current_stream_capturing", lambda: False)
    set_attribute(build, "can_replay", lambda *_: True)
    for module in (replay, cuda_graphs):
        set_attribute(module, "ReplayedFunction", Unrecorded)


if __name__ == "__main__":
    record_nothing(setattr)
    runpy.run_path(str(Path(__file__).with_name("probe.py")), run_name="__main__")
