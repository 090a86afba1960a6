"""Which cells of a comparison have their result already, and why the others must run."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from hfbench.errors import DamagedRecordError, RecordError, UserError
from hfbench.execution.identity import cell_id_of, identify
from hfbench.execution.inputs import Inputs, refusal
from hfbench.execution.kinds import KINDS
from hfbench.execution.tasks import AllInputs, each_part
from hfbench.recipe.cells import Cell, Shard, plan_comparison, plan_pretraining
from hfbench.recipe.schema import Recipe
from hfbench.records.identity import cell_id, differences
from hfbench.records.pack import unpack
from hfbench.records.predictions import read_predictions_table, refuse_other_predictions
from hfbench.records.schema import (
    Compared,
    ComparedRecord,
    FailedRecord,
    FinishedRecord,
    Record,
    TrainedRecord,
)
from hfbench.records.store import Location, ResultsFolder, find_finished
from hfbench.system.files import writing
from hfbench.training.checkpoints import clear
from hfbench.training.losses import NonFiniteLossError

NEW = "has not run yet"


@dataclass(frozen=True)
class Status:
    """What there is of a cell before it runs."""

    cell: Cell
    reasons: list[str] = field(default_factory=list)
    """Why it must run; empty where its result is there or, of a pretraining, is not needed."""
    elsewhere: Location | None = None
    """A finished record under another name that is its result."""
    damaged: Literal["record", "weights"] | None = None
    """What there is that is not what was saved, and is to be set aside."""
    record: Record | None = None
    """What stands under the cell's name."""
    awaits: str | None = None
    """Name of the cell, of another task, whose result it takes over when that has run."""
    refused: Exception | None = None
    """Why it cannot run; it has reasons then, too."""


