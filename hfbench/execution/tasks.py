"""Several tasks of one recipe, or several folds of one: each part has inputs of its own.

What neither task nor fold decides is shared.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from hfbench.errors import UserError
from hfbench.execution.inputs import Inputs
from hfbench.recipe.cells import Cell
from hfbench.recipe.schema import Recipe

_Part = tuple[str | None, int | None]
"""Task and fold."""


class AllInputs(Protocol):
    """Of all cells of a comparison."""

    @property
    def recipe(self) -> Recipe:
        """Of the comparison."""

    def of(self, cell: Cell) -> Inputs:
        """Those of a cell."""


class PartInputs:
    """The inputs of each part, loaded when a cell of it asks; see `AllInputs`."""

    def __init__(self, recipe: Recipe, cells: Sequence[Cell], *, all_can_run: bool = False) -> None:
        """Load nothing yet.

        Args:
            recipe: with several tasks, or with folds.
            cells: of the recipe.
            all_can_run: whether it was found before, in another process, that all of them can.
        """
        self.recipe = recipe
        self._parts: dict[_Part, Recipe] = {}
        for task in recipe.by_task:
            for one in task.by_fold:
                folds = one.task and one.task.folds
                self._parts[task.task_name, folds.only if folds else None] = one
        self._cells, self._all_can_run = cells, all_can_run
        self._loaded: dict[_Part, Inputs] = {}

    def part_of(self, cell: Cell) -> _Part:
        """Of a pretraining, which is the same in every fold, the first."""
        if (cell.task, cell.fold) in self._parts:
            return cell.task, cell.fold
        return next(part for part in self._parts if part[0] == cell.task)

    def of(self, cell: Cell) -> Inputs:
        """Those of a cell.

        Raises:
            UserError: as `Inputs`, naming the task.
        """
        part = self.part_of(cell)
        if part not in self._loaded:
            mine = [other for other in self._cells if self.part_of(other) == part]
            try:
                inputs = Inputs(self._parts[part], mine, self._like(part))
            except UserError as error:
                if part[0] is None:
                    raise
                raise UserError(f"task {part[0]!r}: {error}") from None
            self._loaded[part] = inputs.expect_all() if self._all_can_run else inputs
        return self._loaded[part]

    def _like(self, part: _Part) -> Inputs | None:
        """Of another fold of the task, else of another task."""
        alike = [inputs for (task, _), inputs in self._loaded.items() if task == part[0]]
        return next(iter([*alike, *self._loaded.values()]), None)


def load_inputs(
    recipe: Recipe, cells: Sequence[Cell], *, all_can_run: bool = False
) -> Inputs | PartInputs:
    """Of a recipe with one part or with several; see `PartInputs`.

    Raises:
        UserError: as `Inputs`.
    """
    if recipe.has_parts or (recipe.task and recipe.task.folds):
        return PartInputs(recipe, cells, all_can_run=all_can_run)
    inputs = Inputs(recipe, cells)
    return inputs.expect_all() if all_can_run else inputs


def each_part(inputs: AllInputs, cells: Sequence[Cell]) -> Iterator[tuple[Inputs, list[Cell]]]:
    """The cells of each task and fold with its inputs, in the order of the cells."""
    parts: dict[int, tuple[Inputs, list[Cell]]] = {}
    for cell in cells:
        own = inputs.of(cell)
        parts.setdefault(id(own), (own, []))[1].append(cell)
    yield from parts.values()
