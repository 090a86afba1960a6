"""The answers of a row's runs, as they come from anywhere: put in order, and looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hfbench.errors import UserError

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

    @cached_property
    def means(self) -> np.ndarray:
        """Of each example over the runs, shape (examples,)."""
        return self.scores.mean(0)

    @property
    def runs(self) -> int:
        return len(self.scores)


def answers_of(
    name: str, scores: Scores, is_control: bool, collapsed: Sequence[bool] | None
) -> Answers:
    runs = [np.asarray(run, dtype=float) for run in scores if run is not None]
    failed = len(scores) - len(runs)
    shapes = sorted({run.shape for run in runs})
    if any(len(shape) != 1 for shape in shapes) or len(shapes) > 1:
        raise UserError(f"{name}: runs must be of one length, not of shapes {shapes}")
    if not runs:
        return Answers(name, np.empty((0, 0)), 0, 0, failed, is_control)
    table = np.stack(runs)
    if not np.isfinite(table).all():
        raise UserError(f"{name}: scores must be finite numbers; a run that failed is None")
    flags = np.zeros(len(runs), dtype=bool) if collapsed is None else np.array(collapsed, bool)
    if flags.shape != (len(runs),):
        raise UserError(f"{name}: collapsed has {len(flags)} values for {len(runs)} finished runs")
    counted = table if flags.all() else table[~flags]
    return Answers(name, counted, len(runs), int(flags.sum()), failed, is_control)


def clusters_of(clusters: Sequence[Any] | np.ndarray | None, examples: int) -> np.ndarray | None:
    if clusters is None:
        return None
    found = np.asarray(clusters)
    if found.shape != (examples,):
        raise UserError(f"clusters has shape {found.shape} for {examples:,} examples")
    if len(np.unique(found)) < 2:
        raise UserError("clusters: all examples are of one cluster, of which nothing can be said")
    return found
