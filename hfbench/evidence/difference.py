"""What is said of a mean, of the difference of two, and of a new run of each."""

from dataclasses import dataclass, replace
from typing import Literal

from hfbench.evidence.stats import ALPHA

Verdict = Literal["better", "equivalent", "worse", "undecided"]


@dataclass(frozen=True)
class Difference:
    """The mean score of one row minus that of another, on the same examples."""

    first: str
    second: str
    mean: float
    low: float
    """Lower end of the 95 % interval, of this pair by itself."""
    high: float
    p_value: float
    """Two-sided, for no difference; below 0.05 just where the interval excludes 0 (but see
    ``withheld``)."""
    adjusted_p: float
    """After Holm (1979), for all pairs of the family together."""
    family_low: float
    """Lower end of the interval at the level at which Holm's method tests the pair: it excludes 0
    just where ``adjusted_p`` is below 0.05."""
    family_high: float
    margin: float | None = None
    """The difference that matters, if one was given."""
    withheld: bool = False
    """Whether nothing is claimed, since no run shows how much seeds matter (`Table.seeds_unknown`):
    the p-values are 1, the family's interval is everything, and ``low`` and ``high`` rest on an
    assumption."""

    @property
    def differ(self) -> bool:
        """Whether the two can be distinguished, with 5 % error for the whole family."""
        return self.adjusted_p < ALPHA

    @property
    def verdict(self) -> Verdict:
        """What the family's interval says of the first.

        Without a margin ``better``, ``worse`` or ``undecided``. With one, a pair is ``equivalent``
        where the interval lies within the margin on both sides, whether or not it holds 0.
        """
        if self.margin is not None and max(-self.family_low, self.family_high) < self.margin:
            return "equivalent"
        if not self.differ:
            return "undecided"
        return "better" if self.mean > 0 else "worse"

    @property
    def not_worse(self) -> bool | None:
        """Whether the first is worse by less than the margin, if at all; None without a margin."""
        return None if self.margin is None else self.family_low > -self.margin

    @property
    def not_better(self) -> bool | None:
        """Whether the first is better by less than the margin, if at all; None without a margin."""
        return None if self.margin is None else self.family_high < self.margin

    @property
    def words(self) -> str:
        """The verdict in a cell of a table, with what a margin adds to it."""
        if self.withheld:
            return ""
        if self.verdict == "undecided":  # not both, which would be equivalent
            return (
                "not worse" if self.not_worse else "not better" if self.not_better else "undecided"
            )
        least = max(self.family_low, -self.family_high)
        if self.verdict != "equivalent" and self.margin is not None and least >= self.margin:
            return f"{self.verdict} by the margin"
        return self.verdict

    def __neg__(self) -> "Difference":
        """The second minus the first."""
        return replace(
            self, first=self.second, second=self.first, mean=-self.mean, low=-self.high,
            high=-self.low, family_low=-self.family_high, family_high=-self.family_low,
        )  # fmt: skip


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval, over examples and seeds."""

    mean: float
    low: float
    high: float

    def __neg__(self) -> "Interval":
        """Of the scores with the other sign."""
        return Interval(0.0 - self.mean, 0.0 - self.high, 0.0 - self.low)  # 0 has no sign


@dataclass(frozen=True)
class Chance:
    """How likely a new run of one row beats a new run of another."""

    probability: float
    low: float
    """Lower end of the 95 % interval."""
    high: float
