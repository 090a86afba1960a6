"""The plan of a comparison, printed before anything runs: its cells, its power, its time."""

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from hfbench.cli.design import Target, design, small_classes
from hfbench.evidence.data_notes import describe_cut, sizes, what_is_asked
from hfbench.evidence.words import enumerate_names, few_names
from hfbench.execution.estimates import optimizer_steps, parameters
from hfbench.execution.inputs import Inputs, arguments
from hfbench.execution.jobs import choose_jobs
from hfbench.execution.sanity import doubtful_settings
from hfbench.execution.survey import (
    NEW,
    Status,
    SurveyOfParts,
    cells_to_look_at,
    runs_before,
)
from hfbench.execution.tasks import load_inputs
from hfbench.execution.timing import Expected, expect, forecast, in_words, side_by_side
from hfbench.execution.tuning import Look, look_at_tuning
from hfbench.models.lengths import NO_LIMIT
from hfbench.recipe.cells import Cell, Shard
from hfbench.recipe.schema import Recipe
from hfbench.recipe.trials import parse_trial
from hfbench.system.terminal import tell


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
        for line in _tuning(look) if look.runs else []:
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
    for line in _pretrainings(statuses, expected, jobs):
        say(line)
    tell(_values(statuses, expected, folder, jobs))
    for parts in survey.by_task if len(recipe.models) > 1 and not only_pretraining else []:
        records = [s.record for s in finished if s.record and survey.of(s.cell) in parts]
        one = parts[0]
        if one.inputs.recipe.task:
            for line in small_classes(one.inputs) + design(one, records, target or Target()):
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
    rows = []
    for status in statuses:
        cell = status.cell
        numbers = [""] * 4 if status.refused else _sizes(cell, survey.of(cell).inputs)
        alike = (*_without_seed(cell), *numbers, _state(status))
        rows.append((alike, cell))
    for alike, group in itertools.groupby(rows, key=lambda row: row[0]):
        table.add_row(_stem_of_all([cell for _, cell in group]), *alike[-5:])
    return table


def _without_seed(cell: Cell) -> tuple[str, ...]:
    return cell.kind, cell.model.name, str(cell.train_size), str(cell.fold)


def _stem_of_all(cells: Sequence[Cell]) -> str:
    """Of cells that differ in their seed alone: ``gpt-nano--seed0-9``, or ``--seed0,3,7``."""
    seeds = [cell.seed for cell in cells if cell.seed is not None]
    if len(seeds) < 2:
        return cells[0].stem
    listed = ",".join(map(str, seeds))
    shown = f"{seeds[0]}-{seeds[-1]}" if seeds == [*range(seeds[0], seeds[-1] + 1)] else listed
    before, _, after = cells[0].stem.rpartition(f"--seed{seeds[0]}")
    return f"{before}--seed{shown}{after}"


def _state(status: Status) -> str:
    if status.awaits:  # of another model or task, and the same to the last setting
        return f"runs once, as {status.awaits.rpartition('--seed')[0] or status.awaits}"
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
    args = arguments(cell, inputs)
    if cell.head == "language model":
        examples = 1  # steps are given; else they follow from a corpus that takes long to tokenize
        if args.max_steps <= 0:
            examples = len(inputs.tokenized_corpus(cell.model).splits["train"])
        max_length = inputs.prepared[cell.model.name].max_length
    else:
        examples = cell.train_size or inputs.task.facts.splits["train"].examples
        max_length = inputs.max_length(cell.model)
    batch, steps = optimizer_steps(args, examples)
    sizes = [f"{size:,}" for size in (parameters(cell, inputs), batch, steps)]
    return [*sizes, _length(max_length)]


def _length(tokens: int) -> str:
    return "none" if tokens == NO_LIMIT else f"{tokens:,}"


def _pretrainings(
    statuses: Sequence[Status], expected: Mapping[str, Expected], jobs: int
) -> list[str]:
    """How many there are, how long they take, and of which models nothing general can be said."""
    pretrained = [status for status in statuses if not status.cell.is_compared]
    if not pretrained:
        return []
    to_run = [s.cell.name for s in pretrained if s.reasons and not s.refused]
    numbers = _pretrainings_of(statuses)
    of_each: dict[int, list[str]] = {}
    for name, number in numbers.items():
        of_each.setdefault(number, []).append(name)
    counts = [
        f"{number}{' each' if len(names) > 1 else ''} of {few_names(names)}"
        for number, names in of_each.items()
    ]
    time = f" ({forecast([expected[name] for name in to_run], jobs)})" if to_run else ""
    lines = [f"Pretrainings: {'; '.join(counts)}; {len(to_run)} to run{time}"]
    if once := of_each.get(1):
        verb = "starts" if len(once) == 1 else "start"
        lines.append(
            f"  {few_names(once)} {verb} from one pretraining: what is found is about these "
            "weights, and no number of seeds shows how another pretraining would do; give "
            "pretrain.seeds, e.g. [0, 1, 2]"
        )
    return lines


def _pretrainings_of(statuses: Sequence[Status]) -> dict[str, int]:
    """Model -> how many pretrainings its runs start from."""
    cells = [status.cell for status in statuses if not status.cell.is_compared]
    seeds: dict[str, set[int]] = {}
    for cell in cells:
        seeds.setdefault(cell.model.name, set()).add(cell.pretraining_seed)
    return {name: len(found) for name, found in seeds.items()}


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
        "pretrainings": _pretrainings_of(statuses),
        "side_by_side": jobs,
        "expected_seconds": side_by_side([*seconds.values()], jobs),
    }
