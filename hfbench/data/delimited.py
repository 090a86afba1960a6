r"""CSV and TSV files: every field is the text that stands in the file.

A line ends at ``\n`` or ``\r\n`` (in a file without ``\n``: at ``\r``). Between quotation marks a
line end is a part of the field, and a doubled mark is one mark: so Python's csv module, pandas and
spreadsheets write. The csv module does not read here, because it takes a lone ``\r`` within a text,
which pandas writes as it is, for the end of a row; because its limit of 128 KB a field is one for
the whole process; and because it does not say in which line a row begins.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice

import pyarrow as pa

from hfbench.data.files import DataFile
from hfbench.errors import UserError
from hfbench.recipe.fields import shown
from hfbench.recipe.task import Task

_BATCH_ROWS = 10_000
_JOINED_BATCHES = 10  # a batch keeps up to half of its memory for nothing; joined, it does not
_HEAD_CHARACTERS = 1 << 16
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_OTHER_SEPARATORS = "\t;|,"

_Row = tuple[int, list[str], list[str]]
"""The number of its first line, its fields, and its lines if they are more than one."""


@dataclass(frozen=True)
class Form:
    """How a file is to be read."""

    sep: str
    quotes: bool
    """Whether quotation marks enclose fields; otherwise they are characters."""
    is_certain: bool
    """Whether the recipe says so: then nothing is suspected."""
    header: bool
    names: list[str] | None
    label_column: str


def read_delimited(file: DataFile, task: Task, *, any_columns: bool = False) -> pa.Table:
    """The rows of a CSV or TSV file: strings; null where nothing or one of ``na_values`` stands.

    Args:
        file: to read.
        task: says how, and which columns are wanted.
        any_columns: whether the header may name none of these.

    Raises:
        UserError: if the header names no column that is wanted; naming lines, if they have another
            number of fields than the header, if a quotation mark is out of place, if the header
            stands there again, or if a text seems to have swallowed rows.
    """
    rows = _checked_rows(file, find_form(file, task))
    names, missing = next(rows), {"", *task.na_values}
    wanted = [*task.text_columns, *task.label_columns]
    if not any_columns and task.column_names is None and not set(wanted) & set(names):
        raise UserError(
            f"{file.where}: its first line names none of the columns {', '.join(wanted)}, but "
            f"{shown(', '.join(names))}; say which they are by `text_column` and `label_column`, "
            "or name them by `column_names` if this line is a row"
        )
    schema = pa.schema([(name, pa.string()) for name in names])
    pieces, batches = [], list[pa.RecordBatch]()
    while batch := list(islice(rows, _BATCH_ROWS)):
        columns = zip(*batch, strict=True)
        arrays = [pa.array([None if f in missing else f for f in c], pa.string()) for c in columns]
        batches.append(pa.record_batch(arrays, schema=schema))
        if len(batches) == _JOINED_BATCHES:
            pieces.append(pa.Table.from_batches(batches).combine_chunks())
            batches.clear()
    return pa.concat_tables([*pieces, pa.Table.from_batches(batches, schema=schema)])


def find_form(file: DataFile, task: Task) -> Form:
    """What ``task`` says of the file, and where it says nothing what the file shows."""
    form = Form(
        sep=task.sep or ("\t" if file.ending == ".tsv" else ","),
        quotes=task.quoting != "none",
        is_certain=task.quoting is not None,
        header=task.column_names is None if task.header is None else task.header,
        names=task.column_names,
        label_column=task.label_columns[0],
    )
    if form.sep == "\t" and task.quoting is None:
        return replace(form, quotes=_quotes_for_certain(file, form))
    return form


def _quotes_for_certain(file: DataFile, form: Form) -> bool:
    """Whether a file with tabs encloses fields in quotation marks, which GLUE's do not.

    Raises:
        UserError: if either is possible and they give other rows.
    """
    plain = replace(form, quotes=False)
    widths, marked, unmarked, number = set(), [], 0, 0
    for _, fields, _ in split_rows(file, plain):
        number += 1
        widths.add(len(fields))
        with_mark = [field for field in fields if '"' in field]
        marked += with_mark
        unmarked += sum(map(bool, fields)) - len(with_mark)
    if not marked:
        return False
    fits = len(widths) == 1
    if fits and all(map(_QUOTED.fullmatch, marked)):
        return not unmarked or any(re.search('""|\r', field[1:-1]) for field in marked)
    try:
        _, *quoted = (1 for _ in _checked_rows(file, replace(form, quotes=True)))
    except UserError:
        return False
    if fits and len(quoted) != number - form.header:
        raise UserError(
            f"{file.where}: it has {number - form.header:,} rows if quotation marks are "
            f"characters, and {len(quoted):,} if they enclose fields; say which by `quoting: none` "
            "or `quoting: minimal`"
        )
    return not fits


def _checked_rows(file: DataFile, form: Form) -> Iterator[list[str]]:
    """The names of the columns, then all rows; what is wrong with any is raised in the end."""
    rows = split_rows(file, form)
    header = next(rows, (0, [], []))[1] if form.header else None
    names = form.names or _column_names(header or [], file)
    width = len(names if header is None else header)
    _check_header(names, width, file, form)
    yield names
    label = names.index(form.label_column) if form.label_column in names else None
    wrong: list[tuple[int, int]] = []
    repeated: list[int] = []
    suspects: list[tuple[int, int, list[str]]] = []
    labels = set()
    for number, fields, lines in rows:
        if len(fields) != width:
            wrong.append((number, len(fields)))
            continue
        if fields == header:
            repeated.append(number)
        if lines and label is not None:
            suspects.append((number, len(lines), _possible_labels(lines, label, width, form.sep)))
        elif label is not None:
            labels.add(fields[label])
        yield fields
    if wrong:
        raise UserError(f"{file.where}: {_wrong_widths(wrong, width, form)}")
    if repeated:
        raise UserError(
            f"{file.where}: the header stands again in {_lines(repeated)}; remove it there"
        )
    labels.discard("")
    for number, height, possible in suspects if not form.is_certain else []:
        if sum(value in labels for value in possible) > 1:
            raise UserError(
                f"{file.where}: lines {number} to {number + height - 1} are one row, in which a "
                "quotation mark seems to have swallowed others: they hold separators and labels. "
                "Give `quoting: none` if quotation marks are characters, or `quoting: minimal` if "
                "this is one text"
            )


def _column_names(header: list[str], file: DataFile) -> list[str]:
    names = [name or f"column {number}" for number, name in enumerate(header, start=1)]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(
            f"{file.where}: the header names {repeated[0]!r} twice; give `column_names` with "
            "`header: true`, or if it is no header `column_names` alone"
        )
    return names


def _check_header(names: list[str], width: int, file: DataFile, form: Form) -> None:
    if len(names) != width:
        raise UserError(
            f"{file.where}: column_names has {len(names)} names, the header {width} fields"
        )
    if width < 2:
        others = [sep for sep in _OTHER_SEPARATORS if names and sep in names[0]]
        cure = f': give `sep: "{others[0]}"`'.replace("\t", r"\t") if others else ""
        raise UserError(
            f"{file.where}: one column, {shown(''.join(names))}, cannot hold text and label; what "
            f"parts fields is not {form.sep!r}{cure or ' (key `sep`)'}"
        )


def split_rows(file: DataFile, form: Form) -> Iterator[_Row]:
    """Rows as they come; empty lines are none."""
    with file.open_text("") as text:
        head = text.read(_HEAD_CHARACTERS)
    end = "\n" if "\n" in head or "\r" not in head else "\r"
    with file.open_text(end) as text:
        lines = enumerate(text, start=1)
        for number, line in lines:
            if form.quotes and '"' in line:
                yield _quoted_row(number, line, lines, form.sep, file)
            elif content := _without_end(line):
                yield number, content.split(form.sep), []


def _quoted_row(
    first: int, line: str, lines: Iterable[tuple[int, str]], sep: str, file: DataFile
) -> _Row:
    """A row with a quotation mark in it, which may go on in the lines that follow."""
    fields: list[str] = []
    number, all_lines, start = first, [line], 0
    following = iter(lines)
    while True:
        if not line.startswith('"', start):
            end = line.find(sep, start)
            fields.append(_without_end(line[start:]) if end < 0 else line[start:end])
            start = end + len(sep)
            if end < 0:
                break
            continue
        pieces, start = [], start + 1
        while True:
            end = line.find('"', start)
            if end < 0:
                pieces.append(line[start:])
                number, line = next(following, (0, ""))
                if not line:
                    raise UserError(_misplaced(file, first, "opens a field that is never closed"))
                all_lines.append(line)
                start = 0
            elif line.startswith('"', end + 1):
                pieces.append(line[start : end + 1])
                start = end + 2
            else:
                pieces.append(line[start:end])
                start = end + 1
                break
        fields.append("".join(pieces))
        if line.startswith(sep, start):
            start += len(sep)
        elif _without_end(line[start:]):
            raise UserError(_misplaced(file, number, "closes a field in its middle"))
        else:
            break
    return first, fields, all_lines if len(all_lines) > 1 else []


def _misplaced(file: DataFile, number: int, what: str) -> str:
    return (
        f"{file.where}: line {number}: a quotation mark {what}; give `quoting: none` if quotation "
        "marks are characters, otherwise double those within a field"
    )


def _without_end(line: str) -> str:
    if line.endswith("\r\n"):
        return line[:-2]
    # a text of a file with "\n" may end with "\r" in the last line alone, where nothing follows
    return line[:-1] if line.endswith(("\n", "\r")) else line


def _possible_labels(lines: list[str], label: int, width: int, sep: str) -> list[str]:
    """Of each line what would be its label if it were a row, or the end of one."""
    found: list[str] = []
    for line in lines:
        parts = [part.strip('"') for part in _without_end(line).split(sep)]
        if len(parts) > 1:
            from_start, from_end = label, len(parts) + label - width
            found += {parts[place] for place in (from_start, from_end) if 0 <= place < len(parts)}
    return found


def _wrong_widths(wrong: list[tuple[int, int]], width: int, form: Form) -> str:
    widths = sorted({fields for _, fields in wrong})
    found = f"{widths[0]} field{'s' * (widths[0] != 1)}" if len(widths) == 1 else (
        f"{', '.join(map(str, widths[:5]))} fields"
    )  # fmt: skip
    owner = "the header" if form.header else "column_names"
    marks = (
        "a field that holds it stands between quotation marks; `quoting: none` if marks are "
        "characters"
        if form.quotes
        else "quotation marks are taken for characters, `quoting: minimal` if they enclose fields"
    )
    verb = "has" if len(wrong) == 1 else "have"
    return (
        f"{_lines([number for number, _ in wrong])} {verb} {found}, {owner} has {width}; what "
        f"parts fields is {form.sep!r} (key `sep`), and {marks}"
    )


def _lines(numbers: list[int]) -> str:
    """``lines 2 to 9, 12 and more (20 in all)``."""
    runs = []
    for _, run in groupby(enumerate(numbers), key=lambda place: place[1] - place[0]):
        members = [number for _, number in run]
        runs.append(f"{members[0]} to {members[-1]}" if len(members) > 2 else
                    ", ".join(map(str, members)))  # fmt: skip
    if len(numbers) == 1:
        return f"line {runs[0]}"
    more = f" and more ({len(numbers):,} in all)" if len(runs) > 5 else ""
    return f"lines {', '.join(runs[:5])}{more}"
