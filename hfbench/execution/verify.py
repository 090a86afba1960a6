"""Whether the cells of records, run again from them alone, come out the same to the last bit."""

import gc
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from hfbench.errors import UserError
from hfbench.execution.cell import Session, run_cell
from hfbench.execution.estimates import using_threads
from hfbench.execution.identity import cell_id_of
from hfbench.execution.inputs import Inputs
from hfbench.execution.live import view_on
from hfbench.execution.progress import Reporter
from hfbench.recipe.cells import Cell, plan_comparison, plan_pretraining, pretraining_of
from hfbench.recipe.load import describe_mistakes
from hfbench.recipe.schema import Recipe
from hfbench.records.identity import differences
from hfbench.records.predictions import load_predictions
from hfbench.records.schema import (
    Compared,
    Curves,
    FailedRecord,
    Finished,
    PretrainingRecord,
    Record,
    TrainedRecord,
)
from hfbench.records.store import ResultsFolder, load_records
from hfbench.system.terminal import Console
from hfbench.training.progress import StepBar

OLD = "an older hfbench did not record all that decides a result"

# What may change the last bits of a result, and is no part of a cell's identity.
_CIRCUMSTANCES: tuple[str, ...] = ("python", "platform", "processor", "torch_threads")
_TRAINING_CIRCUMSTANCES: tuple[str, ...] = (
    "device",
    "world_size",
    "batch_parts",
    "cuda_graphs",
    "without_padding",
)


@dataclass(frozen=True)
class Repetition:
    """What came of running a record's cell again."""

    record: Finished
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
) -> Iterator[Repetition]:
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
    with Reporter(view_on(console), [record.stem for record in records]) as reporter:
        for record in records:
            with tempfile.TemporaryDirectory() as temporary, reporter.cell(record.stem) as bar:
                again = _Rerun(record, results, folder, Path(temporary), trust_remote_code)
                with using_threads(_threads(record)):
                    repetition = again.run(bar)
            yield repetition


def _threads(record: Finished) -> int:
    threads = record.environment.get("torch_threads")
    if not isinstance(threads, int) or threads < 1:
        raise UserError(
            f"{record.stem}: environment.torch_threads: {threads!r} must be a number of 1 or more"
        )
    return threads


def _choose(records: list[Record], patterns: list[str], results: Path) -> list[Finished]:
    finished = [record for record in records if not isinstance(record, FailedRecord)]
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
    return sorted(chosen, key=lambda record: not isinstance(record, PretrainingRecord))


class _Rerun:
    """A record's cell, made from the record."""

    def __init__(
        self,
        record: Finished,
        results: Path,
        folder: Path,
        temporary: Path,
        trust_remote_code: bool,
    ) -> None:
        self.record, self.results = record, ResultsFolder(results)
        self.temporary = ResultsFolder(temporary)
        # of one of several tasks the name has a slash, as no recipe's own has
        values = {"name": record.recipe.replace("/", "-"), **record.settings}
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
            if not path.exists():
                raise UserError(
                    f"{record.stem}: {key}: there is no file {str(path)!r}; say by --relative-to "
                    "where the relative paths of its recipe start"
                )
        plan = plan_pretraining if isinstance(record, PretrainingRecord) else plan_comparison
        (self.cell,) = plan(self.recipe)
        self.cells = [*self._pretraining(), self.cell]
        self.inputs = Inputs(self.recipe, self.cells)

    def run(self, bar: StepBar) -> Repetition:
        """Run it, with the pretraining that it needs."""
        session = Session(self.temporary)
        gc.freeze()  # what is there outlasts the cells, after each of which garbage is collected
        try:
            for cell in self.cells:
                if cell is self.cell or not self._take_weights(cell):
                    result = run_cell(cell, self.inputs, session, bar)
        finally:
            gc.unfreeze()
        assert result is not None
        new = result.record
        return Repetition(
            self.record,
            first_difference(self.record, self.results.path, new, self.temporary.path),
            _changes(self.record, new),
        )

    def _pretraining(self) -> list[Cell]:
        is_needed = self.cell.is_compared and self.cell.model.pretrain
        return [pretraining_of(self.cell, self.recipe)] if is_needed else []

    def _take_weights(self, cell: Cell) -> bool:
        """Whether ``results`` has what the pretraining left, which is copied."""
        record = self.results.record(cell.stem)
        if not (isinstance(record, PretrainingRecord) and self.results.has_weights_of(record)):
            return False
        # taken as it is: whether it would come out again is for its own verification
        taken = record.model_copy(update={"cell_id": cell_id_of(cell, self.inputs)})
        weights = self.results.weights(cell.stem)
        copy = partial(shutil.copytree, weights, dirs_exist_ok=True, symlinks=True)
        self.temporary.keep(taken, save_model=copy)
        return True


def first_difference(old: Finished, old_results: Path, new: Record, results: Path) -> str | None:
    """Where two runs of a cell part, in the order of training; None: nowhere.

    Args:
        old: the record, whose predictions are in ``old_results``.
        old_results: a results folder.
        new: what came out now, with predictions in ``results``.
        results: a results folder.
    """
    if isinstance(new, FailedRecord):
        return f"failed now: {new.failure.type}: {new.failure.message}"
    found = None
    if isinstance(old, TrainedRecord) and isinstance(new, TrainedRecord):
        found = _first_of_curves(old.curves, new.curves)
    if not found and isinstance(old, Compared) and isinstance(new, Compared):
        found = _first_of_predictions(old, old_results, new, results)
    if found:
        return found
    for split, metrics in old.metrics.items():
        for name, value in metrics.items():
            if new.metrics[split][name] != value:
                return f"{split} {name}: {value!r} -> {new.metrics[split][name]!r}"
    if old.model_facts.final_weights != new.model_facts.final_weights:
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
        # a metric that is new since then tells nothing of a difference
        for name in before or after:
            if before.get(name) != after.get(name):
                step = (before or after)["step"]
                return f"step {step:g}, {split} {name}: {before.get(name)!r} -> {after.get(name)!r}"
    return None


def _first_of_predictions(
    old: Compared, old_results: Path, new: Compared, results: Path
) -> str | None:
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


def _changes(old: Finished, new: Record) -> list[str]:
    lines = differences(old.identity, new.identity) if old.identity else [OLD]
    pairs = [(old.environment, new.environment, _CIRCUMSTANCES)]
    if isinstance(old, TrainedRecord) and isinstance(new, TrainedRecord):
        trained = old.training.model_dump(), new.training.model_dump()
        pairs.append((*trained, _TRAINING_CIRCUMSTANCES))
    for before, after, names in pairs:
        lines += differences(
            {name: before.get(name) for name in names}, {name: after.get(name) for name in names}
        )
    return lines
