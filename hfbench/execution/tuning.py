"""Settings are chosen before a comparison runs with them: the page that holds that flow.

Trials are ordinary cells of a recipe of their own (`recipe.trials`), so that what is finished is
known again, and whatever runs cells runs them. Nothing is kept beside their records: each start
asks for the same settings in the same order and is told what the records say, so that one that was
killed goes on as if it had not been. Settings are asked for in rounds whose size does not depend
on how many cells run side by side.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfbench.errors import UserError
from hfbench.execution.compare import Outcome
from hfbench.recipe.cells import Cell, plan_comparison
from hfbench.recipe.model import Model
from hfbench.recipe.schema import TUNING, Recipe
from hfbench.recipe.trials import (
    Trial,
    derived_seed,
    number_of_folds,
    parse_trial,
    trials_recipe,
    with_chosen,
)
from hfbench.recipe.tuning import FIRST_ROUND, ROUND, Choices, Range, Settings, Tune, combinations
from hfbench.records.schema import Record
from hfbench.records.store import ResultsFolder
from hfbench.records.trials import (
    TrialRuns,
    add_run,
    best_of,
    hurdles,
    measure_of,
    trial_records,
    within_budget,
)
from hfbench.system.launch import is_main_process
from hfbench.system.terminal import Console

_MOST = 1000
"""Trials of a model, whatever they cost."""

Run = Callable[[Recipe], Outcome]
"""`compare.compare` with all but its recipe given."""


def tune(recipe: Recipe, results: Path, run: Run, console: Console) -> Recipe:
    """The recipe with settings chosen for its models; trials that are not finished run.

    A model none of whose trials has a result keeps the settings that it has.

    Args:
        recipe: has ``tune``.
        results: the folder that holds a folder for each recipe.
        run: runs the cells of a recipe that have no result yet.
        console: where progress goes.

    Raises:
        UserError: as `compare`; and if Optuna is missing.
    """
    searches, folder = searches_of(recipe), ResultsFolder(results / recipe.name)
    assert recipe.tune is not None
    if searches:  # none where only models that have nothing to tune are run
        _say(console, _announcement(recipe.tune, searches))
    while asked := _ask(searches):
        trials = _round(recipe, asked)
        run(trials)
        _tell(asked, trials, folder)
    if is_main_process():
        for search in searches:
            _set_aside_others(folder, search)
            _say(console, search.outcome())
    return _chosen(recipe, searches)


@dataclass(frozen=True)
class Look:
    """What there is of a tuning before anything runs."""

    runs: list[Cell]
    """The runs of trials that are known by now: of the next round, and of those before."""
    finished: list[Record]
    """Their records, as far as there are any."""
    planned: int | None
    """Runs of trials in all; None where the budget is one of costs."""
    chosen: Recipe | None
    """The recipe with settings chosen; None where runs are to come."""


def look_at_tuning(recipe: Recipe, results: Path) -> Look:
    """As `tune`, by the records that there are; nothing runs.

    Raises:
        UserError: if Optuna is missing.
    """
    searches, folder = searches_of(recipe), ResultsFolder(results / recipe.name)
    cells, finished = list[Cell](), list[Record]()
    while asked := _ask(searches):
        trials = _round(recipe, asked)
        own = plan_comparison(trials)
        found = [folder.of_task(cell.task).record(cell.stem) for cell in own]
        cells, finished = cells + own, finished + [one for one in found if one]
        if None in found:
            return Look(cells, finished, _planned_runs(recipe, searches), None)
        _tell(asked, trials, folder)
    return Look(cells, finished, len(cells), _chosen(recipe, searches))


def _planned_runs(recipe: Recipe, searches: "list[Search]") -> int | None:
    tune = recipe.tune
    if tune is None or {*tune.budget} - {"trials"}:
        return None
    tasks = {part.task_name: part.task for part in recipe.by_task}
    runs = 0
    for search in searches:
        task = tasks[search.task]
        assert task is not None
        of_trial = (number_of_folds(tune, task) or 1) * (1 if search.model.control else tune.seeds)
        runs += of_trial * (tune.trials or combinations(search.space) or 0)
    return runs


def searches_of(recipe: Recipe) -> "list[Search]":
    """One for each task and model that has a space."""
    assert recipe.tune is not None
    return [
        Search(recipe.tune, part.task_name, model, space)
        for part in recipe.by_task
        for model in part.models
        if (space := model.space(recipe.tune))
    ]


def _ask(searches: "list[Search]") -> "dict[Search, list[Trial]]":
    return {search: trials for search in searches if (trials := search.ask())}


def _round(recipe: Recipe, asked: "dict[Search, list[Trial]]") -> Recipe:
    of_task = {
        part.task_name: [
            trial for search, own in asked.items() if search.task == part.task_name for trial in own
        ]
        for part in recipe.by_task
    }
    return trials_recipe(recipe, of_task)


def _tell(asked: "dict[Search, list[Trial]]", trials: Recipe, folder: ResultsFolder) -> None:
    found = _read(trials, folder)
    for search, own in asked.items():
        search.tell([found[search.task, trial.name] for trial in own])


def _chosen(recipe: Recipe, searches: "list[Search]") -> Recipe:
    chosen = {(s.task, s.model.name): best.settings for s in searches if (best := s.best)}
    return with_chosen(recipe, chosen)


@dataclass(eq=False)
class Search:
    """The trials of one model on one task: asks for settings, is told what came of them."""

    tune: Tune
    task: str | None
    model: Model
    space: dict[str, Range | Choices]
    told: list[TrialRuns] = field(default_factory=list)
    """Those within the budget count."""

    def __post_init__(self) -> None:
        """Nothing is drawn yet."""
        if self.tune.sampler == "grid":
            self._sampler: Grid | _Study = Grid(self.space)
        else:
            self._sampler = _Study(self.tune, self.space)

    def ask(self) -> list[Trial]:
        """The next round; empty where the budget is spent."""
        first = len(self.told)
        settings = self._sampler.ask(self._size_of_round())
        ends = hurdles(self.told) if self.tune.pruner and self.model.is_trained else {}
        return [
            Trial(self.model.name, first + place, one, ends) for place, one in enumerate(settings)
        ]

    def tell(self, trials: list[TrialRuns]) -> None:
        """What came of the round, in its order."""
        self.told += trials
        self._sampler.tell(trials)

    @property
    def counted(self) -> list[TrialRuns]:
        """The trials that began within the budget: all, unless it is one of costs."""
        return within_budget(self.tune, self.told)

    @property
    def best(self) -> TrialRuns | None:
        """What is chosen."""
        return best_of(self.counted)

    def outcome(self) -> str:
        """What was chosen, in a line."""
        name = f"{self.task}/{self.model.name}" if self.task else self.model.name
        best = self.best
        if best is None:
            return f"Tuning {name}: no trial has a result; its settings stay as they are"
        assert best.value is not None
        settings = ", ".join(f"{key} {shown_value(value)}" for key, value in best.settings.items())
        metric = measure_of(trial_records([best]))
        unit = " %" if metric.is_percentage else ""
        number, ended = len(self.counted), sum(trial.is_pruned for trial in self.counted)
        return (
            f"Tuning {name}: {settings} (validation {metric.label} {metric.text(best.value)}{unit},"
            f" the best of {number} trial{'s' if number > 1 else ''}"
            f"{f', of which {ended} were ended early' if ended else ''})"
        )

    def _size_of_round(self) -> int:
        tune, done = self.tune, len(self.told)
        if tune.sampler == "grid":
            return ROUND if tune.pruner else _MOST
        size = FIRST_ROUND if done == 0 or tune.sampler == "random" else ROUND
        if tune.pruner:
            size = tune.first_round if done == 0 else ROUND
        elif tune.trials and tune.sampler == "random" and not (tune.train_seconds or tune.flops):
            size = tune.trials
        left = [(tune.trials or _MOST) - done]
        for key, cost in (("train_seconds", "seconds"), ("flops", "flops")):
            budget = getattr(tune, key)
            spent = sum(getattr(trial, cost) for trial in self.told)
            if budget is None or not self.told:
                continue
            if spent >= budget:
                return 0
            mean = spent / done
            left.append(max(1, int((budget - spent) / mean)) if mean > 0 else _MOST)
        return max(0, min(size, *left))


class Grid:
    """All combinations, the last key changing first."""

    def __init__(self, space: dict[str, Range | Choices]) -> None:
        choices = {
            key: values.values for key, values in space.items() if isinstance(values, Choices)
        }
        assert len(choices) == len(space)  # the recipe was checked
        self._left: Iterator[Settings] = (
            dict(zip(choices, combination, strict=True))
            for combination in itertools.product(*choices.values())
        )

    def ask(self, number: int) -> list[Settings]:
        """The next combinations."""
        return list(itertools.islice(self._left, number))

    def tell(self, trials: list[TrialRuns]) -> None:
        """It goes on whatever came of them."""


class _Study:
    """Optuna's, in memory alone."""

    def __init__(self, tune: Tune, space: dict[str, Range | Choices]) -> None:
        optuna = import_optuna()
        # the same for all models, so that those with the same space are first asked the same
        seed = derived_seed("settings")
        sampler = (
            optuna.samplers.RandomSampler(seed=seed)
            if tune.sampler == "random"
            else optuna.samplers.TPESampler(
                seed=seed, n_startup_trials=FIRST_ROUND, constant_liar=True
            )
        )
        self._study = optuna.create_study(sampler=sampler, direction="maximize")
        self._space = space
        self._distributions = {key: _distribution(optuna, one) for key, one in space.items()}
        self._asked: list[Any] = []

    def ask(self, number: int) -> list[Settings]:
        """The next settings."""
        self._asked = [self._study.ask(self._distributions) for _ in range(number)]
        return [self._settings(trial.params) for trial in self._asked]

    def tell(self, trials: list[TrialRuns]) -> None:
        """What came of them."""
        states = import_optuna().trial.TrialState
        for asked, trial in zip(self._asked, trials, strict=True):
            if (value := trial.value) is None:
                self._study.tell(asked, state=states.FAIL)
                continue
            if not measure_of(trial_records([trial])).higher_is_better:
                value = -value
            if trial.is_pruned:
                asked.report(value, step=trial.evaluations)
                self._study.tell(asked, state=states.PRUNED)
            else:
                self._study.tell(asked, value)

    def _settings(self, drawn: dict[str, Any]) -> Settings:
        settings: Settings = {}
        for key, values in self._space.items():
            if isinstance(values, Choices):
                settings[key] = values.values[drawn[key]]
            else:
                settings[key] = _short(drawn[key]) if values.scale != "int" else drawn[key]
        return settings


