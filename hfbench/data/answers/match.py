"""Which row of a file answers which example: by id, or by the text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from hfbench.data.answers.columns import Columns
from hfbench.data.contamination import letters
from hfbench.data.sources import load_source
from hfbench.data.tables import first_rows, texts_of
from hfbench.data.task import LoadedTask
from hfbench.errors import UserError, nearest
from hfbench.recipe.fields import shown
from hfbench.recipe.predictions import Predictions
from hfbench.recipe.task import Task

_Runs = dict[int | None, list[int]]
"""Seed -> rows of the file."""


@dataclass(frozen=True)
class Matched:
    """Which row answers which example."""

    rows: dict[int | None, dict[str, np.ndarray]]
    """Seed -> split -> the row of each example, shape (examples,)."""
    by: str
    """By what they were found, in words."""
    ignored: dict[str, int]
    """Of what kind -> rows that answer nothing that is evaluated."""


def seeds_of(
    entry: Predictions, where: str, columns: Mapping[str, list[Any]], wanted: Sequence[int]
) -> _Runs:
    """The rows of each run that is wanted; of a file without seeds all, as those of one.

    Raises:
        UserError: if a seed is no whole number, or a run is not there.
    """
    if entry.seed_column is None:
        return {None: list(range(len(next(iter(columns.values())))))}
    values = columns[entry.seed_column]
    seeds = [_whole(value) for value in values]
    if wrong := [row for row, seed in enumerate(seeds) if seed is None]:
        raise UserError(
            f"{where}: {len(wrong)} of {len(values)} rows have no seed in column "
            f"{entry.seed_column!r} ({first_rows(wrong)}; the first has {_value(values[wrong[0]])})"
            ": a seed is a whole number"
        )
    there = sorted({seed for seed in seeds if seed is not None})
    if missing := sorted(set(wanted) - set(there)):
        raise UserError(
            f"{where}: no row has the seed {', '.join(map(str, missing[:5]))}; there are "
            f"{', '.join(map(str, there[:20]))}. Give `predictions.seeds`, e.g. {there[:20]}"
        )
    return {seed: [row for row, own in enumerate(seeds) if own == seed] for seed in wanted}


def match_rows(
    found: Columns,
    where: str,
    columns: Mapping[str, list[Any]],
    runs: _Runs,
    task: Task,
    loaded: LoadedTask,
    folder: Path,
) -> Matched:
    """The row of each evaluation example, of each run.

    Rows of the training part are known, and not needed. A split that is not evaluated in the end
    may be missing as a whole.

    Raises:
        UserError: counting examples without a row, rows that are there more than once, and rows
            that are no example's.
    """
    names = (_by_id if found.id else _by_text)(found, where, columns, task, loaded, folder)
    matched, ignored = {}, Counter[str]()
    for seed, rows in runs.items():
        of_run = where if seed is None else f"{where}: seed {seed}"
        matched[seed], unused = _match_run(names, of_run, rows, loaded)
        if unused:
            ignored["of training examples"] += unused
    if len({tuple(splits) for splits in matched.values()}) > 1:
        raise UserError(f"{where}: some seeds answer other splits than others do")
    if unwanted := len(next(iter(columns.values()))) - sum(map(len, runs.values())):
        ignored["of other seeds"] = unwanted
    return Matched(matched, names.by, dict(ignored))


@dataclass(frozen=True)
class _Names:
    """By what rows and examples are known; equal where they belong together."""

    keys: list[Any]
    """Of each row of the file."""
    examples: dict[str, list[Any]]
    """Split -> of each example."""
    by: str
    """In words."""
    answers: list[str] | None = None
    """Of each row, as it stands there, where rows with the same name may say the same."""

    def places(self, where: str, rows: list[int]) -> dict[Any, int]:
        """Name -> row.

        Raises:
            UserError: if a name stands for more than one answer.
        """
        place: dict[Any, int] = {}
        doubled = []
        for row in rows:
            first = place.setdefault(self.keys[row], row)
            if first != row and (not self.answers or self.answers[first] != self.answers[row]):
                doubled.append(row)
        if doubled:
            what = "and another answer " if self.answers else ""
            cure = ", or `id_column`" if self.answers else ""
            raise UserError(
                f"{where}: {len(doubled):,} of {len(rows):,} rows are known as another row is "
                f"{what}({self.shown(doubled)}; rows are known by {self.by}); of several runs give "
                f"`seed_column`{cure}"
            )
        return place

    def shown(self, rows: list[int]) -> str:
        """Some rows for a message, without any text."""
        if self.answers:
            return first_rows(rows)
        ids = ", ".join(_value(self.keys[row]) for row in rows[:5])
        return f"{ids}{', ...' if len(rows) > 5 else ''}"


def _match_run(
    names: _Names, where: str, rows: list[int], loaded: LoadedTask
) -> tuple[dict[str, np.ndarray], int]:
    """Split -> the row of each example; and how many rows are of training examples alone."""
    place = names.places(where, rows)
    known = {key for keys in names.examples.values() for key in keys}
    if unknown := [row for row in rows if names.keys[row] not in known]:
        raise UserError(
            f"{where}: {len(unknown):,} of {len(rows):,} rows are no example of the task "
            f"({names.shown(unknown)}; rows are known by {names.by})"
        )
    found: dict[str, np.ndarray] = {}
    for split, keys in names.examples.items():
        own = [place.get(key) for key in keys]
        missing = [number for number, row in enumerate(own) if row is None]
        is_needed = split == loaded.facts.evaluation_split
        if split == "train" or (len(missing) == len(own) and not is_needed):
            continue
        if missing:
            ids = ", ".join(loaded.splits[split][number]["id"] for number in missing[:5])
            raise UserError(
                f"{where}: {len(missing):,} of {len(own):,} {split} examples have no answer "
                f"({ids}{', ...' if len(missing) > 5 else ''}; rows are known by {names.by})"
            )
        found[split] = np.array(own)
    answered = {key for split in found for key in names.examples[split]}
    return found, sum(names.keys[row] not in answered for row in rows)


def _by_id(
    found: Columns,
    where: str,
    columns: Mapping[str, list[Any]],
    task: Task,
    loaded: LoadedTask,
    folder: Path,
) -> _Names:
    """By hfbench's ids, or by what the data set has in the column of this name."""
    assert found.id is not None
    values = columns[found.id]
    if wrong := [row for row, value in enumerate(values) if not _is_id(value)]:
        raise UserError(
            f"{where}: {len(wrong)} of {len(values)} rows have no id in column {found.id!r} "
            f"({first_rows(wrong)}); an id is a text or a whole number"
        )
    keys = [_id(value) for value in values]
    own = {split: data["id"][:] for split, data in loaded.splits.items()}
    if not {*keys}.isdisjoint(chain.from_iterable(own.values())):
        return _Names(keys, own, f"hfbench's ids in column {found.id!r}")
    example = own[loaded.facts.evaluation_split][0]
    source = load_source(task, folder, loaded.facts.revision)
    column: dict[str, list[Any]] = {}
    for split in {id.rpartition("/")[0] for ids in own.values() for id in ids}:
        there = source[split].column_names
        if found.id not in there:
            raise UserError(
                f"{where}: the ids in column {found.id!r} are not hfbench's, as {example!r} is, "
                f"and split {split!r} of the data has no column {found.id!r}"
                f"{nearest(found.id, there)} (columns: {', '.join(there)})"
            )
        column[split] = source[split][found.id][:]
    examples = {}
    for role, ids in own.items():
        places = [id.rpartition("/") for id in ids]
        examples[role] = [_id(column[split][int(row)]) for split, _, row in places]
    every = [key for role, keys in examples.items() if role != "train" for key in keys]
    if len({*every}) < len(every):
        raise UserError(
            f"{where}: several examples of the data have the same value in column {found.id!r}; "
            f"give another id_column, or hfbench's ids (as {example!r})"
        )
    return _Names(keys, examples, f"the data's column {found.id!r}")