class Survey:
    """Looks at the results for what a comparison asks for."""

    def __init__(self, inputs: Inputs, results: Path) -> None:
        """Take the inputs of all planned cells and the folder with a folder for each recipe."""
        self.inputs, self.results = inputs, results
        self.folder = ResultsFolder(results / inputs.recipe.name)  # its name may be recipe/task

    def statuses(
        self, *, rerun: bool = False, only_pretraining: bool = False, shard: Shard | None = None
    ) -> list[Status]:
        """The status of each planned cell (of the shard), pretraining first.

        Raises:
            UserError: if a cell of the shard needs a pretraining, which belongs to no shard.
        """
        recipe = self.inputs.recipe
        cells = [] if only_pretraining else plan_comparison(recipe)
        cells = shard.of(cells) if shard else cells
        compared = [self._status(cell, rerun) for cell in cells]
        needed = {_pretraining(status.cell) for status in compared if status.reasons}
        pretrained = [
            self._status(cell, rerun and not shard)
            if only_pretraining or _pretraining(cell) in needed
            else Status(cell)
            for cell in plan_pretraining(recipe)
        ]
        missing = dict.fromkeys(status.cell.model.name for status in pretrained if status.reasons)
        if shard and missing:
            raise UserError(
                f"--shard: {', '.join(missing)} must be pretrained before, once for all parts: "
                "hfbench pretrain"
            )
        return pretrained + compared

    def location(self, cell: Cell) -> Location:
        """Where its result stands, or will."""
        return Location(self.folder, cell.stem, self.inputs.recipe.name)

    def adopt_and_set_aside(self, statuses: list[Status], console: Console) -> None:
        """Before the open cells run: adopt results that are elsewhere, set aside what is damaged.

        And remove the checkpoints of what was finished by a process that was killed before it did.

        Raises:
            StorageError: if that cannot be written.
        """
        for status in statuses:
            stem = status.cell.stem
            leftover = self.folder.run(stem)
            is_left = not status.cell.is_compared and leftover.is_dir() and not status.reasons
            is_there = status.elsewhere and not status.awaits
            if not (is_there or status.damaged or is_left):
                continue
            # another process may be doing the same, or be running the cell
            with self.folder.lock(stem) as is_ours, writing(str(self.folder.path)):
                now = self._status(status.cell, rerun=False) if is_ours else status
                if not is_ours:
                    continue
                if now.elsewhere:
                    self.adopt(now.cell, now.elsewhere)
                elif now.damaged:
                    aside = (
                        self.folder.set_record_aside(stem)
                        if now.damaged == "record"
                        else self.folder.set_weights_aside(stem)
                    )
                    said = f"{stem} {now.reasons[0]}; moved to {aside.name}"
                    console.print(said, highlight=False, markup=False)
                elif not now.reasons:
                    clear(leftover)

    def take_over(self, cell: Cell) -> Record | None:
        """Adopt what stands elsewhere by now, and give it; None if nothing does."""
        if source := self._status(cell, rerun=False).elsewhere:
            self.adopt(cell, source)
            return self.folder.record(cell.stem)
        return None

    def adopt(self, cell: Cell, source: Location) -> None:
        """Write the result that is elsewhere, or the failure, under the cell's own name.

        Where it stood in the same folder under a name that the recipe no longer has, it was
        renamed: that record is moved to ``superseded/``.
        """
        record = source.folder.record(source.stem)
        assert record is not None  # it was found there
        table = None
        changes: dict[str, Any] = {
            "recipe": self.inputs.recipe.name,
            "model": cell.model.name,
            "seed": cell.seed,  # which only one of several pretrainings is called by
            "fold": cell.fold,
            "train_size": cell.train_size,  # all of the examples, or as many: the same content
            "settings": cell.settings,
        }
        if isinstance(record, FinishedRecord):
            changes["adopted_from"] = str(source)
        if isinstance(record, ComparedRecord):
            table = read_predictions_table(record, source.folder)
            changes["predictions"] = f"{cell.stem}.parquet"
            changes["task"] = self.inputs.task_of(cell).facts
        weights = source.folder.weights(source.stem)
        # links are not followed: they may lead anywhere
        copy = partial(shutil.copytree, weights, dirs_exist_ok=True, symlinks=True)
        if self.inputs.recipe.task and self.inputs.recipe.task.trial:  # dozens start from the same
            copy = partial(copy, copy_function=_link)
        self.folder.keep(
            record.model_copy(update=changes), table, copy if weights.is_dir() else None
        )
        if source.folder.path == self.folder.path and source.stem not in self._planned_stems:
            self.folder.supersede(source.stem)

    def _status(self, cell: Cell, rerun: bool) -> Status:
        try:
            record = self.folder.record(cell.stem)
            if isinstance(record, Compared) and self.folder.has_predictions(record):
                refuse_other_predictions(record, self.folder)
        except DamagedRecordError as error:
            return Status(cell, [f"has a damaged record: {error}"], damaged="record")
        if refused := self.inputs.refused.get(cell.model.name):
            return Status(cell, [refusal(refused)], record=record, refused=refused)
        if rerun:
            return Status(cell, ["--rerun"], record=record)
        identity = identify(cell, self.inputs)
        if reasons := self._reasons(record, identity):
            own = str(self.location(cell))
            for source in self._elsewhere.get(cell_id(identity), []):
                if str(source) != own and self._is_whole(cell, source):
                    return Status(cell, elsewhere=source)
            return Status(cell, reasons, record=record)
        return self._status_of_weights(cell, record)

    def _reasons(self, record: Record | None, identity: dict[str, Any]) -> list[str]:
        if record is None:
            return [NEW]
        if isinstance(record, FailedRecord):
            if self._has_diverged(record, identity):
                return []
            return [f"failed: {record.failure.type}: {record.failure.message}"]
        if not record.identity:
            return ["was run by an hfbench that did not record all that decides a result"]
        if isinstance(record, Compared) and not self.folder.has_predictions(record):
            return [f"lost its predictions: records/{record.stem}.parquet"]
        return differences(record.identity, identity)

    def _has_diverged(self, record: FailedRecord, identity: dict[str, Any]) -> bool:
        """Whether it is of a trial whose settings make the loss infinite: that is its result."""
        task = self.inputs.recipe.task
        is_trial = task is not None and task.trial is not None
        diverged = record.failure.type == NonFiniteLossError.__name__
        return is_trial and diverged and record.cell_id == cell_id(identity)

    def _status_of_weights(self, cell: Cell, record: Record | None) -> Status:
        """Whether the weights are there that the recipe asks for.

        Cells start from those of a pretraining, which must be those of its record to the last bit.
        """
        if not isinstance(record, TrainedRecord):
            return Status(cell, record=record)
        is_base = KINDS[cell.kind].KEEPS_WEIGHTS
        if not is_base and not (self.inputs.recipe.save_models and record.saved_weights):
            return Status(cell, record=record)
        weights = self.folder.weights(cell.stem)
        if reason := self.folder.lacks_weights_of(record):
            damaged = weights.is_dir() or None
            return Status(cell, [reason], damaged=damaged and "weights", record=record)
        if is_base and not self.folder.has_weights_of(record):
            reason = f"has other weights in models/{cell.stem} than were saved"
            return Status(cell, [reason], damaged="weights", record=record)
        return Status(cell, record=record)

    @cached_property
    def _elsewhere(self) -> dict[str, list[Location]]:
        return find_finished(self.results)

    def _is_whole(self, cell: Cell, source: Location) -> bool:
        """Whether ``source`` is a record with all beside it that the cell leaves."""
        try:
            record = source.folder.record(source.stem)
            if isinstance(record, Compared):
                refuse_other_predictions(record, source.folder)
        except RecordError:  # it is another recipe's: not for this comparison to complain of
            return False
        keeps_weights = KINDS[cell.kind].KEEPS_WEIGHTS or self.inputs.recipe.save_models
        if not (keeps_weights and isinstance(record, TrainedRecord)):
            return True
        return source.folder.has_weights_of(record)

    @cached_property
    def _planned_stems(self) -> set[str]:
        recipe = self.inputs.recipe  # the whole one of a trial's is not of trials
        return {
            cell.stem
            for one in (recipe, recipe.whole)
            for cell in cells_to_look_at(one, only_pretraining=False)
        }


