"""The data of a run, as its record tells it."""

from pydantic import Field, NonNegativeInt, PositiveInt

from hfbench.recipe.types import ProblemType
from hfbench.records.parts import RecordPart

RUN = 8
"""Words of a run."""

NEAR_SHARE = 0.8
"""Of a text's words, as a fraction."""


class Target(RecordPart):
    """The numbers that a regression is to predict, of one split."""

    mean: float = Field(description="Their mean.")
    sd: float = Field(description="Standard deviation, with n in the denominator.")
    low: float = Field(description="The lowest.")
    high: float = Field(description="The highest.")


class SplitData(RecordPart):
    """One split as the models saw it."""

    examples: PositiveInt = Field(description="Number of examples.")
    content_hash: str = Field(
        description="SHA-256 over ids, texts and label names (or targets), in order."
    )
    label_counts: dict[str, NonNegativeInt] = Field(
        description="Label name -> examples with that label; empty of a regression."
    )
    commonest_set: list[str] | None = Field(
        default=None,
        description="Multi-label: the labels of the most frequent set, the smallest among equals.",
    )
    unlabelled: NonNegativeInt | None = Field(
        default=None, description="Multi-label: examples without any label."
    )
    target: Target | None = Field(default=None, description="Regression: the numbers.")


class Overlap(RecordPart):
    """How many evaluation examples are in training texts, too; see `data.contamination`."""

    examples: NonNegativeInt = Field(description="Evaluation examples that were looked for.")
    exact: NonNegativeInt = Field(description="Of these: in the training texts word for word.")
    near: NonNegativeInt = Field(
        description="Of the others: nearly, by the runs of words that they share."
    )
    short: NonNegativeInt = Field(description="Too short to be nearly there.")
    parts: dict[str, NonNegativeInt] | None = Field(
        default=None,
        description="Of pairs: text, text_pair -> examples that are not exact, but whose text of "
        "this column is that of a training example in the same column; null where texts are no "
        "pairs, and in records from before it was counted.",
    )
    groups: NonNegativeInt | None = Field(
        default=None,
        description="Examples whose group (`group_column`) is that of a training example, too; "
        "null where there is no such column.",
    )


class FoldData(RecordPart):
    """Which part of a cross-validation a run is of."""

    number: PositiveInt = Field(description="Of all folds of all repetitions, from 1.")
    folds: PositiveInt = Field(description="Parts of the train split.")
    repeats: PositiveInt = Field(description="How often it is parted.")
    whole: SplitData = Field(description="All rows that are evaluated, fold by fold.")

    @property
    def repeat(self) -> int:
        """The repetition that it is of, from 0."""
        return (self.number - 1) // self.folds


class TaskData(RecordPart):
    """The data of a classification run."""

    source: str = Field(description="The data set in words.")
    revision: str | None = Field(description="Commit that the Hub resolved; null if not the Hub's.")
    problem_type: ProblemType = Field(
        default="single_label_classification",
        description="What is asked of a text, in transformers' words.",
    )
    labels: list[str] = Field(
        description="Label names; a label's number is its index here. Of a regression the name of "
        "its column."
    )
    splits: dict[str, SplitData] = Field(description="train, validation and, if given, test.")
    evaluation_split: str = Field(description="The split whose figures the table shows.")
    overlap: dict[str, Overlap] | None = Field(
        default=None,
        description="Split -> how many of its examples are in this run's training examples, too; "
        "null in records from before it was counted.",
    )
    left_out: dict[str, NonNegativeInt] | None = Field(
        default=None,
        description="Class -> rows left out of all splits together, of classes smaller than "
        "`min_class_size`; null where there is no such size.",
    )
    fold: FoldData | None = Field(
        default=None, description="Of a cross-validation; null without one."
    )


class CorpusData(RecordPart):
    """The data of a pretraining run."""

    source: str = Field(description="The corpus in words.")
    revision: str | None = Field(description="Commit that the Hub resolved; null if not the Hub's.")
    examples: dict[str, NonNegativeInt] = Field(
        description="train and validation: number of examples."
    )
    content_hash: dict[str, str] = Field(description="train and validation: SHA-256 of the texts.")
