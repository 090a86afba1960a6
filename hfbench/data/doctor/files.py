"""What stands in a file, looked at by itself and without believing its name.

Nothing here is read for a comparison: that is `data.sources`. The doctor reads a second time, line
by line, so that it can tell what was lost on the way.
"""

import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from hfbench.data.doctor.encoding import decodes, find_encoding
from hfbench.data.doctor.finding import Finding, some

KINDS = {".csv": "csv", ".tsv": "tsv", ".json": "json", ".jsonl": "jsonl", ".parquet": "parquet"}
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


def read_file(path: Path, given: Mapping[str, Any], skipped: Collection[str] = ()) -> ReadFile:
    """Read a file of one of `KINDS` as it stands.

    Args:
        path: of the file.
        given: what the recipe says of it: ``encoding``, ``sep``, ``quoting``, ``header``,
            ``column_names``; what is not given is found.
        skipped: columns that are not kept.
    """
    read = ReadFile(FileFacts(path.name, KINDS[path.suffix.lower()]))
    if read.facts.kind == "parquet":
        _read_parquet(path, read, skipped)
        return read
    read.facts.encoding = _encoding(path, given, read)
    if not decodes(path, read.facts.encoding):
        return read
    with path.open("r", encoding=read.facts.encoding, newline="") as file:
        if read.facts.kind in ("csv", "tsv"):
            _read_delimited(file, read, given, skipped)
        elif read.facts.kind == "json" and file.read(1 << 16).lstrip().startswith("["):
            file.seek(0)
            _read_json_list(file, read, skipped)
        else:
            file.seek(0)
            _read_json_lines(file, read, skipped)
    return read


def _encoding(path: Path, given: Mapping[str, Any], read: ReadFile) -> str:
    found = find_encoding(path)
    if "encoding" in given:
        if not decodes(path, given["encoding"]):
            read.findings.append(
                Finding(
                    "high",
                    "encoding",
                    f"{path.name} cannot be read as {given['encoding']}; it seems to be {found}: "
                    f"give `encoding: {found}`",
                    "encoding",
                )
            )
        return given["encoding"]
    if found not in ("utf-8", "utf-8-sig"):
        read.findings.append(
            Finding(
                "high",
                "encoding",
                f"{path.name} is not UTF-8; it seems to be {found}: look at its texts with "
                f"`encoding: {found}`, or save it as UTF-8",
                "encoding",
            )
        )
    return found


def _read_parquet(path: Path, read: ReadFile, skipped: Collection[str]) -> None:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        said = f"{path.name} cannot be read as Parquet: {' '.join(str(error).split())[:200]}"
        read.findings.append(Finding("high", "format", said))
        return
    read.facts.rows, read.facts.columns = table.num_rows, table.column_names
    kept = [name for name in table.column_names if name not in skipped]
    read.columns = {name: table[name].to_pylist() for name in kept}


# --- CSV and TSV


