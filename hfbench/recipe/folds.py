"""Cross-validation in place of one held-out part."""

from typing import Annotated, Any

from pydantic import Field, PositiveInt, model_validator

from hfbench.recipe.section import Section


class Folds(Section):
    """Every row of the train split is evaluated once, by a model that was trained on the others.

    A run is as many trainings as there are folds, each a cell and a record of its own; the table
    has their answers together.
    """

    folds: Annotated[int, Field(ge=2, le=100)]
    """Parts of the train split."""
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    """How often it is parted, each time in another way; every seed runs on each."""
    only: PositiveInt | None = None
    """Only this one, counted from 1 to ``folds`` times ``repeats``: so records name theirs. A table
    has those runs of which all folds are there."""

    @model_validator(mode="after")
    def _consistent(self) -> "Folds":
        most = self.folds * self.repeats
        if self.only is not None and self.only > most:
            raise ValueError(f"only: {self.only} is none of the folds 1 to {most}")
        return self

    @property
    def numbers(self) -> list[int]:
        """Those that are run, from 1."""
        every = range(1, self.folds * self.repeats + 1)
        return [*every] if self.only is None else [self.only]

    def place(self, number: int) -> tuple[int, int]:
        """The repetition that a fold is of, and its place in it, both from 0."""
        return divmod(number - 1, self.folds)


def from_number(value: Any) -> Any:
    """``5`` is short for ``{folds: 5}``."""
    return {"folds": value} if type(value) is int else value
