"""Labels of all splits as numbers: indices into one list of names."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Any

from datasets import ClassLabel, Dataset

from hfbench.data.strata import classes_in
from hfbench.data.tables import labels_of, with_labels
from hfbench.errors import UserError
from hfbench.recipe.task import Task

_WHOLE = re.compile(r"(0|-?[1-9][0-9]{0,17})(\.0)?")  # what an int64 holds


def whole_number(label: str | float) -> int | None:
    """Of ``"7"``, ``"7.0"`` or ``7.0``: 7; None of what is no whole number, as is ``"07"``."""
    if isinstance(label, str):
        found = _WHOLE.fullmatch(label)
        return int(found[1]) if found else None
    return int(label) if label.is_integer() else None


def encode_labels(
    splits: dict[str, Dataset], feature: Any, task: Task
) -> tuple[dict[str, Dataset], list[str]]:
    """Labels as indices into one list of names: that of all splits together.

    Args:
        splits: with labels as `standard_columns` gives them.
        feature: of the label column as it came. The order is that of the ClassLabel, if it is one,
            else alphabetical or numerical.
        task: for messages.

    Raises:
        UserError: if there are fewer than two labels, or if some are the same to a reader.
    """
    values = Counter(label for split in splits.values() for label in split["label"][:])
    refuse_mixed_labels(values, task)
    if not isinstance(feature, ClassLabel) and isinstance(next(iter(values)), str):
        refuse_two_spellings(values, task)
    ordered = sorted(values, key=feature.str2int if isinstance(feature, ClassLabel) else None)
    names = [str(value) for value in ordered]
    if len(names) < 2:
        raise UserError(
            f"task.label_column: {task.source} has only the label {names[0]!r}; "
            "a comparison needs two or more"
        )
    numbers = {value: number for number, value in enumerate(ordered)}
    encoded = {
        role: with_labels(split, [numbers[value] for value in split["label"][:]], names)
        for role, split in splits.items()
    }
    return encoded, names


def refuse_mixed_labels(labels: Iterable[Any], task: Task) -> None:
    """Refuse names and numbers side by side, whose order would be anybody's guess."""
    if len({isinstance(label, str) for label in labels}) > 1:
        raise UserError(f"task.label_column: {task.source} mixes names and numbers as labels")


def refuse_two_spellings(counts: Counter[str], task: Task) -> None:
    """Nobody means "Pos" and "pos" for two classes; a ClassLabel's names are declared so."""
    names: dict[str, str] = {}
    for name in sorted(counts):
        plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        other = names.setdefault(plain, name)
        if other != name:
            raise UserError(
                f"task.label_column: {task.source}: the labels {other!r} ({counts[other]:,} rows) "
                f"and {name!r} ({counts[name]:,}) differ in case, white space or the encoding of "
                "accents only; write them alike"
            )


def refuse_unknown_labels(splits: dict[str, Dataset], labels: list[str], task: Task) -> None:
    """Refuse a label that is evaluated and was never trained.

    Args:
        splits: with labels as `tables.labels_of` reads them.
        labels: their names.
        task: for messages.
    """
    trained = classes_in(labels_of(splits["train"]))
    for role, split in splits.items():
        if unknown := sorted(classes_in(labels_of(split)) - trained):
            raise UserError(
                f"task.label_column: {task.source}: label {labels[unknown[0]]!r} is in the {role} "
                "examples but in none of the training examples, so that no model can learn it"
            )
