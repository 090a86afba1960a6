"""Packing the records of a recipe into two Parquet files, and unpacking them; see `packed`."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hfbench.errors import RecordError, UserError
from hfbench.records.packed import (
    PREDICTIONS,
    RECORD_COLUMNS,
    RECORDS,
    RUN_COLUMNS,
    Packed,
    content_hash,
)
from hfbench.records.predictions import read_predictions_table
from hfbench.records.record_file import WHAT_TO_DO, as_json
from hfbench.records.schema import Compared, Record
from hfbench.records.store import ResultsFolder, load_records, write_predictions
from hfbench.system.files import atomic, clear_unfinished, make_folder, writing
from hfbench.system.hashes import hash_file

if TYPE_CHECKING:
    import pyarrow as pa

_GROUP_ROWS = 200_000
"""Of predictions that are read at once: of whole records, as many as come to this."""
_FORMAT: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True}


def pack(folder: ResultsFolder) -> int:
    """Pack the records in ``records/``; what was superseded stays there. Gives their number.

    Raises:
        UserError: if a comparison is running, or there is nothing to pack.
        RecordError: if a record or its predictions cannot be read.
        StorageError: if they cannot be written; then nothing has changed.
    """
    if folder.packed:
        raise UserError(f"{folder.path}: its records are packed")
    if running := folder.running():
        raise UserError(f"{folder.path}: {running[0]} is running; pack when it has ended")
    records = {record.stem: record for record in load_records(folder.path)}
    with writing(str(folder.path)):
        for name in (RECORDS, PREDICTIONS):
            clear_unfinished(folder.path / name)
        rows = _write_predictions(records, folder)
        _write_records(records, rows, folder)  # last: from here on they count
    for stem, record in records.items():
        if folder.record(stem) != record:
            raise AssertionError(f"{stem} was not packed as it was")
        if isinstance(record, Compared):  # before its file goes: by the hash of what it said
            read_predictions_table(record, folder)
    with writing(str(folder.path)):
        for stem in records:
            for path in (
                folder.record_path(stem),
                folder.record_path(stem).with_suffix(".parquet"),
            ):
                path.unlink(missing_ok=True)
        folder.clear_unfinished("*")
        with suppress(OSError):  # not empty: what was superseded stays
            folder.records.rmdir()
    folder.tidy()  # which a run that was killed has not done
    return len(records)


def unpack(folder: ResultsFolder) -> list[str]:
    """Make files of packed records; gives what is damaged, in words.

    Damaged ones become files as they are, or are left without their predictions, so that they are
    found and run again. Predictions that this pyarrow writes otherwise than that which wrote them
    first get another hash in their record; what they say is the same.

    Raises:
        UserError: if there are none.
        RecordError: if they cannot be read.
        StorageError: if they cannot be written; then the packed ones count as before.
    """
    packed = folder.packed
    if not packed:
        raise UserError(f"{folder.path}: no packed records here (looked for {RECORDS})")
    folder.refuse_links()
    damaged = []
    with writing(str(folder.path)):
        make_folder(folder.records)
        for stem in packed.stems:
            folder.clear_unfinished(stem)
            try:
                text = _unpack_predictions(stem, packed, folder)
            except RecordError as error:
                text = packed.unchecked_text(stem)
                damaged.append(str(error))
            with atomic(folder.record_path(stem)) as temporary:
                temporary.write_bytes(text)
        packed.path.unlink()  # from here on the others count
        packed.predictions_path.unlink(missing_ok=True)
    return damaged


def _unpack_predictions(stem: str, packed: Packed, folder: ResultsFolder) -> bytes:
    """Gives the text of the record, which may have another hash of them."""
    record, text = packed.record(stem), packed.text(stem)
    if not isinstance(record, Compared):
        return text
    predictions = folder.predictions_path(record)
    write_predictions(packed.predictions(record), predictions)
    if record.predictions_hash not in (None, digest := hash_file(predictions)):
        text = as_json(record.model_copy(update={"predictions_hash": digest})).encode()
    return text


def _write_predictions(
    records: Mapping[str, Record], folder: ResultsFolder
) -> dict[str, tuple[int, str]]:
    """Of all records; gives of each how many rows it has and their hash."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: dict[str, tuple[int, str]] = {}
    if not any(isinstance(record, Compared) for record in records.values()):
        return found
    writer: pq.ParquetWriter | None = None
    waiting: list[pa.Table] = []
    schema: pa.Schema | None = None
    with atomic(folder.path / PREDICTIONS) as temporary:
        for stem, record in records.items():
            if isinstance(record, Compared):
                table = read_predictions_table(record, folder).combine_chunks()
                schema = schema or table.schema
                found[stem] = table.num_rows, _hash_of(table, schema, folder, record)
                waiting.append(_with_run(table, record))
            is_last = stem == list(records)[-1]
            if waiting and (is_last or sum(one.num_rows for one in waiting) >= _GROUP_ROWS):
                group = pa.concat_tables(waiting)
                writer = writer or pq.ParquetWriter(temporary, group.schema, **_FORMAT)
                writer.write_table(group, row_group_size=group.num_rows)
                waiting = []
        assert writer
        writer.close()
    return found


def _hash_of(
    table: "pa.Table", schema: "pa.Schema", folder: ResultsFolder, record: Compared
) -> str:
    """Of predictions whose columns are those of all, ``schema``: they go into one file."""
    try:
        if not table.schema.equals(schema):
            raise ValueError("its columns are not those of the predictions before it")
        return content_hash(table)
    except ValueError as error:
        where = folder.predictions_path(record)
        raise RecordError(f"{where}: cannot be packed: {error}; {WHAT_TO_DO}") from None


def _with_run(table: "pa.Table", record: Compared) -> "pa.Table":
    """Predictions with columns that name their run."""
    import pyarrow as pa

    size = table.num_rows
    for number, (name, kind) in enumerate(RUN_COLUMNS.items()):
        values = pa.array([getattr(record, name)] * size, getattr(pa, kind)())
        table = table.add_column(number, name, values)
    return table


def _write_records(
    records: Mapping[str, Record], predictions: Mapping[str, tuple[int, str]], folder: ResultsFolder
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for stem, record in records.items():
        content = folder.record_path(stem).read_bytes()
        number, digest = predictions.get(stem, (None, None))
        rows.append(
            {
                "stem": stem,
                "kind": record.kind,
                "model": record.model,
                "seed": record.seed,
                "train_size": record.train_size,
                "status": record.status,
                "cell_id": record.cell_id,
                "record": content.decode(),
                "record_sha256": hashlib.sha256(content).hexdigest(),
                "predictions": number,
                "predictions_sha256": digest,
            }
        )
    fields = {name: getattr(pa, kind)() for name, kind in RECORD_COLUMNS.items()}
    with atomic(folder.path / RECORDS) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, pa.schema(fields)), temporary, **_FORMAT)
