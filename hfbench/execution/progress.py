"""What a person sees while a comparison runs: bars on a terminal, a line a cell elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from hfbench.training.progress import StepBar


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
