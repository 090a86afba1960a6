"""Whether the cells of records, run again from them alone, come out the same to the last bit."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from rich.console import Console

from hfbench.errors import UserError
from hfbench.execution.cell import Session, run_cell
from hfbench.execution.estimates import using_threads
from hfbench.execution.inputs import Workbench
from hfbench.execution.progress import Reporter
from hfbench.recipe.cells import Cell, plan_classification, plan_pretraining, pretraining_of
from hfbench.recipe.load import describe_mistakes
from hfbench.recipe.schema import Recipe
from hfbench.records.identity import differences
from hfbench.records.predictions import load_predictions
from hfbench.records.schema import WEIGHT_FILES, Curves, Record
from hfbench.records.store import load_records, save_record
from hfbench.system.hashes import hash_files
from hfbench.training.progress import StepBar

OLD = "an older hfbench did not record all that decides a result"

# What may change the last bits of a result, and is no part of a cell's identity.
_CIRCUMSTANCES = ("python", "platform", "processor", "torch_threads")
_TRAINING_CIRCUMSTANCES = ("device", "world_size", "batch_parts", "cuda_graphs")


@dataclass(frozen=True)
class Verdict:
    """What came of running a record's cell again."""

    record: Record
    difference: str | None
    """The first thing that differs; None: bit-identical."""
    changes: list[str]
    """What is no longer as it was recorded: data, code, versions, hardware."""


def verify(
    results: Path,
    patterns: list[str],
    folder: Path,
    console: Console,
    *,
    trust_remote_code: bool = False,
) -> Iterator[Verdict]:
    """Run the cells of finished records again, one after another; nothing in ``results`` changes.

    A model that is pretrained starts from the weights that ``results`` has of it, if they are those
    that were saved, else it is pretrained again.

    Args:
        results: a recipe's results folder.
        patterns: of records' names, as in a shell (``gpt-nano--*``); empty: all.
        folder: where relative paths of the records' recipes start.
        console: where progress goes.
        trust_remote_code: run code that is not hfbench's where records say that it was run: that
            of checkpoints, and the modules that a recipe names.

    Raises:
        UserError: if no finished record fits, if what a record names cannot be had, or if its model
            brings code that may not run.
    """
    records = _choose(load_records(results), patterns, results)
    with Reporter(console, len(records), quiet=False) as reporter:
        for record in records:
            with tempfile.TemporaryDirectory() as temporary, reporter.cell(record.stem) as bar:
                again = _Repetition(record, results, folder, Path(temporary), trust_remote_code)
                with using_threads(_threads(record)):
                    verdict = again.run(bar)
            yield verdict


def _threads(record: Record) -> int:
    threads = record.environment.get("torch_threads")
    if not isinstance(threads, int) or threads < 1:
        raise UserError(
            f"{record.stem}: environment.torch_threads: {threads!r} must be a number of 1 or more"
        )
    return threads


def _choose(records: list[Record], patterns: list[str], results: Path) -> list[Record]:
    finished = [record for record in records if record.status == "finished"]
    chosen = [
        record
        for record in finished
        if not patterns or any(fnmatchcase(record.stem, pattern) for pattern in patterns)
    ]
    if not chosen:
        names = ", ".join(record.stem for record in finished[:5])
        raise UserError(
            f"{results}: no finished record is called {' or '.join(patterns) or 'anything'}; "
            f"there is {names or 'none'}{', ...' if len(finished) > 5 else ''}"
        )
    return sorted(chosen, key=lambda record: record.kind == "classification")


