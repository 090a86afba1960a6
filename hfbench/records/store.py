"""Records on the disk: written whole or not at all, and read as if they came from anybody."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic_core import from_json

from hfbench.errors import RecordError, StorageError, UserError
from hfbench.recipe.schema import FOLDERS, TUNING
from hfbench.records.packed import PREDICTIONS, RECORDS, Packed
from hfbench.records.record_file import (
    WHAT_TO_DO,
    as_json,
    load_record,
    parse,
    read_file,
    refuse_link,
)
from hfbench.records.schema import WEIGHT_FILES, Compared, Record, TrainedRecord
from hfbench.system.files import atomic, clear_unfinished, replace_folder, writing
from hfbench.system.garbage import no_garbage_collection
from hfbench.system.hashes import hash_file, hash_files
from hfbench.system.locks import clear, hold, wait_for

if TYPE_CHECKING:
    import pyarrow as pa


logger = logging.getLogger(__name__)

_OTHERS = FOLDERS - {TUNING}
_DEEPEST = 4
"""<recipe>/<task>/tuning/<fold>"""


class ResultsFolder:
    """The results of one recipe on the disk. What lies where is known here alone.

    ``records/`` has a record for each cell with its predictions beside it, or else they are packed
    in ``records.parquet`` and ``predictions.parquet`` (`packed`); ``models/`` has the weights
    that are kept, ``runs/`` what a Trainer writes while it trains, ``features/`` what probes read,
    which may be removed, ``locks/`` who runs which cell, ``push/`` what is about to be published,
    ``tuning/`` is as this one and has the trials; ``asked.json`` is what was asked, and when.
    """

    def __init__(self, path: Path) -> None:
        """``<results>/<recipe>``, which may not exist yet."""
        self.path = path

    @property
    def name(self) -> str:
        """The recipe's."""
        return self.path.name

    def refuse_links(self) -> None:
        """Nothing outside of the folder is written or removed because of what is in it.

        Raises:
            RecordError: if a link stands where what runs writes, or clears up.
        """
        for name in (*sorted(FOLDERS), self.log.name):
            refuse_link(self.path / name)

    def of_task(self, task: str | None) -> "ResultsFolder":
        """That of one of several tasks, which is as complete as any; None: this one."""
        return ResultsFolder(self.path / task) if task else self

    @property
    def tasks(self) -> "list[ResultsFolder]":
        """Those of its tasks, where a recipe has several; else empty.

        A folder that holds those of several recipes has none: its records name other recipes.
        """
        if self.holds_records():
            return []
        paths = [path for path in sorted(self.path.glob("*")) if path.name != TUNING]
        below = [ResultsFolder(path) for path in paths]
        return [folder for folder in below if folder.holds_records() and folder.is_of_a_task()]

    @property
    def tuning(self) -> "list[ResultsFolder]":
        """Those of the trials by which settings were chosen, one or one a fold; else empty."""
        path = self.path / TUNING
        folders = [ResultsFolder(path), *map(ResultsFolder, sorted(path.glob("fold-*")))]
        return [folder for folder in folders if folder.holds_records()]

    def holds_records(self) -> bool:
        """Whether records are or were here, whatever became of them."""
        return self.records.is_dir() or (self.path / RECORDS).exists()

    def is_of_a_task(self) -> bool:
        """Whether its records are of one of several tasks, as far as one of them can be read."""
        for stem in self.stems:
            with suppress(OSError, ValueError, RecordError):
                record = self.record(stem)
                return record is not None and "/" in record.recipe
        return False

    @property
    def records(self) -> Path:
        """The folder of all records."""
        return self.path / "records"

    @property
    def asked_path(self) -> Path:
        """Of what was asked, and when; see `records.asked`."""
        return self.path / "asked.json"

    @property
    def packed(self) -> Packed | None:
        """The packed records, if they are.

        Raises:
            RecordError: if they cannot be read.
        """
        paths = [self.path / name for name in (RECORDS, PREDICTIONS)]
        for path in paths:
            refuse_link(path)
        found = [path.stat() if path.exists() else None for path in paths]
        if found[0] is None:
            return None
        return _packed(self.path, *((one.st_mtime_ns, one.st_size) for one in found if one))

    @property
    def stems(self) -> list[str]:
        """The names of all records."""
        if self.packed:
            return self.packed.stems
        # hidden ones are what systems leave beside files
        paths = [path for path in self.records.glob("*.json") if not path.name.startswith(".")]
        return [path.stem for path in sorted(paths, key=lambda path: path.name)]

    def count_finished(self) -> int:
        """Runs that have a result."""
        if self.packed:
            return len(self.packed.finished)
        return len(list(self.records.glob("*.parquet")))

    def record_path(self, stem: str) -> Path:
        """Of the record with this name."""
        return self.records / f"{stem}.json"

    def predictions_path(self, record: Compared) -> Path:
        """Of a record's predictions."""
        return self.records / record.predictions

    def weights(self, stem: str) -> Path:
        """The folder of a cell's weights, if they are kept."""
        return self.path / "models" / stem

    def run(self, stem: str) -> Path:
        """Where a cell's Trainer writes while it trains.

        Raises:
            RecordError: if it is a link.
        """
        path = self.path / "runs" / stem
        refuse_link(path)
        return path

    def features(self, key: str) -> Path:
        """Features of a split that networks computed, by the hash of all that decides them."""
        return self.path / "features" / f"{key}.safetensors"

    @property
    def log(self) -> Path:
        """What was said of each start in which a cell ran."""
        return self.path / "hfbench.log"

    @property
    def tensorboard(self) -> Path:
        """A folder for each cell, of what it told TensorBoard."""
        return self.path / "tensorboard"

    def push(self, name: str) -> Path:
        """What is about to be published under this name."""
        self.refuse_links()
        return self.path / "push" / name

    def lock(self, stem: str) -> AbstractContextManager[bool]:
        """Whether this process, and no other, has the cell until the end; see `locks.hold`.

        Raises:
            RecordError: as `refuse_links`.
        """
        self.refuse_links()
        return hold(self._lock_path(stem))

    def alone(self, task: str) -> AbstractContextManager[None]:
        """Wait until no other process does ``task`` here, and let none until the end.

        Raises:
            RecordError: as `refuse_links`.
        """
        self.refuse_links()
        return wait_for(self._lock_path(f"--{task}"))  # no cell is called so

    def write_pages(self, texts: Mapping[str, str]) -> list[Path]:
        """Write what is made of the records, by file names; gives the paths.

        Raises:
            RecordError: as `refuse_links`.
            StorageError: if one cannot be written.
        """
        pages = {self.path / name: text for name, text in texts.items()}
        with self.alone("pages"):
            for path, text in pages.items():
                clear_unfinished(path)
                with atomic(path) as temporary:
                    temporary.write_text(text, encoding="utf-8", newline="\n")
        with writing(str(self.path)):
            clear(self.path / "locks")
        return [*pages]

    def refuse_if_gone(self, stem: str) -> None:
        """Refuse to write the result of a cell whose lock is held, and is not here any more.

        Raises:
            StorageError: if the folder was moved or removed; else its results would be parted.
        """
        if not self._lock_path(stem).exists():
            raise StorageError(
                f"{self.path} was moved or removed while {stem} ran: move it back, and the same "
                "command goes on"
            )

    def _lock_path(self, stem: str) -> Path:
        return self.path / "locks" / f"{stem}.lock"

    def tidy(self) -> None:
        """Remove what only served while cells ran: locks that nobody holds, empty run folders."""
        self.refuse_links()
        runs = self.path / "runs"
        with writing(str(self.path)):  # a disk that fails at the very last is told, too
            for run in sorted(runs.glob("*")):
                with self.lock(run.name) as is_ours:
                    if is_ours:  # else a cell may just have made it, and is about to write there
                        _remove_empty(run)
            clear(self.path / "locks")
        if not self.running():
            with suppress(OSError):
                runs.rmdir()

    def running(self) -> list[str]:
        """The cells that some process holds now."""
        self.refuse_links()
        held = []
        for path in sorted((self.path / "locks").glob("*.lock")):
            with hold(path) as is_ours:
                held += [] if is_ours else [path.stem]
        return held

    def record(self, stem: str) -> Record | None:
        """The record that stands under this name.

        Raises:
            RecordError: if it cannot be read.
        """
        if self.packed:
            return self.packed.record(stem)
        return load_record(self.record_path(stem)) if self.has_record(stem) else None

    def has_record(self, stem: str) -> bool:
        """Whether one stands under this name, be it readable or not.

        Raises:
            RecordError: if records are packed and cannot be read at all.
        """
        if self.packed:
            return stem in self.packed.stems
        path = self.record_path(stem)
        return path.exists() or path.is_symlink()  # also one that leads nowhere

    def has_predictions(self, record: Compared) -> bool:
        """Whether there are any for it; whether they are those, reading tells."""
        if self.packed:
            return record.stem in self.packed.finished
        return self.predictions_path(record).is_file()

    def has_weights_of(self, record: TrainedRecord) -> bool:
        """Whether the weights are there that were saved with ``record``, to the last bit."""
        path = self.weights(record.stem)
        return path.is_dir() and hash_files(path, WEIGHT_FILES) == record.saved_weights

    def lacks_weights_of(self, record: TrainedRecord) -> str | None:
        """What shows at a glance to be missing of its weights; None if nothing does.

        Not all of them are read, which of many models would take minutes: `has_weights_of`.
        """
        path = self.weights(record.stem)
        files = sorted(path.glob("*.safetensors")) if path.is_dir() else []
        if not files:
            return f"lost its weights: models/{record.stem}"
        for file in files:
            if not _is_whole(file):
                return f"has weights that were cut: models/{record.stem}/{file.name}"
        return None

    def keep(
        self,
        record: Record,
        predictions: "pa.Table | None" = None,
        save_model: Callable[[Path], None] | None = None,
    ) -> Path:
        """Write what came of a cell: its weights, its predictions, its record last.

        Each appears whole or not at all, so that where there is a record all else is complete. What
        stood there for the same cell is moved to ``superseded/`` and not lost.

        Args:
            record: of the cell.
            predictions: its table of predictions, if it has one.
            save_model: writes the weights to a folder, if they are kept.

        Returns:
            The record's path.

        Raises:
            StorageError: if the disk is full, or whatever else prevents it.
        """
        assert not self.packed  # where it counts, what is written in records/ does not
        with writing(f"the result of {record.stem}"):
            if save_model and isinstance(record, TrainedRecord):
                weights = self.weights(record.stem)
                replace_folder(weights, save_model)
                changes = {"saved_weights": hash_files(weights, WEIGHT_FILES)}
                record = record.model_copy(update=changes)
            path = self.record_path(record.stem)
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                self.supersede(record.stem)
            if predictions is not None:
                write_predictions(predictions, path.with_suffix(".parquet"))
                changes = {"predictions_hash": hash_file(path.with_suffix(".parquet"))}
                record = record.model_copy(update=changes)
            with atomic(path) as temporary:
                temporary.write_text(as_json(record), encoding="utf-8")
        return path

    def supersede(self, stem: str) -> None:
        """Move a record and its predictions to ``superseded/``, under the time of its start."""
        refuse_link(self.records / "superseded")
        path = self.record_path(stem)
        started = load_record(path).started.replace(":", "")
        attic, number = self.records / "superseded" / started, 1
        while (attic / path.name).exists():  # of a clock that was set back
            number += 1
            attic = attic.with_name(f"{started}-{number}")
        attic.mkdir(parents=True, exist_ok=True)
        # the record goes first: predictions without one count for nothing, the reverse is an error
        for file in (path, path.with_suffix(".parquet")):
            if file.exists():
                file.rename(attic / file.name)

    def set_record_aside(self, stem: str) -> Path:
        """Give a record that cannot be read, and its predictions, another name; that of the first.

        Such a record counts for nothing, but may be of use to a person.
        """
        path = self.record_path(stem)
        attic, number = self.records / "damaged", 1
        while (attic / path.name).exists():
            number += 1
            attic = attic.with_name(f"damaged-{number}")
        attic.mkdir(exist_ok=True)
        for file in (path, path.with_suffix(".parquet")):
            if file.exists() or file.is_symlink():
                file.rename(attic / file.name)
        return attic / path.name

    def set_weights_aside(self, stem: str) -> Path:
        """Give weights that are not what was saved another name, which is returned."""
        weights = self.weights(stem)
        taken = len(list(weights.parent.glob(f"{stem}.damaged*")))
        aside = f"{stem}.damaged" + (f"-{taken}" if taken else "")
        return weights.rename(weights.with_name(aside))

    def clear_unfinished(self, stem: str) -> None:
        """Remove what processes left that were killed while they wrote this cell's result.

        Of all cells where ``stem`` is ``*``. To be called where no other process may be writing it.
        """
        for ending in (".json", ".parquet"):
            clear_unfinished(self.records / f"{stem}{ending}")


