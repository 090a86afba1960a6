"""The comparison as figures: values, differences, reliability, costs; curves are in curve_plots."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from hfbench.evidence import curve_plots
from hfbench.evidence.compared import ComparedModels
from hfbench.evidence.figures import (
    DRAWN,
    FAINT,
    INK,
    STYLE,
    WIDTH,
    Plot,
    add_legend,
    among,
    axis_title,
    capital,
    explain,
    few,
    height_for,
    label_ends,
    new_figure,
    panels,
    rows_of_dots,
    scale_of,
    short,
    styles,
    write_figures,
)
from hfbench.evidence.use import measured
from hfbench.evidence.words import enumerate_names, gap_and_interval, value_text
from hfbench.metrics.calibration import Reliability, reliability
from hfbench.metrics.registry import Metric

PAIRS = 30
"""Pairs of models that fit a figure, and a page."""


def draw_plots(comparison: ComparedModels, width: float = WIDTH) -> list[Plot]:
    """All figures that the records have data for; of a single point there is none.

    Args:
        comparison: what to draw.
        width: of the figures, in inches: `figures.WIDTH` or `figures.WIDE`.
    """
    if not comparison.finished:
        return []
    plots: list[Plot | None] = []
    with mpl.rc_context(STYLE):
        if len(comparison.finished) > 1:
            plots.append(_measure(comparison, width))
        if len(comparison.pairs) > 1:
            plots.append(_differences(comparison, width))
        plots.append(curve_plots.training(comparison, "loss", None, width))
        if metric := curve_plots.measure_of_curves(comparison):
            plots.append(curve_plots.training(comparison, metric.name, metric, width))
        if comparison.curve:
            plots.append(curve_plots.learning_curve(comparison, width))
        if comparison.tuning:
            plots.append(curve_plots.tuning_curve(comparison, comparison.tuning, width))
        if comparison.finished[0].kind == "single_label_classification":
            plots.append(_reliability(comparison, width))
        plots += [_cost(comparison, width), _use(comparison, width)]
    return [plot for plot in plots if plot]


def write_plots(comparison: ComparedModels, folder: Path) -> list[Path]:
    """Write each figure as PNG (200 dots an inch) and SVG; the same bytes each time."""
    return write_figures(draw_plots(comparison), folder)


def _measure(comparison: ComparedModels, width: float) -> Plot:
    models, metric = comparison.finished[:DRAWN], comparison.metric
    scale = scale_of(metric)
    figure, axes = rows_of_dots(width, len(models), 0.36)
    for row, (model, style) in enumerate(zip(models, styles(comparison.models), strict=False)):
        low, high = model.interval
        axes.plot([scale * low, scale * high], [row, row], color=style.color, lw=2)
        axes.plot(scale * model.value, row, "o", color=style.color, ms=6)
        axes.annotate(
            comparison.letters[model.name], (1.01, row), xycoords=("axes fraction", "data"),
            va="center",
        )  # fmt: skip
    names = [short(model.name, width) for model in models]
    lost = [f"\n{model.lost}" if model.lost else "" for model in models]
    axes.set_yticks(range(len(models)), [a + b for a, b in zip(names, lost, strict=True)])
    _mark_floor(axes, comparison)
    axes.set_xlabel(axis_title(metric))
    explain(
        figure,
        "95 % intervals; models that share a letter cannot be distinguished"
        + among(comparison.finished),
    )
    add_legend(figure, models)
    said = [
        f"{model.name} {value_text(metric, model.value)} ({_ends(metric, *model.interval)})"
        + (f", {model.lost}" if model.lost else "")
        for model in comparison.finished
    ]
    alt = f"{capital(metric.label)} with its 95 % interval: {few(said)}."
    return Plot("accuracy" if metric.name == "accuracy" else "measure", alt, figure)


def _ends(metric: Metric, low: float, high: float) -> str:
    if metric.is_percentage:
        return f"{100 * low:.1f} to {100 * high:.1f}"
    return f"{metric.text(low)} to {metric.text(high)}"


def _mark_floor(axes: Axes, comparison: ComparedModels) -> None:
    """A line at the value of the commonest answer, which every model should pass."""
    floor = comparison.floors[comparison.finished[0].name]
    if floor.value is None:
        return
    share = scale_of(comparison.metric) * floor.value
    axes.axvline(share, color=FAINT, lw=1, zorder=0)
    axes.annotate(
        f'always "{short(floor.label)}"', (share, 1), xycoords=("data", "axes fraction"),
        ha="center", va="bottom", fontsize=8, color=INK,
    )  # fmt: skip


def _differences(comparison: ComparedModels, width: float) -> Plot:
    pairs, of = comparison.pairs, ""
    if len(pairs) > PAIRS:
        best = comparison.finished[0]
        pairs = [pair for pair in pairs if pair.first is best]
        of = "; the best against each other model"
    told = [pair for pair in pairs if pair.differ]
    alt = (
        f"Paired differences of {comparison.metric.label}{of}: {len(told)} of {len(pairs)} are "
        "distinguished"
    )
    if len(pairs) > PAIRS:
        of += f", of which the first {PAIRS} of {len(pairs)} are drawn"
        pairs = pairs[:PAIRS]
    metric = comparison.metric
    scale = scale_of(metric)
    figure, axes = rows_of_dots(width, len(pairs), 0.25)
    for row, pair in enumerate(pairs):
        found = pair.difference
        colour = INK if pair.differ else FAINT
        if not found.withheld:
            ends = [scale * found.family_low, scale * found.family_high]
            axes.plot(ends, [row, row], color=colour, lw=2)
        face = colour if pair.differ else "none"
        axes.plot(scale * found.mean, row, "o", color=colour, mfc=face, ms=5)
    axes.axvline(0, color=FAINT, lw=0.8, zorder=0)
    names = [[short(one.name, width) for one in (pair.first, pair.second)] for pair in pairs]
    axes.set_yticks(range(len(pairs)), [" minus ".join(both) for both in names], fontsize=8)
    what = "difference in points" if metric.name == "accuracy" else f"difference of {metric.title}"
    axes.set_xlabel(what if metric.higher_is_better else f"{what}, in favour of the first")
    without = "; one run of each: none" if any(p.difference.withheld for p in pairs) else ""
    explain(
        figure,
        f"95 % intervals for all pairs together (Holm){without}; filled: distinguished{of}",
    )
    if told:
        largest = max(told, key=lambda pair: pair.difference.mean)
        found = largest.difference
        alt += (
            f"; the largest is {largest.first.name} over {largest.second.name} by "
            f"{gap_and_interval(metric, found.mean, found.family_low, found.family_high)}"
        )
    return Plot("differences", f"{alt}.", figure)


def _reliability(comparison: ComparedModels, width: float) -> Plot | None:
    """A panel for each model whose probabilities vary: of a control there is one dot."""
    bins_of: dict[str, Reliability] = {}
    for model in comparison.finished:
        if not model.gives_labels:
            logits = model.logits.reshape(-1, model.logits.shape[-1])
            bins = reliability(logits, np.tile(model.labels, len(model.finished)))
            if (bins.examples > 0).sum() > 1:
                bins_of[model.name] = bins
    shown = [
        (model, style)
        for model, style in zip(comparison.finished, styles(comparison.models), strict=False)
        if model.name in bins_of
    ]
    if not shown:
        return None
    drawn = shown[:DRAWN]
    figure, grid = panels(width, len(drawn), square=True)
    for axes, (model, style) in zip(grid, drawn, strict=True):
        bins = bins_of[model.name]
        axes.plot([0, 1], [0, 1], color=FAINT, lw=0.8)
        share = bins.examples / bins.examples.sum()
        axes.scatter(
            bins.confidence,
            bins.accuracy,
            s=8 + 120 * share,
            color=style.color,
            lw=0,
            clip_on=False,
        )
        axes.set_title(short(model.name), fontsize=8)
        axes.set_aspect("equal")
    models = [model for model, _ in shown]
    explain(
        figure,
        "up: share that is right, to the right: probability of the predicted class, by tenth; "
        f"area: share of the examples, over all runs{among(models)}",
    )
    add_legend(figure, models[:DRAWN])
    gap, name = max((_mean_gap(bins), name) for name, bins in bins_of.items())
    alt = (
        "Reliability, over all runs, by tenth of the predicted class's probability; the area of a "
        f"dot is its share of the examples. {name} is furthest from the diagonal, by {gap:.2f} on "
        "average."
    )
    return Plot("reliability", alt, figure)


def _mean_gap(bins: Reliability) -> float:
    """Between probability and share that is right, over all examples."""
    share = bins.examples / bins.examples.sum()
    return float(np.nansum(share * np.abs(bins.confidence - bins.accuracy)))


def _cost(comparison: ComparedModels, width: float) -> Plot | None:
    seconds = {model.name: model.mean_seconds for model in comparison.finished}
    known = {name: value for name, value in seconds.items() if value is not None}
    return _against_cost("cost", known, "seconds of one training", "faster", comparison, width)


def _use(comparison: ComparedModels, width: float) -> Plot | None:
    latencies = {name: 1000 * use.latency_p50 for name, use in measured(comparison).items()}
    return _against_cost("use", latencies, "ms a text", "cheaper to ask", comparison, width)


def _against_cost(
    name: str,
    cost_of: Mapping[str, float],
    axis: str,
    better: str,
    comparison: ComparedModels,
    width: float,
) -> Plot | None:
    """The measure against a cost, of which less is better, with the Pareto front."""
    of = axis.replace("one ", "")
    shown = [
        (model, style)
        for model, style in zip(comparison.finished, styles(comparison.models), strict=False)
        if model.name in cost_of
    ]
    if len(shown) < 2:
        return None
    models = [model for model, _ in shown]
    costs = [max(cost_of[model.name], 1e-3) for model in models]  # for the log scale
    metric = comparison.metric
    shares = [scale_of(metric) * model.value for model in models]
    front = pareto_front(costs, shares if metric.higher_is_better else [-x for x in shares])
    names = range(len(shown)) if len(shown) <= DRAWN else sorted(front)[:DRAWN]
    figure, axes = new_figure(width, height_for([models[i] for i in names], width))
    axes.step(
        [costs[i] for i in front], [shares[i] for i in front], where="post", color=FAINT, lw=1.2
    )
    for x, y, (_, style) in zip(costs, shares, shown, strict=True):
        axes.plot(x, y, style.marker, color=style.color, ms=7)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(f"{axis} (log scale)")
    axes.set_title(axis_title(metric))
    only = " (only these have their name)" if len(names) < len(shown) else ""
    explain(figure, f"line: the Pareto front; no other model is both {better} and better{only}")
    add_legend(figure, models)
    label_ends(figure, axes, [shares[i] for i in names], [shown[i] for i in names])
    on_front = enumerate_names([models[i].name for i in front])
    alt = f"{capital(metric.label)} against {of}. On the Pareto front: {on_front}."
    return Plot(name, alt, figure)


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Numbers of those that no other beats in both, in the order of their cost."""
    front: list[int] = []
    for number in sorted(range(len(costs)), key=lambda i: (costs[i], -values[i])):
        if not front or values[number] > values[front[-1]]:
            front.append(number)
    return front
