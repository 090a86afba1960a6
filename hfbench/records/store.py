"""Records on the disk: written whole or not at all, and read as if they came from anybody."""

import gc
import hashlib
import json
import logging
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from hfbench.errors import DamagedRecordError, RecordError, UserError
from hfbench.records.identity import upgrade
from hfbench.records.schema import (
    SCHEMA_BEFORE,
    SCHEMA_VERSION,
    WEIGHT_FILES,
    Compared,
    Record,
    TrainedRecord,
    record_class,
)
from hfbench.system.files import atomic, clear_unfinished, replace_folder, writing
from hfbench.system.hashes import hash_file, hash_files
from hfbench.system.locks import hold

if TYPE_CHECKING:
    import pyarrow as pa


logger = logging.getLogger(__name__)

WHAT_TO_DO = "restore it from a copy, or move it away and run its recipe again"
"""With a record that cannot be used."""

MOST_BYTES = 64_000_000
"""Of a record: one of a thousand classes and an evaluation at each of 10,000 steps has less."""


class ResultsFolder:
    """The results of one recipe on the disk. What lies where is known here alone.

    ``records/`` has a record for each cell with its predictions beside it, ``models/`` the weights
    that are kept, ``runs/`` what a Trainer writes while it trains, ``locks/`` who runs which cell,
    ``push/`` what is about to be published; ``asked.json`` is what was asked, and when.
    """

    def __init__(self, path: Path) -> None:
        """``<results>/<recipe>``, which may not exist yet."""
        self.path = path

    @property
    def name(self) -> str:
        """The recipe's."""
        return self.path.name

    def of_task(self, task: str | None) -> "ResultsFolder":
        """That of one of several tasks, which is as complete as any; None: this one."""
        return ResultsFolder(self.path / task) if task else self

    @property
    def tasks(self) -> "list[ResultsFolder]":
        """Those of its tasks, where a recipe has several; else empty.

        A folder that holds those of several recipes has none: its records name other recipes.
        """
        if self.records.is_dir():
            return []
        folders = [path.parent for path in sorted(self.path.glob("*/records")) if path.is_dir()]
        return [folder for folder in map(ResultsFolder, folders) if folder.is_of_a_task()]

    def is_of_a_task(self) -> bool:
        """Whether its records are of one of several tasks, as far as one of them can be read."""
        for path in sorted(self.records.glob("*.json")):
            with suppress(OSError, ValueError):
                return "/" in str(_parse(_read(path)).get("recipe"))
        return False

    @property
    def records(self) -> Path:
        """The folder of all records."""
        return self.path / "records"

    @property
    def asked_path(self) -> Path:
        """Of what was asked, and when; see `records.asked`."""
        return self.path / "asked.json"

    def count_finished(self) -> int:
        """Compared runs that have a result."""
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
        """Where a cell's Trainer writes while it trains."""
        return self.path / "runs" / stem

    def push(self, name: str) -> Path:
        """What is about to be published under this name."""
        return self.path / "push" / name

    def lock(self, stem: str) -> AbstractContextManager[bool]:
        """Whether this process, and no other, has the cell until the end; see `locks.hold`."""
        return hold(self.path / "locks" / f"{stem}.lock")

    def record(self, stem: str) -> Record | None:
        """The record that stands under this name.

        Raises:
            RecordError: if it cannot be read.
        """
        path = self.record_path(stem)
        return load_record(path) if path.exists() else None

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
                _write_predictions(predictions, path.with_suffix(".parquet"))
                changes = {"predictions_hash": hash_file(path.with_suffix(".parquet"))}
                record = record.model_copy(update=changes)
            with atomic(path) as temporary:
                temporary.write_text(as_json(record), encoding="utf-8")
        return path

    def supersede(self, stem: str) -> None:
        """Move a record and its predictions to ``superseded/``, under the time of its start."""
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

        To be called where no other process may be writing it.
        """
        for ending in (".json", ".parquet"):
            clear_unfinished(self.records / f"{stem}{ending}")


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
    of_tasks = results.glob("*/*/records/*.json")
    for path in [*sorted(results.glob("*/records/*.json")), *sorted(of_tasks)]:
        # whatever cannot be read is no result for us, and another recipe's to complain of
        with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
            content = _parse(_read(path))
            if content["status"] == "finished":
                folder = path.parents[1]
                recipe = folder.relative_to(results).as_posix()
                location = Location(ResultsFolder(folder), path.stem, recipe)
                found.setdefault(content["cell_id"], []).append(location)
    return found


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


def as_json(record: Record) -> str:
    """The text of a record's file, with its checksum."""
    values = record.model_dump(mode="json")
    return json.dumps(values | {"checksum": checksum(values)}, indent=1, ensure_ascii=False) + "\n"


