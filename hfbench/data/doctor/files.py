"""What stands in a file, by the reader's own parts but without its refusals.

Where `data.sources` refuses a file, the doctor reads on and says of all rows what is odd.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hfbench.data.delimited import find_form, split_rows
from hfbench.data.doctor.encoding import decodes, find_encoding
from hfbench.data.doctor.finding import Finding, some
from hfbench.data.files import DataFile
from hfbench.errors import UserError, one_line
from hfbench.recipe.task import Task

_KINDS = {".csv": "csv", ".tsv": "tsv", ".json": "json", ".jsonl": "jsonl", ".parquet": "parquet"}
_SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
_SAMPLE_LINES = 200
_CLEAR = 0.9  # share of lines with as many fields as the first, from which a separator is meant
# UTF-8 that was read as an encoding of one byte a character, and what stands for a lost one
_GARBLED = re.compile("\u00c3[\u0080-\u00bf\u0152-\u2122]|\u00e2\u20ac|\ufffd")


@dataclass
class FileFacts:
    """A file as it is."""

    name: str
    kind: str
    """One of csv, tsv, json, jsonl, parquet."""
    encoding: str | None = None
    """None where it is not text."""
    lines: int | None = None
    """With the header and empty ones; None where a row is no line."""
    rows: int = 0
    separator: str | None = None
    quoted: bool | None = None
    """Whether quotation marks around a field are no part of it."""
    columns: list[str] = field(default_factory=list)


@dataclass
class ReadFile:
    """A file's facts, what is odd about it, and its columns."""

    facts: FileFacts
    findings: list[Finding] = field(default_factory=list)
    columns: dict[str, list[Any]] = field(default_factory=dict)
    """Those that were to be kept, each with a value (of CSV a string) a row."""


def can_read(file: DataFile, task: Task) -> bool:
    """Whether it is a file, and of a kind that is looked at."""
    return file.path.is_file() and (file.ending in _KINDS or task.sep is not None)


def is_delimited(file: DataFile) -> bool:
    """Whether it is, if `can_read` knows it, a table of text, which can be read in several ways."""
    return _KINDS.get(file.ending, "csv") in ("csv", "tsv")


def read_file(file: DataFile, task: Task, skipped: Collection[str] = ()) -> ReadFile:
    """Read a file that `can_read` knows as it stands.

    Args:
        file: its encoding is that of ``task``.
        task: says how it is to be read; what it does not say is found.
        skipped: columns that are not kept.
    """
    read = ReadFile(FileFacts(file.path.name, _KINDS.get(file.ending, "csv")))
    try:
        _read(file, task, read, skipped)
    except UserError as error:  # where it cannot go on
        read.findings.append(Finding("high", "format", str(error), "quoting"))
    return read


def _read(file: DataFile, task: Task, read: ReadFile, skipped: Collection[str]) -> None:
    if read.facts.kind == "parquet":
        _read_parquet(file, read, skipped)
        return
    read.facts.encoding = _encoding(file, read)
    if not decodes(file, read.facts.encoding):
        return
    file = replace(file, encoding=read.facts.encoding)
    if read.facts.kind in ("csv", "tsv"):
        _read_delimited(file, task, read, skipped)
        return
    with file.open_text() as text:
        is_list = read.facts.kind == "json" and text.read(1 << 16).lstrip().startswith("[")
    if is_list:
        _read_json_list(file, read, skipped)
    else:
        _read_json_lines(file, read, skipped)


def _encoding(file: DataFile, read: ReadFile) -> str:
    found, given, name = find_encoding(file), file.encoding, file.path.name
    if given and not decodes(file, given):
        said = f"{name} cannot be read as {given}; it seems to be {found}: give `encoding: {found}`"
    elif not given and found not in ("utf-8", "utf-8-sig"):
        said = (
            f"{name} is not UTF-8; it seems to be {found}: look at its texts with "
            f"`encoding: {found}`, or save it as UTF-8"
        )
    else:
        return given or found
    read.findings.append(Finding("high", "encoding", said, "encoding"))
    return given or found


def _read_parquet(file: DataFile, read: ReadFile, skipped: Collection[str]) -> None:
    try:
        table = pq.read_table(file.path)
    except (OSError, pa.ArrowInvalid) as error:
        said = f"{file.path.name} cannot be read as Parquet: {one_line(error)}"
        read.findings.append(Finding("high", "format", said))
        return
    read.facts.rows, read.facts.columns = table.num_rows, table.column_names
    kept = [name for name in table.column_names if name not in skipped]
    read.columns = {name: table[name].to_pylist() for name in kept}


