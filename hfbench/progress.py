"""What a person sees while a comparison runs: a bar on a terminal, a line a cell elsewhere."""

from collections.abc import Iterator
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


class Reporter:
    """Says which cell runs and how it ended; silent where ``quiet`` (in all processes but one)."""

    def __init__(self, console: Console, total: int, quiet: bool) -> None:
        self.console, self.total, self.quiet = console, total, quiet
        self.done = 0
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
        self.done += 1
        task = self.progress.add_task(f"{self.done}/{self.total} {name}", total=None)
        try:
            yield StepBar(self, task)
        finally:
            self.progress.remove_task(task)

    def say(self, message: str) -> None:
        """A line that stays."""
        if not self.quiet:
            self.console.print(message, highlight=False, markup=False, soft_wrap=True)


class StepBar(TrainerCallback):
    """Moves the bar of a cell; the Trainer's own would be one of many."""

    def __init__(self, reporter: Reporter, task: TaskID) -> None:
        self.progress, self.task = reporter.progress, task
        self.say = reporter.say

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer after each optimizer step."""
        self.progress.update(self.task, completed=state.global_step, total=state.max_steps)
