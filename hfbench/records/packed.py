"""Records of a recipe in two Parquet files, in place of a folder of many.

``records.parquet`` has a row for each record: ``stem`` (the name of its file), ``kind``, ``model``,
``seed``, ``train_size``, ``status``, ``cell_id``, ``record`` (the text of its file, byte for byte),
``record_sha256`` (of that text), ``predictions`` (how many rows of them it has) and
``predictions_sha256`` (see `content_hash`; null where it has none).

``predictions.parquet`` has the predictions of all records, one after another in the order of
``records.parquet``, each as it stands in a file of its own, beside ``model``, ``seed`` and
``train_size``. Row groups hold whole records, and pages carry checksums.

Where there is a ``records.parquet``, it counts, and what lies in ``records/`` does not. Whoever
writes unpacks it first (`pack`).
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hfbench.errors import DamagedRecordError, RecordError
from hfbench.records.record_file import WHAT_TO_DO, read_record, refuse_link
from hfbench.records.schema import Compared, Record

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

RECORDS, PREDICTIONS = "records.parquet", "predictions.parquet"
RECORD_COLUMNS = {
    "stem": "string", "kind": "string", "model": "string", "seed": "int64", "train_size": "int64",
    "status": "string", "cell_id": "string", "record": "string", "record_sha256": "string",
    "predictions": "int64", "predictions_sha256": "string",
}  # fmt: skip
"""Name -> type of Arrow, of all columns of `RECORDS`."""
RUN_COLUMNS = {"model": "string", "seed": "int64", "train_size": "int64"}
"""Name -> type of Arrow, of those that stand before the columns of the predictions."""

_MOST_BYTES = 1 << 33  # of a file, unpacked: half a million records have less


@dataclass(frozen=True)
class _Place:
    """Where the predictions of a record stand."""

    group: int
    start: int
    rows: int


class Packed:
    """The packed records of a folder, read as if they came from anybody."""

    def __init__(self, folder: Path) -> None:
        """``folder`` has `RECORDS`.

        Raises:
            RecordError: if it cannot be read.
        """
        self.path = folder / RECORDS
        self.predictions_path = folder / PREDICTIONS
        with _reading(self.path):
            table = _open(self.path).read(use_threads=False)
            found = {field.name: str(field.type) for field in table.schema}
            never_null = ("stem", "status", "cell_id", "record", "record_sha256")
            if found != RECORD_COLUMNS or any(table[name].null_count for name in never_null):
                raise ValueError("its columns are not those of packed records")
            columns = {name: table[name].to_pylist() for name in table.column_names}
            stems = columns["stem"]
            self._rows = {
                stem: dict(zip(columns, values, strict=True))
                for stem, values in zip(stems, zip(*columns.values(), strict=True), strict=True)
            }
            if len(self._rows) < len(stems):
                raise ValueError("a stem is there twice")

    @property
    def stems(self) -> list[str]:
        """The names of all records, in their order."""
        return list(self._rows)

    @property
    def finished(self) -> dict[str, str]:
        """Stem -> cell id, of those that have a result."""
        return {
            stem: row["cell_id"] for stem, row in self._rows.items() if row["status"] == "finished"
        }

    def unchecked_text(self, stem: str) -> bytes:
        """Of the record's file, whatever became of it."""
        return self._rows[stem]["record"].encode()

    def text(self, stem: str) -> bytes:
        """Of the record's file.

        Raises:
            DamagedRecordError: if it is not what was packed.
        """
        content = self.unchecked_text(stem)
        if hashlib.sha256(content).hexdigest() != self._rows[stem]["record_sha256"]:
            raise DamagedRecordError(f"{self.path}: {stem} is not what was packed; {WHAT_TO_DO}")
        return content

    def record(self, stem: str) -> Record | None:
        """The record of this name; None if there is none.

        Raises:
            RecordError: if it cannot be read.
        """
        if stem not in self._rows:
            return None
        record = read_record(self.text(stem), f"{self.path}: {stem}", is_whole=True)
        if record.stem != stem:
            raise RecordError(f"{self.path}: {stem} is the record of {record.stem}; {WHAT_TO_DO}")
        return record

    def predictions(self, record: Compared) -> "pa.Table":
        """Its predictions, as they stand in a file of their own.

        Raises:
            RecordError: if they are missing, or not those that were packed.
        """
        where = f"{self.predictions_path}: the predictions of {record.stem}"
        place = self._places.get(record.stem)
        if place is None:
            raise RecordError(f"{where} are missing")
        with _reading(self.predictions_path):
            table = self._group(place.group).slice(place.start, place.rows)
        if content_hash(table) != self._rows[record.stem]["predictions_sha256"]:
            raise DamagedRecordError(f"{where} are not those that were packed; {WHAT_TO_DO}")
        return table

    @cached_property
    def _file(self) -> "pq.ParquetFile":
        return _open(self.predictions_path)

    @cached_property
    def _places(self) -> dict[str, _Place]:
        """Of the records that have predictions; groups hold whole records."""
        with _reading(self.predictions_path):
            metadata = self._file.metadata
            sizes = [
                metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)
            ]
            places, group, start = {}, 0, 0
            for stem, row in self._rows.items():
                if row["predictions_sha256"] is None:
                    continue
                if start == sizes[group]:
                    group, start = group + 1, 0
                places[stem] = _Place(group, start, row["predictions"])
                start += row["predictions"]
            if [group, start] != [len(sizes) - 1, sizes[-1]]:
                raise ValueError("it has other rows than its records")
        return places

    def _group(self, number: int) -> "pa.Table":
        if self._read is None or self._read[0] != number:
            names = [name for name in self._file.schema_arrow.names if name not in RUN_COLUMNS]
            group = self._file.read_row_group(number, columns=names, use_threads=False)
            self._read = number, group.combine_chunks()
        return self._read[1]

    _read: "tuple[int, pa.Table] | None" = None
    """The group that was read last, and its number."""


