"""A task of the recipe -> splits with known columns: id, text (and text_pair), label."""

import hashlib
import json
import logging
import math
import mmap
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, DatasetDict
from datasets.utils.stratify import stratified_shuffle_split_generate_indices

from hfbench.data.builtin import sentiment
from hfbench.data.contamination import count_task_overlaps
from hfbench.errors import UserError, nearest
from hfbench.recipe.fields import shown
from hfbench.recipe.schema import Task
from hfbench.records.schema import SplitData, TaskData
from hfbench.system.hub import resolve_revision, user_errors
from hfbench.system.launch import is_main_process, is_worker

_LOADERS = {
    ".csv": ("csv", {}),
    ".tsv": ("csv", {"sep": "\t"}),
    ".json": ("json", {}),
    ".jsonl": ("json", {}),
    ".parquet": ("parquet", {}),
}
# `\ud83d\ude00` is one character that JSON writes as two halves; half of one is none
_HALF_CHARACTER = re.compile(
    rb"\\u[dD](?:[89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..\\u[dD])[c-fC-F]..)"
)

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
    source = _load_source(task, folder, revision)
    wanted = {"train": task.train_split, "validation": task.validation_split}
    wanted |= {"test": task.test_split}
    splits = {}
    for role, split in wanted.items():
        if split is None:
            continue
        key = f"task.{role}_split"
        if split not in source:
            known = ", ".join(source)
            raise UserError(
                f"{key}: {task.source} has no split {split!r}{nearest(split, source)} "
                f"(splits: {known})"
            )
        first = task.first if role == "train" else None
        splits[role] = _standard_columns(source[split], split, task, first)
    feature = source[task.train_split].features[task.label_column]
    splits, labels = _encode_labels(splits, feature, task)
    if task.validation_size is not None:
        splits = _hold_out_validation(splits, task, labels)
    _check_classes(splits, labels, task)
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