def checksum(values: dict[str, Any]) -> str:
    """SHA-256 of a record's other keys: as JSON with sorted keys and no space."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> bytes:
    """The content of a record's file, which may be anybody's.

    Raises:
        OSError: also if it is no regular file (to read a pipe would wait for ever), or too large.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError("it is not a file")
    if status.st_size > MOST_BYTES:
        raise OSError(f"it has {status.st_size:,} bytes, and a record at most {MOST_BYTES:,}")
    return path.read_bytes()


def _write_predictions(predictions: "pa.Table", path: Path) -> None:
    import pyarrow.parquet as pq

    with atomic(path) as temporary:
        # of so few rows as are evaluated, these are the smallest files and the fastest to read
        pq.write_table(
            predictions, temporary, compression="snappy", use_dictionary=["split"],
            write_statistics=False, store_schema=False,
        )  # fmt: skip


def load_record(path: Path) -> Record:
    """Read and check a record; one of the schema before this is read as if it were of this.

    Raises:
        DamagedRecordError: if it is not valid JSON, or not what was written.
        RecordError: if it is of another schema version, or not as its schema says.
    """
    refuse_link(path)
    try:
        return _validate(_parse(_read(path)))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error}") from None
    except ValidationError as error:
        problem = _what_is_wrong(error)
    except _DamageError as error:
        raise DamagedRecordError(f"{path}: not a valid record{error}; {WHAT_TO_DO}") from None
    except ValueError as error:
        problem = f"not a valid record{error}"
    raise RecordError(f"{path}: {problem}; {WHAT_TO_DO}")


class _DamageError(ValueError):
    """Of a file that was cut or changed; to be read after "not a valid record"."""


def _parse(content: bytes) -> dict[str, Any]:
    """What a record's file holds, in the words of this schema.

    Raises:
        ValueError: if it is none of a schema that can be read.
    """
    try:
        values = from_json(content)
    except ValueError as error:
        raise _DamageError(f": the file: Invalid JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(": the file: it must hold an object")
    if "schema_version" not in values:
        raise ValueError(": it has no schema_version")
    if values["schema_version"] != SCHEMA_BEFORE:
        if values.pop("checksum", None) not in (None, checksum(values)):
            raise _DamageError(
                ": its checksum is not that of what it says: it is damaged, or was edited after it "
                "was written"
            )
        return values
    try:
        return upgrade(values)
    except (LookupError, TypeError, AttributeError):
        raise ValueError(f" of schema {SCHEMA_BEFORE}") from None


def _validate(values: dict[str, Any]) -> Record:
    cls = record_class(values)
    try:
        return cls.model_validate(values, strict=True)
    except ValidationError:  # once more, for an error in the words of JSON
        content = to_json(values, inf_nan_mode="constants")
        return cls.model_validate_json(content, strict=True)


def _what_is_wrong(error: ValidationError) -> str:
    details = {detail["loc"]: detail for detail in error.errors(include_url=False)}
    if ("schema_version",) in details:
        found = details[("schema_version",)]["input"]
        return (
            f"has schema_version {found!r}, but this hfbench reads {SCHEMA_BEFORE} and "
            f"{SCHEMA_VERSION}: read it with the hfbench that wrote it"
        )
    where, detail = next(iter(details.items()))
    return f"not a valid record: {'.'.join(map(str, where)) or 'the file'}: {detail['msg']}"


def load_records(results: str | Path) -> list[Record]:
    """All records of a results folder, in the order of their file names.

    Raises:
        UserError: if there are none.
        RecordError: if one cannot be read, or says of itself that it is another.
    """
    folder = ResultsFolder(Path(results)).records
    refuse_link(folder)
    # hidden ones are what systems leave beside files
    paths = [path for path in folder.glob("*.json") if not path.name.startswith(".")]
    paths.sort(key=lambda path: path.name)
    if not paths:
        if tasks := ResultsFolder(Path(results)).tasks:
            names = ", ".join(str(task.path) for task in tasks)
            raise UserError(f"{results}: holds the results of several tasks; name one: {names}")
        raise UserError(f"{results}: no records here (looked for {folder / '*.json'})")
    with _no_garbage_collection():
        records = {path: load_record(path) for path in paths}
    for path, record in list(records.items()):
        if record.stem == path.stem:
            continue
        if records.get(path.with_stem(record.stem)) != record:
            raise RecordError(f"{path}: is the record of {record.stem}; {WHAT_TO_DO}")
        logger.warning("warning: %s: is a copy of %s.json; it is left out", path, record.stem)
        del records[path]
    return list(records.values())


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """The search for cycles, of which records have none, would take as long as reading them."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()  # what was made is old now: it is not searched as soon as anything is new
        if was_enabled:
            gc.enable()


def refuse_link(path: Path) -> None:
    """Nothing outside of a results folder is read because of what is in it."""
    if path.is_symlink():
        raise RecordError(f"{path}: is a link to {path.readlink()}, not a file; links are not read")
