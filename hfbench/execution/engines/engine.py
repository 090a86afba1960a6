"""What runs the open cells of a comparison; each engine has a file of its own beside this one."""

from collections.abc import Generator
from typing import Protocol

from hfbench.execution.cell import CellResult, Session
from hfbench.execution.progress import Reporter
from hfbench.execution.tasks import AllInputs
from hfbench.recipe.cells import Cell


class Engine(Protocol):
    """Runs cells, on whatever it has."""

    def run(
        self, cells: list[Cell], inputs: AllInputs, session: Session, reporter: Reporter
    ) -> Generator[CellResult]:
        """Run cells; their results as they come.

        When the generator is closed before its end, cells under way are ended.

        Args:
            cells: in the order in which they should start. Those of a pretrained model need its
                pretraining, which is before them where it is to run; see `schedule`.
            inputs: of these cells; ``inputs.of(cell)`` are those of one cell's task.
            session: of this comparison: `cell.run_cell` writes to its folder.
            reporter: shows a bar for each cell under way.

        Raises:
            UserError, HubError: for what cannot be had, or what this engine cannot do.
            StorageError: if a result cannot be written.
            WorkerError: in the end, if a process died; it names the cells that were lost.
        """
