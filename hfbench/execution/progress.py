"""What is told of a comparison while it runs, and to whom: a `View`, see also `live`."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hfbench.execution.timing import Clock, in_words
from hfbench.records.schema import FailedRecord, Record
from hfbench.system.terminal import Console
from hfbench.training.progress import StepBar

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_TIMES = 30.0
"""At least, between lines that say how long it will take."""


@dataclass(frozen=True)
class Header:
    """What is known when the first cell is about to start."""

    recipe: str
    cells: int
    """That are to run."""
    kept: int
    """That were finished before."""
    jobs: int
    """Cells side by side, at most."""
    time: str
    """How long it will take, in words."""
    seconds: float
    folder: Path
    """Where results go."""
    finished: Sequence[Record] = ()
    """Those that were before."""
    runs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Recipe and model -> runs that there will be."""

    @property
    def line(self) -> str:
        """All of it."""
        before = f" ({self.kept:,} finished before)" if self.kept else ""
        many = f", {self.jobs} side by side" if self.jobs > 1 else ""
        return f"{self.recipe}: {cells_in_words(self.cells)} to run{before}{many}; {self.time}"


@dataclass(frozen=True)
class Ended:
    """A cell that has ended."""

    name: str
    number: int
    """Of those that ended, from 1."""
    total: int
    record: Record
    words: str
    """What came out."""
    is_ours: bool
    """False: another process ran it."""

    @property
    def failed(self) -> bool:
        """Whether it has no result."""
        return isinstance(self.record, FailedRecord)


class View:
    """Shows nothing; those that show something override what they need."""

    def begin(self, header: Header) -> None:
        """The first cell is about to start."""

    def start(self, name: str) -> None:
        """A cell begins."""

    def step(self, name: str, step: int, total: int) -> None:
        """A cell has come to a step of so many."""

    def stop(self, name: str) -> None:
        """A cell is no longer running, whatever came of it."""

    def end(self, ended: Ended) -> None:
        """A cell has ended."""

    def left(self, seconds: float | None) -> None:
        """Seconds until all cells have ended, where that is known; told now and then."""

    def say(self, message: str) -> None:
        """A line that stays."""

    def close(self) -> None:
        """Nothing more comes."""


class Lines(View):
    """A line a cell, where nobody can move the cursor."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.failures = Failures()
        self._left: float | None = None
        self._told = time.monotonic()

    def begin(self, header: Header) -> None:
        """See `View`."""
        self.say(header.line)
        self.say(f"results go to {header.folder}")

    def end(self, ended: Ended) -> None:
        """See `View`."""
        left, now = "", time.monotonic()
        if self._left and ended.number < ended.total and now - self._told > _SECONDS_BETWEEN_TIMES:
            left, self._told = f"; about {in_words(self._left)} left", now
        words = self.failures.words(ended)
        self.say(f"[{ended.number}/{ended.total}] {ended.name}: {words}{left}")

    def left(self, seconds: float | None) -> None:
        """See `View`."""
        self._left = seconds

    def say(self, message: str) -> None:
        """See `View`."""
        self.console.print(message, highlight=False, markup=False, soft_wrap=True)


class Failures:
    """Tells a failure once, and of one like it that it is."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str], str] = {}

    def words(self, ended: Ended) -> str:
        """What came of a cell, short where another failed the same way before."""
        if not isinstance(ended.record, FailedRecord):
            return ended.words
        first = self._first.setdefault(ended.record.failure.likeness, ended.name)
        return ended.words if first == ended.name else f"FAILED as {first}"


class Reporter:
    """Between what runs cells and who watches: counts, keeps the time and the log."""

    def __init__(self, view: View, cells: Sequence[str], clock: Clock | None = None) -> None:
        """Begin with no cell started.

        Args:
            view: is shown everything.
            cells: names of those that will run.
            clock: of them; None: nobody asks how long it will take.
        """
        self.view, self.clock = view, clock
        self.total, self.ended = len(cells), 0
        self._waiting = dict.fromkeys(cells)

    def __enter__(self) -> "Reporter":
        return self

    def __exit__(self, *exception: object) -> None:
        self.view.close()

    def begin(self, header: Header) -> None:
        """The first cell is about to start."""
        logger.info("%s", header.line)
        self.view.begin(header)

    @contextmanager
    def cell(self, name: str) -> Iterator["StepBar"]:
        """What the cell of this name tells of its steps."""
        self.start(name)
        try:
            yield StepBar(lambda step, total: self.step(name, step, total), self.say)
        finally:
            self.stop(name)

    def start(self, name: str) -> None:
        """A cell begins."""
        self._waiting.pop(name, None)
        if self.clock:
            self.clock.start(name)
        self.view.start(name)
        logger.info("%s: started", name)

    def step(self, name: str, step: int, total: int) -> None:
        """A cell has come to a step of so many."""
        self.view.step(name, step, total)
        if self.clock:
            self.clock.step(name, step, total)
            self.view.left(self.clock.seconds_left([*self._waiting]))

    def stop(self, name: str) -> None:
        """A cell runs no longer."""
        if self.clock:
            self.clock.stop(name)
        self.view.stop(name)

    def put_off(self, name: str) -> None:
        """A cell that was started did not run, since another process has it."""
        self._waiting[name] = None

    def finish(self, name: str, record: Record, words: str, *, is_ours: bool = True) -> None:
        """A cell has ended, and this came out."""
        self.ended += 1
        self._waiting.pop(name, None)
        if self.clock and is_ours and not isinstance(record, FailedRecord):
            self.clock.finish(name)
        logger.info("%s: %s", name, words)
        if isinstance(record, FailedRecord) and record.failure.frames:
            logger.info("%s: raised in %s", name, " < ".join(reversed(record.failure.frames)))
        self.view.end(Ended(name, self.ended, self.total, record, words, is_ours))
        if self.clock:
            self.view.left(self.clock.seconds_left([*self._waiting]))

    def say(self, message: str) -> None:
        """A line that stays."""
        logger.info("%s", message)
        self.view.say(message)


def cells_in_words(number: int) -> str:
    """``1 cell``, ``2 cells``."""
    return f"{number:,} cell" if number == 1 else f"{number:,} cells"


def group_failures(failed: Sequence[FailedRecord]) -> list[str]:
    """A line for each way to fail: how many runs, at which steps, why, and of which models."""
    alike: dict[tuple[str, str], list[FailedRecord]] = {}
    for record in failed:
        alike.setdefault(record.failure.likeness, []).append(record)
    return [_in_one_line(records) for records in alike.values()]


def _in_one_line(records: Sequence[FailedRecord]) -> str:
    failure = records[0].failure
    if len(records) == 1:
        return f"{records[0].cell_name}: {failure.text}"
    steps = sorted({r.failure.step for r in records if r.failure.step is not None})
    models: dict[str, int] = {}
    for record in records:
        models[record.model] = models.get(record.model, 0) + 1
    at = f" at {_steps(steps)}" if steps else ""
    return f"{len(records):,} runs failed{at}: {failure.what}: {_models(models)}"


def _steps(steps: Sequence[int]) -> str:
    if len(steps) == 1:
        return f"step {steps[0]:,}"
    if len(steps) == 2:
        return f"step {steps[0]:,} or {steps[1]:,}"
    return f"steps {steps[0]:,} to {steps[-1]:,}"


def _models(models: Mapping[str, int]) -> str:
    shown = [f"{name} ({count})" for name, count in models.items()]
    if len(shown) <= 4:
        return ", ".join(shown)
    return f"{', '.join(shown[:3])} and {len(shown) - 3} more models"
