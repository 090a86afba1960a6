"""Words for numbers and names, as all that is written of a comparison has them."""

import math
from collections.abc import Sequence

from hfbench.errors import UserError
from hfbench.metrics.registry import Metric

_NAMED = 6
"""Models that a sentence names; the table has them all."""
_LABELS = 12
"""Classes that a sentence names; the report has them all."""


def percent(share: float) -> str:
    """A fraction as a percentage with one decimal."""
    return f"{100 * share:.1f} %"


def points(difference: float, low: float, high: float) -> str:
    """A difference of accuracies and its interval, in percentage points."""
    return f"{decimal(difference)} points (95 % interval {decimal(low)} to {decimal(high)})"


def in_points(difference: float) -> str:
    """A fraction in percentage points: ``3.2 points``."""
    return f"{decimal(difference)} points"


def decimal(share: float, form: str = ".1f") -> str:
    """A fraction times 100; what rounds to zero has no sign."""
    text = format(100 * share, form)
    return text if float(text) else text.lstrip("+-")


def value_text(metric: Metric, value: float) -> str:
    """A measure in a sentence: ``81.2 %``, or ``0.812``."""
    return percent(value) if metric.is_percentage else _raw(metric, value)


def ends_text(metric: Metric, low: float, high: float) -> str:
    """An interval of a measure in a table: ``79.1-83.0``, or ``0.791-0.830``."""
    if metric.is_percentage:
        return f"{100 * low:.1f}-{100 * high:.1f}"
    between = "-" if low >= 0 else " to "
    return f"{_raw(metric, low)}{between}{_raw(metric, high)}"


def gap_text(metric: Metric, difference: float) -> str:
    """A difference of a measure: ``3.2 points``, or ``0.032``."""
    return in_points(difference) if metric.is_percentage else _raw(metric, difference)


def as_in_tables(metric: Metric, number: float) -> float:
    """A difference as people write it, in units of the measure: of an accuracy points as fraction.

    Raises:
        UserError: if it is not above 0.
    """
    if not 0 < number < math.inf:
        raise UserError(f"--margin must be above 0, not {number:g}")
    return number / 100 if metric.is_percentage else number


def gap_and_interval(metric: Metric, difference: float, low: float, high: float) -> str:
    """A difference of a measure and its interval."""
    if metric.is_percentage:
        return points(difference, low, high)
    ends = f"{_raw(metric, low)} to {_raw(metric, high)}"
    return f"{_raw(metric, difference)} (95 % interval {ends})"


def signed_gap(metric: Metric, difference: float) -> str:
    """A difference in a cell, with its sign: ``+3.2`` points, or ``+0.032``."""
    if metric.is_percentage:
        return decimal(difference, "+.1f")
    text = format(difference, f"+{metric.format}").removesuffix(".")
    return text if float(text) else text.lstrip("+-")


def _raw(metric: Metric, value: float) -> str:
    text = metric.text(value)
    return text if float(text) else text.lstrip("-")


def p_text(p_value: float) -> str:
    """A p-value with three decimals; what is near 0 or 1 as such."""
    if p_value < 0.001:
        return "p <0.001"
    return "p >0.99" if p_value > 0.99 else f"p {p_value:.3f}"


def enumerate_names(names: Sequence[str]) -> str:
    """``a``; ``a and b``; ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def few_names(names: Sequence[str]) -> str:
    """All of them where they are few; else the first, and how many more."""
    if len(names) <= _NAMED:
        return enumerate_names(names)
    return f"{', '.join(names[: _NAMED - 1])} and {len(names) - _NAMED + 1} others"


def list_labels(labels: Sequence[str]) -> str:
    """All names, or of many the first and how many there are."""
    if len(labels) <= _LABELS:
        return ", ".join(labels)
    return f"{', '.join(labels[: _LABELS - 2])}, ... ({len(labels)} in all)"
