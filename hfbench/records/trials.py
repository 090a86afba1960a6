"""The trials of tuning, as their records tell them, and which one is chosen."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import mean, median

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

EPOCH_DIGITS = 4
"""To which epochs are rounded, to be known again."""
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
    def is_pruned(self) -> bool:
        """Whether a run of it was ended because it was behind those before it."""
        return any(record.training.pruned_at is not None for record in self.trained)

    @property
    def trained(self) -> list[ClassificationRecord]:
        """Its runs that trained a network."""
        return [record for _, record in self.runs if isinstance(record, ClassificationRecord)]

    @property
    def evaluations(self) -> int:
        """During training, of the run that has most."""
        return max((len(record.curves["validation"]) for record in self.trained), default=0)

    @property
    def seconds(self) -> float:
        """Of training, of all runs; of one that failed all of its time."""
        return sum(_seconds(record) for _, record in self.runs) + sum(
            record.cell_seconds for record in self.failed
        )

    @property
    def flops(self) -> float:
        """Of training, of all runs, as far as they were counted."""
        return float(sum(record.training.flops or 0 for record in self.trained))


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
    """The one with the best value, the first among equals; None where none has any.

    One that was ended early is none of them.
    """
    known = [
        (trial, value)
        for trial in trials
        if (value := trial.value) is not None and not trial.is_pruned
    ]
    if not known:
        return None
    sign = 1 if measure_of(trial_records(trials)).higher_is_better else -1
    return max(known, key=lambda one: sign * one[1])[0]


def hurdles(trials: Sequence[TrialRuns]) -> dict[str, dict[float, float]]:
    """Folder of runs -> epoch -> the value below which the next trials end there.

    It is the median, over the trials that ran to their end, of the value at that epoch: the rule of
    `optuna.pruners.MedianPruner`. A trial of several seeds counts with their mean.

    Args:
        trials: of one model, those before.
    """
    found: dict[str, dict[float, list[float]]] = {}
    for trial in trials:
        if trial.value is None or trial.is_pruned:
            continue
        for folder, points in _curves(trial).items():
            for epoch, values in points.items():
                found.setdefault(folder, {}).setdefault(epoch, []).append(mean(values))
    return {
        folder: {epoch: median(values) for epoch, values in points.items()}
        for folder, points in found.items()
    }


def _curves(trial: TrialRuns) -> dict[str, dict[float, list[float]]]:
    """Folder -> epoch -> the values of the measure that its runs had after it."""
    name = measure_of(trial_records([trial])).name
    found: dict[str, dict[float, list[float]]] = {}
    for folder, record in trial.runs:
        points = record.curves["validation"] if isinstance(record, ClassificationRecord) else []
        for point in points:
            if name in point:
                of_folder = found.setdefault(folder.path.name, {})
                of_folder.setdefault(round(point["epoch"], EPOCH_DIGITS), []).append(point[name])
    return found


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
