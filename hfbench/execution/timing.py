"""How long cells take: by runs of the same model, also with other settings, else by their size."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hfbench.execution.estimates import optimizer_steps
from hfbench.execution.inputs import arguments
from hfbench.execution.jobs import expected_seconds
from hfbench.execution.tasks import AllInputs
from hfbench.recipe.cells import Cell
from hfbench.records.schema import Record, TrainedRecord

Source = Literal["finished runs", "runs with other settings", "size alone"]
_WORST: tuple[Source, ...] = ("finished runs", "runs with other settings", "size alone")

_SLOWER = 3
"""`jobs.expected_seconds` is of steps alone, on an idle machine. The quickstart's cells took about
three times as long, side by side on two cores and with their evaluations, whatever the model."""


@dataclass(frozen=True)
class Expected:
    """What one cell will take."""

    seconds: float
    source: Source


def expect(
    cells: Sequence[Cell], inputs: AllInputs, finished: Sequence[tuple[str | None, Record]]
) -> dict[str, Expected]:
    """Name of each of ``cells`` -> how long it will take by itself.

    By runs of the same model on the same task and size; of other settings in proportion to the
    examples that are passed. Where there are none, by the size of the model and the data: that is
    no more than the order of magnitude, of which runs of other models mend the scale.

    Args:
        cells: those that are to run, which can.
        inputs: of them.
        finished: records of runs, each with its task: those whose settings are the recipe's, or
            were.
    """
    known = {cell.name: found for cell in cells if (found := _by_runs(cell, inputs, finished))}
    sizes = {cell.name: _SLOWER * expected_seconds(cell, inputs.of(cell)) for cell in cells}
    both = [(known[name].seconds, sizes[name]) for name in known if sizes[name]]
    scale = sum(one for one, _ in both) / sum(size for _, size in both) if both else 1.0
    return {
        cell.name: known.get(cell.name) or Expected(scale * sizes[cell.name], "size alone")
        for cell in cells
    }


def _by_runs(
    cell: Cell, inputs: AllInputs, finished: Sequence[tuple[str | None, Record]]
) -> Expected | None:
    same = [
        record
        for task, record in finished
        if (task, record.kind, record.model) == (cell.task, cell.kind, cell.model.name)
    ]
    alike = [one for one in same if one.train_size == cell.train_size]
    if not (same := alike or same):
        return None
    passed = _examples_passed(cell, inputs)
    seconds, changed = [], False
    for record in same:
        before = (
            record.training.steps * record.training.batch
            if isinstance(record, TrainedRecord)
            else None
        )
        factor = passed / before if passed and before else 1.0
        changed |= abs(factor - 1) > 0.01
        seconds.append(record.cell_seconds * factor)
    source: Source = "runs with other settings" if changed else "finished runs"
    return Expected(sum(seconds) / len(seconds), source)


def _examples_passed(cell: Cell, inputs: AllInputs) -> int | None:
    """Steps times batch of a cell that is trained."""
    if cell.head != "classifier":
        return None
    own = inputs.of(cell)
    examples = cell.train_size or own.task.facts.splits["train"].examples
    batch, steps = optimizer_steps(arguments(cell, own), examples)
    return batch * steps


def side_by_side(seconds: Sequence[float], jobs: int) -> float:
    """Seconds until all are done: none is spread over several places."""
    return max(sum(seconds) / max(1, jobs), max(seconds, default=0.0))


def in_words(seconds: float) -> str:
    """As ``40 s``, ``12 min`` or ``3.5 h``."""
    minutes, hours = seconds / 60, seconds / 3600
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"


def forecast(expected: Sequence[Expected], jobs: int) -> str:
    """How long cells take together, and by what that is known."""
    seconds = side_by_side([one.seconds for one in expected], jobs)
    # seconds that hardly count say nothing of how well the whole is known
    counted = [one for one in expected if one.seconds > 0.02 * seconds] or list(expected)
    source = max((one.source for one in counted), key=_WORST.index)
    if seconds < 1:
        return "a second or so"
    if source == "size alone":
        return f"very roughly {in_words(seconds)}, by the sizes of models and data"
    return f"about {in_words(seconds)}, by {source}"


@dataclass
class Clock:
    """What is left of a comparison that runs, by what was expected and what cells took."""

    expected: dict[str, Expected]
    model_of: dict[str, str]
    jobs: int
    """Cells side by side; where more run, as an engine of one's own may have it, so many."""
    now: Callable[[], float] = time.monotonic
    _started: dict[str, float] = field(default_factory=dict)
    _whole: dict[str, float] = field(default_factory=dict)
    """Of running cells: seconds that they will have taken, once steps tell."""
    _took: dict[str, float] = field(default_factory=dict)
    _ended: dict[str, float] = field(default_factory=dict)
    """Of cells with a result."""

    def start(self, name: str) -> None:
        """A cell begins."""
        self._started[name] = self.now()

    def step(self, name: str, step: int, total: int) -> None:
        """A cell has come to a step of so many."""
        if step > 1 and total > 0:
            self._whole[name] = (self.now() - self._started[name]) * total / step

    def stop(self, name: str) -> None:
        """A cell runs no longer; a signal may have come just before it was started."""
        self._whole.pop(name, None)
        if name in self._started:
            self._took[name] = self.now() - self._started.pop(name)

    def finish(self, name: str) -> None:
        """A cell that ran has a result; of others nothing is learnt."""
        if name in self._took:
            self._ended[name] = self._took[name]

    def seconds_left(self, waiting: Sequence[str]) -> float | None:
        """Of the running cells and of ``waiting``; None until anything is known of the machine."""
        known = {**self._ended, **self._whole}
        rough = any(self.expected[name].source == "size alone" for name in waiting)
        if rough and not known:
            return None
        running = []
        for name, began in self._started.items():
            whole = self._whole.get(name, self.expected[name].seconds * self._ratio(name, known))
            running.append(max(0.0, began + whole - self.now()))
        later = [self.expected[name].seconds * self._ratio(name, known) for name in waiting]
        return side_by_side([*running, *later], max(self.jobs, len(running)))

    def _ratio(self, name: str, known: dict[str, float]) -> float:
        """Of what cells took and what was expected: those of its model, else all."""
        mine = {n: s for n, s in known.items() if self.model_of[n] == self.model_of[name]}
        used = mine or (known if self.expected[name].source == "size alone" else {})
        expected = sum(self.expected[n].seconds for n in used)
        return sum(used.values()) / expected if expected else 1.0
