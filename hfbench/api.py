"""What hfbench does, for programs: here its two halves, training and evidence, are put together.

Each function imports what it needs when it is called: who reads results waits for no torch.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hfbench.errors import UserError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hfbench.checks import Verdict
    from hfbench.evidence.comparison import Comparison
    from hfbench.evidence.decision import Decision, Prefer
    from hfbench.evidence.gate import Gate, Side
    from hfbench.execution.compare import Outcome
    from hfbench.execution.engines import Engine, EngineName
    from hfbench.execution.progress import Header, View
    from hfbench.execution.survey import Status
    from hfbench.execution.verify import Repetition
    from hfbench.recipe.schema import Recipe
    from hfbench.records.schema import Record
    from hfbench.system.terminal import Console


def plan(
    recipe: "Recipe",
    results: str | Path = "results",
    *,
    rerun: bool = False,
    only_pretraining: bool = False,
    shard: str | None = None,
) -> "list[Status]":
    """What there is of each cell of ``recipe``, and why it would run; nothing runs.

    Of a recipe with ``tune`` the cells have the chosen settings, or those of the recipe until all
    trials have run.

    The arguments are those of `compare`; ``only_pretraining`` plans what `pretrain` would do.

    Raises:
        UserError: as `compare`, before anything runs.
    """
    from hfbench.execution.survey import SurveyOfParts, cells_to_look_at
    from hfbench.execution.tasks import load_inputs
    from hfbench.execution.tuning import look_at_tuning
    from hfbench.recipe.cells import Shard
    from hfbench.system.quiet import quietly

    part = Shard.parse(shard) if shard else None
    with quietly():
        if recipe.tune and not only_pretraining:
            recipe = look_at_tuning(recipe, Path(results)).chosen or recipe
        inputs = load_inputs(recipe, cells_to_look_at(recipe, only_pretraining=only_pretraining))
        survey = SurveyOfParts(inputs, Path(results))
        return survey.statuses(rerun=rerun, only_pretraining=only_pretraining, shard=part)


def compare(
    recipe: "Recipe",
    results: str | Path = "results",
    *,
    rerun: bool = False,
    fail_fast: bool = False,
    jobs: int | None = 1,
    shard: str | None = None,
    engine: "EngineName | Engine" = "local",
    console: "Console | None" = None,
    view: "View | None" = None,
) -> "Outcome":
    """Run the cells of ``recipe`` that have no result yet; pretraining comes first.

    Where the recipe has ``tune``, settings are chosen before; see docs/tuning.md.

    Args:
        recipe: the comparison.
        results: the folder that holds a folder for each recipe.
        rerun: run what is finished, too.
        fail_fast: start no cell after one has failed, and end those under way.
        jobs: cells side by side, each in a process of its own; 1: one after another in this one;
            None: as many as pay.
        shard: ``"2/4"`` runs the second of four parts.
        engine: "ray" spreads the cells over a Ray cluster, whatever ``jobs`` is; or an engine of
            one's own, see docs/extending.md.
        console: where progress goes; default: standard output.
        view: what shows it; default: bars and the table so far on a terminal or in a notebook,
            else a line a cell.

    Raises:
        UserError: before anything runs, if data cannot be had, do not fit, or no model can run.
        StorageError: if a result cannot be written; what was written before is whole.
        WorkerError: if a process that ran a cell died.
    """
    from hfbench.execution.compare import compare
    from hfbench.publish.checkpoint_push import open_publishers
    from hfbench.recipe.cells import Shard
    from hfbench.system.quiet import quietly

    if recipe.bound_to_process and (engine != "local" or jobs not in (1, None)):
        raise UserError(
            f"{recipe.bound_to_process[0]}, which no worker has: leave jobs and engine as they are"
        )
    jobs = 1 if recipe.bound_to_process else jobs
    if shard and (recipe.looks or recipe.tune):
        what = "seeds run depends on results (looks)"
        if recipe.tune:
            what = "settings run depends on results (tune)"
        raise UserError(f"--shard: which {what}, which no part has")
    run = partial(
        compare,
        results=Path(results),
        rerun=rerun,
        fail_fast=fail_fast,
        jobs=jobs,
        shard=Shard.parse(shard) if shard else None,
        engine=engine,
        open_publishers=open_publishers,
        begin=partial(_keep_asked, Path(results), recipe),
        console=console,
        view=view,
        so_far=partial(_so_far, Path(results)),
    )
    with quietly():
        if recipe.tune:
            from hfbench.execution.tuning import tune
            from hfbench.system.terminal import SPEECH, Console

            # a rate with which a training diverges is a result of the tuning, no fault
            run_trials = partial(run, fail_fast=False)
            speaks = console or Console(quiet=SPEECH.quiet or SPEECH.json)
            recipe = tune(recipe, Path(results), run_trials, speaks)
        return _look_by_look(recipe, run) if recipe.looks else run(recipe)


def _so_far(
    results: Path, header: "Header", records: "Sequence[Record]", rows: int
) -> "RenderableType | None":
    """The table of a comparison that runs."""
    from hfbench.evidence.so_far import table_so_far

    return table_so_far(records, results, header.runs, rows)


def _keep_asked(results: Path, recipe: "Recipe") -> None:
    """Of each task what the recipe asks."""
    from hfbench.records.asked import keep_asked

    for one in recipe.by_task:
        keep_asked(results / one.name, one)


def _look_by_look(recipe: "Recipe", run: "Callable[[Recipe], Outcome]") -> "Outcome":
    """Run as many seeds as the next look needs, of the models that are still in question.

    Of several tasks, in any of them: a model has as many runs of each.
    """
    from hfbench.evidence.comparison import load_comparison
    from hfbench.evidence.looks import still_open
    from hfbench.execution.compare import Outcome

    names = {model.name for model in recipe.models}
    outcomes: list[Outcome] = []
    for before, look in itertools.pairwise([0, *recipe.looks]):
        models = [model for model in recipe.models if model.name in names]
        if before:  # of others there are no further runs
            own = {model.name for model in models if model.predictions and model.predictions.seeds}
            models = [model for model in models if model.is_random and model.name not in own]
        if not models:
            break
        seeds = recipe.seeds[before:look]
        outcomes.append(run(recipe.only({model.name for model in models}, seeds)))
        if outcomes[-1].not_run:
            break
        folder = outcomes[-1].results_folder
        of_tasks = [load_comparison(one.path) for one in folder.tasks or [folder]]
        names &= {name for comparison in of_tasks for name in still_open(comparison)}
    return Outcome(
        outcomes[-1].results_folder,
        [result for outcome in outcomes for result in outcome.results],
        sum(outcome.kept for outcome in outcomes),
        sum(outcome.not_run for outcome in outcomes),
    )


def pretrain(
    recipe: "Recipe",
    results: str | Path = "results",
    *,
    rerun: bool = False,
    fail_fast: bool = False,
    jobs: int | None = 1,
    console: "Console | None" = None,
    view: "View | None" = None,
) -> "Outcome":
    """Only pretrain the models of ``recipe`` that have a pretrain block; see `compare`."""
    from hfbench.execution.compare import compare
    from hfbench.publish.checkpoint_push import open_publishers
    from hfbench.system.quiet import quietly

    with quietly():
        return compare(
            recipe,
            Path(results),
            only_pretraining=True,
            rerun=rerun,
            fail_fast=fail_fast,
            jobs=jobs,
            open_publishers=open_publishers,
            console=console,
            view=view,
        )


def verify(
    results: str | Path,
    cells: Sequence[str] = (),
    *,
    relative_to: str | Path = ".",
    trust_remote_code: bool = False,
    console: "Console | None" = None,
) -> "Iterator[Repetition]":
    """Run cells again from their records alone, one as each item is asked for.

    Args:
        results: a recipe's results folder; nothing in it changes.
        cells: names of records, also with ``*`` and ``?``; empty: all.
        relative_to: where relative paths of the recipe start.
        trust_remote_code: run the code of models whose records say that it was run.
        console: where progress goes; default: standard output.

    Raises:
        UserError: if no finished record has such a name, or what a record needs cannot be had.
    """
    from hfbench.execution.verify import verify
    from hfbench.system.terminal import Console

    return verify(
        Path(results),
        list(cells),
        Path(relative_to),
        console or Console(),
        trust_remote_code=trust_remote_code,
    )


def check(model: str | Path, *, trust_remote_code: bool = False) -> "dict[str, list[Verdict]]":
    """Check -> what it says of each head of a model: whether it can be compared fairly.

    A verdict has a level, and names the check that it follows from; see docs/checks.md.

    Args:
        model: a Hub id, a local folder, or ``package.module:ConfigClass`` of your own.
        trust_remote_code: run the code that comes with it.

    Raises:
        UserError: if there is no such model.
    """
    from hfbench.checks import find_checked_model, run_checks

    return run_checks(find_checked_model(str(model), trust_remote_code=trust_remote_code))


def decide(results: str | Path, margin: float, prefer: "Prefer" = "parameters") -> "Decision":
    """Choose the cheapest row of ``results`` that is worse than the best by less than ``margin``.

    Args:
        results: a results folder, of one task or of several, or ``hf://datasets/user/name``.
        margin: the loss that does not matter, above 0, in units of the measure: ``0.01`` is a point
            of accuracy.
        prefer: what is to be small, see `hfbench.evidence.decision.decide`, which says how sure it
            is.

    Raises:
        UserError: as there, or if there are no results.
    """
    from hfbench.evidence.decision import decide

    return decide(load_tasks(results), margin, prefer)


def gate(base: str | Path, candidate: str | Path, margin: float) -> "Gate":
    """Whether ``candidate`` may take the place of ``base``.

    Args:
        base: a results folder or ``hf://datasets/user/name``; with ``:model`` behind it that row
            alone, e.g. ``results/mine:gpt-nano``.
        candidate: likewise, of the same evaluation examples. Without a model on either side all
            rows that both have are compared.
        margin: the loss that does not matter, above 0, in units of the measure.

    Raises:
        UserError: if a row is not there, or the two have other examples or another measure.
    """
    from hfbench.evidence.gate import gate

    return gate(load_side(base), load_side(candidate), margin)


def load_side(place: str | Path) -> "Side":
    """What `gate` compares, from a folder or an address, with or without a model."""
    from hfbench.evidence.gate import Side

    text, model = str(place), None
    if not Path(text).exists() and (found := re.fullmatch(r"(.+):([\w.-]+)", text)):
        text, model = found.groups()
    return Side(text, model, load_tasks(text))


def load_tasks(place: str | Path) -> "dict[str, Comparison]":
    """Task -> its comparison, of a results folder or an address; of one task under ``""``.

    Raises:
        UserError: if there are no results.
        HubError: if the Hub cannot be asked.
    """
    from hfbench.evidence.comparison import load_comparison
    from hfbench.publish.results import fetched_results
    from hfbench.records.store import ResultsFolder

    if str(place).startswith("hf:"):
        with fetched_results(str(place)) as (folder, _):
            return {"": load_comparison(folder)}
    tasks = ResultsFolder(Path(place)).tasks
    return {task.path.name: load_comparison(task.path) for task in tasks} or {
        "": load_comparison(place)
    }