def _short(value: float) -> float:
    """To four digits, so that people can read and write it."""
    return float(f"{value:.4g}")


def _distribution(optuna: Any, values: Range | Choices) -> Any:
    distributions = optuna.distributions
    if isinstance(values, Choices):  # by number: a choice may be a list
        return distributions.CategoricalDistribution(range(len(values.values)))
    if values.scale == "int":
        return distributions.IntDistribution(values.low, values.high)
    return distributions.FloatDistribution(values.low, values.high, log=values.scale == "log")


def import_optuna() -> Any:
    """Optuna, silent but for errors.

    Raises:
        UserError: if it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UserError(
            "tune.sampler: tpe and random need Optuna: pip install 'hfbench[tune]'; grid does not"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _read(trials: Recipe, folder: ResultsFolder) -> dict[tuple[str | None, str], TrialRuns]:
    """Task and name of the trial -> what its cells left."""
    found: dict[str | None, dict[str, dict[int, TrialRuns]]] = {}
    for cell in plan_comparison(trials):
        of_part = folder.of_task(cell.task)
        record = of_part.record(cell.stem)
        if record is None:  # another process runs it, or something stopped this one
            raise UserError(f"{of_part.path}: no result of {cell.stem}; start the comparison again")
        add_run(found.setdefault(task_of_trial(cell), {}), of_part, record)
    return {
        (task, Trial(model, number, runs.settings).name): runs
        for task, models in found.items()
        for model, numbers in models.items()
        for number, runs in numbers.items()
    }


def task_of_trial(cell: Cell) -> str | None:
    """The task of the recipe that is tuned; None where there is one."""
    first = (cell.task or "").partition("/")[0]
    return None if first == TUNING else first


def _set_aside_others(folder: ResultsFolder, search: Search) -> None:
    """Move records of trials that the recipe does not ask for any more to ``superseded/``."""
    numbers = {trial.number for trial in search.told}
    for one in folder.of_task(search.task).tuning:
        for stem in one.stems:
            name = parse_trial(stem.partition("--")[0])
            if name and name[0] == search.model.name and name[1] not in numbers:
                one.supersede(stem)


def _announcement(tune: Tune, searches: list[Search]) -> str:
    names = list(dict.fromkeys(search.model.name for search in searches))
    return f"Tuning {', '.join(names)}: {describe_budget(tune)} each, sampler {tune.sampler}"


def describe_budget(tune: Tune) -> str:
    """In words."""
    units = {"trials": "trials", "train_seconds": "s of training", "flops": "FLOPs of training"}
    words = [f"{amount:g} {units[key]}" for key, amount in tune.budget.items()]
    return " or ".join(words) or "all combinations"


def shown_value(value: Any) -> str:
    """A setting as people write it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _say(console: Console, line: str) -> None:
    if is_main_process():
        console.print(line, highlight=False, markup=False, soft_wrap=True)
