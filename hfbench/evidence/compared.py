"""Records -> what the models achieved and which of them can be distinguished. No torch here."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfbench.evidence.crossed import Table
from hfbench.evidence.difference import Difference
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.stats import ALPHA
from hfbench.metrics.registry import (
    Metric,
)
from hfbench.records.asked import Asked
from hfbench.records.data import TaskData
from hfbench.records.schema import FailedRecord, PretrainingRecord

if TYPE_CHECKING:
    from hfbench.evidence.tuning import Tuning


@dataclass(frozen=True)
class Pair:
    """Two models on the same examples."""

    first: ModelRuns
    second: ModelRuns
    difference: Difference
    """By how much the first is better, with its interval and its family's p-value."""

    @property
    def differ(self) -> bool:
        """Whether the two can be distinguished."""
        return self.difference.differ

    @property
    def p_value(self) -> float:
        """Adjusted for its family."""
        return self.difference.adjusted_p


@dataclass(frozen=True)
class Floor:
    """A model against guessing and against always giving the same answer."""

    chance: float | None
    """Accuracy of guessing, 1 / number of labels; None of any other measure."""
    above_chance: bool
    """Whether it is distinguished from guessing, upwards; a test of the floor's family."""
    below_chance: bool
    """Whether it is distinguished from guessing, downwards, and right less than half as often."""
    label: str
    """The answer: the commonest class or set of labels of the training examples, or their mean."""
    value: float | None
    """Of the measure, of always giving that answer; None where it has no number."""
    majority: Difference | None
    """How much better the model is than always answering ``label``; None for a row that just does
    that, and where it has no number."""
    p_majority: float
    """Adjusted after Holm for all models, and not below that of guessing."""
    is_same: bool
    """Whether the model just does that."""

    @property
    def above_majority(self) -> bool:
        """Whether it is distinguished from always answering ``label``, upwards."""
        return self.majority is not None and self.majority.mean > 0 and self.p_majority < ALPHA


@dataclass(frozen=True)
class Standing:
    """Models that were trained on as many examples, the best first."""

    models: list[ModelRuns]
    """Those without a finished run stand last."""
    pairs: list[Pair]
    """All that answered the same examples, the better first: a family of tests."""
    questions: list[Pair]
    """Those that the recipe asks: another family."""
    best_set: list[str]
    """The 95 % confidence set for the best; empty where models answered different examples."""
    letters: dict[str, str]
    """Model -> groups; models that share a letter cannot be distinguished."""
    floors: dict[str, Floor]
    table: Table | None
    """Answers of all that have a result; None where models answered different examples."""
    metric: Metric
    """By which models are ranked."""
    columns: list[Metric]
    """The other measures, each a column."""

    @property
    def finished(self) -> list[ModelRuns]:
        """The models with a result."""
        return [model for model in self.models if model.finished]


@dataclass(frozen=True)
class ComparedModels(Standing):
    """All that the records of a results folder say about its models."""

    recipe: str
    differences: dict[str, list[str]]
    """Model -> in what else than the model its runs differ from the others, in words."""
    curve: dict[int, Standing]
    """Training examples -> standing, of a learning curve; empty where there is none."""
    pretraining: list[PretrainingRecord | FailedRecord]
    asked: list[Asked]
    """What was asked of it, and when, the first first; empty where nothing was kept."""
    unfinished: dict[str, int]
    """Model -> runs that are left out because folds are missing."""
    tuning: "Tuning | None" = None
    """How settings of the models were chosen; None where they were not."""

    @property
    def waiting(self) -> list[tuple[str, str]]:
        """The recipe's questions about a model that has no result."""
        names = [model.name for model in self.finished]
        return self.asked[-1].waiting(names) if self.asked else []

    @property
    def title_of_others(self) -> str:
        """What the table of the other measures is called."""
        is_single = self.task is None or self.task.problem_type == "single_label_classification"
        return "Confidence" if is_single else "Other measures"

    @property
    def task(self) -> TaskData | None:
        """The data; None if every run failed."""
        finished = [record for model in self.models for record in model.finished]
        return finished[0].task if finished else None
