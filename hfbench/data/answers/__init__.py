"""Answers that something else gave: a file's rows become the outputs of a model for each example.

Nothing of the file is trusted. Every row must be one of the task's examples, every evaluation
example must have one answer, and every answer must be one; what does not fit is refused with its
number. What the recipe does not say is found in the file, and what was found is told.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hfbench.data.answers.columns import Columns, find_columns
from hfbench.data.answers.match import match_rows, seeds_of
from hfbench.data.answers.outputs import read_outputs
from hfbench.data.files import DataFile
from hfbench.data.sources import load_columns
from hfbench.data.tables import labels_of
from hfbench.data.task import LoadedTask
from hfbench.errors import UserError
from hfbench.recipe.predictions import Predictions
from hfbench.recipe.task import Task
from hfbench.records.schema import AnswersFile
from hfbench.system.hashes import hash_file

VERSION = 1
"""Of the numbers that an answer becomes; see docs/architecture.md."""


@dataclass(frozen=True)
class Answers:
    """What a file says of the examples of a task."""

    logits: dict[int | None, dict[str, np.ndarray]]
    """Seed -> split -> outputs, float32 of shape (examples, outputs), in the data's order."""
    file: AnswersFile


def load_answers(
    entry: Predictions,
    key: str,
    task: Task,
    loaded: LoadedTask,
    folder: Path,
    seeds: Sequence[int],
) -> Answers:
    """Read a file of answers and give each its example.

    Args:
        entry: of the recipe.
        key: by which the recipe names it.
        task: of the recipe.
        loaded: the same, with its examples.
        folder: where relative paths start.
        seeds: of the runs that are wanted, where the file tells runs apart.

    Raises:
        UserError: if it cannot be read, or does not fit the examples, with numbers.
    """
    file = DataFile(folder / entry.file, key)
    columns = load_columns(file, _plain(task, entry))
    rows = len(next(iter(columns.values())))
    found = find_columns(entry, file.where, columns, task, loaded)
    runs = seeds_of(entry, file.where, columns, seeds)
    matched = match_rows(found, file.where, columns, runs, task, loaded, folder)
    used = np.concatenate([rows for splits in matched.rows.values() for rows in splits.values()])
    outputs = read_outputs(found, file.where, columns, used, task, loaded.facts)
    start = 0
    logits: dict[int | None, dict[str, np.ndarray]] = {}
    for seed, splits in matched.rows.items():
        logits[seed] = {}
        for split, of_split in splits.items():
            logits[seed][split] = outputs.logits[start : start + len(of_split)]
            start += len(of_split)
    _refuse_right_answers(found, file.where, logits.values(), loaded)
    return Answers(
        logits,
        AnswersFile(
            name=file.path.name,
            sha256=hash_file(file.path),
            rows=rows,
            form=outputs.form,
            matched_by=matched.by,
            columns=found.names,
            inferred=[*found.inferred, *outputs.inferred],
            answered={s: len(r) for s, r in next(iter(matched.rows.values())).items()},
            ignored=matched.ignored,
        ),
    )


def _plain(task: Task, entry: Predictions) -> Task:
    """How the file is read: as one that says nothing of itself, not as the task's own files."""
    return Task(
        data_files={"train": entry.file},
        label_column=entry.label_column or "prediction",
        validation_size=1,
    )


def _refuse_right_answers(
    found: Columns, where: str, runs: Iterable[dict[str, np.ndarray]], loaded: LoadedTask
) -> None:
    """A column of the name that the data set's labels have may be a copy of these.

    Raises:
        UserError: if every answer is right, and the recipe does not say that they are answers.
    """
    if not found.may_be_labels:
        return
    for split, logits in next(iter(runs)).items():
        labels = labels_of(loaded.splits[split])
        if loaded.facts.problem_type == "regression":
            is_right = (logits[:, 0] == labels.astype(np.float32)).all()
        elif labels.ndim == 2:
            is_right = ((logits > 0) == labels).all()
        else:
            is_right = (logits.argmax(-1) == labels).all()
        if not is_right:
            return
    raise UserError(
        f"{where}: column {found.labels!r} has the right answer to every example: is it the data "
        f"set's own? Give `label_column: {found.labels}` if these are the model's answers"
    )
