"""Answers as the outputs of a model: logits of classes, log-odds of labels, or the number."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hfbench.data.answers.columns import Columns
from hfbench.data.tables import first_rows
from hfbench.errors import UserError
from hfbench.recipe.fields import shown
from hfbench.recipe.task import Task
from hfbench.records.data import TaskData
from hfbench.records.schema import AnswerForm

_SUM = 0.02
"""How far from 1 probabilities may add up, as rounded ones do; they are divided by their sum."""
_ODDS = 1e-7
"""Of labels: nearer to 0 or 1 than float32 tells of log-odds."""


@dataclass(frozen=True)
class Outputs:
    """Of rows of the file."""

    logits: np.ndarray
    """float32 of shape (rows, outputs)."""
    form: AnswerForm
    inferred: list[str]


def read_outputs(
    found: Columns,
    where: str,
    columns: Mapping[str, list[Any]],
    rows: np.ndarray,
    task: Task,
    facts: TaskData,
) -> Outputs:
    """The outputs that some rows stand for.

    Answers that are labels give 1 for each that is given and 0, or of labels that may be together
    -1, for the others: what is right is right, and no probability is meant by it.

    Args:
        found: which columns hold answers.
        where: the file, for messages.
        columns: column -> its values.
        rows: of the file, shape (rows,).
        task: of the recipe.
        facts: what there is to answer.

    Raises:
        UserError: counting rows whose answer is none.
    """
    read = _Reader(found, where, columns, rows.tolist(), task, facts)
    if facts.problem_type == "regression":
        return Outputs(read.numbers(found.answers[0])[:, None].astype(np.float32), "numbers", [])
    is_multi_label = facts.problem_type == "multi_label_classification"
    if found.labels:
        logits = read.label_sets() if is_multi_label else read.classes()
        return Outputs(logits, "labels", read.inferred)
    scores = read.scores()
    is_one_hot = is_multi_label or (scores.sum(1) == 1).all()
    if found.says is None and is_one_hot and np.isin(scores, (0.0, 1.0)).all():
        said = "its scores, all of them 0 or 1, are taken for labels"
        logits = np.where(scores > 0, 1.0, -1.0 if is_multi_label else 0.0)
        return Outputs(logits.astype(np.float32), "labels", [said])
    unlikely = read.no_probabilities(scores)
    form: AnswerForm = "logits" if found.says == "logits" else "probabilities"
    if found.says == "probabilities" and unlikely:
        raise UserError(
            f"{where}: {len(unlikely):,} of {len(scores):,} rows have no probabilities "
            f"({first_rows(unlikely)}): each must be from 0 to 1"
            + ("" if is_multi_label else " and their sum 1")
            + "; give `scores: logits` if they are logits"
        )
    inferred = list(read.inferred)
    if found.says is None:
        form = "logits" if unlikely else "probabilities"
        inferred.append(f"scores taken for {form}")
    if form == "probabilities":
        scores = _log_odds(scores) if is_multi_label else _log_shares(scores)
    return Outputs(scores.astype(np.float32), form, inferred)


def _log_shares(probabilities: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):  # of what cannot be the logarithm is -inf
        return np.log(probabilities / probabilities.sum(1, keepdims=True))


def _log_odds(probabilities: np.ndarray) -> np.ndarray:
    within = np.clip(probabilities, _ODDS, 1 - _ODDS)
    return np.log(within / (1 - within))


@dataclass(frozen=True)
class _Reader:
    found: Columns
    where: str
    columns: Mapping[str, list[Any]]
    rows: list[int]
    task: Task
    facts: TaskData

    @property
    def inferred(self) -> list[str]:
        """What was found of the answers, in words."""
        return ["classes by their numbers"] if self._by_number else []

    @property
    def _by_number(self) -> bool:
        """Whether classes are given by number: no answer is a class's name, all are numbers."""
        if self.found.labels is None:
            return False
        given = {str(_plain(v)) for v in self._flat(self.found.labels)} - {"None"}
        return bool(given) and given.isdisjoint(self._numbers) and all(
            value.isdecimal() and int(value) < len(self.facts.labels) for value in given
        )  # fmt: skip

    @property
    def _numbers(self) -> dict[str, int]:
        """Class, by the name that it has in results or had in the data -> its number."""
        names = {name: number for number, name in enumerate(self.facts.labels)}
        old = {k: names[name] for k, name in (self.task.label_names or {}).items() if name in names}
        return {**old, **names}

    def _flat(self, column: str) -> list[Any]:
        values = [self.columns[column][row] for row in self.rows]
        if self.facts.problem_type != "multi_label_classification":
            return values
        return [label for value in values for label in self._parts(value) or []]

    def numbers(self, column: str) -> np.ndarray:
        """A column of finite numbers, shape (rows,)."""
        values = self._read(column, _number, "a number")
        return np.array(values, dtype=np.float64)

    def _read(self, column: str, read: Callable[[Any], Any], wanted: str) -> list[Any]:
        values = [self.columns[column][row] for row in self.rows]
        found = [read(value) for value in values]
        if wrong := [place for place, value in enumerate(found) if value is None]:
            rows = first_rows([self.rows[place] for place in wrong])
            raise UserError(
                f"{self.where}: {len(wrong):,} of {len(values):,} answers in column {column!r} are "
                f"not {wanted} ({rows}; the first is {shown(str(values[wrong[0]])[:40])})"
            )
        return found

    def classes(self) -> np.ndarray:
        """Shape (rows, classes)."""
        assert self.found.labels is not None
        read = self._class_of()
        classes = self.facts.labels
        numbers = self._read(self.found.labels, read, f"one of the classes {_names(classes)}")
        return np.eye(len(classes), dtype=np.float32)[numbers]

    def label_sets(self) -> np.ndarray:
        """Shape (rows, labels)."""
        assert self.found.labels is not None
        number_of, labels = self._class_of(), self.facts.labels

        def read(value: Any) -> list[int] | None:
            parts = self._parts(value)
            numbers = None if parts is None else [number_of(part) for part in parts]
            return None if numbers is None or None in numbers else numbers  # type: ignore[return-value]

        sets = self._read(self.found.labels, read, f"sets of the labels {_names(labels)}")
        logits = np.full((len(sets), len(labels)), -1.0, dtype=np.float32)
        for row, numbers in enumerate(sets):
            logits[row, numbers] = 1.0
        return logits

    def _class_of(self) -> Callable[[Any], int | None]:
        numbers = self._numbers
        if self._by_number:
            numbers = {str(number): number for number in range(len(self.facts.labels))}
        return lambda value: numbers.get(str(_plain(value)).strip())

    def _parts(self, value: Any) -> list[Any] | None:
        """The labels of a set; None of what is none."""
        if isinstance(value, str) and self.task.label_separator is not None:
            return [part.strip() for part in value.split(self.task.label_separator) if part.strip()]
        if value is None and self.task.label_separator is not None:
            return []
        parsed = _from_json(value)
        return parsed if isinstance(parsed, list) else None

    def scores(self) -> np.ndarray:
        """Shape (rows, classes)."""
        names, classes = self.found.scores, self.facts.labels
        if len(names) > 1:
            return np.stack([self.numbers(name) for name in names], axis=1)
        first = _from_json(self.columns[names[0]][self.rows[0]])
        if not isinstance(first, list | dict):
            return self._of_second(names[0])
        wanted = f"lists of {len(classes)} numbers, or objects with one for each class"
        return np.array(self._read(names[0], self._row, wanted), dtype=np.float64)

    def _row(self, value: Any) -> list[float] | None:
        value, classes = _from_json(value), self.facts.labels
        if isinstance(value, dict):
            if set(value) != set(classes):
                return None
            value = [value[name] for name in classes]
        if not isinstance(value, list) or len(value) != len(classes):
            return None
        numbers = [_number(one) for one in value]
        return None if None in numbers else numbers  # type: ignore[return-value]

    def _of_second(self, column: str) -> np.ndarray:
        """Of two classes, the score of the second alone."""
        classes = self.facts.labels
        if len(classes) != 2 or self.facts.problem_type != "single_label_classification":
            raise UserError(
                f"{self.where}: column {column!r} has one score a row, and there are "
                f"{len(classes)} classes ({_names(classes)}): one column for each is wanted, or "
                "one of lists"
            )
        second = self.numbers(column)
        says = self.found.says
        if says == "probabilities" or (says is None and ((second >= 0) & (second <= 1)).all()):
            return np.stack([1 - second, second], axis=1)
        return np.stack([np.zeros_like(second), second], axis=1)

    def no_probabilities(self, scores: np.ndarray) -> list[int]:
        """The rows whose scores cannot be probabilities."""
        fits = ((scores >= 0) & (scores <= 1)).all(1)
        if self.facts.problem_type == "single_label_classification":
            fits &= np.abs(scores.sum(1) - 1) <= _SUM
        return [self.rows[place] for place in np.flatnonzero(~fits)]


def _names(classes: Sequence[str]) -> str:
    return ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")


def _number(value: Any) -> float | None:
    """A finite number, also written as text; None of what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and abs(number) < 1e30 else None


def _plain(value: Any) -> Any:
    """``1.0`` is 1."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _from_json(value: Any) -> Any:
    """A list or object that stands in a field as JSON, as csv files have them."""
    if isinstance(value, str) and value.strip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value
