"""The plan of a comparison, printed before anything runs: its cells, its power, its time."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from hfbench.evidence.classes import ENOUGH
from hfbench.evidence.comparison import compare_records
from hfbench.evidence.data_notes import describe_cut, sizes, what_is_asked
from hfbench.evidence.folds import inflation, whole_runs
from hfbench.evidence.power import (
    Discordance,
    detectable_difference,
    measure_discordance,
    needed_examples,
    needed_seeds,
)
from hfbench.evidence.stats import ALPHA
from hfbench.evidence.words import enumerate_names, gap_text, list_labels
from hfbench.execution.estimates import optimizer_steps, parameters
from hfbench.execution.inputs import Inputs, arguments
from hfbench.execution.jobs import choose_jobs
from hfbench.execution.sanity import doubtful_settings
from hfbench.execution.survey import (
    NEW,
    Status,
    Survey,
    SurveyOfParts,
    cells_to_look_at,
    runs_before,
)
from hfbench.execution.tasks import load_inputs
from hfbench.execution.timing import Expected, expect, forecast, in_words, side_by_side
from hfbench.execution.tuning import Look, look_at_tuning
from hfbench.metrics.registry import Metric
from hfbench.models.lengths import NO_LIMIT
from hfbench.recipe.cells import Cell, Shard
from hfbench.recipe.schema import Recipe
from hfbench.recipe.trials import parse_trial
from hfbench.records.asked import Asked
from hfbench.records.schema import Record
from hfbench.system.terminal import tell

_OF_SHARES = ("accuracy", "subset_accuracy")
"""Measures of which single runs are compared, see `evidence.judge.Table.seeds_unknown`."""


@dataclass(frozen=True)
class Target:
    """What the comparison is to show, and what is assumed of it."""

    difference: float | None = None
    """Of the measure, of accuracies a fraction; default: the recipe's margin, or 0.05 where it is
    from 0 to 1."""
    discordance: float | None = None
    """Share of the examples that one of two runs answers rightly; default: as measured."""


def print_plan(
    recipe: Recipe,
    results: Path,
    console: Console,
    *,
    rerun: bool = False,
    only_pretraining: bool = False,
    shard: Shard | None = None,
    target: Target | None = None,
) -> bool:
    """Print cells, sizes and steps, which cells would run, and what the design can show.

    The cells are those of ``shard``, if one is given; the design is that of all of them.

    Returns:
        Whether every model can run.

    Raises:
        UserError: as the comparison would, before anything runs.
    """
    say = partial(console.print, highlight=False, markup=False)
    if recipe.tune and not only_pretraining:
        look = look_at_tuning(recipe, results)
        recipe = look.chosen or recipe
        for line in _tuning(look):
            say(line)
    cells = cells_to_look_at(recipe, only_pretraining=only_pretraining)
    survey = SurveyOfParts(load_inputs(recipe, cells), results)
    planned = survey.statuses(rerun=rerun, only_pretraining=only_pretraining)
    statuses = survey.statuses(rerun=rerun, shard=shard) if shard else planned
    to_run = [status.cell for status in statuses if status.reasons and not status.refused]
    for parts in survey.by_task:
        mine = [s for s in statuses if survey.of(s.cell) in parts]
        _print_cells(survey, parts[0].inputs, mine, console, with_data=not only_pretraining)
    part = f"shard {shard.number}/{shard.count}: " if shard else ""
    folder = survey.folder.path
    say(f"{part}{len(to_run)} of {len(statuses)} cells to run; results would go to {folder}")
    finished = [s for s in planned if s.record and not s.reasons]
    jobs = choose_jobs(None, to_run, survey.inputs) if to_run else 1
    expected = expect(to_run, survey.inputs, runs_before(planned))
    say(_time(to_run, expected, jobs))
    tell(_values(statuses, expected, folder, jobs))
    for parts in survey.by_task if len(recipe.models) > 1 and not only_pretraining else []:
        records = [s.record for s in finished if s.record and survey.of(s.cell) in parts]
        one = parts[0]
        if one.inputs.recipe.task:
            for line in _small_classes(one.inputs) + _design(one, records, target or Target()):
                say(line)
    return not any(status.refused for status in statuses)


def _tuning(look: Look) -> list[str]:
    """What tuning runs before the comparison, and how long that takes."""
    trials = dict.fromkeys((cell.task, cell.model.name) for cell in look.runs)
    models = {(task, (parse_trial(name) or (name, 0))[0]) for task, name in trials}
    names = enumerate_names(sorted({name for _, name in models}))
    open_runs = (look.planned or len(look.runs)) - len(look.finished)
    planned = "until the budget is spent" if look.planned is None else f"{look.planned:,} runs"
    lines = [f"Tuning of {names}: {planned}, of which {len(look.finished):,} have run"]
    if look.chosen:
        return [f"{lines[0]}; the settings below are chosen"]
    seconds: dict[str, list[float]] = {}
    for record in look.finished:
        name = (parse_trial(record.model) or (record.model, 0))[0]
        seconds.setdefault(name, []).append(record.cell_seconds)
    means = [sum(times) / len(times) for times in seconds.values()]
    if means:
        left = open_runs * sum(means) / len(means)
        lines.append(f"Time of these {open_runs:,} more: about {in_words(left)}, by finished runs")
    lines.append(
        "Settings are not chosen yet: the cells below are shown with those of the recipe, and each "
        "trial takes about as long as one of them"
    )
    return lines


def _print_cells(
    survey: SurveyOfParts,
    inputs: Inputs,
    statuses: list[Status],
    console: Console,
    *,
    with_data: bool,
) -> None:
    """Of one task: its data, its cells, and why they would run; ``inputs``: of its first fold."""
    say = partial(console.print, highlight=False, markup=False)
    if name := inputs.recipe.task_name:
        say(f"\nTask {name}")
    if inputs.recipe.task and with_data:
        facts = inputs.task.facts
        say(f"Data: {facts.source}: {sizes(facts)} examples; {what_is_asked(facts)}")
    console.print(_cells_table(statuses, survey))
    warnings = doubtful_settings([status.cell for status in statuses], inputs)
    lines = [*_answers(statuses, inputs), *_truncation(statuses, inputs), *warnings]
    for line in [*lines, *_reasons(statuses)]:
        say(line)


def _reasons(statuses: list[Status]) -> list[str]:
    """Why cells cannot run, or run that had run before; reasons of several cells are said once."""
    cells: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
    for status in statuses:
        if status.reasons and status.reasons != [NEW]:
            key = (status.refused is not None, tuple(status.reasons))
            cells.setdefault(key, []).append(status.cell.stem)
    lines = []
    for (cannot_run, reasons), stems in cells.items():
        others = f" and {len(stems) - 1} more" if len(stems) > 1 else ""
        verdict = "cannot run" if cannot_run else "to run again"
        lines.append(f"{stems[0]}{others} {verdict}:")
        lines += [f"  {reason}" for reason in reasons]
    return lines


def _answers(statuses: list[Status], inputs: Inputs) -> list[str]:
    """What was found in files of answers, and by what their rows are known."""
    models = {
        s.cell.model.name: s.cell.model for s in statuses if s.cell.model.predictions
        and not s.refused
    }  # fmt: skip
    lines = []
    for name, model in models.items():
        file = inputs.answers(model).file
        answered = enumerate_names([f"{n:,} {split}" for split, n in file.answered.items()])
        told = [f"rows known by {file.matched_by}", *file.inferred]
        told += [f"{count:,} rows {what} left out" for what, count in file.ignored.items()]
        lines.append(
            f"Predictions of {name}: {file.form} of {answered} examples from {file.name} "
            f"({'; '.join(told)})"
        )
    return lines


def _truncation(statuses: list[Status], inputs: Inputs) -> list[str]:
    """How many texts each model cuts, of all train examples."""
    cells = {
        s.cell.model.name: s.cell
        for s in statuses
        if s.cell.kind in ("classification", "probe") and not s.refused
    }
    rows: dict[str, list[str]] = {}
    for name, cell in cells.items():
        sizes = {split: len(data) for split, data in inputs.task.splits.items()}
        tokens = inputs.tokenized_whole(cell.model).tokens
        cut = describe_cut(tokens, sizes, inputs.max_length(cell.model))
        rows.setdefault(cut or "no text cut", []).append(name)
    return [f"Truncation: {cut} ({enumerate_names(names)})" for cut, names in rows.items()]


def _cells_table(statuses: list[Status], survey: SurveyOfParts) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for name in ("cell", "parameters", "batch", "steps", "max\nlength", "state"):
        is_text = name in ("cell", "state")
        table.add_column(name, justify="left" if is_text else "right", overflow="fold")
    for status in statuses:
        cell = status.cell
        numbers = [""] * 4 if status.refused else _sizes(cell, survey.of(cell).inputs)
        table.add_row(cell.stem, *numbers, _state(status))
    return table


def _state(status: Status) -> str:
    if status.elsewhere:
        return f"finished as {status.elsewhere}"
    if status.refused:
        return "cannot run"
    return "to run" if status.reasons else "finished"


def _sizes(cell: Cell, inputs: Inputs) -> list[str]:
    if not cell.has_network:
        return ["", "", "", ""]
    if cell.head is None:
        return [f"{parameters(cell, inputs):,}", "", "", _length(inputs.max_length(cell.model))]
    if cell.head == "language model":
        examples = len(inputs.tokenized_corpus(cell.model).splits["train"])
        max_length = inputs.prepared[cell.model.name].max_length
    else:
        examples = cell.train_size or inputs.task.facts.splits["train"].examples
        max_length = inputs.max_length(cell.model)
    batch, steps = optimizer_steps(arguments(cell, inputs), examples)
    sizes = [f"{size:,}" for size in (parameters(cell, inputs), batch, steps)]
    return [*sizes, _length(max_length)]


def _length(tokens: int) -> str:
    return "none" if tokens == NO_LIMIT else f"{tokens:,}"


def _time(to_run: list[Cell], expected: Mapping[str, Expected], jobs: int) -> str:
    """How long the open cells would take."""
    if not to_run:
        return "Time: nothing is left to run"
    many = f", {jobs} cells side by side" if jobs > 1 else ""
    return f"Time: {forecast(list(expected.values()), jobs)}{many}"


def _values(
    statuses: list[Status], expected: Mapping[str, Expected], folder: Path, jobs: int
) -> dict[str, Any]:
    """The plan for JSON."""
    seconds = {name: one.seconds for name, one in expected.items()}
    return {
        "results": folder,
        "cells": [
            {
                "cell": status.cell.name,
                "state": _state(status),
                "reasons": status.reasons,
                "expected_seconds": seconds.get(status.cell.name),
            }
            for status in statuses
        ],
        "side_by_side": jobs,
        "expected_seconds": side_by_side([*seconds.values()], jobs),
    }


def _small_classes(inputs: Inputs) -> list[str]:
    """Which classes have too few evaluation examples for an interval of their own."""
    facts = inputs.task.facts
    counts = facts.splits[facts.evaluation_split].label_counts
    small = [f"{name} ({count})" for name, count in counts.items() if count < ENOUGH]
    if not small:
        return []
    return [
        f"Classes with fewer than {ENOUGH} evaluation examples, too few for an interval of their "
        f"own: {list_labels(small)}"
    ]


def _design(survey: Survey, records: list[Record], target: Target) -> list[str]:
    """What differences of two trained models the comparison can show, with 80 % power."""
    recipe, facts = survey.inputs.recipe, survey.inputs.task.facts
    examples, of_task = facts.splits[facts.evaluation_split].examples, recipe.task_name
    wider, in_folds = 1.0, ""
    if fold := facts.fold:
        examples, wider = fold.whole.examples, inflation(fold.folds)
        in_folds = f" in {fold.folds} folds"
    begins, metric = f"{of_task}: what" if of_task else "What", survey.inputs.metric
    repeats = facts.fold.repeats if facts.fold else 1
    runs, models = len(recipe.seeds) * repeats, len(recipe.models)
    pairs = models * (models - 1) // 2
    rows = max(sum(model.is_random for model in recipe.models), 2)
    discordance, source = _discordance(recipe, records, survey.folder.path, target)
    is_share = metric.bounds == (0.0, 1.0)
    # nobody can say what is much of another measure
    difference = target.difference or recipe.margin or (0.05 if is_share else None)
    if source == "assumed" and not is_share:
        return [
            "",
            f"{begins} can be shown of the {metric.label} is known once two models have run, each "
            "with two seeds.",
        ]
    if runs == 1 and metric.name not in _OF_SHARES:
        return [
            "",
            f"{begins} can be shown of the {metric.label}: nothing with one seed, of which nobody "
            "knows how much it matters. Run two or more of each model.",
        ]
    if runs == 1:
        source += "; with one seed, how much seeds matter is only known from elsewhere"
    shown = {
        f"{count} pair{'s' if count > 1 else ''}": detectable_difference(
            runs, round(examples / wider), discordance, ALPHA / count, rows
        )
        for count in sorted({1, pairs})
    }
    smallest = ", ".join(
        f"{gap_text(metric, value)} ({name})" if value else f"none at all ({name})"
        for name, value in shown.items()
    )
    lines = [
        "",
        f"{begins} {examples:,} examples{in_folds} and {_of_runs(runs, repeats)} "
        "can show, with 80 % power and 5 % error for all pairs together:",
        f"  {source}: {_discordant(metric, discordance)}, "
        f"{100 * discordance.of_examples:.0f} % of that whatever the seed; the difference varies "
        f"by {gap_text(metric, discordance.seed_sd)} from seed to seed",
        f"  smallest difference of two trained models: {smallest}",
    ]
    if difference:
        needed = _needed(difference, runs, examples, discordance, rows, wider)
        lines.append(f"  to show {gap_text(metric, difference)} (1 pair): {needed}")
    return lines


def _of_runs(runs: int, repeats: int) -> str:
    name = "seed" if repeats == 1 else "run"
    return f"{runs} {name}{'s' if runs > 1 else ''}"


def _discordant(metric: Metric, discordance: Discordance) -> str:
    if discordance.of_shares:
        return f"{100 * discordance.share:.0f} % of the examples discordant"
    varies = gap_text(metric, math.sqrt(discordance.share))
    return f"the {metric.label} of two models differs by {varies} on one example"


def _discordance(
    recipe: Recipe, records: list[Record], folder: Path, target: Target
) -> tuple[Discordance, str]:
    """Measured on what is finished, else assumed; and which of the two."""
    measured = None
    compared: list[Record] = [record for record in records if record.kind != "pretraining"]
    if whole_runs([record for record in records if record.kind != "pretraining"])[0]:
        asked = [Asked.by(recipe)] if recipe.task else []
        models = compare_records(compared, folder, asked).finished
        pairs = itertools.combinations([model.counted for model in models], 2)
        measured = measure_discordance(list(pairs))
    found, source = Discordance(), "assumed"
    if measured:
        found, source = measured, "measured on the finished runs"
    if target.discordance is not None:
        found, source = replace(found, share=target.discordance), "given and assumed"
    return found, source


def _needed(
    difference: float,
    runs: int,
    examples: int,
    discordance: Discordance,
    rows: int,
    wider: float,
) -> str:
    if difference >= discordance.largest:
        if discordance.of_shares:
            return "impossible, where fewer examples than that are discordant"
        return "not known: single answers of the finished models differ by less"
    number = needed_examples(difference, max(runs, 2), discordance, rows=rows)
    by_examples = (
        f"{math.ceil(wider * number):,} examples with {max(runs, 2)} seeds"
        if number
        else f"no number of examples suffices with {max(runs, 2)} seeds"
    )
    seeds = needed_seeds(difference, round(examples / wider), discordance, rows=rows)
    by_seeds = f"{seeds} seeds" if seeds else "no number of seeds suffices"
    return f"{by_examples}; {by_seeds} with {examples:,} examples"
