"""From the answers of models to what can be said of them: the statistics of every table.

What is to be known is the mean score over all examples of this kind and all seeds. Examples and
seeds are crossed random effects: every run of a model answers the same examples. The variance of a
mean is what the examples add (of which there are many, so that it is estimated well) and what the
seeds add (of which there are few, so that all rows of the table are asked: `seeds`). A mean or a
difference is then a mixture of normals over what is believed of the seeds, and its intervals and
p-values are the mixture's (`mixture`). docs/how-sure.md has the formulas, sources and limits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import roots_genlaguerre

from hfbench.evidence.answers import Answers
from hfbench.evidence.best import best_p_values
from hfbench.evidence.difference import Chance, Difference
from hfbench.evidence.folds import inflation
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

_NODES_OF_T = 16
_CHUNK = 512  # pairs at a time: what is kept of each is nodes x nodes


@dataclass(frozen=True, eq=False)
class Table:
    """Rows that answered the same examples, and what they say together of the seeds."""

    rows: list[Answers]
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
        row = Answers(name, scores[None], 1, 0, 0, True)
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
        return np.array([row.draws.mean() for row in self.rows])

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
            [RunSpread.of(row.draws, is_usual=row.collapsed < row.finished) for row in self.rows],
            self.answer_sd,
            [row.is_control for row in self.rows],
            [row.pretrainings is not None for row in self.rows],
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
        draws = np.array([len(row.draws) for row in self.rows])
        return self.seeds.variances / draws[:, None]

    @cached_property
    def seeds_unknown(self) -> np.ndarray:
        """Whether a row has one run, and no row shows how much seeds matter, shape (rows,).

        Of right and wrong answers that is assumed, in points that a reader can judge. How much real
        scores vary with the seed nobody can say beforehand: of them nothing is claimed.
        """
        known = self.seeds.learnt or self.are_shares
        return np.array([not (known or row.is_control or len(row.draws) > 1) for row in self.rows])

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
        draws = np.array([len(row.draws) for row in self.rows])
        both = np.stack([draws[first], draws[second]])
        parts = {}
        for kind in np.unique(both, axis=1).T:
            alike = np.flatnonzero((both == kind[:, None]).all(0))
            for some in np.split(alike, range(_CHUNK, len(alike), _CHUNK)):
                found = self.seeds.of_differences(first[some], second[some], tuple(kind.tolist()))
                parts[some[0]] = (some, *found)
        components = next(len(nodes) for _, nodes, _ in parts.values())
        of_seeds, weights = np.empty((2, len(first), components))
        for some, nodes, shares in parts.values():
            of_seeds[some], weights[some] = nodes, shares
        factors, likely = self._student
        variances = of_seeds[:, :, None] + of_examples[:, None, None] * factors
        shape = len(first), components * len(factors)
        return centres, variances.reshape(shape), (weights[:, :, None] * likely).reshape(shape)

    @cached_property
    def _student(self) -> tuple[np.ndarray, np.ndarray]:
        """By what the examples' part of a variance is multiplied, and how likely.

        Clusters may be few, and tests of many pairs lie far out, where Student's t is not a wider
        normal: it is a mixture of normals over a chi-square variable (Gauss-Laguerre quadrature).
        """
        if self.clusters is None:
            return np.ones(1), np.ones(1)
        units = len(np.unique(self.clusters))
        degrees = units - 1
        nodes, weights = roots_genlaguerre(_NODES_OF_T, degrees / 2 - 1)
        unbiased = units / (units - 1) / (units / max(units - 3, 1))
        return unbiased * degrees / (2 * nodes), weights / weights.sum()

    def variance_of_examples(self, first: str, second: str) -> float:
        """What the examples add to the variance of a difference."""
        one, other = (np.array([self.number[name]]) for name in (first, second))
        return float(self._example_parts(one, other)[1][0])

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
        draws = np.array([len(row.draws) for row in self.rows])
        single = (draws[first] == 1) & (draws[second] == 1) & self.are_shares
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
        that has its variance; all of them where nothing varies, as with no error at all. What seeds
        add shrinks towards the bounds, too: a run cannot be as much better as another is worse.
        """
        size = self.bounds[1] - self.bounds[0]
        place = np.clip((self.means - self.bounds[0]) / size, 0.0, 1.0)
        found = np.diag(self.example_covariance) / size**2
        nothing = found <= 1e-9 / self.examples
        effective = place * (1 - place) / np.where(nothing, 1.0, found)
        all_of_them = self.examples if self.weight is None else self.weight
        effective = np.where(nothing | (effective <= 0), float(all_of_them), effective)
        ends = score_interval(place, effective, variances / size**2, weights, ALPHA, shrinking=True)
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
        runs = np.array([len(row.scores) for row in self.rows])
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
        rows = self.rows[i[0]], self.rows[j[0]]
        draws = [len(row.draws) for row in rows]
        weights = self.seeds.together(i, j).ravel()
        of_means = np.add.outer(self.seeds.variances / draws[0], self.seeds.variances / draws[1])
        variances = of_examples + of_means.ravel()
        of_run = np.add.outer(
            *(self.seeds.variances + row.within_pretrainings for row in rows)
        ).ravel()
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
