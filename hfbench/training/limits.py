"""What a cell may take of the machine: its time, and the memory for a batch."""

import os
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfbench.system.interruption import leave_between_steps
from hfbench.system.terminal import show
from hfbench.training.agreement import all_come, is_time_to_ask, largest_of_all

Result = TypeVar("Result")

_PATIENCE = 30.0  # seconds, in which processes of a launcher run out of memory, if all do

_OUT_OF_MEMORY_ALONE = (
    "out of memory in one process of several, for which the others wait: all end; give "
    "per_device_train_batch_size and gradient_accumulation_steps such values that a batch fits"
)


class TimeLimitError(RuntimeError):
    """A cell took longer than the recipe allows."""

    def __init__(self, seconds: float, step: int) -> None:
        super().__init__(f"took longer than max_cell_seconds: {seconds:g}")
        self.step = step


class TimeLimit(TrainerCallback):
    """Ends a cell that takes longer than ``seconds``, from the making of this; None: no limit."""

    def __init__(self, seconds: float | None) -> None:
        """Start the clock."""
        self.seconds = seconds
        self._started = time.perf_counter()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer after each optimizer step; processes end after the same."""
        leave_between_steps()
        if self.seconds is None or not is_time_to_ask(state.global_step):
            return
        (is_over,) = largest_of_all(self._is_over())
        if is_over:
            raise TimeLimitError(self.seconds, state.global_step)

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called in an evaluation, of which the processes of a launcher end none."""
        if args.world_size == 1 and self._is_over():
            assert self.seconds is not None
            raise TimeLimitError(self.seconds, state.global_step)

    def _is_over(self) -> bool:
        return self.seconds is not None and time.perf_counter() - self._started > self.seconds


def in_parts(rows: int, train: Callable[[int], Result], say: Callable[[str], None]) -> Result:
    """What ``train`` gives, with the batch in so many parts that memory holds one.

    Halving the batch of a pass and doubling the number of passes leaves the batch of the optimizer
    step as it is. The training starts again from its beginning. The processes of a launcher do so
    together; one that ran out of memory alone ends, and the launcher then ends the others.

    Args:
        rows: of a batch in one part.
        train: is given the number of parts, first 1, then the next divisor of ``rows`` that is
            twice as large or more.
        say: is told that memory did not suffice.

    Raises:
        RuntimeError, MemoryError: if memory does not hold a single row.
    """
    all_come()
    parts = 1
    while True:
        try:
            return train(parts)
        except (RuntimeError, MemoryError) as error:
            following = _more_parts(rows, parts)
            if not _is_out_of_memory(error):
                raise
            if not all_come(_PATIENCE):
                show(_OUT_OF_MEMORY_ALONE, file=sys.stderr)
                os._exit(1)  # Python would wait at its end for the others, as they for this one
            if following is None:
                raise
        parts = following
        say(f"out of memory: once more with {rows // parts} of {rows} examples at a time")


def divide_batch(args: TrainingArguments, parts: int) -> None:
    """Let ``args`` pass a batch in ``parts``."""
    args.per_device_train_batch_size //= parts
    args.gradient_accumulation_steps *= parts
    args.per_device_eval_batch_size = max(1, args.per_device_eval_batch_size // parts)


def _more_parts(rows: int, parts: int) -> int | None:
    return next((n for n in range(2 * parts, rows + 1) if rows % n == 0), None)


def _is_out_of_memory(error: Exception) -> bool:
    # on a CPU torch has no exception of its own for it
    return (
        isinstance(error, (torch.OutOfMemoryError, MemoryError))
        or "DefaultCPUAllocator: can't allocate memory" in str(error)
        or "DefaultCPUAllocator: not enough memory" in str(error)
    )
