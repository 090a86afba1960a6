"""What a person sees while a comparison runs: bars on a terminal, a line a cell elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_SECONDS_BETWEEN_STEPS = 0.2  # that are shown


class Reporter:
    """Says which cells run and how they ended; silent where ``quiet``, in all processes but one."""

    def __init__(self, console: Console, total: int, quiet: bool) -> None:
        self.console, self.total, self.quiet = console, total, quiet
        self.started = self.finished = 0
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=quiet or not console.is_terminal,
        )

    def __enter__(self) -> "Reporter":
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    @contextmanager
    def cell(self, name: str) -> Iterator["StepBar"]:
        """The bar of one cell."""
        task = self.start(name)
        try:
            yield StepBar(lambda step, total: self.step(task, step, total), self.say)
        finally:
            self.progress.remove_task(task)

    def start(self, name: str) -> TaskID:
        """Show a bar, until ``progress`` removes it."""
        self.started += 1
        return self.progress.add_task(f"{self.started}/{self.total} {name}", total=None)

    def step(self, task: TaskID, step: int, total: int) -> None:
        """Move a bar."""
        self.progress.update(task, completed=step, total=total)

    def finish(self, message: str) -> None:
        """A line for a cell that ended, with its number."""
        self.finished += 1
        self.say(f"[{self.finished}/{self.total}] {message}")

    def say(self, message: str) -> None:
        """A line that stays."""
        if not self.quiet:
            self.console.print(message, highlight=False, markup=False, soft_wrap=True)


class StepBar(TrainerCallback):
    """Moves the bar of a cell, a few times a second; the Trainer's own would be one of many."""

    def __init__(self, show: Callable[[int, int], None], say: Callable[[str], None]) -> None:
        """Take what shows a step of so many, and what says a line that stays."""
        self.show, self.say = show, say
        self._shown = -_SECONDS_BETWEEN_STEPS

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer after each optimizer step."""
        now = time.monotonic()
        if now - self._shown >= _SECONDS_BETWEEN_STEPS:
            self._shown = now
            self.show(state.global_step, state.max_steps)
