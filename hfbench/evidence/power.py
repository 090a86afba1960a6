"""What a comparison can show, before it runs: power, detectable difference, examples and seeds.

The same model as in `judge`: the difference of two models on an example and with a seed varies with
the example, with the seed, and with both together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import chdtri
from scipy.stats import norm, qmc

from hfbench.evidence.mixture import half_width
from hfbench.evidence.seeds import RunSpread, learn_seed_effects
from hfbench.evidence.stats import ALPHA, mean_squares

POWER = 0.8
_TABLES = 16
"""Of runs that happen to differ less or more, over which a power is the mean."""
_ROWS = 8
"""Rows from which a plan takes the seeds' variance to be learnt, at most: more add little."""


@dataclass(frozen=True)
class Discordance:
    """How two models differ on one example and with one seed.

    The defaults are of the size that this project's own comparisons show (`results/`).
    """

    share: float = 0.30
    """Share of the examples that just one of two runs answers rightly, in (0, 1]; of measures other
    than the accuracy the mean square of the difference of their pseudo-values."""
    of_examples: float = 0.5
    """Share of the variance (seeds' apart) that stays when the seed changes, in [0, 1]: no number
    of seeds averages it out."""
    seed_sd: float = 0.03
    """Standard deviation, over seeds, of the difference of the two accuracies; a fraction."""
    answer_sd: float = 0.45
    """Standard deviation of one answer; so much where 50 to 85 % are right."""
    of_shares: bool = True
    """Whether answers are right or wrong: then no difference is larger than ``share``."""

    @property
    def largest(self) -> float:
        """The largest difference that there can be, or that anybody would ask for."""
        return self.share if self.of_shares else 2 * math.sqrt(self.share)

    def parts(self, difference: float) -> tuple[float, float, float]:
        """Variance of a difference by examples, by the seeds of one model, and by the rest."""
        varying = max(self.share - difference**2 - self.seed_sd**2, 1e-12 * self.share)
        return self.of_examples * varying, self.seed_sd**2 / 2, (1 - self.of_examples) * varying


def power(
    difference: float,
    runs: int,
    examples: int,
    discordance: Discordance,
    alpha: float = ALPHA,
    rows: int | None = 2,
) -> float:
    """Probability that `judge` finds p < ``alpha`` for a pair, in [0, 1].

    Args:
        difference: the true difference of the accuracies, a fraction.
        runs: runs of each of the two models, one for each seed.
        examples: evaluation examples.
        discordance: how the two models differ.
        alpha: the level of this one test.
        rows: of the table, from which it is learnt how much seeds matter; None: it is known.
    """
    of_examples, of_seeds, rest = discordance.parts(difference)
    by_examples = (of_examples + rest / runs) / examples
    error = math.sqrt(by_examples + 2 * of_seeds / runs)
    if rows is None:
        critical = np.array(norm.ppf(1 - alpha / 2) * error)
    else:
        critical = np.array(
            [
                _critical(
                    runs,
                    examples,
                    by_examples,
                    rest / 2,
                    of_seeds,
                    quantiles,
                    alpha,
                    discordance.answer_sd,
                )
                for quantiles in _quantiles(min(rows, _ROWS))
            ]
        )
    shown = norm.sf((critical - difference) / error) + norm.cdf((-critical - difference) / error)
    return float(np.mean(shown))


def _quantiles(rows: int) -> np.ndarray:
    """Of the rows' chi-square variables, spread evenly, shape (tables, rows)."""
    return qmc.Halton(rows, scramble=False).random(_TABLES + 1)[1:]


def _critical(
    runs: int,
    examples: int,
    by_examples: float,
    of_rest: float,
    of_seeds: float,
    quantiles: np.ndarray,
    alpha: float,
    answer_sd: float,
) -> float:
    """The difference of the first two rows from which on p < ``alpha``, as their runs came out."""
    spreads = [RunSpread(1, examples, 0.0, 0.0)] * len(quantiles)
    if runs > 1:
        found = (of_rest + examples * of_seeds) * chdtri(runs - 1, quantiles) / (runs - 1)
        spreads = [RunSpread(runs, examples, float(of_runs), of_rest) for of_runs in found]
    seeds = learn_seed_effects(spreads, answer_sd, [False] * len(spreads))
    variances, weights = seeds.of_differences(np.array([0]), np.array([1]), (runs, runs))
    as_estimated = by_examples * (examples / max(examples - 3, 1) if runs > 1 else 1.0)
    return float(half_width(np.array([alpha]), as_estimated + variances[None], weights)[0])