def _load_source(task: Task, folder: Path, revision: str | None) -> dict[str, Dataset]:
    if task.builtin:
        generated = sentiment.splits()
        return {
            split: Dataset.from_dict(
                {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
            ).cast_column("label", ClassLabel(names=list(sentiment.LABELS)))
            for split, rows in generated.items()
        }
    if task.dataset_name:
        with user_errors(f"task.dataset_name: {task.source}"):
            return dict(
                datasets.load_dataset(task.dataset_name, task.dataset_config, revision=revision)
            )
    assert task.data_files is not None
    return {
        split: _load_file(folder / name, f"task.data_files.{split}")
        for split, name in task.data_files.items()
    }


def _load_file(path: Path, key: str) -> Dataset:
    suffix = path.suffix.lower()
    if suffix not in _LOADERS:
        raise UserError(f"{key}: {str(path)!r} must end in one of {', '.join(_LOADERS)}")
    loader, options = _LOADERS[suffix]
    with user_errors(f"{key}: {path}"):
        with path.open("rb") as file:
            if not file.read(1 << 16).strip():
                raise UserError(f"{key}: {path} is empty")
            if loader == "json":
                _refuse_half_characters(file.fileno(), f"{key}: {path}")
        found = _load_rows(loader, path, options)
        if found is None:
            raise UserError(f"{key}: {path} has no examples")
        return found


def _load_rows(loader: str, path: Path, options: dict[str, str]) -> Dataset | None:
    """What is in the file; None if it has no row, which `load_dataset` takes for a failure."""
    if loader == "parquet" and pq.read_metadata(path).num_rows == 0:
        return None
    builder = datasets.load_dataset_builder(loader, data_files=str(path), **options)
    builder.download_and_prepare()
    if builder.info.splits["train"].num_examples == 0:
        return None
    return builder.as_dataset(split="train")


def _refuse_half_characters(file: int, where: str) -> None:
    """Of some kinds of JSON files datasets would leave them out and say nothing."""
    with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as data:
        for match in _HALF_CHARACTER.finditer(data):
            before = data[max(0, match.start() - 100) : match.start()]
            if (len(before) - len(before.rstrip(b"\\"))) % 2 == 0:  # else the backslash is text
                raise UserError(
                    f"{where}: byte {match.start()}: {match[0].decode('latin-1')!r} is half a "
                    "character (a lone surrogate); remove it or write the whole character"
                )


def _standard_columns(source: Dataset, split: str, task: Task, first: int | None) -> Dataset:
    """Columns id, text, (text_pair,) label, from whatever they were called."""
    names = ["text", "text_pair"][: len(task.text_columns)]
    keys = dict.fromkeys(task.text_columns, "task.text_column")
    for column, key in {**keys, task.label_column: "task.label_column"}.items():
        if column not in source.column_names:
            known = ", ".join(source.column_names)
            raise UserError(
                f"{key}: split {split!r} of {task.source} has no column {column!r}"
                f"{nearest(column, source.column_names)} (columns: {known})"
            )
    if first is not None:
        if first > len(source):
            raise UserError(f"task.first: {first} rows wanted, split {split!r} has {len(source)}")
        source = source.select(range(first))
    if len(source) == 0:
        raise UserError(f"{task.source}: split {split!r} is empty")
    columns: dict[str, Any] = {"id": [f"{split}/{row}" for row in range(len(source))]}
    for name, column in zip(names, task.text_columns, strict=True):
        columns[name] = _read_column(source, column, f"task.text_column: split {split!r}")
        _check_texts(columns[name], split, column, task)
    columns["label"] = _read_column(source, task.label_column, f"task.label_column: {split!r}")
    feature = source.features[task.label_column]
    if isinstance(feature, ClassLabel):
        _check_class_numbers(columns["label"], feature, split, task)
        columns["label"] = [feature.int2str(label) for label in columns["label"]]
    _check_labels(columns["label"], split, task)
    return Dataset.from_dict(columns)


def _read_column(source: Dataset, column: str, where: str) -> list[Any]:
    with user_errors(f"{where}: column {column!r}"):  # bytes that are no UTF-8 show here
        return source[column][:]  # `list` would read row by row: 100 times as long


def _check_texts(texts: list[Any], split: str, column: str, task: Task) -> None:
    where = f"task.text_column: {task.source}"
    for row, text in enumerate(texts):
        if text is not None and not isinstance(text, str):
            raise UserError(
                f"{where}: row {row} of split {split!r} has {shown(text)} in column {column!r}, "
                f"of type {type(text).__name__}; a text is wanted"
            )
    bad = [row for row, text in enumerate(texts) if text is None or not text.strip()]
    if bad:
        raise UserError(
            f"{where}: {len(bad)} of {len(texts)} rows of split {split!r} have an empty text or "
            f"none in column {column!r} ({_first(bad)}); remove these rows{_none_in_csv(task)}"
        )


def _first(rows: list[int]) -> str:
    """The numbers of the first few rows."""
    return f"rows {', '.join(map(str, rows[:5]))}{', ...' if len(rows) > 5 else ''}"


def _none_in_csv(task: Task) -> str:
    files = (task.data_files or {}).values()
    is_csv = any(file.lower().endswith((".csv", ".tsv")) for file in files)
    return " (in CSV a bare NA, nan, null or None means none, too)" if is_csv else ""


def _check_class_numbers(labels: list[Any], feature: ClassLabel, split: str, task: Task) -> None:
    bad = [label for label in labels if label is None or not 0 <= label < feature.num_classes]
    if bad:
        raise UserError(
            f"task.label_column: {task.source}: {len(bad)} of {len(labels)} rows of split "
            f"{split!r} have the label {bad[0]} in column {task.label_column!r}, whose classes "
            f"are 0 to {feature.num_classes - 1} ({', '.join(feature.names)}); a split without "
            "labels (as GLUE's test) cannot be evaluated"
        )


def _check_labels(labels: list[Any], split: str, task: Task) -> None:
    where, column = f"task.label_column: {task.source}", f"column {task.label_column!r}"
    missing = [row for row, label in enumerate(labels) if _is_missing(label)]
    if missing:
        found = labels[missing[0]]
        raise UserError(
            f"{where}: {len(missing)} of {len(labels)} rows of split {split!r} have no label in "
            f"{column} ({_first(missing)}; the first has {found!r}, which means none); remove "
            f"these rows{_none_in_csv(task)}"
        )
    for row, label in enumerate(labels):
        if not isinstance(label, (str, int)) or (isinstance(label, str) and "\n" in label):
            raise UserError(
                f"{where}: row {row} of split {split!r} has the label {shown(label)} in {column}; "
                "a label is a class name in one line or a whole number"
            )
    _refuse_mixed_labels(labels, task)


def _is_missing(label: Any) -> bool:
    if isinstance(label, str):
        return not label.strip()
    return label is None or label == -1 or (isinstance(label, float) and math.isnan(label))


def _refuse_mixed_labels(labels: Iterable[Any], task: Task) -> None:
    if len({isinstance(label, str) for label in labels}) > 1:
        raise UserError(f"task.label_column: {task.source} mixes names and numbers as labels")


def _refuse_two_spellings(counts: Counter[str], task: Task) -> None:
    """Nobody means "Pos" and "pos" for two classes; a ClassLabel's names are declared so."""
    names: dict[str, str] = {}
    for name in sorted(counts):
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        other = names.setdefault(plain, name)
        if other != name:
            raise UserError(
                f"task.label_column: {task.source}: the labels {other!r} ({counts[other]:,} rows) "
                f"and {name!r} ({counts[name]:,}) differ in case, white space or the encoding of "
                "accents only; write them alike"
            )


def _encode_labels(
    splits: dict[str, Dataset], feature: Any, task: Task
) -> tuple[dict[str, Dataset], list[str]]:
    """Labels as indices into one list of names: that of all splits together.

    The order is that of the ClassLabel, if the column is one, else alphabetical or numerical.
    """
    values = Counter(label for split in splits.values() for label in split["label"][:])
    _refuse_mixed_labels(values, task)
    if not isinstance(feature, ClassLabel) and isinstance(next(iter(values)), str):
        _refuse_two_spellings(values, task)
    ordered = sorted(values, key=feature.str2int if isinstance(feature, ClassLabel) else None)
    names = [str(value) for value in ordered]
    if len(names) < 2:
        raise UserError(
            f"task.label_column: {task.source} has only the label {names[0]!r}; "
            "a comparison needs two or more"
        )
    numbers = {value: number for number, value in enumerate(ordered)}
    encoded = {}
    for role, split in splits.items():
        label = [numbers[value] for value in split["label"][:]]
        split = split.remove_columns("label")
        encoded[role] = split.add_column("label", label).cast_column(
            "label", ClassLabel(names=names)
        )
    return encoded, names


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


def _check_classes(splits: dict[str, Dataset], labels: list[str], task: Task) -> None:
    trained = set(splits["train"]["label"][:])
    for role, split in splits.items():
        if unknown := sorted(set(split["label"][:]) - trained):
            raise UserError(
                f"task.label_column: {task.source}: label {labels[unknown[0]]!r} is in the {role} "
                "examples but in none of the training examples, so that no model can learn it"
            )


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
    columns = split[:]
    columns["label"] = [labels[number] for number in columns["label"]]
    for values in zip(*columns.values(), strict=True):
        digest.update(encoder.encode(dict(zip(columns, values, strict=True))).encode())
    return digest.hexdigest()
