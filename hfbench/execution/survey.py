"""Which cells of a comparison have their result already, and why the others must run."""

import json
import shutil
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console

from hfbench.errors import RecordError, UserError
from hfbench.execution.cell import keep
from hfbench.execution.inputs import Workbench
from hfbench.recipe.cells import Cell, Shard, plan_classification, plan_pretraining
from hfbench.recipe.schema import Recipe
from hfbench.records.identity import differences
from hfbench.records.schema import WEIGHT_FILES, Record
from hfbench.records.store import load_record, supersede
from hfbench.system.files import writing
from hfbench.system.hashes import hash_files
from hfbench.system.locks import hold
from hfbench.training.checkpoints import clear

NEW = "has not run yet"


@dataclass(frozen=True)
class Status:
    """What there is of a cell before it runs."""

    cell: Cell
    reasons: list[str] = field(default_factory=list)
    """Why it must run; empty where its result is there or, of a pretraining, is not needed."""
    elsewhere: Path | None = None
    """A finished record under another name that is its result."""
    damaged: Path | None = None
    """Weights that are not those that were saved."""
    record: Record | None = None
    """What stands under the cell's name."""


class Survey:
    """Looks at the results for what a comparison asks for."""

    def __init__(self, bench: Workbench, results: Path) -> None:
        """Take the workbench of all planned cells and the folder with a folder for each recipe."""
        self.bench, self.results = bench, results
        self.folder = results / bench.recipe.name

    def statuses(
        self, *, rerun: bool = False, only_pretraining: bool = False, shard: Shard | None = None
    ) -> list[Status]:
        """The status of each planned cell (of the shard), pretraining first.

        Raises:
            UserError: if a cell of the shard needs a pretraining, which belongs to no shard.
        """
        recipe = self.bench.recipe
        cells = [] if only_pretraining else plan_classification(recipe)
        cells = shard.of(cells) if shard else cells
        compared = [self._status(cell, rerun) for cell in cells]
        needed = {status.cell.model.name for status in compared if status.reasons}
        pretrained = [
            self._status(cell, rerun and not shard)
            if only_pretraining or cell.model.name in needed
            else Status(cell)
            for cell in plan_pretraining(recipe)
        ]
        missing = [status.cell.model.name for status in pretrained if status.reasons]
        if shard and missing:
            raise UserError(
                f"--shard: {', '.join(missing)} must be pretrained before, once for all parts: "
                "hfbench pretrain"
            )
        return pretrained + compared

    def settle(self, statuses: list[Status], console: Console) -> None:
        """Before the open cells run: adopt results that are elsewhere, set aside damaged weights.

        And remove the checkpoints of what was finished by a process that was killed before it did.

        Raises:
            StorageError: if that cannot be written.
        """
        for status in statuses:
            leftover = status.cell.run_folder(self.folder)
            is_left = status.cell.kind == "pretraining" and leftover.is_dir() and not status.reasons
            if not (status.elsewhere or status.damaged or is_left):
                continue
            # another process may be doing the same, or be running the cell
            with hold(status.cell.stem, self.folder) as is_ours, writing(str(self.folder)):
                now = self._status(status.cell, rerun=False) if is_ours else status
                if is_ours and now.elsewhere:
                    self._adopt(now)
                elif is_ours and now.damaged:
                    aside = _set_aside(now.damaged)
                    said = f"{status.cell.stem} {now.reasons[0]}; moved to {aside.name}"
                    console.print(said, highlight=False, markup=False)
                elif is_ours and not now.reasons:
                    clear(leftover)

    def _adopt(self, status: Status) -> None:
        """Write the result that is elsewhere under the cell's own name.

        Where it stood in the same folder under a name that the recipe no longer has, it was
        renamed: that record is moved to ``superseded/``.
        """
        assert status.elsewhere is not None
        cell, source = status.cell, status.elsewhere
        record = load_record(source)
        table = pq.read_table(source.with_suffix(".parquet")) if record.predictions else None
        weights = _weights_beside(source)
        # links are not followed: they may lead anywhere
        copy = partial(shutil.copytree, weights, dirs_exist_ok=True, symlinks=True)
        save = copy if weights.is_dir() else None
        keep(cell, self.folder, self._renamed(record, status), table, save)
        if source.parent == self.folder / "records" and source.stem not in self._planned_stems:
            supersede(source)

    def _renamed(self, record: Record, status: Status) -> Record:
        cell, source = status.cell, status.elsewhere
        assert source is not None
        changes: dict[str, Any] = {
            "recipe": self.bench.recipe.name,
            "model": cell.model.name,
            "train_size": cell.train_size,  # all of the examples, or as many: the same content
            "settings": cell.settings,
            "adopted_from": name_of(source),
            "predictions": f"{cell.stem}.parquet" if record.predictions else None,
        }
        if record.task:
            changes["task"] = self.bench.task_of(cell).facts
        return record.model_copy(update=changes)

    def _status(self, cell: Cell, rerun: bool) -> Status:
        record = cell.recorded(self.folder)
        if rerun:
            return Status(cell, ["--rerun"], record=record)
        if reasons := self._reasons(cell, record):
            own = self.folder / "records" / f"{cell.stem}.json"
            for source in self._elsewhere.get(self.bench.cell_id(cell), []):
                if source != own and self._is_whole(cell, source):
                    return Status(cell, elsewhere=source)
            return Status(cell, reasons, record=record)
        return self._status_of_weights(cell, record)

    def _reasons(self, cell: Cell, record: Record | None) -> list[str]:
        if record is None:
            return [NEW]
        if record.failure:
            return [f"failed: {record.failure.type}: {record.failure.message}"]
        if not record.identity:
            return ["was run by an hfbench that did not record all that decides a result"]
        if record.predictions and not (self.folder / "records" / record.predictions).is_file():
            return [f"lost its predictions: records/{record.predictions}"]
        return differences(record.identity, self.bench.identity(cell))

    def _status_of_weights(self, cell: Cell, record: Record | None) -> Status:
        """Cells start from the weights of a pretraining: they must be those of its record."""
        assert record is not None
        path = cell.checkpoint(self.folder)
        if cell.kind == "classification":
            return Status(cell, record=record)
        if not path.is_dir():
            return Status(cell, [f"lost its weights: models/{cell.stem}"], record=record)
        if hash_files(path, WEIGHT_FILES) != record.saved_weights:
            reason = f"has other weights in models/{cell.stem} than were saved"
            return Status(cell, [reason], damaged=path, record=record)
        return Status(cell, record=record)

    @cached_property
    def _elsewhere(self) -> dict[str, list[Path]]:
        """Cell id -> finished records, of all recipes."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.results.glob("*/records/*.json")):
            try:
                content = json.loads(path.read_bytes())
                if content["status"] == "finished":
                    found.setdefault(content["cell_id"], []).append(path)
            except (ValueError, KeyError, TypeError):  # whatever it is, it is no result for us
                continue
        return found

    def _is_whole(self, cell: Cell, source: Path) -> bool:
        """Whether ``source`` is a record with all beside it that the cell leaves."""
        try:
            record = load_record(source)
        except RecordError:  # it is another recipe's: not for this comparison to complain of
            return False
        if record.predictions and not source.with_suffix(".parquet").is_file():
            return False
        keeps_weights = cell.kind == "pretraining" or self.bench.recipe.save_models
        if cell.model.control or not keeps_weights:
            return True
        weights = _weights_beside(source)
        return weights.is_dir() and hash_files(weights, WEIGHT_FILES) == record.saved_weights

    @cached_property
    def _planned_stems(self) -> set[str]:
        recipe = self.bench.recipe
        return {cell.stem for cell in plan_pretraining(recipe) + plan_classification(recipe)}


def cells_to_look_at(recipe: Recipe, *, only_pretraining: bool) -> list[Cell]:
    """All cells whose status a comparison asks for."""
    return plan_pretraining(recipe) + ([] if only_pretraining else plan_classification(recipe))


def name_of(record: Path) -> str:
    """Recipe and name of a record, without the folder of all results."""
    return f"{record.parents[1].name}/{record.stem}"


def _set_aside(weights: Path) -> Path:
    taken = len(list(weights.parent.glob(f"{weights.name}.damaged*")))
    return weights.rename(
        weights.with_name(f"{weights.name}.damaged" + (f"-{taken}" if taken else ""))
    )


def _weights_beside(record: Path) -> Path:
    return record.parents[1] / "models" / record.stem
