"""How much the accuracy of a model varies with its seed, learnt from all rows of a table.

Two or three runs say little about how much the next would differ: by chance they often differ less
than their noise on the examples, and an estimate from them alone is then 0. Rows of one table are
alike, though, and are taken together (an empirical prior; Efron and Morris 1975, Smyth 2004):

- of a row with r runs on n examples, (r - 1) MS_runs / (MS_rest + n s^2) is chi-square with r - 1
  degrees of freedom; the mean squares are those of the two-way table (Searle, Casella and McCulloch
  1992, ch. 4), and s is the standard deviation over seeds;
- over the rows, log s is normal around a centre and with a spread that the table tells;
- before the table is seen, the centre is `CENTRE` times the standard deviation of one answer,
  within a factor of e^`CENTRE_SD`, and the spread is half-normal.

All of it is summed on a grid, so that the same records give the same numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import chdtrc, logsumexp, ndtri

from hfbench.evidence.stats import mean_squares

CENTRE = 0.06
"""Of s, in standard deviations of one answer: 3 points of accuracy where that is about a half."""
CENTRE_SD = 1.2
"""Of the logarithm of the centre: a table of two rows learns little, and what seeds may do there is
to be left wide open."""
SPREAD = 1.2
"""Scale of the half-normal distribution of how much log s varies over the rows."""
ASSUMED = 0.04
"""The centre of s in a table of single runs, where nothing can be learnt: a stated assumption, what
is usual elsewhere, and no more careful than it says."""
ASSUMED_SD = 0.6
"""Of log s there: of accuracies 0.6 to 6 points."""

_NODES = np.exp(np.linspace(np.log(0.002), np.log(2.5), 50))
"""Of s, in standard deviations of one answer; below the first it matters nowhere."""
_SUMS = 64
"""Components of the variance that two rows add together."""
_CENTRES = np.log(CENTRE) + CENTRE_SD * np.linspace(-3, 3, 17)
_SPREADS = SPREAD * ndtri(0.5 + (np.arange(10) + 0.5) / 20)  # as likely each


@dataclass(frozen=True, eq=False)
class RunSpread:
    """How much the runs of a row differ, beside how much they would by their noise."""

    runs: int
    examples: int
    of_runs: float
    """Mean square of the runs; 0 with a single one."""
    of_rest: float
    """Mean square of what neither run nor example explains; 0 with a single run."""
    is_usual: bool = True
    """Whether it is of the kind that other rows are: not of runs that all collapsed."""

    @classmethod
    def of(cls, scores: np.ndarray, *, is_usual: bool = True) -> "RunSpread":
        """Of ``scores``, shape (runs, examples)."""
        runs, examples = scores.shape
        if runs == 1:
            return cls(runs, examples, 0.0, 0.0, is_usual)
        if not ((scores == 0) | (scores == 1)).all():
            # of real scores sums are not exact: without their mean little is lost in rounding
            centred = scores - scores.mean()
            noise = np.square(1e-12 * np.abs(scores).max())
            of_runs, _, of_rest = mean_squares(centred)
            of_runs, of_rest = (0.0 if part <= noise else part for part in (of_runs, of_rest))
            return cls(runs, examples, of_runs, of_rest, is_usual)
        of_runs, _, of_rest = mean_squares(scores)
        return cls(runs, examples, of_runs, of_rest, is_usual)

    @property
    def teaches(self) -> bool:
        """Whether it says anything of other rows' seeds: not a single run, nor runs that all answer
        alike.
        """
        return self.is_usual and self.of_runs + self.of_rest > 0


@dataclass(frozen=True, eq=False)
class SeedEffects:
    """What is believed of each row's s after all rows were seen."""

    variances: np.ndarray
    """s^2 at the nodes of the grid, of which the first is 0, shape (nodes,)."""
    settings: np.ndarray
    """Probability of each pair of centre and spread, shape (settings,)."""
    given: np.ndarray
    """Probability of each node within a setting, shape (rows, settings, nodes)."""
    surprise: np.ndarray
    """Probability that the runs of a row differ as much as they do, as the other rows predict it;
    1 for a row that has no say. Shape (rows,)."""
    learnt: bool
    """Whether some row showed how much seeds matter; else it is an assumption."""

    @property
    def probabilities(self) -> np.ndarray:
        """Of each node, shape (rows, nodes)."""
        return np.einsum("h,rhk->rk", self.settings, self.given)

    def together(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Joint probabilities of two rows' nodes, shape (pairs, nodes, nodes).

        Rows are not independent: where the table says little, their s are large or small together.

        Args:
            first: numbers of rows, shape (pairs,).
            second: the same.
        """
        weighted = self.given * self.settings[:, None]
        return np.swapaxes(weighted[first], 1, 2) @ self.given[second]

    def of_differences(
        self, first: np.ndarray, second: np.ndarray, runs: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the seeds of two rows add to the variance of their difference.

        Args:
            first: numbers of rows that have as many runs, shape (pairs,).
            second: the same.
            runs: of each of the first and of each of the second.

        Returns:
            Variances, shape (components,), and their probabilities, shape (pairs, components).
        """
        sums = np.add.outer(self.variances / runs[0], self.variances / runs[1]).ravel()
        nodes = np.concatenate([[0.0], np.geomspace(sums[sums > 0].min(), sums.max(), _SUMS)])
        above = np.clip(np.searchsorted(nodes, sums), 1, _SUMS)
        # between its two nodes, so that the mean variance stays
        share = (sums - nodes[above - 1]) / (nodes[above] - nodes[above - 1])
        spread = np.zeros((len(sums), len(nodes)))
        at = np.arange(len(sums))
        spread[at, above - 1], spread[at, above] = 1 - share, share
        joint = self.together(first, second).reshape(len(first), -1)
        return nodes, joint @ spread

    def sd(self, row: int) -> float:
        """The most credible size of s: the median, in units of the scores."""
        return self.sd_quantile(row, 0.5)

    def sd_quantile(self, row: int, share: float) -> float:
        """The value below which s is with this probability."""
        at = np.searchsorted(self.probabilities[row].cumsum(), share - 1e-12)
        return float(np.sqrt(self.variances[min(int(at), len(self.variances) - 1)]))


def learn_seed_effects(
    rows: Sequence[RunSpread],
    answer_sd: float,
    without_seeds: Sequence[bool],
    pretrained: Sequence[bool] | None = None,
) -> SeedEffects:
    """Learn from all rows how much seeds matter for each.

    Args:
        rows: of the table; they need not have as many runs.
        answer_sd: the standard deviation of one answer, in the unit of the scores; above 0.
        without_seeds: of each row, whether nothing in it is random, as in a control: its s is 0 and
            it teaches nothing.
        pretrained: of each row, whether its draws are pretrainings. How much these matter is not
            learnt from rows in which training alone varies, nor the reverse.
    """
    teaches = np.array(
        [row.teaches and not fixed for row, fixed in zip(rows, without_seeds, strict=True)]
    )
    nested = np.zeros(len(rows), dtype=bool) if pretrained is None else np.array(pretrained)
    likelihood = np.stack([_log_likelihood(row, answer_sd) for row in rows])
    settings, given, surprise = _learn_alike(rows, likelihood, answer_sd, teaches & ~nested)
    if nested.any():
        own, of_pretrainings, surprise_there = _learn_alike(
            rows, likelihood, answer_sd, teaches & nested
        )
        believed = np.einsum("h,rhk->rk", own, of_pretrainings[nested])
        given[nested] = believed[:, None]
        others = (teaches & nested).sum() > 1  # else there are none that predict
        surprise = np.where(nested, surprise_there if others else 1.0, surprise)
    # the node of no effect at all, which controls alone have
    given = np.concatenate([np.zeros_like(given[..., :1]), given], axis=2)
    given[np.array(without_seeds, dtype=bool)] = np.eye(len(_NODES) + 1)[0]
    return SeedEffects(
        variances=np.concatenate([[0.0], np.square(answer_sd * _NODES)]),
        settings=settings,
        given=given,
        surprise=surprise,
        learnt=bool((teaches & ~nested).any()),
    )


def _learn_alike(
    rows: Sequence[RunSpread], likelihood: np.ndarray, answer_sd: float, teaches: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`SeedEffects.settings`, ``given`` without its first node, and ``surprise``, as those rows say
    that teach, shape (rows,).
    """
    prior, settings = _prior() if teaches.any() else _assumption()
    joint = prior + likelihood[:, None, :]  # (rows, settings, nodes)
    evidence = logsumexp(joint, axis=2)
    given = np.exp(joint - evidence[..., None])
    lessons = np.where(teaches[:, None], evidence, 0.0)
    total = settings + lessons.sum(0)
    surprise = np.array(
        [
            _surprise(row, answer_sd, prior, total - lesson) if said else 1.0
            for row, lesson, said in zip(rows, lessons, teaches, strict=True)
        ]
    )
    shares = np.exp(total - logsumexp(total))
    credible = shares > 1e-7 * shares.max()
    return shares[credible] / shares[credible].sum(), given[:, credible], surprise


@cache
def _prior() -> tuple[np.ndarray, np.ndarray]:
    """Log probabilities: of the nodes within a setting, (settings, nodes); and of the settings."""
    centres, spreads = (grid.ravel() for grid in np.meshgrid(_CENTRES, _SPREADS, indexing="ij"))
    of_nodes = -np.square((np.log(_NODES) - centres[:, None]) / spreads[:, None]) / 2
    of_settings = -np.square((centres - np.log(CENTRE)) / CENTRE_SD) / 2
    return (
        of_nodes - logsumexp(of_nodes, axis=1, keepdims=True),
        of_settings - logsumexp(of_settings),
    )


@cache
def _assumption() -> tuple[np.ndarray, np.ndarray]:
    """As `_prior`, of the one setting where no row has anything to say."""
    of_nodes = -np.square((np.log(_NODES) - np.log(ASSUMED)) / ASSUMED_SD)[None] / 2
    return of_nodes - logsumexp(of_nodes), np.zeros(1)


def _log_likelihood(row: RunSpread, answer_sd: float) -> np.ndarray:
    """Of the mean square of the runs, at each node."""
    if row.runs == 1:
        return np.zeros(len(_NODES))
    expected = row.of_rest + row.examples * np.square(answer_sd * _NODES)
    return -(row.runs - 1) / 2 * (np.log(expected) + row.of_runs / expected)


def _surprise(row: RunSpread, answer_sd: float, prior: np.ndarray, settings: np.ndarray) -> float:
    """How likely runs differ so much or more; ``settings``: log weights that others leave."""
    expected = row.of_rest + row.examples * np.square(answer_sd * _NODES)
    tail = chdtrc(row.runs - 1, (row.runs - 1) * row.of_runs / expected)
    return float(np.exp(settings - logsumexp(settings)) @ np.exp(prior) @ tail)
