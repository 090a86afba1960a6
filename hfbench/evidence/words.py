"""Words for numbers and names, as all that is written of a comparison has them."""

from collections.abc import Sequence

_LABELS = 12
"""Classes that a sentence names; the report has them all."""


def percent(share: float) -> str:
    """A fraction as a percentage with one decimal."""
    return f"{100 * share:.1f} %"


def points(difference: float, low: float, high: float) -> str:
    """A difference of accuracies and its interval, in percentage points."""
    return f"{100 * difference:.1f} points (95 % interval {100 * low:.1f} to {100 * high:.1f})"


def p_text(p_value: float) -> str:
    """A p-value with three decimals, at least."""
    return "p <0.001" if p_value < 0.001 else f"p {p_value:.3f}"


def enumerate_names(names: Sequence[str]) -> str:
    """``a``; ``a and b``; ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def list_labels(labels: Sequence[str]) -> str:
    """All names, or of many the first and how many there are."""
    if len(labels) <= _LABELS:
        return ", ".join(labels)
    return f"{', '.join(labels[: _LABELS - 2])}, ... ({len(labels)} in all)"