def _pretraining(cell: Cell) -> tuple[str, int] | None:
    """The one that it is, or starts from, within a task; None where it has none."""
    return (cell.model.name, cell.pretraining_seed) if cell.model.pretrain else None


def _link(source: str, target: str) -> None:
    """A file that is never changed under a second name, or copied where that cannot be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class SurveyOfParts:
    """The surveys of all tasks and folds of a recipe, as one."""

    def __init__(self, inputs: AllInputs, results: Path) -> None:
        """As of `Survey`; the inputs of each part are loaded here."""
        self.folder = ResultsFolder(results / inputs.recipe.name)
        self.inputs = inputs
        cells = cells_to_look_at(inputs.recipe, only_pretraining=False)
        self._order = {cell.name: place for place, cell in enumerate(cells)}
        self._surveys = {id(own): Survey(own, results) for own, _ in each_part(inputs, cells)}

    @property
    def surveys(self) -> list[Survey]:
        """Of each part, in the recipe's order."""
        return [*self._surveys.values()]

    @property
    def folders(self) -> list[ResultsFolder]:
        """The recipe's, and that of each part."""
        return [self.folder, *(survey.folder for survey in self.surveys)]

    @property
    def by_task(self) -> list[list[Survey]]:
        """The surveys of each task: one for each of its folds."""
        tasks: dict[str | None, list[Survey]] = {}
        for survey in self.surveys:
            tasks.setdefault(survey.inputs.recipe.task_name, []).append(survey)
        return [*tasks.values()]

    def of(self, cell: Cell) -> Survey:
        """That of its part."""
        return self._surveys[id(self.inputs.of(cell))]

    def statuses(
        self, *, rerun: bool = False, only_pretraining: bool = False, shard: Shard | None = None
    ) -> list[Status]:
        """The status of each planned cell (of the shard), pretraining first; see `Survey.statuses`.

        A pretraining that several tasks need runs once, and they take its result over; that of a
        task is one for all its folds.
        """
        found: dict[str, Status] = {}
        before = 0
        for survey in self.surveys:
            part = shard and shard.after(before)
            before += len(plan_comparison(survey.inputs.recipe))
            for status in survey.statuses(
                rerun=rerun, only_pretraining=only_pretraining, shard=part
            ):
                name = status.cell.name
                if name not in found or (status.reasons and not found[name].reasons):
                    found[name] = status
        statuses = sorted(found.values(), key=lambda status: self._order[status.cell.name])
        first: dict[str, Cell] = {}
        for place, status in enumerate(statuses):
            cell = status.cell
            if cell.is_compared or not status.reasons or status.refused:
                continue
            same = first.setdefault(cell_id_of(cell, self.of(cell).inputs), cell)
            if same is not cell:
                location = self.of(same).location(same)
                statuses[place] = replace(status, reasons=[], elsewhere=location, awaits=same.name)
        return sorted(statuses, key=lambda status: status.cell.is_compared)

    def unpack(self, statuses: list[Status], console: Console) -> None:
        """Make files of packed records where a cell runs or is taken over; see `records.pack`.

        Raises:
            StorageError: if they cannot be written.
        """
        for survey, mine in self._each(statuses):
            if any(one.reasons or one.elsewhere for one in mine):
                for problem in _unpack_in_turn(survey.folder):
                    console.print(problem, highlight=False, markup=False, soft_wrap=True)

    def adopt_and_set_aside(self, statuses: list[Status], console: Console) -> None:
        """See `Survey.adopt_and_set_aside`."""
        for survey, mine in self._each(statuses):
            survey.adopt_and_set_aside(mine, console)

    def _each(self, statuses: list[Status]) -> Iterator[tuple[Survey, list[Status]]]:
        for survey in self.surveys:
            yield survey, [status for status in statuses if self.of(status.cell) is survey]

    def share(self, name: str, statuses: list[Status]) -> None:
        """Let the other tasks take over what has come of the cell of this name.

        Raises:
            StorageError: if that cannot be written.
        """
        for status in statuses:
            if status.awaits == name:
                survey = self.of(status.cell)
                with survey.folder.lock(status.cell.stem) as is_ours:
                    if is_ours:  # else another process takes it over
                        assert status.elsewhere
                        survey.adopt(status.cell, status.elsewhere)


def _unpack_in_turn(folder: ResultsFolder) -> list[str]:
    """Unpack, unless another process has by then: two at once would break each other's files."""
    if not folder.packed:
        return []
    with folder.alone("unpacking"):
        return unpack(folder) if folder.packed else []


def cells_to_look_at(recipe: Recipe, *, only_pretraining: bool) -> list[Cell]:
    """All cells whose status a comparison asks for."""
    return plan_pretraining(recipe) + ([] if only_pretraining else plan_comparison(recipe))


def runs_before(statuses: list[Status]) -> list[tuple[str | None, Record]]:
    """Each with its task: those of which a time can be learnt, whatever their settings were."""
    return [
        (status.cell.task, status.record)
        for status in statuses
        if isinstance(status.record, FinishedRecord)
    ]