def _remove_empty(run: Path) -> None:
    for folder in sorted(run.glob("**/"), reverse=True):  # the inner ones first
        with suppress(OSError):  # not empty: what a run left there stays
            folder.rmdir()


@lru_cache(maxsize=1)
def _packed(folder: Path, *state: tuple[int, int]) -> Packed:
    """Read once, as long as the files are what they were: every model of a table asks."""
    return Packed(folder)


@dataclass(frozen=True)
class Location:
    """Where a record stands, of whichever recipe."""

    folder: ResultsFolder
    stem: str
    recipe: str
    """Its name, and that of the task where it has several: ``<recipe>/<task>``."""

    def __str__(self) -> str:
        return f"{self.recipe}/{self.stem}"


def find_finished(results: Path) -> dict[str, list[Location]]:
    """Cell id -> where finished records of it stand, of all recipes below ``results``."""
    found: dict[str, list[Location]] = {}
    for folder in folders_below(results):
        # whatever cannot be read is no result for us, and another recipe's to complain of
        with suppress(RecordError):
            for stem, cell_id in _finished(folder):
                recipe = folder.path.relative_to(results).as_posix()
                found.setdefault(cell_id, []).append(Location(folder, stem, recipe))
    return found


def folders_below(results: Path) -> list[ResultsFolder]:
    """Those of the recipes below ``results``, of their tasks and trials, that hold records."""
    found, level = list[ResultsFolder](), [results]
    for _ in range(_DEEPEST):
        level = [
            path
            for folder in level
            for path in sorted(folder.glob("*"))
            if path.name not in _OTHERS and path.is_dir()
        ]
        found += [ResultsFolder(path) for path in level if ResultsFolder(path).holds_records()]
    return found


