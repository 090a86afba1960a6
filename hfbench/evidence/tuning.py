"""How settings were chosen: how sure each choice is, and what was to be had for less. No torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import comb

import numpy as np

from hfbench.evidence.compared import ComparedModels, Pair
from hfbench.evidence.difference import Difference
from hfbench.evidence.model_runs import ModelRuns
from hfbench.metrics.estimate import UndefinedMeasureError
from hfbench.metrics.registry import Metric
from hfbench.recipe.tuning import Settings, Tune
from hfbench.records.predictions import load_predictions
from hfbench.records.schema import ClassificationRecord
from hfbench.records.store import ResultsFolder
from hfbench.records.trials import (
    TrialRuns,
    best_of,
    load_trials,
    measure_of,
    trial_records,
    within_budget,
)

_TRUTHS = 100
"""Values of all settings that may be the true ones, given the trials."""
_DRAWS = 50
"""Validation draws for each of these."""
_RESAMPLES = 400
_Z = 1.959964


@dataclass(frozen=True)
class Search:
    """The trials of one model, and what they say."""

    model: str
    trials: list[TrialRuns]
    """Those within the budget, in order."""
    best: TrialRuns
    metric: Metric
    again: float
    """How often the same settings would be chosen with other validation examples and seeds."""
    choice_sd: float
    """How much the measure of the model varies because other settings would be chosen."""
    curve: np.ndarray
    """Expected validation value of the best of n trials, n from 1, shape (trials,)."""
    band: tuple[np.ndarray, np.ndarray]
    """95 % of it, over validation examples and, where trials were drawn at random, trials."""

    @property
    def pruned(self) -> int:
        """Trials that were ended early."""
        return sum(trial.is_pruned for trial in self.trials)

    def widened(self, model: ModelRuns) -> tuple[float, float]:
        """The 95 % interval of the model, tuned again with other validation examples."""
        (low, high), more = model.interval, _Z * self.choice_sd
        least, most = self.metric.bounds
        return (
            max(least, model.value - math.hypot(model.value - low, more)),
            min(most, model.value + math.hypot(high - model.value, more)),
        )


def hangs_on_choice(found: Difference, choice_sd: float) -> bool:
    """Whether the two are distinguished, and would not be if it varied by ``choice_sd`` as well."""
    if not found.differ:
        return False
    half = (found.family_high - found.family_low) / 2
    by_itself = (found.high - found.low) / 2
    level = _Z * half / by_itself if by_itself else _Z
    return abs(found.mean) < math.hypot(half, level * choice_sd)


@dataclass(frozen=True)
class Tuning:
    """How the models of a comparison were tuned."""

    tune: Tune
    searches: dict[str, Search]
    """Of those with a trial that has a result."""
    without: list[str]
    """Models none of whose trials has a result."""
    unmeasured: dict[str, str] = field(default_factory=dict)
    """Models of whose trials nothing can be said, since the measure has no number for each example
    -> why."""

    def loses_by_choice(self, pair: Pair) -> bool:
        """Whether the two are distinguished, and would not be if the choice counted as chance."""
        return hangs_on_choice(pair.difference, self.choice_sd(pair.first.name, pair.second.name))

    def choice_sd(self, *models: str) -> float:
        """How much a difference of these varies because other settings would be chosen."""
        searches = [search for name in models if (search := self.searches.get(name))]
        return math.hypot(*(search.choice_sd for search in searches))

    @property
    def leaders(self) -> list[tuple[int, str]]:
        """From so many trials on the model with the highest expected validation value."""
        turns: list[tuple[int, str]] = []
        longest = max((len(search.curve) for search in self.searches.values()), default=0)
        for number in range(1, longest + 1):
            values = {
                name: _signed(search.metric, search.curve[min(number, len(search.curve)) - 1])
                for name, search in self.searches.items()
            }
            best = max(values, key=lambda name: values[name])
            if not turns or turns[-1][1] != best:
                turns.append((number, best))
        return turns


def find_tuning(comparison: ComparedModels, folder: ResultsFolder) -> Tuning | None:
    """How the models were tuned; None where the recipe that was last asked tunes nothing.

    Raises:
        RecordError: if a record of a trial, or its predictions, cannot be read.
    """
    asked = comparison.asked[-1].tune if comparison.asked else None
    trials = load_trials(folder) if asked else {}
    if not (asked and trials):
        return None
    tune = Tune.model_validate(asked)
    shown = {model.name: model for model in comparison.finished}
    searches, without, unmeasured = {}, [], {}
    for name in trials:
        own = _complete(within_budget(tune, trials[name]))
        best = best_of(own)
        if best is None:
            without.append(name)
        elif name in shown:
            try:
                searches[name] = _search(tune, name, own, best, _seed_sd(shown[name]))
            except UndefinedMeasureError as error:
                unmeasured[name] = str(error)
    if not (searches or without or unmeasured):
        return None
    return Tuning(tune, searches, without, unmeasured)


def _complete(trials: list[TrialRuns]) -> list[TrialRuns]:
    """Without those of which a run is still to come."""
    most = max((len(one.runs) + len(one.failed) for one in trials), default=0)
    return [one for one in trials if len(one.runs) + len(one.failed) == most]


def _seed_sd(model: ModelRuns) -> float:
    return model.judged.seed_sd if model.judged and model.trained else 0.0


def _search(
    tune: Tune, model: str, trials: list[TrialRuns], best: TrialRuns, seed_sd: float
) -> Search:
    known = [trial for trial in trials if trial.value is not None]
    metric = measure_of(trial_records(known))
    scores = np.stack([_scores(trial, metric) for trial in known])  # (trials, examples)
    chosen = known.index(best)
    runs = len(best.runs) / len({folder.path for folder, _ in best.runs})
    whole = [number for number, trial in enumerate(known) if not trial.is_pruned]
    again, choice_sd = sure_of(scores[whole], whole.index(chosen), seed_sd / math.sqrt(runs))
    worst = scores.mean(1).min()
    failed = np.full((len(trials) - len(known), scores.shape[1]), worst)  # they spend the budget
    curve, band = expected_best(
        np.concatenate([scores, failed]) if tune.sampler != "tpe" else _in_order(trials, scores),
        is_drawn=tune.sampler == "random",
        in_order=tune.sampler == "tpe",
    )
    sign = 1 if metric.higher_is_better else -1
    low, high = band if sign > 0 else band[::-1]
    return Search(
        model, trials, best, metric, again, choice_sd,
        sign * curve, (sign * low, sign * high),
    )  # fmt: skip


def _in_order(trials: Sequence[TrialRuns], scores: np.ndarray) -> np.ndarray:
    """The scores of each trial, of one that failed those of the worst."""
    worst, found = scores[scores.mean(1).argmin()], iter(scores)
    return np.stack([worst if trial.value is None else next(found) for trial in trials])


def _scores(trial: TrialRuns, metric: Metric) -> np.ndarray:
    """Pseudo-values of all examples, the mean over seeds, of which higher is better.

    Of several folds their examples one after the other.
    """
    of_fold: dict[ResultsFolder, list[np.ndarray]] = {}
    folders = {folder.path: folder for folder, _ in trial.runs}
    for folder, record in sorted(trial.runs, key=lambda run: run[0].path):
        found = load_predictions(record, folder.path, record.task.evaluation_split)
        outputs = metric.seen(found["logits"], record.thresholds)
        values = metric.pseudo_values(outputs, found["label"])
        if not np.isfinite(values).all():
            raise UndefinedMeasureError(f"it is {values.mean()}")
        of_fold.setdefault(folders[folder.path], []).append(values)
    scores = np.concatenate([np.mean(values, axis=0) for values in of_fold.values()])
    return scores if metric.higher_is_better else -scores


def sure_of(scores: np.ndarray, chosen: int, seed_sd: float) -> tuple[float, float]:
    """How often the choice would be the same on another draw of validation examples and seeds.

    The values of all settings that may be true are drawn given the trials (their means, moved
    towards each other by as much as chance has spread them, plus what is left of it), and for each
    of them validation draws, by resampling examples.

    Args:
        scores: of each trial on each example, higher is better, shape (trials, examples).
        chosen: the number of the trial that was.
        seed_sd: how much the mean of a trial varies with its seeds.

    Returns:
        That share, and the standard deviation of the true value of what is chosen, over validation
        draws.
    """
    trials, examples = scores.shape
    if trials == 1:
        return 1.0, 0.0
    means = scores.mean(1)
    of_differences = (scores - scores.mean(0)).var(1, ddof=1) / examples + seed_sd**2
    noise, spread = of_differences.mean() * trials / (trials - 1), means.var(ddof=1)
    true_share = max(0.0, 1 - noise / spread) if spread > 0 else 0.0
    generator = np.random.default_rng(0)

    def draw(number: int) -> np.ndarray:
        """Shape (number, trials)."""
        weights = generator.multinomial(examples, np.full(examples, 1 / examples), size=number)
        seeds = seed_sd * generator.standard_normal((number, trials))
        return weights @ scores.T / examples - means + seeds

    truths = means.mean() + true_share * (means - means.mean())
    truths = truths + math.sqrt(true_share) * draw(_TRUTHS)  # (_TRUTHS, trials)
    share = variance = 0.0
    for truth in truths:
        again = (truth + draw(_DRAWS)).argmax(1)
        share += float((again == chosen).mean()) / _TRUTHS
        variance += truth[again].var() / _TRUTHS
    return share, math.sqrt(variance)


def expected_best(
    scores: np.ndarray, *, is_drawn: bool, in_order: bool = False
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """The mean of the best of n trials, n from 1, and 95 % of it.

    Args:
        scores: of each trial on each example, higher is better, shape (trials, examples).
        is_drawn: whether trials were drawn at random, so that others might have been.
        in_order: whether each trial was found by those before it: then the best of the first n.

    Returns:
        Shape (trials,), and the two ends of the band.
    """
    trials, examples = scores.shape
    best = np.maximum.accumulate if in_order else best_of_n
    curve = best(scores.mean(1))
    generator, curves = np.random.default_rng(0), []
    for _ in range(_RESAMPLES):
        weights = generator.multinomial(examples, np.full(examples, 1 / examples))
        values = scores @ weights / examples
        if is_drawn:
            values = generator.choice(values, trials)
        curves.append(best(values))
    low, high = np.quantile(curves, [0.025, 0.975], axis=0)
    return curve, (low, high)


def best_of_n(values: np.ndarray) -> np.ndarray:
    """The mean of the highest of n of ``values``, over all ways to take them, for each n.

    Dodge et al. (2019, Show your work) take them with replacement, which is too low on average;
    without it the estimate is unbiased: Tang et al. (2020, Showing your work doesn't always work).

    Args:
        values: of all trials, shape (trials,).

    Returns:
        Shape (trials,), for n from 1.
    """
    ascending, number = np.sort(values), len(values)
    return np.array(
        [
            sum(value * comb(rank, n - 1) for rank, value in enumerate(ascending)) / comb(number, n)
            for n in range(1, number + 1)
        ]
    )


def _signed(metric: Metric, value: float) -> float:
    return value if metric.higher_is_better else -value


def chosen_settings(model: ModelRuns) -> list[Settings]:
    """What tuning gave the runs of a model, as their records say; more than one if it changed."""
    found: list[Settings] = []
    for record in model.finished:
        settings: Mapping = record.settings["models"][0].get("tuned", {})
        if settings and settings not in found:
            found.append(dict(settings))
    return found


def seconds_of(search: Search) -> float:
    """Of training, of all trials of a model."""
    return sum(trial.seconds for trial in search.trials)


def flops_of(search: Search) -> float | None:
    """Of training, of all trials of a model; None of a control."""
    records = trial_records(search.trials)
    if not any(isinstance(record, ClassificationRecord) for record in records):
        return None
    return sum(trial.flops for trial in search.trials)


def cost_of_a_trial(search: Search, unit: str) -> float:
    """The mean, in the unit of a budget."""
    total = {"train_seconds": seconds_of(search), "flops": flops_of(search) or 0.0}
    return total[unit] / len(search.trials) if unit in total else 1.0