def content_hash(table: "pa.Table") -> str:
    """SHA-256 of what a table says: its columns' names, types and values, in their order.

    Unlike the hash of a Parquet file it is the same with every version of the library that writes.
    """
    digest = hashlib.sha256()
    for name in table.column_names:
        chunks = table[name]
        column = chunks.chunk(0) if chunks.num_chunks == 1 else chunks.combine_chunks()
        digest.update(f"{name}: {column.type}, {len(column)}\n".encode())
        _update(digest, column)
    return digest.hexdigest()


def _update(digest: "hashlib._Hash", array: "pa.Array") -> None:
    import pyarrow as pa

    kind = array.type
    if array.null_count:
        digest.update(np.array(array.is_null().to_pylist()).tobytes())
        array = array.drop_null()
    start, stop = array.offset, array.offset + len(array)
    if pa.types.is_dictionary(kind):
        _update(digest, array.dictionary_decode())
    elif pa.types.is_list(kind) or pa.types.is_string(kind):
        offsets = np.frombuffer(array.buffers()[1], "<i4")[start : stop + 1]
        digest.update(np.diff(offsets).tobytes())
        if pa.types.is_list(kind):
            _update(digest, array.flatten())
        else:
            digest.update(memoryview(array.buffers()[2])[offsets[0] : offsets[-1]])
    elif kind.bit_width % 8:
        _update(digest, array.cast(pa.int8()))
    else:
        width = kind.bit_width // 8
        digest.update(memoryview(array.buffers()[1])[start * width : stop * width])


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Within, what is wrong with the file is a RecordError."""
    import pyarrow as pa

    try:
        yield
    except (OSError, KeyError, IndexError, TypeError, ValueError, pa.ArrowException) as error:
        raise RecordError(f"{path}: not valid packed records: {error}; {WHAT_TO_DO}") from None


def _open(path: Path) -> "pq.ParquetFile":
    import pyarrow.parquet as pq

    refuse_link(path)
    file = pq.ParquetFile(path, page_checksum_verification=True)
    groups = range(file.metadata.num_row_groups)
    size = sum(file.metadata.row_group(number).total_byte_size for number in groups)
    if size > _MOST_BYTES:
        raise ValueError(f"it unpacks to {size:,} bytes, and at most {_MOST_BYTES:,} are read")
    return file