class _Repetition:
    """A record's cell, made from the record."""

    def __init__(
        self,
        record: Record,
        results: Path,
        folder: Path,
        temporary: Path,
        trust_remote_code: bool,
    ) -> None:
        self.record, self.results, self.temporary = record, results, temporary
        values = {"name": record.recipe, **record.settings}
        try:
            self.recipe = Recipe.from_values(values, folder)
        except ValidationError as error:
            mistakes = describe_mistakes(f"{record.stem}: settings", error)
            raise UserError("\n".join(mistakes)) from None
        # the permission that was given then is in the record, which may be anybody's
        if (code := self.recipe.foreign_code) and not trust_remote_code:
            raise UserError(
                f"{record.stem}: {' and '.join(code)} brings code of its own: read it, then allow "
                "it with --trust-remote-code"
            )
        for key, path in self.recipe.file_paths.items():
            if not path.is_file():
                raise UserError(
                    f"{record.stem}: {key}: there is no file {str(path)!r}; say by --relative-to "
                    "where the relative paths of its recipe start"
                )
        plan = plan_pretraining if record.kind == "pretraining" else plan_classification
        (self.cell,) = plan(self.recipe)
        self.cells = [*self._pretraining(), self.cell]
        self.bench = Workbench(self.recipe, self.cells)

    def run(self, bar: StepBar) -> Verdict:
        """Run it, with the pretraining that it needs."""
        session = Session(self.temporary)
        for cell in self.cells:
            if cell is self.cell or not self._take_weights(cell):
                result = run_cell(cell, self.bench, session, bar)
        assert result is not None
        new = result.record
        return Verdict(
            self.record,
            first_difference(self.record, self.results, new, self.temporary),
            _changes(self.record, new),
        )

    def _pretraining(self) -> list[Cell]:
        is_needed = self.cell.kind == "classification" and self.cell.model.pretrain
        return [pretraining_of(self.cell, self.recipe)] if is_needed else []

    def _take_weights(self, cell: Cell) -> bool:
        """Whether ``results`` has what the pretraining left, which is copied."""
        record, weights = cell.recorded(self.results), cell.checkpoint(self.results)
        if record is None or record.saved_weights is None or not weights.is_dir():
            return False
        if hash_files(weights, WEIGHT_FILES) != record.saved_weights:
            return False
        shutil.copytree(weights, cell.checkpoint(self.temporary), symlinks=True)
        # taken as it is: whether it would come out again is for its own verification
        taken = record.model_copy(update={"cell_id": self.bench.cell_id(cell)})
        save_record(taken, self.temporary / "records")
        return True


def first_difference(old: Record, old_results: Path, new: Record, results: Path) -> str | None:
    """Where two runs of a cell part, in the order of training; None: nowhere.

    Args:
        old: the record, whose predictions are in ``old_results``.
        old_results: a results folder.
        new: what came out now, with predictions in ``results``.
        results: a results folder.
    """
    if new.failure:
        return f"failed now: {new.failure.type}: {new.failure.message}"
    if found := _first_of_curves(old.curves, new.curves):
        return found
    if old.predictions and (found := _first_of_predictions(old, old_results, new, results)):
        return found
    for split, metrics in old.metrics.items():
        for name, value in metrics.items():
            if new.metrics[split][name] != value:
                return f"{split} {name}: {value!r} -> {new.metrics[split][name]!r}"
    weights = [record.model_facts and record.model_facts.final_weights for record in (old, new)]
    if weights[0] != weights[1]:
        return "the weights after training"
    return None


def _first_of_curves(old: Curves, new: Curves) -> str | None:
    """The first step, and the metric there; the training's own before the validation's."""
    points: list[tuple[str, dict, dict]] = []
    for split in old:
        pairs: Any = zip_longest(old[split], new.get(split, []), fillvalue={})
        points += [(split, before, after) for before, after in pairs]
    points.sort(key=lambda point: (point[1] or point[2])["step"])
    for split, before, after in points:
        for name in dict.fromkeys((*before, *after)):
            if before.get(name) != after.get(name):
                step = (before or after)["step"]
                return f"step {step:g}, {split} {name}: {before.get(name)!r} -> {after.get(name)!r}"
    return None


def _first_of_predictions(old: Record, old_results: Path, new: Record, results: Path) -> str | None:
    for split in old.metrics:
        before = load_predictions(old, old_results, split)
        after = load_predictions(new, results, split)
        if not np.array_equal(before["id"], after["id"]):
            return f"{split}: other examples"
        differs = (before["logits"] != after["logits"]).any(-1)
        if differs.any():
            row = int(differs.argmax())
            largest = float(np.abs(before["logits"] - after["logits"]).max())
            more = int(differs.sum()) - 1
            return f"logits of {before['id'][row]} and {more} more, by {largest:.2g} at most"
    return None


def _changes(old: Record, new: Record) -> list[str]:
    lines = differences(old.identity, new.identity) if old.identity else [OLD]
    pairs = [(old.environment, new.environment, _CIRCUMSTANCES)]
    if old.training and new.training:
        trained = old.training.model_dump(), new.training.model_dump()
        pairs.append((*trained, _TRAINING_CIRCUMSTANCES))
    for before, after, names in pairs:
        lines += differences(
            {name: before.get(name) for name in names}, {name: after.get(name) for name in names}
        )
    return lines