def _finished(folder: ResultsFolder) -> Iterator[tuple[str, str]]:
    """Stem and cell id of each finished record, as far as they can be read."""
    if packed := folder.packed:
        yield from packed.finished.items()
        return
    for stem in folder.stems:
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            content = parse(read_file(folder.record_path(stem)))
            if content["status"] == "finished":
                yield stem, content["cell_id"]


def _is_whole(file: Path) -> bool:
    """Whether a safetensors file is as long as it says: the length of its header, the header."""
    size = file.stat().st_size
    with file.open("rb") as content:
        length = int.from_bytes(content.read(8), "little")
        if not 2 <= length <= size - 8:
            return False
        try:
            header = from_json(content.read(length))
        except ValueError:
            return False
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return size == 8 + length + max(ends, default=0)


def write_predictions(predictions: "pa.Table", path: Path) -> None:
    """Write the predictions of a record to a file of their own."""
    import pyarrow.parquet as pq

    with atomic(path) as temporary:
        # of so few rows as are evaluated, these are the smallest files and the fastest to read
        pq.write_table(
            predictions, temporary, compression="snappy", use_dictionary=["split"],
            write_statistics=False, store_schema=False,
        )  # fmt: skip


def load_records(results: str | Path) -> list[Record]:
    """All records of a results folder, in the order of their file names.

    Raises:
        UserError: if there are none.
        RecordError: if one cannot be read, or says of itself that it is another.
    """
    folder = ResultsFolder(Path(results))
    if packed := folder.packed:
        with no_garbage_collection():
            return [record for stem in packed.stems if (record := packed.record(stem))]
    refuse_link(folder.records)
    paths = [folder.record_path(stem) for stem in folder.stems]
    if not paths:
        if tasks := folder.tasks:
            names = ", ".join(str(task.path) for task in tasks)
            raise UserError(f"{results}: holds the results of several tasks; name one: {names}")
        raise UserError(f"{results}: no records here (looked for {folder.records / '*.json'})")
    with no_garbage_collection():
        records = {path: load_record(path) for path in paths}
    for path, record in list(records.items()):
        if record.stem == path.stem:
            continue
        if records.get(path.with_stem(record.stem)) != record:
            raise RecordError(f"{path}: is the record of {record.stem}; {WHAT_TO_DO}")
        logger.warning("warning: %s: is a copy of %s.json; it is left out", path, record.stem)
        del records[path]
    return list(records.values())
