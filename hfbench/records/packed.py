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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hfbench.errors import DamagedRecordError, RecordError
from hfbench.records.record_file import WHAT_TO_DO, read_record, refuse_link
from hfbench.records.schema import OWN_NAME, Compared, Record

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
            for stem in stems:  # of a damaged record, too, which is unpacked as it is
                if not OWN_NAME.fullmatch(stem):
                    raise ValueError(f"{stem!r} cannot be the name of a file of its own")

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
            group = self._group(place.group)
            table = group.table.slice(place.start, place.rows)
            said = group.content.hash(place.start, place.start + place.rows)
        if said != self._rows[record.stem]["predictions_sha256"]:
            raise DamagedRecordError(f"{where} are not those that were packed; {WHAT_TO_DO}")
        return table

    def reading_order(self, records: Sequence[Compared]) -> list[int]:
        """Their numbers in an order in which no group of predictions is read twice.

        Raises:
            RecordError: if it cannot be read where predictions stand.
        """
        first = _Place(-1, 0, 0)  # of what is missing, which is said then
        places = [self._places.get(record.stem, first) for record in records]
        return sorted(range(len(records)), key=lambda n: (places[n].group, places[n].start))

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

    def _group(self, number: int) -> "_Group":
        if self._read is None or self._read.number != number:
            names = [name for name in self._file.schema_arrow.names if name not in RUN_COLUMNS]
            table = self._file.read_row_group(number, columns=names).combine_chunks()
            self._read = _Group(number, table, _Content(table))
        return self._read

    _read: "_Group | None" = None
    """The group that was read last."""


@dataclass(frozen=True, eq=False)
class _Group:
    """The predictions of some records, one after another."""

    number: int
    table: "pa.Table"
    content: "_Content"


def content_hash(table: "pa.Table") -> str:
    """SHA-256 of what a table says: its columns' names, types and values, in their order.

    Unlike the hash of a Parquet file it is the same with every version of the library that writes.

    Raises:
        ValueError: if a column is of a type that predictions do not have.
    """
    return _Content(table).hash(0, table.num_rows)


_Pieces = Callable[[int, int], Iterator["bytes | memoryview"]]
"""What a column says from one row up to another, as bytes."""


class _Content:
    """What a table says, of which any rows can be hashed: see `content_hash`.

    Made once for many runs: to look at four columns takes longer than to hash a thousand rows.
    """

    def __init__(self, table: "pa.Table") -> None:
        columns = table.combine_chunks()
        self._columns: list[tuple[str, _Pieces]] = []
        for name in columns.column_names:
            chunks = columns[name]
            array = chunks.chunk(0) if chunks.num_chunks else chunks.combine_chunks()
            self._columns.append((f"{name}: {chunks.type}", _pieces(array)))

    def hash(self, start: int, stop: int) -> str:
        """Of the rows from ``start`` up to ``stop``."""
        digest = hashlib.sha256()
        for said, pieces in self._columns:
            digest.update(f"{said}, {stop - start}\n".encode())
            for piece in pieces(start, stop):
                digest.update(piece)
        return digest.hexdigest()


def _pieces(array: "pa.Array") -> _Pieces:
    import pyarrow as pa

    kind = array.type
    if array.null_count:
        return partial(_pieces_with_nulls, array)
    if pa.types.is_dictionary(kind):
        return _pieces(array.dictionary_decode())
    if pa.types.is_list(kind) or pa.types.is_string(kind):
        offsets = np.frombuffer(array.buffers()[1] or b"", "<i4")[array.offset :]
        if pa.types.is_list(kind):
            return partial(_pieces_of_lists, offsets, _pieces(array.values))
        return partial(_pieces_of_texts, offsets, memoryview(array.buffers()[2] or b""))
    if not pa.types.is_primitive(kind):
        raise ValueError(f"a column of {kind}")
    if kind.bit_width % 8:
        return _pieces(array.cast(pa.int8()))
    width = kind.bit_width // 8
    values = memoryview(array.buffers()[1] or b"")[array.offset * width :]
    return partial(_pieces_of_numbers, values, width)


def _pieces_of_numbers(
    values: memoryview, width: int, start: int, stop: int
) -> Iterator[memoryview]:
    yield values[start * width : stop * width]


def _pieces_of_texts(
    offsets: np.ndarray, content: memoryview, start: int, stop: int
) -> Iterator[memoryview]:
    if stop > start:
        yield (offsets[start + 1 : stop + 1] - offsets[start:stop]).data
        yield content[offsets[start] : offsets[stop]]


def _pieces_of_lists(
    offsets: np.ndarray, content: _Pieces, start: int, stop: int
) -> Iterator[bytes | memoryview]:
    if stop > start:
        yield (offsets[start + 1 : stop + 1] - offsets[start:stop]).data
        yield from content(int(offsets[start]), int(offsets[stop]))


def _pieces_with_nulls(array: "pa.Array", start: int, stop: int) -> Iterator[bytes | memoryview]:
    part = array.slice(start, stop - start)
    if part.null_count:
        yield np.array(part.is_null().to_pylist()).tobytes()
        part = part.drop_null()
    yield from _pieces(part)(0, len(part))


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
    if path.exists() and not path.is_file():  # to open a pipe would wait for ever
        raise ValueError("it is not a file")
    file = pq.ParquetFile(path, page_checksum_verification=True)
    groups = range(file.metadata.num_row_groups)
    size = sum(file.metadata.row_group(number).total_byte_size for number in groups)
    if size > _MOST_BYTES:
        raise ValueError(f"it unpacks to {size:,} bytes, and at most {_MOST_BYTES:,} are read")
    return file