def _by_text(
    found: Columns,
    where: str,
    columns: Mapping[str, list[Any]],
    task: Task,
    loaded: LoadedTask,
    folder: Path,
) -> _Names:
    """By the text word for word; of what is not there so, by its letters and digits."""
    examples: dict[str, list[Any]] = {
        role: [*texts_of(split)] for role, split in loaded.splits.items()
    }
    keys = _file_texts(found, where, columns, task, len(examples["train"][0]))
    there, exact = {*keys}, {key for texts in examples.values() for key in texts}
    by = f"the text in column {' and '.join(map(repr, found.texts))}"
    if others := [row for row, key in enumerate(keys) if key not in exact]:
        same = {_letters(key): key for key in exact - there}
        alike = [row for row in others if _letters(keys[row]) in same]
        for row in alike:
            keys[row] = same[_letters(keys[row])]
        if alike:
            by += f" ({len(alike):,} but for case, punctuation and white space)"
    answers = [repr(row) for row in zip(*(columns[name] for name in found.answers), strict=True)]
    return _Names(keys, examples, by, answers)


def _file_texts(
    found: Columns, where: str, columns: Mapping[str, list[Any]], task: Task, width: int
) -> list[tuple[str, ...]]:
    """The text of each row, or both of its texts."""
    if task.text is not None and found.texts == task.text_columns:
        filled = [
            "".join(before + str(columns[name][row] or "") if name else before
                    for before, name in task.text_parts)
            for row in range(len(columns[found.texts[0]]))
        ]  # fmt: skip
        return [(text,) for text in filled]
    if len(found.texts) != width:
        raise UserError(
            f"{where}: text_column is {len(found.texts)} columns, and an example has {width} texts"
        )
    rows = list(zip(*(columns[name] for name in found.texts), strict=True))
    wrong = [n for n, row in enumerate(rows) if not all(isinstance(text, str) for text in row)]
    if wrong:
        raise UserError(
            f"{where}: {len(wrong)} of {len(rows)} rows have no text in "
            f"{' or '.join(map(repr, found.texts))} ({first_rows(wrong)})"
        )
    return rows


def _letters(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(letters, texts))


def _is_id(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int | str) and not isinstance(value, bool) and str(value).strip() != ""


def _id(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) else str(value)


def _whole(value: Any) -> int | None:
    try:
        number = int(value) if isinstance(value, str | int) else int(float(value))
    except (TypeError, ValueError, OverflowError):
        return None
    return number if isinstance(value, str) or number == value else None


def _value(value: Any) -> str:
    return shown(str(value)[:40])
