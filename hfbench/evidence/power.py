"""What a comparison can show, before it runs: power, detectable difference, examples and seeds.

The same model as in `stats`: the difference of two models on an example and with a seed varies with
the example, with the seed, and with both together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtrit
from scipy.stats import chi2, norm

from hfbench.evidence.stats import ALPHA, mean_squares, seed_variance

POWER = 0.8
_QUANTILES = (np.arange(50) + 0.5) / 50


@dataclass(frozen=True)
class Discordance:
    """How two models differ on one example and with one seed.

    The defaults are of the size that this project's own comparisons show (`results/`).
    """

    share: float = 0.30
    """Share of the examples that just one of two runs answers rightly, in (0, 1]."""
    of_examples: float = 0.5
    """Share of the variance (seeds' apart) that stays when the seed changes, in [0, 1]: no number
    of seeds averages it out."""
    seed_sd: float = 0.03
    """Standard deviation, over seeds, of the difference of the two accuracies; a fraction."""

    def parts(self, difference: float) -> tuple[float, float, float]:
        """Variance of a difference by examples, by the seeds of one model, and by the rest."""
        varying = max(self.share - difference**2 - self.seed_sd**2, 1e-12)
        return self.of_examples * varying, self.seed_sd**2 / 2, (1 - self.of_examples) * varying


def power(
    difference: float, runs: int, examples: int, discordance: Discordance, alpha: float = ALPHA
) -> float:
    """Probability that `stats.paired_difference` has p < ``alpha``, in [0, 1].

    Args:
        difference: the true difference of the accuracies, a fraction.
        runs: runs of each of the two models, one for each seed.
        examples: evaluation examples.
        discordance: how the two models differ.
        alpha: the level of this one test.
    """
    tail = 1 - alpha / 2
    if runs == 1:
        error = math.sqrt(max(discordance.share - difference**2, 1e-12) / examples)
        critical = np.array(norm.ppf(tail) * error)
    else:
        of_examples, of_seeds, rest = discordance.parts(difference)
        by_examples = (of_examples + rest / runs) / examples
        error = math.sqrt(by_examples + 2 * of_seeds / runs)
        # Few seeds: what the test finds for them varies. The mean squares of the two models, each
        # with half the rest, on a grid of quantiles of their chi-square distributions.
        expected = (rest / 2 + examples * of_seeds) / (runs * examples)
        found = expected * chi2.ppf(_QUANTILES, runs - 1) / (runs - 1)
        excess = np.maximum(found - rest / 2 / (runs * examples), 0)
        # as `stats.paired_difference` adds them
        variance = by_examples + excess[:, None] + excess[None, :]
        squares = np.where(excess > 0, found, 0) ** 2 / (runs - 1)
        spread = by_examples**2 / (examples - 1) + squares[:, None] + squares[None, :]
        critical = stdtrit(variance**2 / spread, tail) * np.sqrt(variance)
    shown = norm.sf((critical - difference) / error) + norm.cdf((-critical - difference) / error)
    return float(np.mean(shown))


def detectable_difference(
    runs: int, examples: int, discordance: Discordance, alpha: float = ALPHA
) -> float | None:
    """The smallest true difference that is shown with 80 % power; None if no possible one is."""

    def lacking(difference: float) -> float:
        return power(difference, runs, examples, discordance, alpha) - POWER

    # a difference cannot be larger than the share of examples on which the models differ
    if lacking(discordance.share) < 0:
        return None
    return float(brentq(lacking, 1e-6, discordance.share, xtol=1e-6))


def needed_examples(
    difference: float, runs: int, discordance: Discordance, alpha: float = ALPHA
) -> int | None:
    """Evaluation examples for 80 % power; None if no number does, since the seeds vary too much."""
    return _smallest(lambda n: power(difference, runs, n, discordance, alpha), 2, 10_000_000)


def needed_seeds(
    difference: float, examples: int, discordance: Discordance, alpha: float = ALPHA
) -> int | None:
    """Seeds for 80 % power; None if 1,000 do not suffice: these examples are too few."""
    return _smallest(lambda runs: power(difference, runs, examples, discordance, alpha), 2, 1000)


def measure_discordance(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Discordance | None:
    """Medians over pairs of models, each with its table of right answers, (runs, examples).

    None without a pair of two runs or more each that differ on an example.
    """
    measured = []
    for pair in pairs:
        if min(map(len, pair)) < 2:
            continue
        first, second = (table.mean(0) for table in pair)
        share = float(np.mean(first * (1 - second) + second * (1 - first)))
        rests = [mean_squares(table)[2] for table in pair]
        noise = sum(rest / len(table) for rest, table in zip(rests, pair, strict=True))
        of_examples = max(float((first - second).var(ddof=1)) - noise, 0.0)
        seeds = sum(seed_variance(table)[0] * len(table) for table in pair)
        if share > 0:
            total = of_examples + sum(rests)
            measured.append((share, of_examples / total, math.sqrt(seeds)))
    if not measured:
        return None
    return Discordance(*(float(value) for value in np.median(measured, axis=0)))


def _smallest(power_of: Callable[[int], float], low: int, high: int) -> int | None:
    """The smallest number in [low, high] with 80 % power; power grows with the number."""
    if power_of(high) < POWER:
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(middle) >= POWER else (middle + 1, high)
    return low
