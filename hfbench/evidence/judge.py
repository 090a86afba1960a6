"""From the answers of models to what can be said of them: the statistics of every table."""

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from hfbench.errors import UserError, nearest
from hfbench.evidence.answers import Answers, Scores, answers_of, clusters_of
from hfbench.evidence.crossed import Table
from hfbench.evidence.difference import Difference, Interval
from hfbench.evidence.letters import group_letters
from hfbench.evidence.stats import ALPHA, holm

if TYPE_CHECKING:
    import pandas as pd


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
    pretrainings: int
    """From how many its mean is told, each being one draw; 0 where they are not told apart: runs
    are the draws then."""
    seed_sd: float
    """Standard deviation over seeds, or of the means over pretrainings, the median of what is
    believed, in units of the scores."""
    odd_seeds: bool
    """Whether its runs differ more than the other rows predict (p < 0.05 after Holm)."""
    may_be_best: bool
    """Whether it is in the 95 % confidence set for the best."""


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
    pretrainings: Mapping[str, Sequence[Any]] | None = None,
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
        pretrainings: name -> for each of its runs that finished, what pretrained weights it started
            from. Where these are several, what is said is about new pretrainings, too: each counts
            as one draw, the mean of its runs.
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
    found = _all_answers(scores, controls, collapsed or {}, pretrainings or {})
    finished = sorted(
        (row for row in found if len(row.scores)), key=lambda row: (-row.draws.mean(), row.name)
    )
    _check(found, finished, margin, controls, collapsed or {}, pretrainings or {})
    asked = _questions(questions, reference, found, finished)
    failed = [_failed_row(row) for row in found if not len(row.scores)]
    if not finished:
        return Judgement(failed, [], [], [], None)
    if looks < 1:
        raise UserError(f"looks must be 1 or more, not {looks}")
    clusters = clusters_of(clusters, finished[0].scores.shape[1])
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


def _all_answers(
    scores: Mapping[str, Scores],
    controls: Collection[str],
    collapsed: Mapping[str, Sequence[bool]],
    pretrainings: Mapping[str, Sequence[Any]],
) -> list[Answers]:
    return [
        answers_of(name, runs, name in controls, collapsed.get(name), pretrainings.get(name))
        for name, runs in scores.items()
    ]


def intervals(
    scores: Mapping[str, Scores],
    *,
    controls: Collection[str] = (),
    collapsed: Mapping[str, Sequence[bool]] | None = None,
    clusters: Sequence[Any] | np.ndarray | None = None,
    pretrainings: Mapping[str, Sequence[Any]] | None = None,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    weight: float | None = None,
    folds: int | None = None,
) -> dict[str, Interval]:
    """As `judge`, of each row by itself: those that have a result."""
    rows = _all_answers(scores, controls, collapsed or {}, pretrainings or {})
    finished = [row for row in rows if len(row.scores)]
    if not finished:
        return {}
    _check(rows, finished, None, controls, collapsed or {}, pretrainings or {})
    clusters = clusters_of(clusters, finished[0].scores.shape[1])
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
            name=row.name,
            mean=float(mean),
            low=float(low),
            high=float(high),
            group=group,
            runs=row.finished,
            collapsed=row.collapsed,
            failed=row.failed,
            pretrainings=0 if row.pretrainings is None else len(row.draws),
            seed_sd=table.seeds.sd(number),
            odd_seeds=bool(is_odd),
            may_be_best=bool(best),
        )
        for number, (row, mean, low, high, group, is_odd, best) in enumerate(
            zip(table.rows, table.means, lows, highs, letters, odd, may_be_best, strict=True)
        )
    ]


def _failed_row(row: Answers) -> JudgedRow:
    nan = math.nan
    return JudgedRow(row.name, nan, nan, nan, "", 0, 0, row.failed, 0, nan, False, False)


def _check(
    rows: Sequence[Answers],
    finished: Sequence[Answers],
    margin: float | None,
    controls: Collection[str],
    collapsed: Mapping[str, Any],
    pretrainings: Mapping[str, Any],
) -> None:
    names = [row.name for row in rows]
    by_name = {"controls": controls, "collapsed": collapsed, "pretrainings": pretrainings}
    for key, given in by_name.items():
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
    rows: Sequence[Answers],
    finished: Sequence[Answers],
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
