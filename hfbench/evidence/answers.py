"""The answers of a row's runs, as they come from anywhere: put in order, and looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hfbench.errors import UserError
from hfbench.evidence.stats import mean_squares

_LARGEST = 1e100
"""Of a score's size: the sum of the squares of any number of these is a number, too."""

Scores = np.ndarray | Sequence["np.ndarray | Sequence[float] | None"]
"""Of one row: an array of shape (runs, examples), or a list with None for a run that failed."""


@dataclass(frozen=True, eq=False)
class Answers:
    """What is kept of a row's answers."""

    name: str
    scores: np.ndarray
    """Of the runs that count, shape (runs, examples)."""
    finished: int
    collapsed: int
    failed: int
    is_control: bool
    pretrainings: np.ndarray | None = None
    """Of each run that counts the pretraining that it started from, shape (runs,); None: all
    started from one, or none was pretrained."""

    @cached_property
    def draws(self) -> np.ndarray:
        """What is independent, and counts alike: the mean of each pretraining's runs, or else each
        run; shape (draws, examples).
        """
        if self.pretrainings is None:
            return self.scores
        kinds = np.unique(self.pretrainings)
        return np.stack([self.scores[self.pretrainings == kind].mean(0) for kind in kinds])

    @cached_property
    def means(self) -> np.ndarray:
        """Of each example over the draws, shape (examples,)."""
        return self.draws.mean(0)

    @cached_property
    def within_pretrainings(self) -> float:
        """By how much a single run varies more than the mean of one pretraining's runs, as a
        variance: what seeds add among runs of one pretraining, and that mean has less of.
        """
        if self.pretrainings is None:
            return 0.0
        found, parts = [], []
        for kind in np.unique(self.pretrainings):
            runs = self.scores[self.pretrainings == kind]
            parts.append(1 - 1 / len(runs))
            if len(runs) > 1:
                of_runs, _, of_rest = mean_squares(runs)
                found.append(((of_runs - of_rest) / runs.shape[1], len(runs) - 1))
        if not found:
            return 0.0
        excess, degrees = np.array(found).T
        return max(float(np.average(excess, weights=degrees)), 0.0) * float(np.mean(parts))


def answers_of(
    name: str,
    scores: Scores,
    is_control: bool,
    collapsed: Sequence[bool] | None,
    pretrainings: Sequence[Any] | None = None,
) -> Answers:
    """Of one row, see `judge.judge`.

    Raises:
        UserError: if they do not fit together.
    """
    no_numbers = f"{name}: scores must be finite numbers of at most {_LARGEST:g}"
    try:
        runs = [np.asarray(run, dtype=float) for run in scores if run is not None]
    except (TypeError, ValueError, OverflowError):
        raise UserError(no_numbers) from None
    failed = len(scores) - len(runs)
    shapes = sorted({run.shape for run in runs})
    if any(len(shape) != 1 for shape in shapes) or len(shapes) > 1:
        raise UserError(f"{name}: runs must be of one length, not of shapes {shapes}")
    if not runs:
        return Answers(name, np.empty((0, 0)), 0, 0, failed, is_control)
    table = np.stack(runs)
    if not (np.abs(table) <= _LARGEST).all():  # neither is what is no number
        raise UserError(f"{no_numbers}; a run that failed is None")
    flags = np.zeros(len(runs), dtype=bool) if collapsed is None else np.array(collapsed, bool)
    if flags.shape != (len(runs),):
        raise UserError(f"{name}: collapsed has {len(flags)} values for {len(runs)} finished runs")
    counts = np.ones(len(runs), dtype=bool) if flags.all() else ~flags
    started = _started(name, pretrainings, counts)
    lost = int(flags.sum())
    return Answers(name, table[counts], len(runs), lost, failed, is_control, started)


def _started(
    name: str, pretrainings: Sequence[Any] | None, counts: np.ndarray
) -> np.ndarray | None:
    """Of the runs that count, the pretraining of each; None where there are not several."""
    if pretrainings is None:
        return None
    if len(pretrainings) != len(counts):
        raise UserError(
            f"{name}: pretrainings has {len(pretrainings)} values for {len(counts)} finished runs"
        )
    numbers = np.unique(np.asarray(pretrainings), return_inverse=True)[1][counts]
    return numbers if len(np.unique(numbers)) > 1 else None


def clusters_of(clusters: Sequence[Any] | np.ndarray | None, examples: int) -> np.ndarray | None:
    if clusters is None:
        return None
    found = np.asarray(clusters)
    if found.shape != (examples,):
        raise UserError(f"clusters has shape {found.shape} for {examples:,} examples")
    if len(np.unique(found)) < 2:
        raise UserError("clusters: all examples are of one cluster, of which nothing can be said")
    return found
