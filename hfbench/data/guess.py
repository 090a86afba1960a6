"""Which columns of somebody's data are the text and the label, and of what kind the task is."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hfbench.data.doctor.diagnosis import guess_columns
from hfbench.recipe.types import ProblemType

Columns = Mapping[str, Sequence[Any]]

_PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("question", "sentence"),
    ("query", "passage"),
)
"""Names of two texts that are asked about together; those of GLUE and the like."""
_LABELS = (
    "label",
    "labels",
    "class",
    "category",
    "target",
    "sentiment",
    "score",
    "rating",
    "stars",
)
"""Names of a label's column, the likeliest first."""
_SEPARATORS = ("|", ";", ",")
_MANY_NUMBERS = 20
"""Whole numbers of which more are there are likelier amounts than classes."""


@dataclass(frozen=True)
class Guess:
    """Keys of a recipe's task, and how sure they are."""

    text_column: str | list[str]
    label_column: str | list[str]
    problem_type: ProblemType
    label_separator: str | None = None
    notes: list[str] = field(default_factory=list)
    """What somebody should look at, a sentence each."""

    @property
    def keys(self) -> dict[str, Any]:
        """Of the task."""
        keys: dict[str, Any] = {
            "text_column": self.text_column,
            "label_column": self.label_column,
            "problem_type": self.problem_type,
        }
        return keys | ({"label_separator": self.label_separator} if self.label_separator else {})


def guess(columns: Columns) -> Guess | None:
    """By the names and values of columns; None if there are not two that could be text and label.

    Args:
        columns: those of the train split; of csv and tsv files all values are strings.
    """
    texts, rest = _texts(columns)
    if texts is None:
        return None
    several = _ones_and_zeros(rest)
    if len(several) > 1 and not any(name.lower() in _LABELS for name in rest):
        return Guess(texts, several, "multi_label_classification")
    label = _label(rest)
    if label is None:
        return None
    values = [value for value in columns[label] if value not in (None, "")]
    kind, separator, notes = _kind(label, values)
    return Guess(texts, label, kind, separator, notes)


def _texts(columns: Columns) -> tuple[str | list[str] | None, Columns]:
    """The column or columns with texts, and the others."""
    by_name = {name.lower(): name for name in columns}
    for pair in _PAIRS:
        if set(pair) <= by_name.keys():
            names = [by_name[name] for name in pair]
            return names, {n: v for n, v in columns.items() if n not in names}
    found = guess_columns(columns)
    if found is None:
        return None, columns
    return found[0], {n: v for n, v in columns.items() if n != found[0]}


def _label(columns: Columns) -> str | None:
    by_name = {name.lower(): name for name in reversed([*columns])}
    named = [by_name[name] for name in _LABELS if name in by_name]
    usable = [name for name in named if _different(columns[name]) > 1]
    if usable:
        return usable[0]
    several = {name: count for name in columns if (count := _different(columns[name])) > 1}
    return min(several, key=lambda name: several[name], default=None)


def _ones_and_zeros(columns: Columns) -> list[str]:
    allowed = {"0", "1", "0.0", "1.0", "true", "false"}
    return [
        name
        for name, values in columns.items()
        if len(values) and {str(value).lower() for value in values} <= allowed
    ]


def _kind(label: str, values: Sequence[Any]) -> tuple[ProblemType, str | None, list[str]]:
    if any(isinstance(value, list) for value in values):
        return "multi_label_classification", None, []
    words = [str(value) for value in values]
    if all(re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", word) for word in words):
        different = len(set(words))
        if any("." in word and float(word) % 1 for word in words):
            return "regression", None, []
        if different > _MANY_NUMBERS:
            said = (
                f"the {different:,} numbers of {label!r} are taken for amounts; if they are "
                "classes, problem_type is single_label_classification"
            )
            return "regression", None, [said]
        return "single_label_classification", None, []
    if separator := _separator(words):
        said = f"{separator!r} in {label!r} is taken for what parts several labels of a text"
        return "multi_label_classification", separator, [said]
    return "single_label_classification", None, []


def _separator(words: Sequence[str]) -> str | None:
    """What parts labels: it is in every tenth value, and parts come again in other company."""
    for separator in _SEPARATORS:
        parted = {word: {part.strip() for part in word.split(separator)} for word in set(words)}
        joined = sum(len(parted[word]) > 1 for word in words)
        company = Counter(part for parts in parted.values() for part in parts)
        often = len(words) >= 5 * len(company)
        if joined >= 0.1 * len(words) and often and max(company.values()) > 1:
            return separator
    return None


def _different(values: Sequence[Any]) -> int:
    return len({str(value) for value in values if value not in (None, "")})
