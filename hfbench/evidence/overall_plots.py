"""Several tasks as figures: every model on every task, the mean, and the ranks."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hfbench.evidence.figures import (
    ACCENT,
    FAINT,
    INK,
    STYLE,
    WIDTH,
    Plot,
    cut,
    explain,
    few,
    rows_of_dots,
    short,
    write_figures,
)
from hfbench.evidence.overall import Overall, TaskResults
from hfbench.evidence.overall_findings import FAILED, has_failed, mean_title
from hfbench.evidence.overall_table import value_text
from hfbench.evidence.words import decimal, enumerate_names

_TASK = 16
"""Letters of a task's."""
_CELL = 0.62
"""Inches, the width of a cell of the heat map."""
_DARKEST = 0.6
"""Of a cell's colour, 1 being opaque: letters on it stay readable, dark or light."""


def draw_overall(overall: Overall, width: float = WIDTH) -> list[Plot]:
    """All figures, so many inches wide or, with many tasks, wider."""
    with mpl.rc_context(STYLE):
        compared = len(overall.complete) > 1
        means = [_means(overall, width)] if overall.has_mean and compared else []
        ranks = [_ranks(overall, width)] if compared else []
        return [_heat_map(overall, width), *means, *ranks]


def write_overall_plots(overall: Overall, folder: Path) -> list[Path]:
    """Write each figure as PNG (200 dots an inch) and SVG; the same bytes each time."""
    return write_figures(draw_overall(overall), folder)


def _heat_map(overall: Overall, least: float) -> Plot:
    models, tasks = [row.model for row in overall.rows], overall.tasks
    width = max(least, 1.9 + _CELL * len(tasks))
    figure = Figure(figsize=(width, 0.3 * len(models) + 1.3))
    axes = figure.subplots()
    said = []
    for column, task in enumerate(tasks):
        values = _values(task, models)
        for row, (model, share) in enumerate(zip(models, _places(values), strict=True)):
            _cell(axes, column, row, task, model, share)
        leads = [models[i] for i in np.flatnonzero(values >= np.nanmax(values) - 1e-9)]
        said.append(f"{task.name}: {enumerate_names(leads)}")
    axes.set_xlim(-0.5, len(tasks) - 0.5)
    axes.set_ylim(len(models) - 0.5, -0.5)
    names = [cut(task.name, _TASK) for task in tasks]
    room = width / 2 / len(tasks) * 17 / 1.6  # letters that a column has room for
    turned = max(map(len, names)) > room
    axes.set_xticks(
        range(len(tasks)), names, fontsize=8,
        rotation=35 if turned else 0, ha="left" if turned else "center",
    )  # fmt: skip
    axes.xaxis.tick_top()
    axes.set_yticks(range(len(models)), [short(model, width) for model in models])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    explain(figure, "stronger colour: better, from the worst to the best model of each task")
    return Plot("tasks", f"Every model on every task. Best on {few(said)}.", figure)


def _cell(axes: Axes, column: int, row: int, task: TaskResults, model: str, share: float) -> None:
    if np.isnan(share):
        text = FAILED if has_failed(task, model) else ""
        axes.text(column, row, text, ha="center", va="center", fontsize=7)
        return
    axes.add_patch(
        Rectangle(
            (column - 0.48, row - 0.46), 0.96, 0.92, lw=0, facecolor=ACCENT,
            alpha=0.04 + (_DARKEST - 0.04) * float(share),
        )
    )  # fmt: skip
    text = value_text(task.metric, task.models[model].value)
    axes.text(column, row, text, ha="center", va="center", fontsize=8, color=INK)


def _values(task: TaskResults, models: Sequence[str]) -> np.ndarray:
    """Higher is better; NaN where there is no result; shape (models,)."""
    known = task.table.number
    return np.array([task.values([m])[0] if m in known else np.nan for m in models])


def _places(values: np.ndarray) -> np.ndarray:
    """From 0, the worst, to 1, the best; 1 where all are equal."""
    low, high = np.nanmin(values), np.nanmax(values)
    return np.where(np.isnan(values), np.nan, 1.0 if high == low else (values - low) / (high - low))


def _means(overall: Overall, width: float) -> Plot:
    rows = [row for row in overall.rows if row.mean]
    figure, axes = rows_of_dots(width, len(rows), 0.36)
    said = []
    for place, row in enumerate(rows):
        assert row.mean is not None
        low, high = 100 * row.mean.low, 100 * row.mean.high
        axes.plot([low, high], [place, place], color=ACCENT, lw=2)
        axes.plot(100 * row.mean.value, place, "o", color=ACCENT, ms=6)
        said.append(f"{row.model} {decimal(row.mean.value)} ({low:.1f} to {high:.1f})")
    axes.set_yticks(range(len(rows)), [short(row.model, width) for row in rows])
    axes.set_xlabel(mean_title(overall))
    explain(figure, f"mean over these {len(overall.tasks)} tasks with its 95 % interval")
    return Plot("mean", f"{mean_title(overall)} over these tasks: {few(said)}.", figure)


def _ranks(overall: Overall, width: float) -> Plot:
    rows = sorted(
        (row for row in overall.rows if row.rank),
        key=lambda row: (row.rank.value if row.rank else 0.0, row.model),
    )
    figure, axes = rows_of_dots(width, len(rows), 0.36)
    said = []
    for place, row in enumerate(rows):
        assert row.rank is not None
        axes.plot([row.rank.low, row.rank.high], [place, place], color=ACCENT, lw=2)
        axes.plot(row.rank.value, place, "o", color=ACCENT, ms=6)
        said.append(f"{row.model} {row.rank.value:.2f}")
    axes.set_yticks(range(len(rows)), [short(row.model, width) for row in rows])
    axes.set_xlim(0.8, len(rows) + 0.2)
    axes.set_xticks(range(1, len(rows) + 1))
    axes.set_xlabel("average rank (1 is the best)")
    how = "average rank; lines: with other examples and seeds (95 %)"
    if overall.tests and rows[0].rank:
        limit = rows[0].rank.value + overall.tests.critical_difference
        if limit <= len(rows):
            axes.axvspan(rows[0].rank.value, limit, color=FAINT, alpha=0.2, lw=0)
        how += (
            "; grey: within Nemenyi's critical difference of the best"
            if limit <= len(rows)
            else f"; Nemenyi's critical difference, {overall.tests.critical_difference:.2f}, is "
            "more than the axis has left"
        )
    explain(figure, how)
    return Plot("ranks", f"Average rank over the tasks: {few(said)}.", figure)
