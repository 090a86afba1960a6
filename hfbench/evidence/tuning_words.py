"""How settings were chosen, as a table and in sentences."""

from typing import Any

from hfbench.evidence.compared import ComparedModels
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.text_table import TextTable
from hfbench.evidence.tuning import Tuning, chosen_settings, flops_of, seconds_of
from hfbench.evidence.words import ends_text, enumerate_names, few_names, gap_text, value_text
from hfbench.metrics.registry import Metric
from hfbench.recipe.tuning import Settings, Tune


def tuning_table(comparison: ComparedModels, tuning: Tuning) -> TextTable:
    """A line for each model that was tuned: what was chosen, and how sure that is."""
    metric = comparison.metric
    header = [
        "model", "chosen", "trials", f"validation {metric.title}", "chosen again %",
        "95 % interval", "with the choice", "train s of all trials", "TFLOP of all trials",
    ]  # fmt: skip
    rows = []
    for model in comparison.finished:
        search = tuning.searches.get(model.name)
        if search is None:
            continue
        flops = flops_of(search)
        assert search.best.value is not None
        rows.append(
            [
                model.name,
                "; ".join(map(settings_text, chosen_settings(model))),
                str(len(search.trials)),
                metric.text(search.best.value),
                f"{100 * search.again:.0f}",
                ends_text(metric, *model.interval),
                ends_text(metric, *search.widened(model)),
                f"{seconds_of(search):,.1f}",
                "" if flops is None else f"{flops / 1e12:.3g}",
            ]
        )
    return TextTable(header, rows)


def tuning_notes(comparison: ComparedModels, tuning: Tuning) -> list[str]:
    """How to read that, and what follows from it."""
    metric = comparison.metric
    lines = [f"Settings were chosen by {describe_tune(tuning.tune, comparison)}."]
    numbers = {name: len(search.trials) for name, search in tuning.searches.items()}
    is_by_trials = tuning.tune.trials and set(tuning.tune.budget) == {"trials"}
    if len({*numbers.values()}) > 1 and (is_by_trials or tuning.tune.sampler == "grid"):
        told = enumerate_names([f"{name} {number}" for name, number in numbers.items()])
        lines.append(f"Models did not have the same number of trials: {told}.")
    if pruned := {name: search.pruned for name, search in tuning.searches.items() if search.pruned}:
        told = enumerate_names([f"{number} of {name}" for name, number in pruned.items()])
        lines.append(
            f"Trials that were ended early, behind the median of those before: {told}. They count "
            "in the budget, and none of them could be chosen."
        )
    lines += _about_chance(metric, tuning)
    for model in comparison.finished:
        found = tuning.searches.get(model.name)
        if found and [found.best.settings] != chosen_settings(model):
            lines.append(
                f"{model.name}: its runs have other settings than the trials say; run the "
                "comparison again."
            )
    if tuning.without:
        lines.append(f"No trial of {few_names(tuning.without)} has a result: not tuned.")
    for name, reason in tuning.unmeasured.items():
        lines.append(f"How sure the choice is for {name} is not known: {reason}.")
    lost = [pair for pair in comparison.pairs if tuning.loses_by_choice(pair)]
    if lost:
        names = [f"{pair.first.name} and {pair.second.name}" for pair in lost]
        lines.append(
            f"Distinguished with these settings, and not if settings were chosen anew: "
            f"{few_names(names)}."
        )
    if len(tuning.searches) > 1:
        lines.append(_about_budget(tuning))
    lines.append(
        "chosen again: how often the same settings would be the best on another draw of the "
        "examples that choose and of seeds, among the same trials. The interval of the table is "
        "for these settings; with the choice, for the model tuned again on such a draw."
    )
    return lines


def _about_chance(metric: Metric, tuning: Tuning) -> list[str]:
    """Of which models other settings would be chosen most of the time, and what that matters."""
    unsure = {name: s for name, s in tuning.searches.items() if s.again < 0.5}
    alike = [name for name, search in unsure.items() if search.choice_sd < 1e-9]
    moved = [
        f"{name} by {gap_text(metric, search.choice_sd)}"
        for name, search in unsure.items()
        if name not in alike
    ]
    lines = []
    if alike:
        lines.append(f"Trials that differ by no more than chance: {enumerate_names(alike)}.")
    if moved:
        lines.append(
            "With other validation examples and seeds, other settings would be chosen most of the "
            f"time, which moves the {metric.label} by a standard deviation: "
            f"{enumerate_names(moved)}."
        )
    return lines


def _about_budget(tuning: Tuning) -> str:
    """Whether the order of the models depends on how many trials they have."""
    first, *turns = tuning.leaders
    if not turns:
        return (
            f"Whatever the number of trials, {first[1]} has the best expected validation value of "
            "the tuned models."
        )
    told = ", ".join(f"from {number} on {name}" for number, name in turns)
    return (
        "Which model has the best expected validation value depends on the number of trials: "
        f"{first[1]}, {told}."
    )


def describe_tune(tune: Tune, comparison: ComparedModels) -> str:
    """Sampler, budget, and on which examples."""
    how = {
        "tpe": "the tree-structured Parzen estimator (Optuna)",
        "random": "random search (Optuna)",
        "grid": "a grid",
    }[tune.sampler]
    units = {"trials": "trials", "train_seconds": "s of training", "flops": "FLOPs of training"}
    budget = " or ".join(f"{amount:g} {units[key]}" for key, amount in tune.budget.items())
    runs = f"each of {tune.seeds} runs" if tune.seeds > 1 else "each of one run"
    task = comparison.task
    is_test = task is not None and task.evaluation_split == "test"
    where = "the validation examples"
    if tune.folds or not is_test:
        where = f"{tune.folds or 5} parts of the training examples in turn"
    return f"{how}, {budget or 'all combinations'} for each model, {runs}, on {where}"


def tuned_footnote(model: ModelRuns, tuning: Tuning | None) -> str | None:
    """What was chosen for a model; None where nothing was."""
    settings = chosen_settings(model)
    if not settings:
        return None
    told = " or ".join(map(settings_text, settings))
    search = tuning.searches.get(model.name) if tuning else None
    if search is None:
        return f"tuned: {told}"
    assert search.best.value is not None
    value = value_text(search.metric, search.best.value)
    return f"tuned: {told} (validation {value}, best of {len(search.trials)} trials)"


def settings_text(settings: Settings) -> str:
    """``learning_rate 0.0003, num_train_epochs 4``."""
    return ", ".join(f"{key} {_value(value)}" for key, value in settings.items())


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def trials_csv_lines(tuning: Tuning) -> list[dict[str, Any]]:
    """A line for each trial of each model; ``value`` is of the examples that choose."""
    return [
        {
            "model": name,
            "trial": trial.number,
            "settings": settings_text(trial.settings),
            "value": trial.value,
            "runs": len(trial.runs),
            "failed": len(trial.failed),
            "pruned": trial.is_pruned,
            "train_seconds": trial.seconds,
            "train_flops": trial.flops,
            "chosen": trial is search.best,
        }
        for name, search in tuning.searches.items()
        for trial in search.trials
    ]