# --- CSV and TSV


@dataclass
class _Oddities:
    """What rows of a delimited file show, by the numbers of their first lines."""

    other_fields: dict[int, list[int]] = field(default_factory=dict)
    """Number of fields -> lines."""
    swallowed: dict[int, list[list[str]]] = field(default_factory=dict)
    """Line -> fields of each line of the row, where each by itself has as many as a row."""
    repeated_header: list[int] = field(default_factory=list)
    garbled: list[int] = field(default_factory=list)
    empty_lines: int = 0
    long_rows: int = 0


def _read_delimited(file: DataFile, task: Task, read: ReadFile, skipped: Collection[str]) -> None:
    facts, usual = read.facts, "\t" if read.facts.kind == "tsv" else ","
    facts.separator = task.sep or _find_separator(file, usual)
    form = find_form(file, task.model_copy(update={"sep": facts.separator}))
    facts.quoted = form.quotes
    odd, columns = _Oddities(), list[list[str] | None]()
    header, height = None, 0
    for number, fields, lines in split_rows(file, form):
        height += max(1, len(lines))
        facts.lines = number + max(1, len(lines)) - 1
        if not columns:
            header = fields if form.header else None
            facts.columns = form.names or header or [f"column {i + 1}" for i in range(len(fields))]
            columns = [None if name in skipped else [] for name in facts.columns]
            if header:
                continue
        facts.rows += 1
        _note(odd, number, fields, lines, header, len(columns), facts.separator)
        for place, column in enumerate(columns):
            if column is not None:
                column.append(fields[place] if place < len(fields) else "")
    odd.empty_lines = (facts.lines or 0) - height
    kept = zip(facts.columns, columns, strict=True)
    read.columns = {name: column for name, column in kept if column is not None}
    classes = [{v for v, n in Counter(column or ()).items() if n > 1} for column in columns]
    odd.swallowed = {
        first: parts for first, parts in odd.swallowed.items() if _are_rows(parts, classes)
    }
    if not task.sep and facts.separator != usual:
        name = _SEPARATORS[facts.separator]
        read.findings.append(
            Finding(
                "high",
                "separator",
                f"{facts.name}: its fields are separated by a {name}, not by a "
                f"{_SEPARATORS[usual]}: give `sep: {json.dumps(facts.separator)}`",
                "sep",
            )
        )
    read.findings += _describe(odd, facts)
    if facts.rows and not task.column_names:
        read.findings += _suspect_header(read, len(odd.repeated_header))


def _note(
    odd: _Oddities,
    number: int,
    fields: list[str],
    lines: list[str],
    header: list[str] | None,
    width: int,
    separator: str,
) -> None:
    """What is odd about a row."""
    if fields == header:
        odd.repeated_header.append(number)
    if len(fields) != width:
        odd.other_fields.setdefault(len(fields), []).append(number)
    if lines:
        odd.long_rows += 1
        parts = [line.strip().strip('"').split(separator) for line in lines]
        if all(len(part) == width for part in parts):
            odd.swallowed[number] = parts
    if any(not text.isascii() and _GARBLED.search(text) for text in fields):
        odd.garbled.append(number)


def _are_rows(parts: list[list[str]], classes: list[set[str]]) -> bool:
    """Whether lines that begin as one row are several: each has a class where rows have theirs."""
    return any(
        known and all(part[place] in known for part in parts) for place, known in enumerate(classes)
    )


def _find_separator(file: DataFile, usual: str) -> str:
    """The usual one, unless it parts hardly any line as it parts the first, and another does."""
    with file.open_text() as text:
        sample = [line for line, _ in zip(text, range(_SAMPLE_LINES), strict=False)]

    def share(separator: str) -> float:
        counts = [line.count(separator) for line in sample if line.strip()]
        return counts.count(counts[0]) / len(counts) if counts and counts[0] else 0.0

    if sample and usual in sample[0]:
        return usual
    others = [separator for separator in _SEPARATORS if share(separator) >= _CLEAR]
    return max(others, key=share) if others else usual


