"""A task of the recipe -> splits with known columns: id, text (and text_pair), label."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, DatasetDict, List

from hfbench.data.classes import leave_out_rare_classes, name_classes, refuse_sorted_beginning
from hfbench.data.columns import standard_columns
from hfbench.data.contamination import count_task_overlaps
from hfbench.data.folds import fold_of_rows, part_of_train
from hfbench.data.groups import has_few_values, number_groups
from hfbench.data.hold_out import hold_out
from hfbench.data.label_sets import encode_label_sets
from hfbench.data.labels import encode_labels, refuse_unknown_labels
from hfbench.data.problem import find_problem_type
from hfbench.data.slices import slice_columns, slices_of
from hfbench.data.sources import load_source
from hfbench.data.strata import classes_in, numbered
from hfbench.data.tables import Texts, labels_of, take, texts_of
from hfbench.data.targets import describe_targets, refuse_constant_targets
from hfbench.data.weights import class_weights
from hfbench.errors import UserError, nearest
from hfbench.recipe.task import Task
from hfbench.recipe.tuning import Fold
from hfbench.recipe.types import ProblemType
from hfbench.records.data import FoldData, Overlap, SplitData, TaskData
from hfbench.system.hub import resolve_revision
from hfbench.system.launch import is_main_process, is_worker

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedTask:
    """The splits ``train``, ``validation`` and perhaps ``test``, and what the record says of them.

    Columns: ``id`` ("split/row", the row in the data set as it came), ``text``, ``text_pair`` for
    pairs, ``label``: an index into ``facts.labels``, 0 or 1 for each of them, or the number that is
    to be predicted, see `tables.labels_of`.
    """

    splits: DatasetDict
    facts: TaskData
    groups: dict[str, np.ndarray] | None = None
    """Split -> the number of each row's group, shape (rows,), where rows have a group."""
    slices: dict[str, dict[str, pa.Array]] = field(default_factory=dict)
    """Split, but for training -> slice of the recipe -> the value of each row."""
    other_columns: frozenset[str] = frozenset()
    """Names of what stands in the data beside texts and labels."""

    def with_train_rows(self, rows: np.ndarray) -> "LoadedTask":
        """The same task with only these rows of its train split."""
        train = take(self.splits["train"], rows)
        described = {**self.facts.splits, "train": _describe_split(train, self.facts.labels)}
        splits = DatasetDict({**self.splits, "train": train})
        groups = self.groups and {**self.groups, "train": self.groups["train"][rows]}
        overlap = count_task_overlaps(splits, groups)
        facts = self.facts.model_copy(update={"splits": described, "overlap": overlap})
        return replace(self, splits=splits, facts=facts, groups=groups)


def load_task(task: Task, folder: Path) -> LoadedTask:
    """Load, check and split the data of ``task``; relative paths start at ``folder``.

    Of a cross-validation its first fold, or the one that ``task.folds.only`` names. What is odd but
    possible, as a text that is there twice, is logged as a warning.

    Raises:
        UserError: if the data cannot be had or do not fit the task, naming split, rows and columns.
    """
    whole = load_whole(task, folder)
    return whole.split() if task.folds is None else whole.fold(task.folds.numbers[0])


