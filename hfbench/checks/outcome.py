"""What a check can say."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hfbench.checks.checked_model import CheckedModel
from hfbench.recipe.types import Head

TOLERANCE = 1e-4
"""Largest change of a logit of size 1 that rounding may cause in float32; a defect makes 1e-3."""


class Failed(Exception):  # noqa: N818  a verdict, no error
    """The model fails the check.

    Args:
        value: what was measured, or None.
        advice: what is wrong and what to do.
    """

    def __init__(self, value: float | None, advice: str) -> None:
        super().__init__(advice)
        self.value, self.advice = value, advice


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
    heads: tuple[Head, ...]
    """The heads it is asked of, each for itself."""
    once: bool = False
    """Asked once: with the first of these heads that there is."""


@dataclass(frozen=True)
class Verdict:
    """What a check found for one head."""

    head: Head
    status: Literal["ok", "FAIL", "skipped"]
    value: float | None
    note: str
    """Of a failure what to do, of a skipped check the reason; else empty."""


def at_most(value: float, limit: float, advice: str) -> float:
    """``value``, if it is a number up to ``limit``.

    Raises:
        Failed: with ``advice`` otherwise.
    """
    if math.isnan(value) or value > limit:
        raise Failed(value, advice)
    return value
