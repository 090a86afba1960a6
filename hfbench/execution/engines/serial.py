"""One cell after another, in this process."""

import gc
import time
from collections.abc import Generator

from hfbench.execution.cell import CellResult, Session, run_cell
from hfbench.execution.progress import Reporter
from hfbench.execution.schedule import line_up, put_off, ready, seconds_to_wait
from hfbench.execution.tasks import AllInputs
from hfbench.recipe.cells import Cell


class Serial:
    """See `engine.Engine`. The processes of a launcher train each cell together."""

    def run(
        self, cells: list[Cell], inputs: AllInputs, session: Session, reporter: Reporter
    ) -> Generator[CellResult]:
        """See `engine.Engine`."""
        waiting = line_up(cells, inputs, jobs=1)
        cell_of = {cell.name: cell for cell in cells}
        publishers = session.publishers(cells)
        gc.freeze()  # what is there outlasts the cells, after each of which garbage is collected
        try:
            while waiting:
                if not (chosen := ready(waiting, [], jobs=1)):
                    time.sleep(seconds_to_wait(waiting) or 0)
                    continue
                waiting.remove(chosen[0])
                cell = cell_of[chosen[0].name]
                with reporter.cell(cell.name) as bar:
                    result = run_cell(cell, inputs, session, bar, publishers.get(cell.name))
                if result:
                    yield result
                else:
                    reporter.put_off(cell.name)
                    waiting.append(put_off(chosen[0]))
        finally:
            gc.unfreeze()
