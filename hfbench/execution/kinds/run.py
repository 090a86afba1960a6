"""What every kind of cell can be asked for; each has a file of its own beside this one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from hfbench.execution.inputs import Inputs
from hfbench.execution.publisher import Publisher
from hfbench.recipe.cells import Cell
from hfbench.records.schema import FinishedRecord
from hfbench.records.store import ResultsFolder
from hfbench.training.progress import StepBar


@dataclass(frozen=True)
class Run:
    """What a cell gave: fields of its record, its predictions, and how to save its model."""

    fields: dict[str, Any]
    predictions: pa.Table | None = None
    save_model: Callable[[Path], None] | None = None


@dataclass(frozen=True)
class Surroundings:
    """Where a cell runs."""

    inputs: Inputs
    folder: ResultsFolder
    bar: StepBar
    cell_id: Callable[[Cell], str]
    """By what a result is known again: of the cell, and of the pretraining that it starts from."""
    publisher: Publisher | None
    """Of a pretraining whose checkpoints are published."""


class KindOfRun(Protocol):
    """A module of this package."""

    @property
    def RECORD(self) -> type[FinishedRecord]:  # noqa: N802 - a constant of the module
        """The class of its records."""

    KEEPS_WEIGHTS: bool
    """Whether others start from its weights, so that they are always kept."""

    def describe(self, cell: Cell, inputs: Inputs) -> dict[str, Any]:
        """What decides the result of such a cell, by content: its part of the identity."""

    def run(self, cell: Cell, surroundings: Surroundings) -> Run:
        """Do it. Whatever this raises is the failure of the cell."""

    def outcome(self, record: Any) -> str:
        """What came out, in a few words; ``record`` is one of ``RECORD``."""