class _Lines:
    """Hands lines to a CSV reader and remembers those of the row under way."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.count = 0
        self.row: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._file:
            self.count += 1
            self.row.append(line)
            yield line

    def take(self) -> list[str]:
        """The lines since the last time."""
        taken, self.row = self.row, []
        return taken


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


def _read_delimited(
    file: TextIO, read: ReadFile, given: Mapping[str, Any], skipped: Collection[str]
) -> None:
    facts, sample = read.facts, [line for line, _ in zip(file, range(_SAMPLE_LINES), strict=False)]
    usual = "\t" if facts.kind == "tsv" else ","
    facts.separator = given.get("sep") or _find_separator(sample, usual)
    file.seek(0)
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a text may be longer than 131,072
    if "quoting" in given:
        facts.quoted = given["quoting"] != "none"
    else:
        facts.quoted = facts.kind == "csv" or _is_quoted(file, facts.separator)
    file.seek(0)
    lines, odd = _Lines(file), _Oddities()
    try:
        _read_rows(lines, read, odd, given, skipped)
    except csv.Error as error:
        said = f"{facts.name}: line {lines.count} cannot be read as {facts.kind.upper()}: {error}"
        read.findings.append(Finding("high", "format", said, "quoting"))
    facts.lines = lines.count
    if "sep" not in given and facts.separator != usual:
        name = _SEPARATORS[facts.separator]
        read.findings.append(
            Finding(
                "high",
                "separator",
                f"{facts.name}: its fields are separated by a {name}, not by a "
                f'{_SEPARATORS[usual]}: give `sep: "{_escaped(facts.separator)}"`',
                "sep",
            )
        )
    read.findings += _describe(odd, facts)
    if facts.rows and not given.get("column_names"):
        read.findings += _suspect_header(read, len(odd.repeated_header))


def _read_rows(
    lines: _Lines,
    read: ReadFile,
    odd: _Oddities,
    given: Mapping[str, Any],
    skipped: Collection[str],
) -> None:
    facts = read.facts
    assert facts.separator
    names: list[str] = list(given.get("column_names") or [])
    header: list[str] | None = None
    has_header = given.get("header", not names)
    columns: list[list[str] | None] = []
    rows = csv.reader(
        iter(lines),
        delimiter=facts.separator,
        quoting=csv.QUOTE_MINIMAL if facts.quoted else csv.QUOTE_NONE,
    )
    for fields in rows:
        raw = lines.take()
        if not fields:
            odd.empty_lines += 1
            continue
        if not columns:
            header = fields if has_header else None
            facts.columns = names or header or [str(number) for number in range(len(fields))]
            columns = [None if name in skipped else [] for name in facts.columns]
            if header:
                continue
        facts.rows += 1
        first = lines.count - len(raw) + 1
        if fields == header:
            odd.repeated_header.append(first)
        if len(fields) != len(columns):
            odd.other_fields.setdefault(len(fields), []).append(first)
        if len(raw) > 1:
            odd.long_rows += 1
            parts = [line.strip().strip('"').split(facts.separator) for line in raw]
            if all(len(part) == len(columns) for part in parts):
                odd.swallowed[first] = parts
        if any(not line.isascii() and _GARBLED.search(line) for line in raw):
            odd.garbled.append(first)
        for place, column in enumerate(columns):
            if column is not None:
                column.append(fields[place] if place < len(fields) else "")
    for name, column in zip(facts.columns, columns, strict=True):
        if column is not None:
            read.columns[name] = column
    classes = [{v for v, n in Counter(column or ()).items() if n > 1} for column in columns]
    odd.swallowed = {
        first: parts for first, parts in odd.swallowed.items() if _are_rows(parts, classes)
    }


def _are_rows(parts: list[list[str]], classes: list[set[str]]) -> bool:
    """Whether lines that begin as one row are several: each has a class where rows have theirs."""
    return any(
        known and all(part[place] in known for part in parts) for place, known in enumerate(classes)
    )


def _find_separator(sample: list[str], usual: str) -> str:
    """The usual one, unless it parts hardly any line as it parts the first, and another does."""

    def share(separator: str) -> float:
        fields = [len(row) for row in csv.reader(sample, delimiter=separator) if row]
        if not fields or fields[0] < 2:
            return 0.0
        return fields.count(fields[0]) / len(fields)

    if share(usual) >= 0.5:
        return usual
    others = [separator for separator in _SEPARATORS if share(separator) >= _CLEAR]
    return max(others, key=share) if others else usual


def _is_quoted(file: TextIO, separator: str) -> bool:
    """Whether a file whose fields usually stand bare proves otherwise.

    Where all lines have as many fields, it does if each field with quotation marks has them as CSV
    does; else, if only the reading with quotation marks gives each row as many.
    """
    widths, has_quoted, has_bare = set(), False, False
    for line in file:
        if not (text := line.rstrip("\r\n")):
            continue
        widths.add(text.count(separator))
        for part in text.split(separator) if '"' in text else ():
            whole = len(part) > 1 and part[0] == part[-1] == '"'
            has_quoted |= whole and '"' not in part[1:-1].replace('""', "")
            has_bare |= '"' in part and not whole
    if len(widths) < 2:
        return has_quoted and not has_bare
    file.seek(0)
    return len({len(row) for row in csv.reader(file, delimiter=separator) if row}) == 1


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


def _escaped(separator: str) -> str:
    return "\\t" if separator == "\t" else separator


# --- JSON


def _read_json_lines(file: TextIO, read: ReadFile, skipped: Collection[str]) -> None:
    number, bad = 0, []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
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
        read.findings.append(
            Finding(
                "high",
                "format",
                f"{read.facts.name}: lines that are no rows: {len(bad):,} of {number:,} "
                f"({some(bad, 3)}); mend or remove them",
            )
        )
    _keep(rows, read, skipped)


def _read_json_list(file: TextIO, read: ReadFile, skipped: Collection[str]) -> None:
    try:
        rows = json.load(file)
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
