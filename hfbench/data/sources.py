"""Where a task's rows come from: a data set of the Hub, files, or hfbench itself."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset

from hfbench.data.builtin import sentiment
from hfbench.data.delimited import read_delimited
from hfbench.data.files import PACKED, DataFile, find_files
from hfbench.data.json_rows import read_json
from hfbench.data.labels import whole_number
from hfbench.data.named import load_named
from hfbench.data.tables import in_memory
from hfbench.errors import UserError
from hfbench.recipe.task import Task
from hfbench.system.hub import user_errors

_DELIMITED = (".csv", ".tsv")
_DECIMAL = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_ENDINGS = (*_DELIMITED, ".json", ".jsonl", ".parquet")


def load_source(task: Task, folder: Path, revision: str | None) -> dict[str, Dataset]:
    """The splits that there are, by name, with their columns as they came.

    Args:
        task: of the recipe.
        folder: where relative paths of ``task.data_files`` start.
        revision: the commit of a data set of the Hub, as `hub.resolve_revision` gave it.

    Raises:
        UserError: naming the key of the recipe, if they cannot be read or have no rows.
    """
    if task.builtin:
        generated = sentiment.splits()
        return {
            split: Dataset.from_dict(
                {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
            ).cast_column("label", ClassLabel(names=list(sentiment.LABELS)))
            for split, rows in generated.items()
        }
    if task.dataset_name:
        parts = load_named(task, revision)
    else:
        parts = _load_files(find_files(task, folder), task)
    if isinstance(task.label_column, list):  # of 0 and 1, which are read as they stand
        return {
            split: _joined([_dataset(part, "", None) for part in found], split)
            for split, found in parts.items()
        }
    numbers = _numbers_for_words(parts, task)
    return {
        split: _joined([_dataset(part, task.label_column, numbers) for part in found], split)
        for split, found in parts.items()
    }


def _load_files(
    splits: dict[str, list[DataFile]], task: Task
) -> dict[str, list[Dataset | pa.Table]]:
    every = [file for files in splits.values() for file in files]
    if task.reading_keys and not any(_is_delimited(file, task) for file in every):
        raise UserError(
            f"task.{task.reading_keys[0]}: it is for csv and tsv files, and data_files has none"
        )
    return {split: [_load_one(file, task) for file in files] for split, files in splits.items()}


def load_columns(file: DataFile, task: Task) -> dict[str, list[Any]]:
    """Column -> its values, of a file that is no split of ``task``; of csv and tsv words.

    Args:
        file: a csv, tsv, json, jsonl or parquet file.
        task: says how csv and tsv files are read.

    Raises:
        UserError: if it cannot be read, or has no rows.
    """
    if file.path.is_dir():
        raise UserError(f"{file.where} is a folder, and a file is wanted")
    found = _load_one(file, task, any_columns=True)
    with user_errors(file.where):  # bytes that are no UTF-8 show here
        if isinstance(found, pa.Table):
            return {name: found[name].to_pylist() for name in found.column_names}
        return {name: found[name][:] for name in found.column_names}


def _load_one(file: DataFile, task: Task, *, any_columns: bool = False) -> Dataset | pa.Table:
    """What is in a file or folder; a table, if it has no types but text."""
    read = _reader(file, task, any_columns)
    with user_errors(file.where):
        if not file.path.is_dir():
            with file.open_bytes() as content:
                if not content.read(1 << 16).strip():
                    raise UserError(f"{file.where} is empty")
        found = read(file, task)
    if found is None or found.num_rows == 0 or not found.column_names:
        raise UserError(f"{file.where} has no examples")
    return found


def _reader(
    file: DataFile, task: Task, any_columns: bool
) -> Callable[[DataFile, Task], Dataset | pa.Table | None]:
    if file.path.is_dir():
        return _load_folder
    if _is_delimited(file, task):
        return partial(read_delimited, any_columns=any_columns)
    if file.ending in (".json", ".jsonl"):
        return read_json
    if file.ending == ".parquet" and not file.is_packed:
        return _load_parquet
    raise UserError(
        f"{file.key}: {str(file.path)!r} must end in one of {', '.join(_ENDINGS)} (all but the "
        f"last also with {', '.join(PACKED)}); for a table of text that is called otherwise give "
        "`sep`"
    )


def _is_delimited(file: DataFile, task: Task) -> bool:
    return file.ending in _DELIMITED or (task.sep is not None and file.ending not in _ENDINGS)


def _load_parquet(file: DataFile, task: Task) -> Dataset | None:
    """None if it has no row, which `load_dataset` takes for a failure."""
    if pq.read_metadata(file.path).num_rows == 0:
        return None
    builder = datasets.load_dataset_builder("parquet", data_files=str(file.path))
    builder.download_and_prepare()
    return builder.as_dataset(split="train")


def _load_folder(file: DataFile, task: Task) -> Dataset | pa.Table:
    """What `save_to_disk` wrote, or the texts of a folder for each class."""
    if (file.path / datasets.config.DATASET_STATE_JSON_FILENAME).is_file():
        return datasets.load_from_disk(file.path)
    texts = sorted(file.path.glob("[!.]*/*.txt"))
    if not texts:
        raise UserError(
            f"{file.where} is a folder which neither save_to_disk wrote as one split nor has a "
            "folder of .txt files for each class"
        )
    columns: dict[str, list[str]] = {"text": [], "label": []}
    for path in texts:
        with DataFile(path, file.key, file.encoding).open_text("") as text:
            columns["text"].append(text.read())
        columns["label"].append(path.parent.name)
    return pa.table(columns)


def _numbers_for_words(
    parts: dict[str, list[Dataset | pa.Table]], task: Task
) -> dict[str, int] | dict[str, float] | None:
    """The number for each label of files that know no types; None unless all are numbers.

    Numbers with fractions are those of a regression, unless the recipe says that they are names.
    All splits are asked together, so that a class is not a word in one and a number in another.
    """
    tables = [part for found in parts.values() for part in found if isinstance(part, pa.Table)]
    words: set[str] = set()
    for table in tables:
        if task.label_column in table.column_names:
            words.update(table[task.label_column].drop_null().unique().to_pylist())
    whole = {word: number for word in words if (number := whole_number(word)) is not None}
    if len(whole) == len(words):
        return whole
    numbers = {word: float(word) for word in words if _DECIMAL.fullmatch(word)}
    if len(numbers) < len(words) or all(number.is_integer() for number in numbers.values()):
        return None
    return numbers if task.said_problem_type in (None, "regression") else None


def _dataset(
    part: Dataset | pa.Table,
    label_column: str,
    numbers: dict[str, int] | dict[str, float] | None,
) -> Dataset:
    if isinstance(part, Dataset):
        return part
    if numbers and label_column in part.column_names:
        are_whole = all(isinstance(number, int) for number in numbers.values())
        of_numbers = pa.int64() if are_whole else pa.float64()
        labels = [
            pa.array([word and numbers[word] for word in chunk.to_pylist()], of_numbers)
            for chunk in part[label_column].chunks
        ]
        place = part.column_names.index(label_column)
        part = part.set_column(place, label_column, pa.chunked_array(labels, of_numbers))
    return in_memory(part)


def _joined(parts: list[Dataset], split: str) -> Dataset:
    with user_errors(f"task.data_files.{split}: these files together"):
        for part in parts[1:]:
            if set(part.column_names) != set(parts[0].column_names):
                raise UserError(
                    f"task.data_files.{split}: its files have other columns: "
                    f"{', '.join(parts[0].column_names)}; {', '.join(part.column_names)}"
                )
        return datasets.concatenate_datasets(parts) if len(parts) > 1 else parts[0]
