"""A task of the recipe -> splits with known columns: id, text (and text_pair), label."""

import hashlib
import json
import logging
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict
from datasets.utils.stratify import stratified_shuffle_split_generate_indices

from hfbench.data.columns import standard_columns
from hfbench.data.contamination import count_task_overlaps
from hfbench.data.labels import encode_labels, refuse_unknown_labels
from hfbench.data.sources import load_source
from hfbench.errors import UserError, nearest
from hfbench.recipe.schema import Task
from hfbench.records.schema import SplitData, TaskData
from hfbench.system.hub import resolve_revision
from hfbench.system.launch import is_main_process, is_worker

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedTask:
    """The splits ``train``, ``validation`` and perhaps ``test``, and what the record says of them.

    Columns: ``id`` ("split/row", the row in the data set as it came), ``text``, ``text_pair`` for
    pairs, ``label`` (an index into ``facts.labels``).
    """

    splits: DatasetDict
    facts: TaskData

    def with_train_rows(self, rows: np.ndarray) -> "LoadedTask":
        """The same task with only these rows of its train split."""
        train = self.splits["train"].select(rows)
        described = {**self.facts.splits, "train": _describe_split(train, self.facts.labels)}
        splits = DatasetDict({**self.splits, "train": train})
        overlap = count_task_overlaps(splits)
        facts = self.facts.model_copy(update={"splits": described, "overlap": overlap})
        return LoadedTask(splits, facts)


def load_task(task: Task, folder: Path) -> LoadedTask:
    """Load, check and split the data of ``task``; relative paths start at ``folder``.

    What is odd but possible, as a text that is there twice, is logged as a warning.

    Raises:
        UserError: if the data cannot be had or do not fit the task, naming split, rows and columns.
    """
    revision = resolve_revision(task.dataset_name, task.revision, "dataset", "task")
    source = load_source(task, folder, revision)
    splits = _choose_splits(task, source)
    feature = source[task.train_split].features[task.label_column]
    splits, labels = encode_labels(splits, feature, task)
    if task.validation_size is not None:
        splits = _hold_out_validation(splits, task, labels)
    refuse_unknown_labels(splits, labels, task)
    if is_main_process() and not is_worker():
        for oddity in _oddities(splits, labels):
            logger.warning("warning: %s: %s", task.source, oddity)
    order = [role for role in ("train", "validation", "test") if role in splits]
    facts = TaskData(
        source=task.source,
        revision=revision,
        labels=labels,
        splits={role: _describe_split(splits[role], labels) for role in order},
        evaluation_split=order[-1],
        overlap=count_task_overlaps(splits),
    )
    return LoadedTask(DatasetDict({role: splits[role] for role in order}), facts)


def _choose_splits(task: Task, source: dict[str, Dataset]) -> dict[str, Dataset]:
    """The splits that the task names, by what they are for."""
    wanted = {"train": task.train_split, "validation": task.validation_split}
    wanted |= {"test": task.test_split}
    splits = {}
    for role, split in wanted.items():
        if split is None:
            continue
        if split not in source:
            raise UserError(
                f"task.{role}_split: {task.source} has no split {split!r}{nearest(split, source)} "
                f"(splits: {', '.join(source)})"
            )
        first = task.first if role == "train" else None
        splits[role] = standard_columns(source[split], split, task, first)
    return splits


def _hold_out_validation(
    splits: dict[str, Dataset], task: Task, labels: list[str]
) -> dict[str, Dataset]:
    counts = Counter(splits["train"]["label"][:])
    if rare := [labels[label] for label, count in counts.items() if count < 2]:
        raise UserError(
            f"task.validation_size: {task.source}: label {rare[0]!r} has one example in split "
            f"{task.train_split!r}; a stratified split needs two of each"
        )
    size, examples = task.validation_size, len(splits["train"])
    assert size is not None
    held_out = size if isinstance(size, int) else math.ceil(size * examples)
    if not len(counts) <= held_out <= examples - len(counts):
        raise UserError(
            f"task.validation_size: {size} of {examples} examples of {task.source} is {held_out}; "
            f"give from {len(counts)} to {examples - len(counts)} examples, so that each of "
            f"{len(counts)} labels can be in both parts"
        )
    # as Dataset.train_test_split draws them, which reads the labels row by row: 67,000 in 12 s
    kept_rows, held_out_rows = next(
        stratified_shuffle_split_generate_indices(
            np.array(splits["train"]["label"][:]),
            examples - held_out,
            held_out,
            rng=np.random.default_rng(task.split_seed),
        )
    )
    train = splits["train"]
    return {**splits, "train": train.select(kept_rows), "validation": train.select(held_out_rows)}


def _oddities(splits: dict[str, Dataset], labels: list[str]) -> Iterator[str]:
    """What somebody should know of data that can be used all the same."""
    train = splits["train"]
    columns = [train[name][:] for name in ("text", "text_pair") if name in train.column_names]
    texts = list(zip(*columns, strict=True))
    distinct = set(texts)
    if repeated := len(texts) - len(distinct):
        labelled = set(zip(texts, train["label"][:], strict=True))
        contradicting = sum(n > 1 for n in Counter(text for text, _ in labelled).values())
        yield (
            f"{repeated:,} of {len(texts):,} training examples repeat the text of another; "
            f"texts with different labels: {contradicting:,}"
        )
    for role, split in splits.items():
        present = set(split["label"][:])
        if absent := [name for number, name in enumerate(labels) if number not in present]:
            shown_names = ", ".join(map(repr, absent[:5])) + (", ..." if len(absent) > 5 else "")
            yield f"no {role} example has the label {shown_names}"


def _describe_split(split: Dataset, labels: list[str]) -> SplitData:
    counts = Counter(split["label"][:])
    return SplitData(
        examples=len(split),
        content_hash=_content_hash(split, labels),
        label_counts={name: counts[number] for number, name in enumerate(labels)},
    )


def _content_hash(split: Dataset, labels: list[str]) -> str:
    """SHA-256 of what the examples say.

    `Dataset._fingerprint` would change with path and time of the file.
    """
    digest, encoder = hashlib.sha256(), json.JSONEncoder(sort_keys=True)
    for columns in split.iter(1000):  # all at once they would take several times the memory
        columns["label"] = [labels[number] for number in columns["label"]]
        for values in zip(*columns.values(), strict=True):
            digest.update(encoder.encode(dict(zip(columns, values, strict=True))).encode())
    return digest.hexdigest()
