"""Several tasks of one recipe: each has inputs of its own, and what no task decides is shared."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from hfbench.errors import UserError
from hfbench.execution.inputs import Inputs
from hfbench.recipe.cells import Cell
from hfbench.recipe.schema import Recipe


class AllInputs(Protocol):
    """Of all cells of a comparison."""

    @property
    def recipe(self) -> Recipe:
        """Of the comparison."""

    def of(self, cell: Cell) -> Inputs:
        """Those of a cell."""


class TaskInputs:
    """The inputs of each task, loaded when a cell of it asks; see `AllInputs`."""

    def __init__(self, recipe: Recipe, cells: Sequence[Cell], *, all_can_run: bool = False) -> None:
        """Load nothing yet.

        Args:
            recipe: with several tasks.
            cells: of the recipe.
            all_can_run: whether it was found before, in another process, that all of them can.
        """
        self.recipe = recipe
        self._parts = {one.task_name: one for one in recipe.by_task}
        self._cells, self._all_can_run = cells, all_can_run
        self._loaded: dict[str | None, Inputs] = {}

    def of(self, cell: Cell) -> Inputs:
        """Those of a cell.

        Raises:
            UserError: as `Inputs`, naming the task.
        """
        if cell.task not in self._loaded:
            mine = [other for other in self._cells if other.task == cell.task]
            like = next(iter(self._loaded.values()), None)
            try:
                inputs = Inputs(self._parts[cell.task], mine, like)
            except UserError as error:
                raise UserError(f"task {cell.task!r}: {error}") from None
            self._loaded[cell.task] = inputs.expect_all() if self._all_can_run else inputs
        return self._loaded[cell.task]


def load_inputs(
    recipe: Recipe, cells: Sequence[Cell], *, all_can_run: bool = False
) -> Inputs | TaskInputs:
    """Of a recipe with one task or with several; see `TaskInputs`.

    Raises:
        UserError: as `Inputs`.
    """
    if recipe.has_parts:
        return TaskInputs(recipe, cells, all_can_run=all_can_run)
    inputs = Inputs(recipe, cells)
    return inputs.expect_all() if all_can_run else inputs


def each_task(inputs: AllInputs, cells: Sequence[Cell]) -> Iterator[tuple[Inputs, list[Cell]]]:
    """The cells of each task with its inputs, in the order of the tasks."""
    for task in dict.fromkeys(cell.task for cell in cells):
        mine = [cell for cell in cells if cell.task == task]
        yield inputs.of(mine[0]), mine
