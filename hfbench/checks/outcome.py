"""What a check is, and what it can say."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hfbench.checks.checked_model import CheckedModel
from hfbench.checks.family import FAMILIES, Family
from hfbench.recipe.types import Head

TOLERANCE = 1e-4
"""Largest change of a logit of size 1 that rounding may cause in float32; a defect makes 1e-3."""

Level = Literal["unfair here", "broken on the Hub", "advice"]
"""How bad a failure is: its numbers in a comparison are wrong; they are right, and who loads, saves
or generates with the model is let down; it works, and could do better."""

Status = Literal["ok", "FAIL", "note", "skipped"]
"""A failure whose level is advice is a note."""


class Failed(Exception):  # noqa: N818  a verdict, no error
    """The model fails the check.

    Args:
        value: what was measured, or None.
        advice: what is wrong and what to do.
        level: where it is another than the check's.
    """

    def __init__(self, value: float | None, advice: str, level: Level | None = None) -> None:
        super().__init__(advice)
        self.value, self.advice, self.level = value, advice, level


class Skipped(Exception):  # noqa: N818  a verdict, no error
    """The check has no meaning for the model; the message is the reason."""


@dataclass(frozen=True)
class Check:
    """A question to a model.

    ``run`` gives the number that was measured; it raises `Failed` or `Skipped` otherwise.
    """

    name: str
    measures: str
    """What the number is."""
    run: Callable[[CheckedModel, Head], float]
    level: Level
    """Of a failure."""
    heads: tuple[Head, ...]
    """The heads it is asked of, each for itself."""
    families: tuple[Family, ...] = FAMILIES
    """The families it is asked of; others do not hear of it."""
    follows_from: tuple[str, ...] = ()
    """Checks whose failure explains a failure of this one; they stand before it."""
    once: bool = False
    """Asked once: with the first of these heads that there is."""
    quick: bool = False
    """Asked of an architecture before it is compared: seconds, and wrong numbers if it fails."""


@dataclass(frozen=True)
class Verdict:
    """What a check found for one head."""

    head: Head
    status: Status
    value: float | None
    note: str
    """Of a failure what to do, of a skipped check the reason; else empty."""
    level: Level | None = None
    """Of a failure or a note."""
    follows_from: str | None = None
    """The check whose failure explains this one; None for a cause of its own."""


def at_most(value: float, limit: float, advice: str, level: Level | None = None) -> float:
    """``value``, if it is a number up to ``limit``.

    Raises:
        Failed: with ``advice`` otherwise.
    """
    if math.isnan(value) or value > limit:
        raise Failed(value, advice, level)
    return value