def detectable_difference(
    runs: int,
    examples: int,
    discordance: Discordance,
    alpha: float = ALPHA,
    rows: int | None = 2,
) -> float | None:
    """The smallest true difference that is shown with 80 % power; None if no possible one is."""

    def lacking(difference: float) -> float:
        return power(difference, runs, examples, discordance, alpha, rows) - POWER

    # a difference cannot be larger than the share of examples on which the models differ
    largest = discordance.largest
    if lacking(largest) < 0:
        return None
    return float(brentq(lacking, 1e-6 * largest, largest, xtol=1e-5 * largest))


def needed_examples(
    difference: float,
    runs: int,
    discordance: Discordance,
    alpha: float = ALPHA,
    rows: int | None = 2,
) -> int | None:
    """Evaluation examples for 80 % power; None if no number does, since the seeds vary too much."""
    return _smallest(lambda n: power(difference, runs, n, discordance, alpha, rows), 2, 10_000_000)


def needed_seeds(
    difference: float,
    examples: int,
    discordance: Discordance,
    alpha: float = ALPHA,
    rows: int | None = 2,
) -> int | None:
    """Seeds for 80 % power; None if 1,000 do not suffice: these examples are too few."""
    return _smallest(lambda r: power(difference, r, examples, discordance, alpha, rows), 2, 1000)


def needed_range(
    low: float, high: float, needed: Callable[[float], int | None]
) -> tuple[int | None, int | None]:
    """What is needed where the difference is only known to lie in an interval.

    Args:
        low: lower end of the interval of the difference.
        high: upper end.
        needed: of a difference above 0, how many examples or seeds show it; None if none do.

    Returns:
        The fewest and the most; None where no number does, as of a difference of 0.
    """
    fewest = needed(max(abs(low), abs(high)))
    most = None if low <= 0 <= high else needed(min(abs(low), abs(high)))
    return fewest, most


def measure_discordance(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Discordance | None:
    """Medians over pairs of models, each with its table of pseudo-values, (runs, examples).

    None without a pair of two runs or more each that differ on an example.
    """
    measured = []
    for pair in pairs:
        if min(map(len, pair)) < 2:
            continue
        first, second = (table.mean(0) for table in pair)
        squares = sum(np.square(table * 1.0).mean() for table in pair)
        share = float(squares - 2 * np.mean(first * second))
        rests = [mean_squares(table)[2] for table in pair]
        noise = sum(rest / len(table) for rest, table in zip(rests, pair, strict=True))
        of_examples = max(float((first - second).var(ddof=1)) - noise, 0.0)
        seeds = sum(_seed_variance(table) for table in pair)
        if share > 0:
            total = of_examples + sum(rests)
            sd = math.sqrt(np.mean([table.var() for table in pair]))
            measured.append((share, of_examples / total, math.sqrt(seeds), sd))
    if not measured:
        return None
    of_shares = all(np.isin(table, (0, 1)).all() for pair in pairs for table in pair)
    share, of_examples, seed_sd, sd = (float(value) for value in np.median(measured, axis=0))
    found = Discordance(share, of_examples, seed_sd)
    return found if of_shares else replace(found, answer_sd=max(sd, 1e-9), of_shares=False)


def _seed_variance(table: np.ndarray) -> float:
    """Of one run; not below 0."""
    of_runs, _, of_rest = mean_squares(table)
    return max(of_runs - of_rest, 0.0) / table.shape[1]


def _smallest(power_of: Callable[[int], float], low: int, high: int) -> int | None:
    """The smallest number in [low, high] with 80 % power; power grows with the number."""
    if power_of(high) < POWER:
        return None
    while low < high:
        middle = math.isqrt(low * high)  # half way by the digits: most answers are small
        low, high = (low, middle) if power_of(middle) >= POWER else (middle + 1, high)
    return low
