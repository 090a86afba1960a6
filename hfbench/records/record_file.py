"""A record as a file: its text, its checksum, and reading it as if it came from anybody."""

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from hfbench.errors import DamagedRecordError, RecordError
from hfbench.records.identity import upgrade
from hfbench.records.schema import SCHEMA_BEFORE, SCHEMA_VERSION, Record, record_class

WHAT_TO_DO = "restore it from a copy, or move it away and run its recipe again"
"""With a record that cannot be used."""

MOST_BYTES = 64_000_000
"""Of a record: one of a thousand classes and an evaluation at each of 10,000 steps has less."""


def as_json(record: Record) -> str:
    """The text of a record's file, with its checksum."""
    values = record.model_dump(mode="json")
    return json.dumps(values | {"checksum": checksum(values)}, indent=1, ensure_ascii=False) + "\n"


def checksum(values: dict[str, Any]) -> str:
    """SHA-256 of a record's other keys: as JSON with sorted keys and no space."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_file(path: Path) -> bytes:
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


def load_record(path: Path) -> Record:
    """Read and check a record; one of the schema before this is read as if it were of this.

    Raises:
        DamagedRecordError: if it is not valid JSON, or not what was written.
        RecordError: if it is of another schema version, or not as its schema says.
    """
    refuse_link(path)
    try:
        content = read_file(path)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error}") from None
    return read_record(content, str(path))


def read_record(content: bytes, where: str, *, is_whole: bool = False) -> Record:
    """As `load_record`.

    Args:
        content: of the record's file.
        where: it is from, for messages.
        is_whole: whether these are known to be the bytes that were written.
    """
    try:
        return _validate(parse(content, is_whole=is_whole))
    except ValidationError as error:
        problem = _what_is_wrong(error)
    except _DamageError as error:
        raise DamagedRecordError(f"{where}: not a valid record{error}; {WHAT_TO_DO}") from None
    except ValueError as error:
        problem = f"not a valid record{error}"
    raise RecordError(f"{where}: {problem}; {WHAT_TO_DO}")


class _DamageError(ValueError):
    """Of a file that was cut or changed; to be read after "not a valid record"."""


def parse(content: bytes, *, is_whole: bool = False) -> dict[str, Any]:
    """What a record's file holds, in the words of this schema; for ``is_whole`` see `read_record`.

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
        said = values.pop("checksum", None)
        if not is_whole and said not in (None, checksum(values)):
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


def refuse_link(path: Path) -> None:
    """Nothing outside of a results folder is read or written because of what is in it."""
    if path.is_symlink():
        raise RecordError(f"{path}: is a link to {path.readlink()}; links are not followed")
