"""The trials of tuning, as their records tell them, and which one is chosen."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hfbench.metrics.built_in import DEFAULTS
from hfbench.metrics.registry import Metric, find_metric
from hfbench.recipe.trials import parse_trial
from hfbench.recipe.tuning import Settings, Tune
from hfbench.records.schema import (
    ClassificationRecord,
    Compared,
    FailedRecord,
    Record,
)
from hfbench.records.store import ResultsFolder, load_records

_DIGITS = 9  # equal means of other runs differ in the last bits, and are to be equal


@dataclass(frozen=True)
class TrialRuns:
    """A model with settings that were tried."""

    number: int
    settings: Settings
    runs: list[tuple[ResultsFolder, Compared]] = field(default_factory=list)
    """With the folder that each is in, one or one a fold."""
    failed: list[FailedRecord] = field(default_factory=list)

    @property
    def value(self) -> float | None:
        """Of the measure: the mean of its runs; None if one failed, or has no number."""
        found = [measured(record) for _, record in self.runs]
        known = [value for value in found if value is not None]
        if self.failed or not known or len(known) < len(found):
            return None
        return round(sum(known) / len(known), _DIGITS)

    @property
    def seconds(self) -> float:
        """Of training, of all runs; of one that failed all of its time."""
        return sum(_seconds(record) for _, record in self.runs) + sum(
            record.cell_seconds for record in self.failed
        )

    @property
    def flops(self) -> float:
        """Of training, of all runs, as far as they were counted."""
        trained = [record for _, record in self.runs if isinstance(record, ClassificationRecord)]
        return float(sum(record.training.flops or 0 for record in trained))


def load_trials(folder: ResultsFolder) -> dict[str, list[TrialRuns]]:
    """Model -> its trials by number, of a recipe's results folder; empty if nothing was tuned.

    Raises:
        RecordError: if a record cannot be read.
    """
    found: dict[str, dict[int, TrialRuns]] = {}
    for one in folder.tuning:
        for record in load_records(one.path):
            add_run(found, one, record)
    return {model: [trials[number] for number in sorted(trials)] for model, trials in found.items()}


def add_run(trials: dict[str, dict[int, TrialRuns]], folder: ResultsFolder, record: Record) -> None:
    """Put a record to the others of its trial; what is none is left out."""
    name, kept = parse_trial(record.model), isinstance(record, (Compared, FailedRecord))
    if name is None or not kept or record.kind == "pretraining":
        return
    model, number = name
    settings = record.settings["models"][0].get("tuned", {})
    trial = trials.setdefault(model, {}).setdefault(number, TrialRuns(number, settings))
    if isinstance(record, FailedRecord):
        trial.failed.append(record)
    elif isinstance(record, Compared):
        trial.runs.append((folder, record))


def best_of(trials: Sequence[TrialRuns]) -> TrialRuns | None:
    """The one with the best value, the first among equals; None where none has any."""
    known = [(trial, value) for trial in trials if (value := trial.value) is not None]
    if not known:
        return None
    sign = 1 if measure_of(trial_records(trials)).higher_is_better else -1
    return max(known, key=lambda one: sign * one[1])[0]


def within_budget(tune: Tune, trials: list[TrialRuns]) -> list[TrialRuns]:
    """The first of ``trials``, until the budget of costs was spent."""
    counted, seconds, flops = [], 0.0, 0.0
    for trial in trials:
        if seconds >= (tune.train_seconds or float("inf")) or flops >= (tune.flops or float("inf")):
            break
        counted.append(trial)
        seconds, flops = seconds + trial.seconds, flops + trial.flops
    return counted


def trial_records(trials: Iterable[TrialRuns]) -> list[Compared]:
    """Of all runs that have a result."""
    return [record for trial in trials for _, record in trial.runs]


def measure_of(records: Sequence[Compared]) -> Metric:
    """The measure by which models are ranked, and trials chosen."""
    task = records[0].task
    name = records[0].settings["task"].get("metric") or DEFAULTS[task.problem_type]
    return find_metric(name, task.problem_type, task.labels, "task.metric")


def measured(record: Compared) -> float | None:
    """That measure on the examples by which it is chosen."""
    return record.metrics[record.task.evaluation_split].get(measure_of([record]).name)


def _seconds(record: Compared) -> float:
    assert record.learning_seconds is not None  # a trial runs here
    return record.learning_seconds
