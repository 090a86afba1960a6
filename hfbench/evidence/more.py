"""How many more examples or seeds would settle what is open."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from hfbench.evidence.crossed import Table
from hfbench.evidence.mixture import half_width
from hfbench.evidence.power import POWER, needed_range
from hfbench.evidence.stats import mean_squares

_LIKELY = 0.5
"""The true difference lies outside of what a range is made for with this probability."""
_MOST_EXAMPLES, _MOST_SEEDS = 10_000_000, 1000
"""What is more is no advice."""


@dataclass(frozen=True)
class More:
    """What is to be run beside what there is; the fewest and the most.

    None for the fewest: no number is enough; for the most: the true difference may be so near that
    none is.
    """

    examples: tuple[int | None, int | None]
    """With as many seeds as there are."""
    seeds: tuple[int | None, int | None] | None
    """Of each of the two rows that has any, on the same examples; None where neither has."""
    draws: str = "seeds"
    """What these are: pretrainings, where a row has several."""

    @property
    def text(self) -> str:
        """``300 to 2,400 more examples, or 4 to 20 more seeds, would tell (80 % power)``."""
        found = [_text(self.examples, "examples")]
        if self.seeds is not None:
            found.append(_text(self.seeds, self.draws))
        possible = [text for text in found if text]
        if not possible:
            if self.seeds is None:
                return "no number of examples would tell"
            return f"neither more examples nor more {self.draws} alone would tell"
        end = "," if len(possible) > 1 else ""
        return f"{', or '.join(possible)}{end} would tell ({100 * POWER:.0f} % power)"


def more_needed(table: Table, first: str, second: str, bound: float, level: float) -> More:
    """What would show, with 80 % power, on which side of ``bound`` a difference lies.

    The variance of the difference is what examples add and what seeds add, as `judge` estimates
    them; more of either makes its part smaller in proportion. The true difference is taken to lie
    where it does with a probability of a half.

    Args:
        table: of which both are rows.
        first: name of a row.
        second: of another, from whose mean that of the first is told.
        bound: the difference that is in question, in units of the scores.
        level: of the one-sided test.
    """
    (known,) = table.mixtures([(first, second)])
    spread = float(half_width(np.array([_LIKELY]), known.variances[None], known.weights[None])[0])
    rows = [table.rows[table.number[name]] for name in (first, second)]
    of_examples = table.variance_of_examples(first, second)
    of_seeds = known.variance - of_examples
    several = [row.draws for row in rows if len(row.draws) > 1]
    of_rest = sum(mean_squares(scores)[2] / scores.size for scores in several)
    fixed = max(of_examples - of_rest, 0.0)
    runs = max((len(row.draws) for row in rows if not row.is_control), default=None)
    wanted = -float(ndtri(level)) + float(ndtri(POWER))

    def examples(distance: float) -> int | None:
        left = (distance / wanted) ** 2 - of_seeds
        total = of_examples * table.examples / left if left > 0 else math.inf
        return math.ceil(total) if total <= _MOST_EXAMPLES else None

    def seeds(distance: float) -> int | None:
        assert runs is not None
        left = (distance / wanted) ** 2 - fixed
        total = runs * (of_examples - fixed + of_seeds) / left if left > 0 else math.inf
        return math.ceil(total) if total <= _MOST_SEEDS else None

    low, high = known.centre - bound - spread, known.centre - bound + spread
    return More(
        _beside(needed_range(low, high, examples), table.examples),
        None if runs is None else _beside(needed_range(low, high, seeds), runs),
        "pretrainings" if any(row.pretrainings is not None for row in rows) else "seeds",
    )


def _beside(total: tuple[int | None, int | None], present: int) -> tuple[int | None, int | None]:
    """How many more; at least one, for what there is has not been enough."""
    fewest, most = (None if number is None else max(number - present, 1) for number in total)
    return fewest, most


def _text(numbers: tuple[int | None, int | None], what: str) -> str | None:
    """None where no number is enough."""
    fewest, most = (None if number is None else _rounded(number) for number in numbers)
    if fewest is None:
        return None
    if most is None:  # of one at least nothing is said
        return f"at least {fewest:,} more {what}" if fewest > 1 else f"more {what}"
    if fewest == most > 1:
        return f"{most:,} more {what}"
    return f"{fewest:,} to {most:,} more {what}" if fewest > 1 else f"up to {most:,} more {what}"


def _rounded(number: int) -> int:
    """Upwards to two digits: no more is known."""
    unit = 10 ** max(len(str(number)) - 2, 0)
    return math.ceil(number / unit) * unit
