"""What the processes of a launcher must decide alike: at which step they leave, for example."""

from datetime import timedelta
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
    dist.all_reduce(told, dist.ReduceOp.MAX, group=_on_cpus("ask"))
    return told.tolist()


def all_come(seconds: float | None = None) -> bool:
    """Whether all processes call this, too, within so many seconds of each other; None: they wait.

    The first call is to be one for which all wait.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return True
    come = dist.all_reduce(torch.zeros(1), group=_on_cpus("come"), async_op=True)
    try:
        come.wait(*[timedelta(seconds=seconds)] if seconds else [])
    except RuntimeError:
        return False
    return True


@cache
def _on_cpus(purpose: str) -> dist.ProcessGroup:
    """One for each purpose: who asks for the one is not to be answered on the other."""
    return dist.new_group(backend="gloo")


def is_time_to_ask(step: int) -> bool:
    """Whether processes ask each other after this step; a single one always does."""
    return step % EVERY_STEPS == 0 or not dist.is_initialized() or dist.get_world_size() == 1
