"""From the answers of models to what can be said of them: the statistics of every table.

What is to be known is the mean score over all examples of this kind and all seeds. Examples and
seeds are crossed random effects: every run of a model answers the same examples. The variance of a
mean is what the examples add (of which there are many, so that it is estimated well) and what the
seeds add (of which there are few, so that all rows of the table are asked: `seeds`). A mean or a
difference is then a mixture of normals over what is believed of the seeds, and its intervals and
p-values are the mixture's (`mixture`). docs/how-sure.md has the formulas, sources and limits.
"""

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hfbench.errors import UserError, nearest
from hfbench.evidence.best import best_p_values
from hfbench.evidence.folds import inflation
from hfbench.evidence.letters import group_letters
from hfbench.evidence.mixture import (
    Mixture,
    half_width,
    median_and_interval,
    score_interval,
    score_p_value,
    two_sided,
)
from hfbench.evidence.seeds import RunSpread, SeedEffects, learn_seed_effects
from hfbench.evidence.stats import ALPHA, holm, holm_levels

if TYPE_CHECKING:
    import pandas as pd

Verdict = Literal["better", "equivalent", "worse", "undecided"]
Scores = np.ndarray | Sequence["np.ndarray | Sequence[float] | None"]
"""Of one row: an array of shape (runs, examples), or a list with None for a run that failed."""

_CHUNK = 512  # pairs at a time: what is kept of each is nodes x nodes


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

    def __neg__(self) -> "Difference":
        """The second minus the first."""
        return replace(
            self, first=self.second, second=self.first, mean=-self.mean, low=-self.high,
            high=-self.low, family_low=-self.family_high, family_high=-self.family_low,
        )  # fmt: skip


@dataclass(frozen=True)
class JudgedRow:
    """One model: its mean over the runs that trained, and how sure it is."""

    name: str
    mean: float
    """Over those runs that did not collapse, or over all where all did; NaN if all failed."""
    low: float
    """Lower end of the 95 % interval, over examples and seeds."""
    high: float
    group: str
    """Rows that share a letter cannot be distinguished; empty if all runs failed."""
    runs: int
    """That finished, collapsed ones included."""
    collapsed: int
    failed: int
    seed_sd: float
    """Standard deviation over seeds, the median of what is believed, in units of the scores."""
    odd_seeds: bool
    """Whether its runs differ more than the other rows predict (p < 0.05 after Holm)."""
    may_be_best: bool
    """Whether it is in the 95 % confidence set for the best."""


@dataclass(frozen=True)
class Chance:
    """How likely a new run of one row beats a new run of another."""

    probability: float
    low: float
    """Lower end of the 95 % interval."""
    high: float


@dataclass(frozen=True, eq=False)
class _Row:
    """What is kept of a row's answers."""

    name: str
    scores: np.ndarray
    """Of the runs that count, shape (runs, examples)."""
    finished: int
    collapsed: int
    failed: int
    is_control: bool

    @cached_property
    def means(self) -> np.ndarray:
        """Of each example over the runs, shape (examples,)."""
        return self.scores.mean(0)

    @property
    def runs(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, eq=False)
