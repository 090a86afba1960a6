"""Where a task's rows come from: a data set of the Hub, files, or hfbench itself."""

import mmap
import re
from pathlib import Path

import datasets
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset

from hfbench.data.builtin import sentiment
from hfbench.errors import UserError
from hfbench.recipe.schema import Task
from hfbench.system.hub import user_errors

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
