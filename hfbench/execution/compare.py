"""A comparison from its recipe to its records: the page that holds the whole flow."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hfbench.checks import quick_check
from hfbench.data.doctor import alarms
from hfbench.data.doctor.report import format_finding
from hfbench.errors import UserError
from hfbench.execution.cell import CellResult, Session, refused_record
from hfbench.execution.engines import Engine, EngineName, choose_engine, places_of
from hfbench.execution.inputs import Inputs, refusal
from hfbench.execution.kinds import KINDS
from hfbench.execution.live import SoFar, view_on
from hfbench.execution.progress import Header, Reporter, View
from hfbench.execution.publisher import OpenPublishers
from hfbench.execution.sanity import doubtful_settings
from hfbench.execution.survey import (
    Status,
    Survey,
    SurveyOfParts,
    cells_to_look_at,
    runs_before,
)
from hfbench.execution.tasks import each_part, load_inputs
from hfbench.execution.timing import Clock, Expected, expect, forecast, side_by_side
from hfbench.models.questions import refuse_unfit
from hfbench.recipe.cells import Cell, Shard
from hfbench.recipe.schema import Recipe
from hfbench.records.schema import FailedRecord, FinishedRecord, Record
from hfbench.records.store import ResultsFolder
from hfbench.system.launch import is_main_process, shards_models
from hfbench.system.log import log_to_file
from hfbench.system.terminal import SPEECH, Console

_ASKED_OF_PROMPTED = 128  # tokens about which a language model is asked before it is prompted


@dataclass(frozen=True)
class Outcome:
    """How a comparison went."""

    results_folder: ResultsFolder
    results: list[CellResult]
    """Of the cells that were open, as far as they ended."""
    kept: int
    """Cells that were finished before, under whatever name."""
    not_run: int
    """Cells that were left because one failed."""

    def __repr__(self) -> str:
        """In a line, without the records."""
        counts = f"{len(self.ran)} ran, {self.kept} kept, {len(self.failed)} failed"
        return f"<Outcome of cells: {counts}; {self.folder}>"

    @property
    def folder(self) -> Path:
        """``<results>/<recipe>``: its records and models."""
        return self.results_folder.path

    @property
    def ran(self) -> list[Record]:
        """The records written now."""
        return [result.record for result in self.results if result.is_ours]

    @property
    def by_others(self) -> int:
        """Cells that other processes ran meanwhile."""
        return len(self.results) - len(self.ran)

    @property
    def failed(self) -> list[FailedRecord]:
        """The cells that failed now, whoever ran them."""
        records = [result.record for result in self.results]
        return [record for record in records if isinstance(record, FailedRecord)]

    @property
    def unpublished(self) -> list[str]:
        """Why a pretrained model that was to be published now was not."""
        return [result.unpublished for result in self.results if result.unpublished]


def compare(
    recipe: Recipe,
    results: Path,
    *,
    rerun: bool = False,
    only_pretraining: bool = False,
    fail_fast: bool = False,
    jobs: int | None = 1,
    shard: Shard | None = None,
    engine: EngineName | Engine = "local",
    open_publishers: OpenPublishers | None = None,
    begin: Callable[[], None] | None = None,
    console: Console | None = None,
    view: View | None = None,
    so_far: SoFar | None = None,
) -> Outcome:
    """Run the cells of ``recipe`` that have no result yet; pretraining comes first.

    Several of these on the same recipe, on machines that share ``results``, share the cells.

    In several processes (``torchrun``, ``accelerate launch``) each calls this; they train every
    cell together, and the first one writes.

    Args:
        recipe: the comparison.
        results: the folder that holds a folder for each recipe.
        rerun: run what is finished, too.
        only_pretraining: leave the comparison itself for later.
        fail_fast: start no cell after one has failed, and end those under way.
        jobs: cells side by side in processes of their own; 1: one after another in this one; None:
            as many as pay.
        shard: run this part only.
        engine: "ray" spreads the cells over a Ray cluster, see `engines.ray`, whatever ``jobs`` is;
            or an engine of one's own.
        open_publishers: makes what publishes the checkpoints of a pretraining that asks for it.
        begin: is called by the first process before the first cell runs, when nothing is refused
            any more.
        console: where progress goes; default: standard output.
        view: what shows it; default: bars on a terminal or in a notebook, else a line a cell.
        so_far: makes the table that stands with the bars.

    Raises:
        UserError: before anything runs, if data cannot be had, do not fit, or no model can run.
        StorageError: if a result cannot be written; what was written before is whole.
        WorkerError: if a process that ran a cell died.
    """
    _refuse(recipe, only_pretraining=only_pretraining, publishes=open_publishers is not None)
    console = console or Console(quiet=SPEECH.json or SPEECH.quiet)
    inputs = load_inputs(recipe, cells_to_look_at(recipe, only_pretraining=only_pretraining))
    survey = SurveyOfParts(inputs, results)
    for folder in survey.folders:
        folder.refuse_links()
    statuses = survey.statuses(rerun=rerun, only_pretraining=only_pretraining, shard=shard)
    open_cells = [status.cell for status in statuses if status.reasons]
    for own, of_part in each_part(inputs, open_cells):
        _refuse_unfair_architectures(of_part, own)
    statuses = [_refused_now(status, inputs.of(status.cell)) for status in statuses]
    refused = [status for status in statuses if status.refused]
    cells = [status.cell for status in statuses if status.reasons and not status.refused]
    none_can = all(status.refused for status in statuses if status.cell.can_be_refused)
    if refused and (fail_fast or none_can):
        raise UserError("\n".join(_refusals(refused)))
    seen = {status.cell.name: status.record.started for status in statuses if status.record}
    elsewhere = None if rerun else results
    session = Session(survey.folder, seen, open_publishers, elsewhere)
    chosen = choose_engine(engine, jobs, cells, inputs)
    if is_main_process():
        if begin:
            begin()
        survey.unpack(statuses, console)
        _say_refusals(refused, console)
        survey.adopt_and_set_aside([s for s in statuses if not s.refused], console)
        _say_adopted(statuses, console)
        for own, of_part in each_part(inputs, cells):
            if own.is_first_fold:
                _say_alarms(of_part, own, console)
    ended = {s.cell.name: _keep_refused(s, survey.of(s.cell)) for s in refused}
    names = [cell.name for cell in cells]
    expected = expect(cells, inputs, runs_before(statuses))
    places = places_of(chosen)
    clock = Clock(expected, {cell.name: cell.model.name for cell in cells}, places)
    with ExitStack() as stack:
        if not (is_main_process() and cells):
            view = View()
        else:
            view = view or view_on(console, so_far)
            stack.enter_context(log_to_file(survey.folder.log))
        reporter = stack.enter_context(Reporter(view, names, clock))
        coming = stack.enter_context(closing(chosen.run(cells, inputs, session, reporter)))
        if cells:
            reporter.begin(_header(recipe, survey, statuses, cells, expected, places))
        for result in coming:
            name = result.record.cell_name
            ended[name] = result
            reporter.finish(name, result.record, _in_words(result), is_ours=result.is_ours)
            if is_main_process():
                survey.share(name, statuses)
            if fail_fast and isinstance(result.record, FailedRecord):
                break
    if is_main_process():
        for folder in survey.folders:
            folder.tidy()
    in_order = [ended[s.cell.name] for s in statuses if s.cell.name in ended]
    kept = _count_kept(statuses, only_pretraining)
    not_run = len(cells) + len(refused) - len(in_order)
    return Outcome(survey.folder, in_order, kept, not_run)


def _refuse(recipe: Recipe, *, only_pretraining: bool, publishes: bool) -> None:
    """What can be known to be wrong before anything is loaded."""
    if not only_pretraining and shards_models():
        raise UserError(
            "the launcher shards models over its processes (FSDP), which is for pretraining alone: "
            "use recipes/pretrain.py with it, and compare with one process a GPU (DDP) or without "
            "a launcher"
        )
    cells = cells_to_look_at(recipe, only_pretraining=only_pretraining)
    if not any(cell.is_compared is not only_pretraining for cell in cells):
        what = "is to be pretrained" if only_pretraining else "is compared: the task is missing"
        raise UserError(f"recipe {recipe.name!r}: no model {what}")
    published = [cell.model.name for cell in cells if cell.publishing]
    if published and not publishes:
        raise UserError(
            f"recipe {recipe.name!r}: models.{published[0]}.pretrain publishes its checkpoints "
            "(push_to_hub), for which this call was given no open_publishers"
        )


def _refuse_unfair_architectures(cells: list[Cell], inputs: Inputs) -> None:
    """Ask architectures of one's own and language models, once each for all seeds.

    Unless the recipe knows what they would say.
    """
    networks = {(cell.model.name, cell.head): cell.model for cell in cells if cell.head}
    for (name, head), model in sorted(networks.items(), key=lambda item: item[0]):
        if name in inputs.refused or model.unfair:
            continue
        prepared = inputs.prepared[name]
        if prepared.is_own_architecture:
            inputs.refuse_where(model, partial(quick_check, prepared, head))
        if head == "language model":
            length = inputs.example_length(model)
            inputs.refuse_where(model, partial(refuse_unfit, prepared, length))
    prompted = {cell.model.name: cell.model for cell in cells if cell.kind == "prompt"}
    for name, model in prompted.items():
        if name not in inputs.refused:
            length = min(inputs.prepared[name].max_length, _ASKED_OF_PROMPTED)
            ask = partial(refuse_unfit, inputs.prepared[name], length, "prompt")
            inputs.refuse_where(model, ask)


def _refused_now(status: Status, inputs: Inputs) -> Status:
    """The status of a cell that must run, after its model was asked."""
    error = inputs.refused.get(status.cell.model.name)
    return replace(status, refused=error) if status.reasons and error else status


def _refusals(refused: list[Status]) -> list[str]:
    """Why each model cannot run, once for all its cells."""
    return [*dict.fromkeys(refusal(status.refused) for status in refused if status.refused)]


def _say_refusals(refused: list[Status], console: Console) -> None:
    """Name all the rows that cannot run before time is spent on the others."""
    lines = _refusals(refused)
    if lines:
        title = "1 model cannot run" if len(lines) == 1 else f"{len(lines)} models cannot run"
        for line in (f"{title}, the others do:", *(f"  {line}" for line in lines)):
            console.print(line, highlight=False, markup=False, soft_wrap=True)


def _keep_refused(status: Status, survey: Survey) -> CellResult:
    """Record the failure, unless a result stands there: what fails now did not when it ran."""
    assert status.refused is not None
    record = refused_record(status.cell, survey.inputs.recipe.name, status.refused)
    if is_main_process() and not isinstance(status.record, FinishedRecord):
        survey.folder.keep(record)
    return CellResult(record)


def _say_alarms(cells: list[Cell], inputs: Inputs, console: Console) -> None:
    """Say what makes the numbers of a comparison worthless before time is spent on them."""
    task = inputs.recipe.task
    if task is None or task.trial or not any(cell.is_compared for cell in cells):
        return
    name = inputs.recipe.task_name
    for finding in alarms(task, inputs.task, inputs.recipe.folder):
        said = "\n".join([*([f"task {name}:"] if name else []), *format_finding(finding)])
        console.print(said, highlight=False, markup=False, soft_wrap=True)
    for line in doubtful_settings(cells, inputs):
        console.print(f"warning: {line}", highlight=False, markup=False, soft_wrap=True)


def _header(
    recipe: Recipe,
    survey: SurveyOfParts,
    statuses: list[Status],
    cells: list[Cell],
    expected: dict[str, Expected],
    jobs: int,
) -> Header:
    kept = [s for s in statuses if not (s.reasons or s.awaits or s.refused)]
    runs: dict[tuple[str, str], int] = {}
    for status in statuses:
        if status.cell.is_compared:
            key = (survey.of(status.cell).inputs.recipe.name, status.cell.model.name)
            runs[key] = runs.get(key, 0) + 1
    jobs = min(jobs, len(cells))
    return Header(
        recipe=recipe.name,
        cells=len(cells),
        kept=len(kept),
        jobs=jobs,
        time=forecast(list(expected.values()), jobs),
        seconds=side_by_side([one.seconds for one in expected.values()], jobs),
        folder=survey.folder.path,
        finished=[record for s in kept if (record := _record_of(s, survey))],
        runs=runs,
    )


def _record_of(status: Status, survey: SurveyOfParts) -> Record | None:
    """As it stands now: what was elsewhere has been adopted."""
    if status.elsewhere:
        return survey.of(status.cell).folder.record(status.cell.stem)
    return status.record


def _say_adopted(statuses: list[Status], console: Console) -> None:
    """Which results were found under another name, and are this recipe's now."""
    adopted = [s for s in statuses if s.elsewhere and not (s.awaits or s.reasons or s.refused)]
    if not adopted:
        return
    first = adopted[0]
    others = f" and {len(adopted) - 1:,} more" if len(adopted) > 1 else ""
    results = "1 result" if len(adopted) == 1 else f"{len(adopted):,} results"
    said = f"{results} taken over: {first.cell.name} from {first.elsewhere}{others}"
    console.print(said, highlight=False, markup=False, soft_wrap=True)


def _count_kept(statuses: list[Status], only_pretraining: bool) -> int:
    """Of the cells that were asked for: what others start from is not counted with them."""
    asked = [status for status in statuses if status.cell.is_compared is not only_pretraining]
    return sum(not (status.reasons or status.awaits) for status in asked)


def _in_words(result: CellResult) -> str:
    record = result.record
    if not result.is_ours:
        return "another process ran it"
    if isinstance(record, FailedRecord):
        return f"FAILED: {record.failure.text}"
    return KINDS[record.kind].outcome(record)