class Table:
    """Rows that answered the same examples, and what they say together of the seeds."""

    rows: list[_Row]
    clusters: np.ndarray | None
    looks: int = 1
    """How often results are looked at, at most; the error allowed is shared by all looks."""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    """The least and the most that a mean can be."""
    weight: float | None = None
    """How many examples the means rest on, where not all count alike; None: all."""
    folds: int | None = None
    """In how many folds each run answered the examples; None: one model answered all of them."""

    @property
    def inflation(self) -> float:
        """By what the variance over examples is multiplied, see `folds.inflation`."""
        return inflation(self.folds)

    def and_control(self, name: str, scores: np.ndarray) -> "Table":
        """With one more row, in which nothing is random; of seeds it teaches nothing.

        Args:
            name: that no other row has.
            scores: shape (examples,).
        """
        row = _Row(name, scores[None], 1, 0, 0, True)
        return replace(self, rows=[*self.rows, row])

    @property
    def examples(self) -> int:
        """Of each run."""
        return self.rows[0].scores.shape[1]

    @cached_property
    def number(self) -> dict[str, int]:
        """Name -> number of the row."""
        return {row.name: number for number, row in enumerate(self.rows)}

    @cached_property
    def means(self) -> np.ndarray:
        """Shape (rows,)."""
        return np.array([row.scores.mean() for row in self.rows])

    @cached_property
    def are_shares(self) -> bool:
        """Whether every score is 0 or 1, and all examples count alike: the recall of a class that
        has one example is no share of all of them.
        """
        if self.weight is not None:
            return False
        return all(((row.scores == 0) | (row.scores == 1)).all() for row in self.rows)

    @cached_property
    def answer_sd(self) -> float:
        """Standard deviation of one answer, over all rows; of right and wrong at least that of a
        single error.
        """
        random = [row for row in self.rows if not row.is_control] or self.rows
        variance = float(np.mean([row.scores.var() for row in random]))
        of_an_error = (1 - 1 / self.examples) / self.examples
        size = self.bounds[1] - self.bounds[0]
        if self.are_shares:
            return math.sqrt(max(variance, of_an_error))
        if variance <= 1e-12 * size**2 < math.inf:  # every row is constant
            return size * math.sqrt(of_an_error)
        return math.sqrt(max(variance, 1e-300))

    @cached_property
    def seeds(self) -> SeedEffects:
        """What is believed of each row's seeds."""
        return learn_seed_effects(
            [RunSpread.of(row.scores, is_usual=row.collapsed < row.finished) for row in self.rows],
            self.answer_sd,
            [row.is_control for row in self.rows],
        )

    @cached_property
    def example_covariance(self) -> np.ndarray:
        """What the examples add to the covariance of the rows' means, shape (rows, rows).

        Of the means over runs of each example, whatever the runs; of clusters of examples their
        sums (Liang and Zeger 1986). A little larger than unbiased, as Student's t is wider than the
        normal.
        """
        centred = np.stack([row.means for row in self.rows]) - self.means[:, None]
        units: float = self.examples
        if self.clusters is not None:
            numbers = np.unique(self.clusters, return_inverse=True)[1]
            units = int(numbers.max()) + 1
            sums = np.zeros((len(self.rows), int(units)))
            np.add.at(sums.T, numbers, centred.T)
            centred = sums
        units = units if self.weight is None else min(self.weight, units)
        wider = self.inflation * units / max(units - 3, 1)
        return centred @ centred.T / self.examples**2 * wider

    def seed_variances(self) -> np.ndarray:
        """What the seeds add to the variance of a row's mean, by node, shape (rows, nodes)."""
        runs = np.array([row.runs for row in self.rows])
        return self.seeds.variances / runs[:, None]

    @cached_property
    def seeds_unknown(self) -> np.ndarray:
        """Whether a row has one run, and no row shows how much seeds matter, shape (rows,).

        Of right and wrong answers that is assumed, in points that a reader can judge. How much real
        scores vary with the seed nobody can say beforehand: of them nothing is claimed.
        """
        known = self.seeds.learnt or self.are_shares
        return np.array([not (known or row.is_control or row.runs > 1) for row in self.rows])

    def compare(
        self, pairs: Sequence[tuple[str, str]], margin: float | None = None
    ) -> list[Difference]:
        """A family of differences, tested together.

        Args:
            pairs: names of rows; each is the first minus the second.
            margin: the difference that matters, in units of the scores.
        """
        if not pairs:
            return []
        numbers = np.array([[self.number[name] for name in pair] for pair in pairs])
        centres, variances, weights = self._mixtures(*numbers.T)
        withheld = self.seeds_unknown[numbers].any(1)
        p_values = np.where(withheld, 1.0, two_sided(centres, variances, weights))
        # each look has its share of the error (Bonferroni)
        adjusted = [min(1.0, self.looks * p_value) for p_value in holm(p_values)]
        alone = half_width(np.full(len(pairs), ALPHA), variances, weights)
        together = half_width(holm_levels(p_values, ALPHA / self.looks), variances, weights)
        together[withheld] = math.inf
        means = self.means[numbers[:, 0]] - self.means[numbers[:, 1]]
        bound = 1.0 if self.are_shares else self.bounds[1] - self.bounds[0]
        ends = np.clip(
            [centres - alone, centres + alone, centres - together, centres + together],
            -bound, bound,
        )  # fmt: skip
        return [
            Difference(
                one,
                other,
                float(mean),
                float(low),
                float(high),
                float(p),
                p_adjusted,
                float(family_low),
                float(family_high),
                margin,
                bool(unknown),
            )
            for (
                one,
                other,
            ), mean, low, high, p, p_adjusted, family_low, family_high, unknown in zip(
                pairs, means, *ends[:2], p_values, adjusted, *ends[2:], withheld, strict=True
            )
        ]

    def mixtures(self, pairs: Sequence[tuple[str, str]]) -> list[Mixture]:
        """What is known of each difference, the first minus the second."""
        numbers = np.array([[self.number[name] for name in pair] for pair in pairs])
        return [
            Mixture(float(c), v, w) for c, v, w in zip(*self._mixtures(*numbers.T), strict=True)
        ]

    def mixture_of(self, name: str) -> Mixture:
        """What is known of a row's mean, as a normal one."""
        row = self.number[name]
        least = np.square(self.answer_sd / self.examples)
        of_examples = max(float(self.example_covariance[row, row]), least)
        variances = of_examples + self.seed_variances()[row]
        return Mixture(float(self.means[row]), variances, self.seeds.probabilities[row])

    @property
    def covariance(self) -> np.ndarray:
        """Of the rows' means, by examples and seeds together, shape (rows, rows)."""
        of_seeds = (self.seed_variances() * self.seeds.probabilities).sum(1)
        return self.example_covariance + np.diag(of_seeds)

    def _mixtures(
        self, first: np.ndarray, second: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Centres of the differences, (pairs,); variances and weights, (pairs, components)."""
        centres, of_examples = self._example_parts(first, second)
        runs = np.array([row.runs for row in self.rows])
        both = np.stack([runs[first], runs[second]])
        parts = {}
        for kind in np.unique(both, axis=1).T:
            alike = np.flatnonzero((both == kind[:, None]).all(0))
            for some in np.split(alike, range(_CHUNK, len(alike), _CHUNK)):
                found = self.seeds.of_differences(first[some], second[some], tuple(kind.tolist()))
                parts[some[0]] = (some, *found)
        components = next(len(nodes) for _, nodes, _ in parts.values())
        variances, weights = np.empty((2, len(first), components))
        for some, nodes, shares in parts.values():
            variances[some], weights[some] = nodes, shares
        return centres, of_examples[:, None] + variances, weights

    def _example_parts(
        self, first: np.ndarray, second: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Centre of a difference, and what the examples add to its variance, shape (pairs,).

        For single runs of both, and where all examples differ alike, as if two more examples had
        been answered, each rightly by one of the two (Bonett and Price 2012). Where not all count
        alike, two more than those that do.
        """
        cov = self.example_covariance
        variances = cov[first, first] + cov[second, second] - 2 * cov[first, second]
        centres = self.means[first] - self.means[second]
        runs = np.array([row.runs for row in self.rows])
        single = (runs[first] == 1) & (runs[second] == 1) & self.are_shares
        nothing = variances <= 1e-9 * (cov[first, first] + cov[second, second]) + 1e-300
        for pair in np.flatnonzero(single | nothing):
            table = self.rows[first[pair]].means - self.rows[second[pair]].means
            unit = 1.0 if self.are_shares else self.answer_sd
            if self.weight is not None:
                table = np.full(max(round(self.weight), 1), table.mean())
            size = self.bounds[1] - self.bounds[0]
            if not self.are_shares and centres[pair] != 0 and size < math.inf:
                unit = size  # as right from wrong
            more = np.append(table, [unit, -unit])
            centres[pair] = more.mean()
            least = self.inflation * more.var() / more.size
            clustered = self.clusters is not None and not nothing[pair]
            variances[pair] = max(least, variances[pair]) if clustered else least
        return centres, variances

    def intervals(self) -> tuple[np.ndarray, np.ndarray]:
        """95 % intervals of the means: lower and upper ends, shape (rows,).

        Of right and wrong answers Wilson's score interval (1927) at the number of independent
        examples that has the variance of the mean, as Korn and Graubard (1998) do for surveys.
        """
        variances, weights = self.seed_variances(), self.seeds.probabilities
        if self.are_shares:
            return score_interval(self.means, self._effective_examples(), variances, weights, ALPHA)
        of_examples = np.diag(self.example_covariance)[:, None]
        least = np.square(self.answer_sd / self.examples)
        level = np.full(len(self.rows), ALPHA)
        half = half_width(level, np.maximum(of_examples, least) + variances, weights)
        low, high = self.bounds
        if math.isfinite(low) and math.isfinite(high):
            return self._between_bounds(variances, weights)
        if math.isfinite(low):
            return _above_bound(self.means - low, half, low)
        if math.isfinite(high):
            ends = _above_bound(high - self.means, half, -high)
            return -ends[1], -ends[0]
        return self.means - half, self.means + half

    def _between_bounds(
        self, variances: np.ndarray, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """As of shares: of the place between the bounds, at the number of independent examples
        that has its variance; all of them where nothing varies, as with no error at all.
        """
        size = self.bounds[1] - self.bounds[0]
        place = np.clip((self.means - self.bounds[0]) / size, 0.0, 1.0)
        found = np.diag(self.example_covariance) / size**2
        nothing = found <= 1e-9 / self.examples
        effective = place * (1 - place) / np.where(nothing, 1.0, found)
        all_of_them = self.examples if self.weight is None else self.weight
        effective = np.where(nothing | (effective <= 0), float(all_of_them), effective)
        ends = score_interval(place, effective, variances / size**2, weights, ALPHA)
        return self.bounds[0] + size * ends[0], self.bounds[0] + size * ends[1]

    def p_of_share(self, share: float) -> np.ndarray:
        """Two-sided p that a row's mean is ``share``, as by guessing; shape (rows,)."""
        return score_p_value(
            self.means,
            np.full(len(self.rows), share),
            self._effective_examples(),
            self.seed_variances(),
            self.seeds.probabilities,
        )

    def _effective_examples(self) -> np.ndarray:
        """How many independent examples have the variance that examples add; shape (rows,)."""
        of_one = self.means * (1 - self.means)
        found = np.diag(self.example_covariance)
        runs = np.array([row.runs for row in self.rows])
        plain = (found <= 0) | ((runs == 1) & (self.clusters is None))
        effective = of_one / np.where(plain, 1.0, found)
        most = self.examples / self.inflation
        return np.where(plain, most, np.minimum(effective, most * runs))

    def may_be_best(self, pairs: Sequence[Difference]) -> np.ndarray:
        """Whether a row is in the 95 % confidence set for the best, shape (rows,).

        Args:
            pairs: of all rows.
        """
        rows = len(self.rows)
        p_greater = np.full((rows, rows), 0.5)
        for pair in pairs:
            i, j = self.number[pair.first], self.number[pair.second]
            above = pair.p_value / 2 if pair.mean > 0 else 1 - pair.p_value / 2
            p_greater[j, i], p_greater[i, j] = above, 1 - above
        return best_p_values(p_greater, self.covariance) >= ALPHA / self.looks

    def chance(self, first: str, second: str, examples: int) -> Chance:
        """How likely a new run of ``first`` beats a new one of ``second`` on new examples.

        A tie counts half.

        Args:
            first: name of a row.
            second: of another.
            examples: of the new comparison; new ones, of the same kind.
        """
        i, j = np.array([self.number[first]]), np.array([self.number[second]])
        (centre,), (of_examples,) = self._example_parts(i, j)
        runs = self.rows[i[0]].runs, self.rows[j[0]].runs
        weights = self.seeds.together(i, j).ravel()
        of_means = np.add.outer(self.seeds.variances / runs[0], self.seeds.variances / runs[1])
        variances = of_examples + of_means.ravel()
        of_run = np.add.outer(self.seeds.variances, self.seeds.variances).ravel()
        of_example = self.variance_of_single_runs(first, second)
        sd = np.sqrt(of_run + max(of_example, np.square(self.answer_sd) / self.examples) / examples)
        found = median_and_interval(sd, float(centre), variances, weights, ALPHA)
        return Chance(*found)

    def variance_of_single_runs(self, first: str, second: str) -> float:
        """Variance over examples of the difference of one run of each, mean over all such pairs."""
        one, other = (self.rows[self.number[name]].scores for name in (first, second))
        squares = np.square(one).mean() + np.square(other).mean()
        squares -= 2 * float(one.mean(0) @ other.mean(0)) / self.examples
        of_means = np.square(one.mean(1)[:, None] - other.mean(1)[None, :]).mean()
        return float(max(squares - of_means, 0.0))


def _above_bound(
    distance: np.ndarray, half: np.ndarray, bound: float
) -> tuple[np.ndarray, np.ndarray]:
    """Intervals of half so wide on the logarithm's scale (the delta method), in none the bound.

    Where the bound is nearer than that, the logarithm is no guide, and they reach it.
    """
    factor = np.exp(half / np.maximum(distance, half))
    is_far = distance > half
    return (
        bound + np.where(is_far, distance / factor, 0.0),
        bound + np.where(is_far, distance * factor, distance + half),
    )


@dataclass(frozen=True, eq=False)
class Judgement:
    """What can be said of a table of models."""

    rows: list[JudgedRow]
    """The best first; those of which every run failed stand last."""
    pairs: list[Difference]
    """Of all rows with a result, the better first."""
    best: list[str]
    """The 95 % confidence set for the best: the best is one of them."""
    questions: list[Difference]
    """Those that were asked, a family of their own, which is not corrected for all the pairs."""
    table: Table | None = field(repr=False)
    """The answers; None if no row has any. Ask it for other families and new runs."""

    def to_dataframe(self) -> "pd.DataFrame":
        """A line for each row, in the order of `rows`."""
        import pandas as pd  # here: judged without it

        names = [entry.name for entry in fields(JudgedRow)]
        return pd.DataFrame([{n: getattr(row, n) for n in names} for row in self.rows])


def judge(
    scores: Mapping[str, Scores],
    *,
    margin: float | None = None,
    questions: Iterable[Sequence[str]] = (),
    reference: str | None = None,
    controls: Collection[str] = (),
    collapsed: Mapping[str, Sequence[bool]] | None = None,
    clusters: Sequence[Any] | np.ndarray | None = None,
    looks: int = 1,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    weight: float | None = None,
    folds: int | None = None,
) -> Judgement:
    """Say which models are better, with few runs as with many.

    >>> import numpy as np
    >>> right = {"a": np.tile([1, 1, 1, 0], (3, 50)), "b": np.tile([1, 0, 0, 0], (3, 50))}
    >>> judge(right).best
    ['a']

    Args:
        scores: name -> array of shape (runs, examples): right or not (0 and 1), or real scores of
            which higher is better. The runs of a row differ in their seed, and all rows have the
            same examples in the same order. A list may hold None for a run that failed.
        margin: the difference that matters, above 0, in units of the scores.
        questions: pairs of names that were to be compared before results were seen.
        reference: a name; each other row against it is a question, too.
        controls: names of rows in which nothing is random. Any other row with a single run is taken
            to vary with its seed as the table's other rows do.
        collapsed: name -> for each of its runs that finished, whether it collapsed. The mean is
            then of the other runs.
        clusters: of each example what it belongs to (an author, a document), where examples are not
            independent; shape (examples,).
        looks: how often results are looked at, at most, to decide whether there will be more runs;
            5 % error is then shared by all looks. It does not touch ``low`` and ``high``.
        bounds: the least and the most that a mean of real scores can be; no interval passes them.
        weight: how many examples the means rest on, where not all count alike: of a measure of a
            rare class, those of that class.
        folds: of a cross-validation in how many parts each run answered the examples; what is said
            is then also about new training sets of their size.

    Raises:
        UserError: for names that are no rows, arrays that do not fit together, or scores that are
            no finite numbers.
    """
    found = [
        _row(name, runs, name in controls, (collapsed or {}).get(name))
        for name, runs in scores.items()
    ]
    finished = sorted(
        (row for row in found if row.runs), key=lambda row: (-row.scores.mean(), row.name)
    )
    _check(found, finished, margin, controls, collapsed or {})
    asked = _questions(questions, reference, found, finished)
    failed = [_failed_row(row) for row in found if not row.runs]
    if not finished:
        return Judgement(failed, [], [], [], None)
    if looks < 1:
        raise UserError(f"looks must be 1 or more, not {looks}")
    clusters = _clusters(clusters, finished[0].scores.shape[1])
    table = Table(finished, clusters, looks, bounds, weight, folds)
    names = [row.name for row in finished]
    pairs = table.compare(list(itertools.combinations(names, 2)), margin)
    may_be_best = table.may_be_best(pairs)
    return Judgement(
        rows=[*_judged_rows(table, letters_of(names, pairs), may_be_best), *failed],
        pairs=pairs,
        best=[name for name, may_be in zip(names, may_be_best, strict=True) if may_be],
        questions=table.compare(asked, margin),
        table=table,
    )


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval, over examples and seeds."""

    mean: float
    low: float
    high: float

    def __neg__(self) -> "Interval":
        """Of the scores with the other sign."""
        return Interval(0.0 - self.mean, 0.0 - self.high, 0.0 - self.low)  # 0 has no sign


def intervals(
    scores: Mapping[str, Scores],
    *,
    controls: Collection[str] = (),
    collapsed: Mapping[str, Sequence[bool]] | None = None,
    clusters: Sequence[Any] | np.ndarray | None = None,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    weight: float | None = None,
    folds: int | None = None,
) -> dict[str, Interval]:
    """As `judge`, of each row by itself: those that have a result."""
    rows = [
        _row(name, runs, name in controls, (collapsed or {}).get(name))
        for name, runs in scores.items()
    ]
    finished = [row for row in rows if row.runs]
    if not finished:
        return {}
    _check(rows, finished, None, controls, collapsed or {})
    clusters = _clusters(clusters, finished[0].scores.shape[1])
    table = Table(finished, clusters, 1, bounds, weight, folds)
    ends = zip(finished, table.means, *table.intervals(), strict=True)
    return {row.name: Interval(float(m), float(low), float(high)) for row, m, low, high in ends}


def letters_of(names: Sequence[str], pairs: Iterable[Difference]) -> list[str]:
    """The letters of rows: two share one where they are not distinguished, or were not compared."""
    number = {name: place for place, name in enumerate(names)}
    alike = np.ones((len(names), len(names)), dtype=bool)
    for pair in pairs:
        i, j = number[pair.first], number[pair.second]
        alike[i, j] = alike[j, i] = not pair.differ
    return group_letters(alike)


def _judged_rows(table: Table, letters: Sequence[str], may_be_best: np.ndarray) -> list[JudgedRow]:
    lows, highs = table.intervals()
    odd = np.array(holm(table.seeds.surprise)) < ALPHA
    return [
        JudgedRow(
            row.name, float(mean), float(low), float(high), group, row.finished, row.collapsed,
            row.failed, table.seeds.sd(number), bool(is_odd), bool(best),
        )
        for number, (row, mean, low, high, group, is_odd, best) in enumerate(
            zip(table.rows, table.means, lows, highs, letters, odd, may_be_best, strict=True)
        )
    ]  # fmt: skip


def _failed_row(row: _Row) -> JudgedRow:
    nan = math.nan
    return JudgedRow(row.name, nan, nan, nan, "", 0, 0, row.failed, nan, False, False)


def _row(name: str, scores: Scores, is_control: bool, collapsed: Sequence[bool] | None) -> _Row:
    runs = [np.asarray(run, dtype=float) for run in scores if run is not None]
    failed = len(scores) - len(runs)
    shapes = sorted({run.shape for run in runs})
    if any(len(shape) != 1 for shape in shapes) or len(shapes) > 1:
        raise UserError(f"{name}: runs must be of one length, not of shapes {shapes}")
    if not runs:
        return _Row(name, np.empty((0, 0)), 0, 0, failed, is_control)
    table = np.stack(runs)
    if not np.isfinite(table).all():
        raise UserError(f"{name}: scores must be finite numbers; a run that failed is None")
    flags = np.zeros(len(runs), dtype=bool) if collapsed is None else np.array(collapsed, bool)
    if flags.shape != (len(runs),):
        raise UserError(f"{name}: collapsed has {len(flags)} values for {len(runs)} finished runs")
    counted = table if flags.all() else table[~flags]
    return _Row(name, counted, len(runs), int(flags.sum()), failed, is_control)


def _check(
    rows: Sequence[_Row],
    finished: Sequence[_Row],
    margin: float | None,
    controls: Collection[str],
    collapsed: Mapping[str, Any],
) -> None:
    names = [row.name for row in rows]
    for key, given in (("controls", controls), ("collapsed", collapsed)):
        for name in given:
            if name not in names:
                raise UserError(f"{key}: no row {name!r}{nearest(name, names)}")
    if margin is not None and not (0 < margin < math.inf):
        raise UserError(f"margin must be above 0, not {margin}")
    lengths = {row.scores.shape[1]: row.name for row in finished}
    if len(lengths) > 1:
        (n, one), (m, other), *_ = lengths.items()
        raise UserError(f"{one} has {n:,} examples and {other} {m:,}; they must be the same ones")
    if any(n < 2 for n in lengths):
        raise UserError("two examples or more are needed to judge")


def _questions(
    questions: Iterable[Sequence[str]],
    reference: str | None,
    rows: Sequence[_Row],
    finished: Sequence[_Row],
) -> list[tuple[str, str]]:
    """Those that can be answered: both rows have a result. Each pair is asked once."""
    names = [row.name for row in rows]
    asked = [tuple(pair) for pair in questions]
    if reference is not None:
        asked += [(name, reference) for name in names if name != reference]
    for pair in [*asked, *([(reference,)] if reference is not None else [])]:
        for name in pair:
            if name not in names:
                raise UserError(f"questions: no row {name!r}{nearest(name, names)}")
    for pair in asked:
        if len(pair) != 2 or pair[0] == pair[1]:
            raise UserError(f"questions: a question is two different rows, not {list(pair)}")
    known = {row.name for row in finished}
    kept: dict[frozenset[str], tuple[str, str]] = {}
    for one, other in asked:
        if {one, other} <= known:
            kept.setdefault(frozenset((one, other)), (one, other))
    return list(kept.values())


def _clusters(clusters: Sequence[Any] | np.ndarray | None, examples: int) -> np.ndarray | None:
    if clusters is None:
        return None
    found = np.asarray(clusters)
    if found.shape != (examples,):
        raise UserError(f"clusters has shape {found.shape} for {examples:,} examples")
    if len(np.unique(found)) < 2:
        raise UserError("clusters: all examples are of one cluster, of which nothing can be said")
    return found