@dataclass(frozen=True)
class WholeTask:
    """The data of a task with its train split in one piece."""

    task: Task
    splits: dict[str, Dataset]
    """With labels as `tables.labels_of` reads them."""
    groups: dict[str, np.ndarray] | None
    labels: list[str]
    kind: ProblemType
    revision: str | None
    left_out: dict[str, int] | None
    slice_columns: dict[str, dict[str, list[str]]]
    other_columns: frozenset[str]
    _told: list[int] = field(default_factory=list)
    """Fold of which oddities were logged: those of the others are alike."""

    def split(self) -> LoadedTask:
        """With a part of the train split held out, or as the data are split."""
        splits, groups = self.splits, self.groups
        if self.task.validation_size is not None:
            splits, groups = hold_out(splits, groups, self.task, self.labels)
        if isinstance(self.task.trial, Fold):
            splits, groups = part_of_train(splits, groups, self.task, self.task.trial)
        return self._finish(splits, groups, None)

    def fold(self, number: int) -> LoadedTask:
        """One fold is the validation, the others are the train split.

        Raises:
            UserError: if rows cannot be parted so.
        """
        folds = self.task.folds
        assert folds is not None
        whole = self.splits["train"]
        repeat, place = folds.place(number)
        own = self.groups["train"] if self.groups else None
        of_rows = fold_of_rows(labels_of(whole), own, self.task, self.labels, repeat)
        rows = {"train": of_rows != place, "validation": of_rows == place}
        numbers = {role: np.flatnonzero(are_in) for role, are_in in rows.items()}
        splits = {role: take(whole, own_rows) for role, own_rows in numbers.items()}
        groups = None if own is None else {role: own[those] for role, those in numbers.items()}
        facts = FoldData(
            number=number,
            folds=folds.folds,
            repeats=folds.repeats,
            whole=_describe_split(whole, self.labels),
        )
        return self._finish(splits, groups, facts)

    def _finish(
        self,
        splits: dict[str, Dataset],
        groups: dict[str, np.ndarray] | None,
        fold: FoldData | None,
    ) -> LoadedTask:
        task, labels = self.task, self.labels
        pa.default_memory_pool().release_unused()
        refuse_unknown_labels(splits, labels, task)
        class_weights(task, labels_of(splits["train"]), labels)  # refuses labels there are not
        if self.kind == "regression":
            refuse_constant_targets(splits, task)
        overlap = count_task_overlaps(splits, groups)
        is_silent = is_worker() or self._told or task.trial is not None
        if is_main_process() and not is_silent:
            names = [] if self.kind == "regression" else labels
            for oddity in _oddities(splits, names, overlap, self.left_out or {}, task):
                logger.warning("warning: %s: %s", task.source, oddity)
            self._told.append(fold.number if fold else 0)
        order = [role for role in ("train", "validation", "test") if role in splits]
        facts = TaskData(
            source=task.source,
            revision=self.revision,
            problem_type=self.kind,
            labels=labels,
            splits={role: _describe_split(splits[role], labels) for role in order},
            evaluation_split=order[-1],
            overlap=overlap,
            left_out=self.left_out,
            fold=fold,
        )
        slices: dict[str, dict[str, pa.Array]] = {
            role: slices_of(splits[role], task.slices, self.slice_columns) for role in order[1:]
        }
        found = DatasetDict({role: splits[role] for role in order})
        return LoadedTask(found, facts, groups, slices, self.other_columns)


def load_whole(task: Task, folder: Path) -> WholeTask:
    """As `load_task`, before a part of the train split is held out."""
    revision = resolve_revision(task.dataset_name, task.revision, "dataset", "task")
    source = load_source(task, folder, revision)
    kind = find_problem_type(task, source)
    splits = _choose_splits(task, source, kind)
    groups = number_groups(task, source, splits)
    feature = source[task.train_split].features[task.label_columns[0]]
    columns = slice_columns(task, source)
    every = {name for split in source.values() for name in split.column_names}
    others = frozenset(every.difference(task.text_columns, task.label_columns))
    del source  # the rows that are drawn from it are copies
    left_out = None
    if kind == "regression":
        labels = task.label_columns
    elif kind == "multi_label_classification":
        splits, labels, left_out = encode_label_sets(splits, feature, task)
    else:
        splits, groups, left_out = leave_out_rare_classes(splits, groups, task)
        splits, labels = encode_labels(splits, feature, task)
    splits, labels = name_classes(splits, labels, task)
    pa.default_memory_pool().release_unused()  # reading leaves half as much as it has read
    return WholeTask(task, splits, groups, labels, kind, revision, left_out, columns, others)


def _choose_splits(task: Task, source: dict[str, Dataset], kind: ProblemType) -> dict[str, Dataset]:
    """The splits that the task names, by what they are for."""
    wanted = {"train": task.train_split, "validation": task.validation_split}
    wanted |= {"test": task.test_split if task.trial is None else None}
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
        splits[role] = standard_columns(source[split], split, task, first, kind)
        if first is not None and kind == "single_label_classification":
            refuse_sorted_beginning(source[split][task.label_columns[0]][:], first, task)
    return splits


