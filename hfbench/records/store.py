"""Records on the disk: written whole or not at all, and read as if they came from anybody."""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import from_json

from hfbench.errors import RecordError, UserError
from hfbench.records.identity import upgrade
from hfbench.records.schema import RECORD, SCHEMA_BEFORE, SCHEMA_VERSION, Record
from hfbench.system.files import atomic

if TYPE_CHECKING:
    import pyarrow as pa


WHAT_TO_DO = "restore it from a copy, or move it away and run its recipe again"
"""With a record that cannot be used."""


def save_record(record: Record, folder: Path, predictions: "pa.Table | None" = None) -> Path:
    """Write the predictions, then the record; each appears whole or not at all.

    The record comes last, so that where there is a record its predictions are complete. What stood
    there for the same cell is moved to ``superseded/`` and not lost.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.stem}.json"
    if path.exists():
        supersede(path)
    if predictions is not None:
        import pyarrow.parquet as pq

        with atomic(path.with_suffix(".parquet")) as temporary:
            # of so few rows as are evaluated, these are the smallest files and the fastest to read
            pq.write_table(
                predictions, temporary, compression="snappy", use_dictionary=["split"],
                write_statistics=False, store_schema=False,
            )  # fmt: skip
    with atomic(path) as temporary:
        text = json.dumps(record.model_dump(mode="json"), indent=1, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def load_record(path: Path) -> Record:
    """Read and check a record; one of the schema before this is read as if it were of this.

    Raises:
        RecordError: if it is not valid JSON, of another schema version, or not as its schema says.
    """
    refuse_link(path)
    try:
        record = _parse(path.read_bytes())
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error}") from None
    except ValidationError as error:
        raise RecordError(f"{path}: {_what_is_wrong(error)}; {WHAT_TO_DO}") from None
    if "schema_version" not in record.model_fields_set:
        raise RecordError(f"{path}: not a valid record: it has no schema_version; {WHAT_TO_DO}")
    return record


def _parse(content: bytes) -> Record:
    try:
        return RECORD.validate_json(content, strict=True)
    except ValidationError:
        if (values := _upgraded(content)) is None:
            raise
    return RECORD.validate_python(values, strict=True)


def _upgraded(content: bytes) -> dict[str, Any] | None:
    """What a record of the schema before this one says; None if it is none, whatever it is."""
    with suppress(ValueError, LookupError, TypeError, AttributeError):
        values = from_json(content)
        if values["schema_version"] == SCHEMA_BEFORE:
            return upgrade(values)
    return None


def _what_is_wrong(error: ValidationError) -> str:
    # the first part of a place is the kind of record
    details = {detail["loc"][1:]: detail for detail in error.errors(include_url=False)}
    if ("schema_version",) in details:
        found = details[("schema_version",)]["input"]
        if found == SCHEMA_BEFORE:
            return f"not a valid record of schema {SCHEMA_BEFORE}"
        return (
            f"has schema_version {found!r}, but this hfbench reads {SCHEMA_BEFORE} and "
            f"{SCHEMA_VERSION}: read it with the hfbench that wrote it"
        )
    where, detail = next(iter(details.items()))
    if detail["type"] == "union_tag_invalid" and isinstance(detail["input"], dict):
        return "not a valid record: kind: it must be classification, control or pretraining"
    if detail["type"] == "union_tag_invalid":
        return "not a valid record: the file: it must hold an object"
    return f"not a valid record: {'.'.join(map(str, where)) or 'the file'}: {detail['msg']}"


def load_records(results: Path) -> list[Record]:
    """All records of a results folder, in the order of their file names.

    Raises:
        UserError: if there are none.
        RecordError: if one cannot be read, or says of itself that it is another.
    """
    paths = sorted((results / "records").glob("*.json"), key=lambda path: path.name)
    if not paths:
        raise UserError(f"{results}: no records here (looked for {results / 'records' / '*.json'})")
    with _no_garbage_collection():
        records = [load_record(path) for path in paths]
    for path, record in zip(paths, records, strict=True):
        if record.stem != path.stem:
            raise RecordError(f"{path}: is the record of {record.stem}; {WHAT_TO_DO}")
    return records


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


def supersede(path: Path) -> None:
    """Move a record and its predictions to ``superseded/``, under the time of its start."""
    old = load_record(path)
    attic = path.parent / "superseded" / old.started.replace(":", "")
    attic.mkdir(parents=True, exist_ok=True)
    # the record goes first: predictions without a record count for nothing, the reverse is an error
    for file in (path, path.with_suffix(".parquet")):
        if file.exists():
            file.rename(attic / file.name)
