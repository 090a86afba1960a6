"""JSON files: an object a line, or one list of objects; values have the types that they have there.

A column whose values are words, or numbers, is an Arrow column of them. Lists, objects and a
mixture of types are kept as JSON: they harm nobody who does not ask for the column, and who does
sees what is in which row.
"""

import json
import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any, TypeAlias

import pyarrow as pa
from datasets import Dataset, DatasetInfo, Features, Json
from datasets.fingerprint import generate_random_fingerprint
from datasets.table import InMemoryTable

from hfbench.data.files import DataFile
from hfbench.errors import UserError
from hfbench.recipe.fields import shown
from hfbench.recipe.task import Task

_BATCH_ROWS = 10_000
_WANTED = "an object a line is wanted, or a list of objects"
_NO_SPACE = re.compile(r"[^ \t\r\n]|\Z")
# `\ud83d\ude00` is one character that JSON writes as two halves; half of one is none
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")

_Chunk: TypeAlias = "pa.Array | list[Any]"
"""Some values of a column: of one type, or a list where they are not."""


def read_json(file: DataFile, task: Task) -> Dataset:
    """The rows of a JSON file.

    Raises:
        UserError: with line and column, if it is no JSON, or not of such a form.
    """
    objects, number = _objects(file), 0
    columns: dict[str, list[_Chunk]] = {}
    while batch := list(islice(objects, _BATCH_ROWS)):
        for name in dict.fromkeys(chain(columns, *batch)):
            chunks = columns.setdefault(name, [pa.nulls(number)])
            chunks.append(_chunk([row.get(name) for row in batch]))
        number += len(batch)
    arrays, features = {}, Features()
    for name, chunks in columns.items():
        arrays[name], features[name] = _column(chunks)
    # not the fingerprint of the content, which would take long
    return Dataset(
        InMemoryTable(pa.table(arrays)),
        info=DatasetInfo(features=features),
        fingerprint=generate_random_fingerprint(),
    )


def _chunk(values: list[Any]) -> _Chunk:
    if any(isinstance(value, (list, dict)) for value in values):
        return values
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):  # a mixture; a huge number
        return values


def _column(chunks: list[_Chunk]) -> tuple[pa.ChunkedArray, Any]:
    """The whole column, and its feature."""
    types = {chunk.type if isinstance(chunk, pa.Array) else None for chunk in chunks}
    types -= {pa.null()}
    if types == {pa.int64(), pa.float64()}:
        types = {pa.float64()}
    if len(types) > 1 or None in types:
        lists = (chunk.to_pylist() if isinstance(chunk, pa.Array) else chunk for chunk in chunks)
        texts = ([None if v is None else json.dumps(v) for v in values] for values in lists)
        arrays = [pa.array(text, pa.string()).cast(pa.json_()) for text in texts]
        return pa.chunked_array(arrays, pa.json_()), Json()
    (kind,) = types or {pa.null()}
    array = pa.chunked_array([pa.array(chunk).cast(kind) for chunk in chunks], kind)
    return array, Features.from_arrow_schema(pa.schema({"": kind}))[""]


def _objects(file: DataFile) -> Iterator[dict[str, Any]]:
    with file.open_text() as text:
        before = []
        for line in text:
            before.append(line)
            if line.strip():
                break
        if before and before[-1].lstrip().startswith("["):
            found = _of_list("".join([*before, text.read()]))
        else:
            found = _of_lines(chain(before, text))
        try:
            yield from found
        except _FormError as error:
            raise UserError(f"{file.where}: {error}") from error


class _FormError(ValueError):
    """What is wrong, and where in the text."""


def _of_lines(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        line = line.rstrip("\r\n")  # so that no mistake is found in the next line
        if line.strip():
            row, end = _decode(line, _start(line, 0), number)
            if rest := line[end:].strip():
                raise _FormError(
                    f"line {number}, column {end + 1}: {shown(rest)} follows the end of the "
                    f"object; {_WANTED}"
                )
            yield row


def _of_list(text: str) -> Iterator[dict[str, Any]]:
    place = _start(text, text.index("[") + 1)
    while not text.startswith("]", place):
        row, place = _decode(text, place, 1)
        yield row
        place = _start(text, place)
        if text.startswith(",", place):
            place = _start(text, place + 1)
        elif not text.startswith("]", place):
            raise _FormError(f"{_place(text, place)}: ',' or ']' is missing; {_WANTED}")
    if rest := text[place + 1 :].strip():
        place = _start(text, place + 1)
        raise _FormError(f"{_place(text, place)}: {shown(rest)} follows the end of the list")


def _decode(text: str, place: int, first_line: int) -> tuple[dict[str, Any], int]:
    """The object at ``place``, and its end; the lines are numbered from ``first_line``."""
    try:
        row, end = _DECODER.raw_decode(text, place)
    except json.JSONDecodeError as error:
        raise _FormError(f"{_place(text, error.pos, first_line)}: {error.msg}; {_WANTED}") from None
    except (ValueError, RecursionError) as error:  # a key twice, a number of thousands of digits
        raise _FormError(f"{_place(text, place, first_line)}: {error}") from None
    if not isinstance(row, dict):
        where = _place(text, place, first_line)
        raise _FormError(f"{where}: {shown(row)} is no object; {_WANTED}")
    if text.find(r"\u", place, end) >= 0 and (
        half := _HALF_CHARACTER.search(json.dumps(row, ensure_ascii=False))
    ):
        raise _FormError(
            f"{_place(text, place, first_line)}: {half[0]!r} is half a character (a lone "
            "surrogate); remove it or write the whole character"
        )
    return row, end


def _start(text: str, place: int) -> int:
    """The next place from ``place`` that is no white space."""
    found = _NO_SPACE.search(text, place)
    assert found is not None
    return found.start()


def _place(text: str, place: int, first_line: int = 1) -> str:
    line = text.count("\n", 0, place)
    return f"line {first_line + line}, column {place - text.rfind(chr(10), 0, place)}"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(n for n in names if names.count(n) > 1)!r} is there twice")
    return row


# raw control characters within a text, which JSON forbids, are taken as they are
_DECODER = json.JSONDecoder(object_pairs_hook=_object, strict=False)