def _oddities(
    splits: dict[str, Dataset],
    labels: list[str],
    overlap: dict[str, Overlap],
    left_out: dict[str, int],
    task: Task,
) -> Iterator[str]:
    """What somebody should know of data that can be used all the same."""
    train = splits["train"]
    if left_out:
        rows, rare = sum(left_out.values()), _shown_names(list(left_out))
        yield (
            f"labels of fewer than {task.min_class_size} rows are taken from {rows:,} sets: {rare}"
            if isinstance(train.features["label"], List)
            else f"{rows:,} rows of classes with fewer than {task.min_class_size} rows are left "
            f"out: {rare}"
        )
    hashes = np.fromiter(map(hash, texts_of(train)), np.int64, len(train))  # texts take more
    distinct = np.unique(hashes)
    if repeated := len(train) - len(distinct):
        labelled = np.unique(np.stack([hashes, numbered(labels_of(train))]), axis=1)[0]
        contradicting = np.sum(np.unique_counts(labelled).counts > 1)
        yield (
            f"{repeated:,} of {len(train):,} training examples repeat the text of another; "
            f"texts with different labels: {contradicting:,}"
        )
    for role, split in splits.items():
        present = classes_in(labels_of(split))
        if absent := [name for number, name in enumerate(labels) if number not in present]:
            yield f"no {role} example has the label {_shown_names(absent)}"
    column_of = dict(zip(("text", "text_pair"), task.text_columns, strict=False))
    for role, counts in overlap.items():
        of_all = f"of {counts.examples:,} {role} examples have the"
        is_ours = role == "validation" and task.validation_split is None
        for part, number in (counts.parts or {}).items():
            if number and not has_few_values(Texts(train, part), len(labels)):
                advice = f"; `task.group_column: {column_of[part]}` keeps such rows together"
                yield (
                    f"{number:,} {of_all} {column_of[part]!r} of a training example, beside "
                    f"another text{advice if is_ours else ''}"
                )
        if counts.groups:
            yield f"{counts.groups:,} {of_all} {task.group_column!r} of a training example"


def _shown_names(names: list[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")


def _describe_split(split: Dataset, labels: list[str]) -> SplitData:
    values, common = labels_of(split), {"content_hash": _content_hash(split, labels)}
    if values.dtype.kind == "f":
        return SplitData(
            examples=len(split), label_counts={}, target=describe_targets(values), **common
        )
    if values.ndim == 2:
        sets, counts = np.unique(values, axis=0, return_counts=True)
        # the first of those that most rows have, the smallest sets first
        best = min(range(len(sets)), key=lambda n: (-counts[n], sets[n].sum(), n))
        return SplitData(
            examples=len(split),
            label_counts=dict(zip(labels, values.sum(0).tolist(), strict=True)),
            commonest_set=[labels[number] for number in np.flatnonzero(sets[best])],
            unlabelled=int((~values.any(1)).sum()),
            **common,
        )
    counted = Counter(values.tolist())
    return SplitData(
        examples=len(split),
        label_counts={name: counted[number] for number, name in enumerate(labels)},
        **common,
    )


def _content_hash(split: Dataset, labels: list[str]) -> str:
    """SHA-256 of what the examples say.

    `Dataset._fingerprint` would change with path and time of the file.
    """
    digest, encoder = hashlib.sha256(), json.JSONEncoder(sort_keys=True)
    feature = split.features["label"]
    for columns in split.iter(1000):  # all at once they would take several times the memory
        if isinstance(feature, ClassLabel):
            columns["label"] = [labels[number] for number in columns["label"]]
        elif isinstance(feature, List):
            columns["label"] = [list(compress(labels, row)) for row in columns["label"]]
        for values in zip(*columns.values(), strict=True):
            digest.update(encoder.encode(dict(zip(columns, values, strict=True))).encode())
    return digest.hexdigest()
