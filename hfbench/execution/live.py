"""A comparison that runs, on a terminal or in a notebook: bars, time, and the table so far."""

import io
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Column
from rich.text import Text

from hfbench.execution.progress import Ended, Failures, Header, Lines, View, group_failures
from hfbench.execution.timing import in_words
from hfbench.records.schema import FailedRecord, Record
from hfbench.system.terminal import SPEECH, Console

SoFar = Callable[[Header, Sequence[Record], int], RenderableType | None]
"""Makes a table of the records so far, of at most so many rows."""

_PATIENCE = 20
"""The table is made again when this many times the seconds have passed that it took."""
_BETWEEN_IN_NOTEBOOK = 1.0
_BETWEEN_ON_TERMINAL = 0.2
"""Seconds between two pictures, at least."""


def view_on(console: Console, so_far: SoFar | None = None) -> View:
    """What shows a comparison on ``console``: with bars where it can, else line by line."""
    if SPEECH.quiet or console.quiet:
        return View()
    if console.is_jupyter:
        return Notebook(so_far)
    if console.is_terminal:
        return Terminal(console, so_far)
    return Lines(console)


class Picture(View):
    """The part that changes: a table, bars of the running cells, and one of all of them."""

    def __init__(self, so_far: SoFar | None) -> None:
        self.so_far = so_far
        self.failures = Failures()
        self.failed: list[FailedRecord] = []
        self._header: Header | None = None
        self._records: list[Record] = []
        self._table: RenderableType | None = None
        self._next_table = 0.0
        self._bars = _bars()
        self._whole: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}
        self._rows = 12
        self._drawn = 0.0

    def draw(self, *, now: bool = False) -> None:
        """Show the picture again; unless ``now``, only if the last one is old enough."""

    def _is_due(self, seconds: float, *, now: bool) -> bool:
        due = now or time.monotonic() - self._drawn >= seconds
        if due:
            self._drawn = time.monotonic()
        return due

    def begin(self, header: Header) -> None:
        """See `View`."""
        self._header = header
        self._records += header.finished
        self.say(header.line)
        self.say(f"results go to {header.folder}")
        self._whole = self._bars.add_task("all", total=header.cells, unit="cells", left="")
        self._make_table()

    def start(self, name: str) -> None:
        """See `View`."""
        self._tasks[name] = self._bars.add_task(name, total=None, unit="steps", left="")
        self.draw(now=True)

    def step(self, name: str, step: int, total: int) -> None:
        """See `View`."""
        self._bars.update(self._tasks[name], completed=step, total=total)
        self.draw()

    def stop(self, name: str) -> None:
        """See `View`."""
        if name in self._tasks:  # a signal may have come just before it was started
            self._bars.remove_task(self._tasks.pop(name))
        self.draw(now=True)

    def end(self, ended: Ended) -> None:
        """See `View`."""
        self._records.append(ended.record)
        if isinstance(ended.record, FailedRecord):
            self.failed.append(ended.record)
        if self._whole is not None:
            self._bars.update(self._whole, completed=ended.number, total=ended.total)
        self.say(f"[{ended.number}/{ended.total}] {ended.name}: {self.failures.words(ended)}")
        self._make_table()
        self.draw(now=True)

    def left(self, seconds: float | None) -> None:
        """See `View`."""
        if self._whole is not None and seconds is not None:
            self._bars.update(self._whole, left=f"about {in_words(seconds)} left")
            self.draw()

    def picture(self, rows: int) -> RenderableType:
        """All of it, with at most so many rows of the table."""
        self._rows = rows
        parts: list[RenderableType] = []
        if self._table is not None:
            parts += [self._table, Text()]
        parts += [Text(line, style="red") for line in group_failures(self.failed)]
        return Group(*parts, self._bars)

    def _make_table(self) -> None:
        """Where it is due: it costs a part of a second, or more of many records."""
        now = time.monotonic()
        if self.so_far and self._header and now >= self._next_table:
            self._table = self.so_far(self._header, self._records, self._rows)
            took = time.monotonic() - now
            self._next_table = now + took * (1 + _PATIENCE)


class Terminal(Picture):
    """On a terminal, below the lines that stay."""

    def __init__(self, console: Console, so_far: SoFar | None) -> None:
        super().__init__(so_far)
        self.console = console
        # drawn when something has happened: rich's own thread could draw fewer lines between the
        # place where a message is to stand and the message, which then hides one before it
        self._live = Live(
            console=console,
            get_renderable=self._now,
            auto_refresh=False,
            transient=True,
            vertical_overflow="crop",
        )
        self._lock = threading.RLock()  # a push speaks from a thread of its own
        self._live.start()

    def close(self) -> None:
        """See `View`."""
        self._live.stop()

    def say(self, message: str) -> None:
        """See `View`."""
        with self._lock:
            self.console.print(message, highlight=False, markup=False)
            self.draw(now=True)

    def draw(self, *, now: bool = False) -> None:
        """See `Picture`."""
        with self._lock:
            if self._is_due(_BETWEEN_ON_TERMINAL, now=now):
                self._live.refresh()

    def _now(self) -> RenderableType:
        others = len(self._tasks) + 6  # header, bars, a free line, and one to write in
        return self.picture(max(3, self.console.height - others))


class Notebook(Picture):
    """In a notebook: one output that is drawn again, without widgets."""

    def __init__(self, so_far: SoFar | None) -> None:
        from IPython.display import display

        super().__init__(so_far)
        self._lines: list[str] = []
        self._display: Any = display(self._html(), display_id=True)

    def say(self, message: str) -> None:
        """See `View`."""
        self._lines.append(message)
        self.draw()

    def close(self) -> None:
        """See `View`."""
        self.draw(now=True)

    def draw(self, *, now: bool = False) -> None:
        """See `Picture`."""
        if self._is_due(_BETWEEN_IN_NOTEBOOK, now=now):
            self._display.update(self._html())

    def _html(self) -> Any:
        from IPython.display import HTML

        console = Console(
            file=io.StringIO(), record=True, width=100, force_jupyter=False, force_terminal=True
        )
        for line in [*self._lines[:2], *self._lines[2:][-8:]]:
            console.print(line, highlight=False, markup=False)
        console.print(self.picture(12))
        page = '<pre style="font-family:monospace;line-height:1.3">{code}</pre>'
        return HTML(console.export_html(inline_styles=True, code_format=page))


def _bars() -> Progress:
    """The first bar is that of all cells."""
    name = Column(no_wrap=True, overflow="ellipsis", max_width=32)
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=name),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TextColumn("{task.fields[left]}"),
    )
