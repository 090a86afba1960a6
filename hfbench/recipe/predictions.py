"""A row that hfbench did not run: which file has its answers, and how they are read."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hfbench.recipe.section import Section
from hfbench.recipe.types import Line, Lines, Seed


class Predictions(Section):
    """A csv, tsv, json, jsonl or parquet file with an answer to each evaluation example.

    What is not given is found in the file, and what was found is said.
    """

    file: Line
    """Relative to the recipe; csv, tsv, json and jsonl may be compressed (.gz, .xz, .zst)."""
    id_column: Line | None = None
    """The column by which rows are known: hfbench's ids (``validation/12``, the row in the split as
    it came), or the values that the data set has in its column of the same name. Default: ``id``,
    where there is one."""
    text_column: Line | list[Line] | None = None
    """Without ids, the column with the text, or two for pairs. Default: those of the task, else
    ``text``. A text that is found word for word nowhere is looked for without regard to case,
    punctuation and white space."""
    label_column: Line | None = None
    """The column with the answer: a class by name or number; multi-label a list of these, or what
    ``task.label_separator`` parts; of a regression the number. Default: ``prediction``,
    ``predicted_label``, or the task's. Of such answers there are no measures of probabilities."""
    score_columns: Line | Lines | dict[Line, Line] | None = None
    """In place of ``label_column``: a score for each class, in columns in the order of the classes
    or by class (``{spam: p_spam, ham: p_ham}``), in one column of lists or of objects, or of two
    classes that of the second. Default: columns that are called as the classes are, else
    ``probabilities`` or ``logits``."""
    scores: Literal["probabilities", "logits"] | None = None
    """What the scores are. Default: what the column is called, else probabilities where they can
    be."""
    seed_column: Line | None = None
    """The column that tells several runs apart, by whole numbers."""
    seeds: Annotated[list[Seed], Field(min_length=1)] | None = None
    """Which of these runs are compared; default: those of the recipe's ``seeds``."""

    @model_validator(mode="after")
    def _consistent(self) -> "Predictions":
        if self.label_column is not None and self.score_columns is not None:
            raise ValueError("give label_column or score_columns, and not both")
        if self.label_column is not None and self.scores is not None:
            raise ValueError("scores goes with score_columns, and label_column is given")
        if self.id_column is not None and self.text_column is not None:
            raise ValueError("give id_column or text_column, and not both")
        if isinstance(self.text_column, list) and len(self.text_column) != 2:
            raise ValueError("text_column must be one column or a list of two")
        self._allow_only_with("seed_column", "seeds")
        if self.seeds and len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must differ: {self.seeds}")
        return self


def from_name(value: Any) -> Any:
    """``answers.csv`` is short for ``{file: answers.csv}``."""
    return {"file": value} if isinstance(value, str) else value
