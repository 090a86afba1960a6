"""What the processes of a launcher must decide alike: at which step they leave, for example."""

from functools import cache

import torch
import torch.distributed as dist

EVERY_STEPS = 10
"""At which they ask each other, so that it costs nothing."""


def largest_of_all(*values: int) -> list[int]:
    """The largest of each of these values of all processes, each of which calls this.

    With one, its own. They meet on their CPUs, so that no device waits.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return [*values]
    told = torch.tensor([int(value) for value in values])
    dist.all_reduce(told, dist.ReduceOp.MAX, group=_on_cpus())
    return told.tolist()


@cache
def _on_cpus() -> dist.ProcessGroup:
    return dist.new_group(backend="gloo")


def is_time_to_ask(step: int) -> bool:
    """Whether processes ask each other after this step; a single one always does."""
    return step % EVERY_STEPS == 0 or not dist.is_initialized() or dist.get_world_size() == 1
