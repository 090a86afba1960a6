"""Numbers of the study's page as they stand in the cells of its tables."""

from collections.abc import Sequence

from hfbench.evidence.difference import Difference
from hfbench.evidence.overall import Overall, PooledPair
from hfbench.evidence.words import decimal

NOT_RUN = "not run yet"


def in_cell(found: Difference) -> str:
    """``-6.0 (-9.4 to -2.5) worse by the margin``."""
    ends_of = ends(found.family_low, found.family_high)
    return f"{decimal(found.mean, '+.1f')} ({ends_of}) {found.words}"


def ends(low: float, high: float) -> str:
    """``-9.4 to -2.5``, in points."""
    return f"{decimal(low)} to {decimal(high)}"


def least_and_most(values: Sequence[float], form: str = ".2f") -> str:
    """``3.70-4.10``; one number where both are the same."""
    both = dict.fromkeys([format(min(values), form), format(max(values), form)])
    return "-".join(both)


def pooled(overall: Overall, first: str, second: str) -> PooledPair | None:
    """A question over the tasks; None where it has no answer on each, or is none."""
    for pair in overall.questions:
        if (pair.first, pair.second) == (first, second):
            return pair
    return None
