"""The splits of a data set of the Hub, or of a folder that is called like one."""

import csv
import re
import tempfile
from pathlib import Path

import datasets
import pyarrow as pa
from datasets import Dataset, DownloadConfig, DownloadManager
from datasets.packaged_modules.csv.csv import Csv, CsvConfig

from hfbench.data.delimited import read_delimited
from hfbench.data.files import DataFile
from hfbench.errors import UserError
from hfbench.recipe.task import Task
from hfbench.system.hub import user_errors

_SCRIPT = re.compile("scripts are no longer supported")
# What a data set's card may say of its CSV files that is heeded here, and what names and places it.
_HEEDED = {"sep", "delimiter", "names", "column_names", "na_values", "quoting", "encoding"}
_HEEDED |= {"name", "version", "data_dir", "data_files", "description"}


def load_named(task: Task, revision: str | None) -> dict[str, list[Dataset | pa.Table]]:
    """Split -> its parts; tables, where its files are CSV, which know no types but text.

    Raises:
        UserError: if it cannot be loaded.
    """
    name, where = str(task.dataset_name), f"task.dataset_name: {task.source}"
    with user_errors(where):
        if Path(name, datasets.config.DATASETDICT_JSON_FILENAME).is_file():
            return {split: [data] for split, data in datasets.load_from_disk(name).items()}
        if Path(name, datasets.config.DATASET_STATE_JSON_FILENAME).is_file():
            raise UserError(f"{where} is one split: name it by `data_files: {{train: {name}}}`")
        builder = _builder(task, revision)
        if _is_plain_csv(builder, task, revision):
            return _read_csv(builder, task, where)
        if given := task.reading_keys:
            raise UserError(f"task.{given[0]}: it is for csv and tsv files; {where} has none")
        builder.download_and_prepare()
        return {split: [data] for split, data in builder.as_dataset().items()}


def _builder(
    task: Task, revision: str | None, cache_dir: str | None = None
) -> datasets.DatasetBuilder:
    try:
        return datasets.load_dataset_builder(
            task.dataset_name, task.dataset_config, revision=revision, cache_dir=cache_dir
        )
    except RuntimeError as error:
        if revision and _SCRIPT.search(str(error)):
            raise UserError(
                f"task.dataset_name: {task.source} is a script ({error}); the Hub has a converted "
                "copy of many: give `revision: refs/convert/parquet`"
            ) from error
        raise


def _is_plain_csv(builder: datasets.DatasetBuilder, task: Task, revision: str | None) -> bool:
    """Whether nothing but text is in its files, and nothing is declared of their types."""
    if not isinstance(builder, Csv):
        return False
    plain = vars(CsvConfig())
    if any(
        value != plain[key] for key, value in vars(builder.config).items() if key not in _HEEDED
    ):
        return False
    # where the data set was read before, the builder has the types that were guessed then
    with tempfile.TemporaryDirectory() as empty:
        return _builder(task, revision, empty).info.features is None


def _read_csv(builder: Csv, task: Task, where: str) -> dict[str, list[Dataset | pa.Table]]:
    """By the recipe's keys, or where it has none by what the data set's card says."""
    config = builder.config
    card = {
        "sep": config.sep,
        "quoting": "none" if config.quoting == csv.QUOTE_NONE else None,
        "column_names": config.names,
        "na_values": [config.na_values] if isinstance(config.na_values, str) else config.na_values,
    }
    given = {key: value for key, value in card.items() if value and not getattr(task, key)}
    encoding = task.encoding or config.encoding
    manager = DownloadManager(
        dataset_name=builder.dataset_name,
        download_config=DownloadConfig(token=builder.token),
        base_path=builder.base_path,
    )
    splits: dict[str, list[Dataset | pa.Table]] = {}
    for split, names in (config.data_files or {}).items():
        splits[str(split)] = [
            read_delimited(
                DataFile(Path(path), f"{where}: {Path(name).name}", encoding),
                task.model_copy(update=given),
            )
            for name, path in zip(names, manager.download_and_extract(list(names)), strict=True)
        ]
    return splits
