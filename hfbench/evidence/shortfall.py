"""By how much each row may be worse than the best, whichever that is."""

from dataclasses import dataclass

import numpy as np

from hfbench.evidence.best import levels_against_all
from hfbench.evidence.crossed import Table
from hfbench.evidence.mixture import aligned, half_width
from hfbench.evidence.stats import ALPHA


@dataclass(frozen=True)
class Shortfall:
    """By how much a row may be worse than the best one."""

    bound: float
    """At most; 0 or more, in units of the scores; infinite where nothing can be claimed."""
    against: str | None
    """The row than which it may be worse by so much; None without another that may be the best."""
    level: float
    """Of the one-sided test against that row by itself."""


def shortfalls(table: Table, level: float = ALPHA) -> dict[str, Shortfall]:
    """Row -> by how much it is worse than the best one at most, whichever that is.

    All bounds hold together with 1 - ``level`` confidence (Hsu 1984, multiple comparisons with the
    best). Whoever takes any row whose bound is below a margin therefore takes one that is worse by
    the margin or more in at most 5 tables of 100: however many rows there are, and by whatever he
    chooses among them, also after he has seen the bounds.

    Let k be the best row. With 95 % confidence no difference "k minus another" lies above its upper
    end, for the one-sided intervals of k against all others together (max-T, see
    `best.levels_against_all`). Then k is in the confidence set for the best, whose rows have no
    upper end below 0, and k is better than row i by no more than the largest upper end of any row
    of that set against i. Only this one event is needed, and it is about k alone: nothing is to be
    corrected for the number of rows that are claimed.

    Args:
        table: of which it is. Where looks were planned each has its share of the error.
        level: the error allowed.
    """
    names = [row.name for row in table.rows]
    rows = len(names)
    if rows == 1:
        return {names[0]: Shortfall(0.0, None, level)}
    first, second = np.nonzero(~np.eye(rows, dtype=bool))
    pairs = [(names[i], names[j]) for i, j in zip(first, second, strict=True)]
    centres, variances, weights = aligned(table.mixtures(pairs))
    levels = levels_against_all(table.covariance, level / table.looks)
    upper = np.full((rows, rows), -np.inf)  # of the line minus the column
    upper[first, second] = centres + half_width(2 * levels[first], variances, weights)
    unknown = table.seeds_unknown[first] | table.seeds_unknown[second]
    upper[first[unknown], second[unknown]] = np.inf
    may_be_best = np.where(np.eye(rows, dtype=bool), np.inf, upper).min(1) >= 0
    upper[~may_be_best] = -np.inf
    worst = upper.argmax(0)
    return {
        name: Shortfall(max(float(bound), 0.0), names[by] if bound > -np.inf else None, levels[by])
        for name, bound, by in zip(names, upper.max(0), worst, strict=True)
    }