def _describe(odd: _Oddities, facts: FileFacts) -> Iterable[Finding]:
    name, width = facts.name, len(facts.columns)
    for number, lines in sorted(odd.other_fields.items()):
        yield Finding(
            "high",
            "fields",
            f"{name}: {len(lines):,} of {facts.rows:,} rows have {number} fields where "
            f"{width} are expected (lines {some(lines)}); a text that holds the separator must "
            "stand in quotation marks, or another `sep` is meant",
            "quoting" if facts.quoted else "sep",
        )
    if odd.swallowed:
        line, parts = next(iter(odd.swallowed.items()))
        hidden = sum(len(parts) - 1 for parts in odd.swallowed.values())
        yield Finding(
            "high",
            "swallowed",
            f"{name}: of {facts.rows:,} rows {len(odd.swallowed):,} may hold {hidden:,} others: "
            f"in line {line} a quotation mark begins that ends in line {line + len(parts) - 1}, "
            f"and each line between has {width} fields and a class of its own; if quotation "
            "marks are part of the texts, give `quoting: none`",
            "quoting",
        )
    if odd.repeated_header:
        yield Finding(
            "high",
            "repeated header",
            f"{name}: the header stands again in line {some(odd.repeated_header)}, where it is "
            "read as an example; remove these lines",
        )
    if odd.garbled:
        yield Finding(
            "medium",
            "garbled",
            f"{name}: characters that a wrong encoding leaves in {len(odd.garbled):,} of "
            f"{facts.rows:,} rows (lines {some(odd.garbled)}); save the texts anew "
            "from where they are whole, or give their `encoding`",
            "encoding",
        )
    if odd.long_rows > len(odd.swallowed) or odd.empty_lines:
        yield Finding(
            "low",
            "rows and lines",
            f"{name}: {facts.rows:,} rows in {facts.lines:,} lines; rows in several lines: "
            f"{odd.long_rows:,}, empty lines: {odd.empty_lines:,}",
            "quoting" if odd.long_rows else None,
        )


def _suspect_header(read: ReadFile, repeated: int) -> Iterable[Finding]:
    """A first line that is a row like any other, and names that are none."""
    facts = read.facts
    bad = [place for place, name in enumerate(facts.columns, 1) if not name.strip()]
    twice = [name for name, count in Counter(facts.columns).items() if count > 1 and name.strip()]
    if bad or twice:
        what = f"no name for column {some(bad)}" if bad else f"the name {twice[0]!r} twice"
        yield Finding(
            "medium", "header", f"{facts.name}: the header has {what}: give `column_names`",
            "column_names",
        )  # fmt: skip
    for name, values in read.columns.items():
        rest = Counter(values)
        again = rest[name] - repeated
        numbers = _is_number(name) and all(map(_is_number, values))
        is_class = name.strip() and again > 1 and len(rest) <= facts.rows / 2
        if numbers or is_class:
            why = "is a number as all below it" if numbers else f"stands {again:,} times below it"
            yield Finding(
                "high",
                "header",
                f"{facts.name}: its first line looks like a row and not like a header: {name!r} "
                f"{why}; give `column_names`",
                "column_names",
            )
            return


def _is_number(value: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+(\.\d+)?", value))


# --- JSON


def _read_json_lines(file: DataFile, read: ReadFile, skipped: Collection[str]) -> None:
    name, number, bad = read.facts.name, 0, list[str]()
    rows: list[dict[str, Any]] = []
    with file.open_text() as text:
        for number, line in enumerate(text, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, strict=False)  # as `json_rows` reads it
            except json.JSONDecodeError as error:
                bad.append(f"line {number}, column {error.colno}: {error.msg}")
                continue
            if not isinstance(row, dict):
                bad.append(f"line {number} is no mapping of columns")
                continue
            rows.append({name: value for name, value in row.items() if name not in skipped})
            read.facts.columns += [name for name in row if name not in read.facts.columns]
    read.facts.lines = number
    if bad:
        said = f"{name}: lines that are no rows: {len(bad):,} of {number:,} ({some(bad, 3)}); "
        read.findings.append(Finding("high", "format", f"{said}mend or remove them"))
    _keep(rows, read, skipped)


def _read_json_list(file: DataFile, read: ReadFile, skipped: Collection[str]) -> None:
    with file.open_text() as text:
        try:
            rows = json.load(text, strict=False)
        except json.JSONDecodeError as error:
            said = f"{read.facts.name}: line {error.lineno}, column {error.colno}: {error.msg}"
            read.findings.append(Finding("high", "format", said))
            return
    if not all(isinstance(row, dict) for row in rows):
        said = f"{read.facts.name}: not each of its {len(rows):,} items is a mapping of columns"
        read.findings.append(Finding("high", "format", said))
        return
    read.facts.columns = list(dict.fromkeys(name for row in rows for name in row))
    _keep(rows, read, skipped)


def _keep(rows: list[dict[str, Any]], read: ReadFile, skipped: Collection[str]) -> None:
    read.facts.rows = len(rows)
    kept = [name for name in read.facts.columns if name not in skipped]
    read.columns = {name: [row.get(name) for row in rows] for name in kept}
