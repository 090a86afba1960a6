"""The comparison as figures, and what all figures share."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from scipy.optimize import isotonic_regression

from hfbench.evidence.compared import ComparedModels, ModelRuns
from hfbench.evidence.tuning import Tuning, cost_of_a_trial
from hfbench.evidence.use import measured
from hfbench.evidence.words import enumerate_names, gap_and_interval, value_text
from hfbench.metrics.built_in import LOSSES
from hfbench.metrics.calibration import reliability
from hfbench.metrics.registry import Metric
from hfbench.system.files import atomic, make_folder

# Okabe and Ito's palette, which people with any kind of colour vision can tell apart; its yellow
# is left out, too pale for lines on white.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
INK = "#303030"
"""Text, axes and all that is no model; a page may put its own colour in its place."""
FAINT = "#a0a0a0"
"""Lines that only guide the eye."""
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))
_MARKERS = ("o", "s", "^")
_GLYPHS = {"o": "●", "s": "■", "^": "▲"}
WIDTH = 4.8
"""Inches; narrow, so that letters stay readable on a phone."""
PAIRS = 30
"""Pairs of models that fit a figure, and a page."""
_NAME = 24
"""Letters of a name that fit a figure."""
_LINE = 0.165
"""Inches from a line of small letters to the next."""
_AROUND = 0.95
"""Inches above and below the axes."""
_LETTERS = 17
"""Small letters to an inch."""

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.parse_math": False,  # a label may hold dollar signs
    "svg.fonttype": "none",  # letters stay letters, for readers and for search
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True)
class Plot:
    """One figure and what it shows, in words."""

    name: str
    """File name without its ending."""
    alt: str
    """The finding, for those who do not see the figure."""
    figure: Figure


def draw_plots(comparison: ComparedModels) -> list[Plot]:
    """All figures that the records have data for; none if no run finished."""
    if not comparison.finished:
        return []
    with mpl.rc_context(STYLE):
        plots = [_measure(comparison)]
        if comparison.pairs:
            plots.append(_differences(comparison))
        if any(model.trained for model in comparison.finished):
            plots += [_training(comparison, "loss", None)]
            if metric := _measure_of_curves(comparison):
                plots += [_training(comparison, metric.name, metric)]
        if comparison.curve:
            plots.append(_learning_curve(comparison))
        if comparison.tuning and comparison.tuning.searches:
            plots.append(_tuning(comparison, comparison.tuning))
        is_single = comparison.finished[0].kind == "single_label_classification"
        if is_single and not all(model.gives_labels for model in comparison.finished):
            plots.append(_reliability(comparison))
        if any(model.mean_seconds is not None for model in comparison.finished):
            plots.append(_cost(comparison))
        if len(measured(comparison)) > 1:
            plots.append(_use(comparison))
    return plots


def write_plots(comparison: ComparedModels, folder: Path) -> list[Path]:
    """Write each figure as PNG (200 dots an inch) and SVG; the same bytes each time."""
    return write_figures(draw_plots(comparison), folder)


def write_figures(plots: Sequence[Plot], folder: Path) -> list[Path]:
    make_folder(folder)
    paths = []
    for plot in plots:
        for ending in ("png", "svg"):
            path = folder / f"{plot.name}.{ending}"
            with atomic(path) as temporary:
                save_figure(plot, temporary, format=ending, facecolor="white")
            paths.append(path)
    return paths


def save_figure(plot: Plot, path: Any, **options: Any) -> None:
    """As matplotlib's ``savefig``, without the date and with ids that do not change."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": plot.name}):
        is_svg = str(path).endswith(".svg") or options.get("format") == "svg"
        metadata = {"Date": None, "Creator": None} if is_svg else {"Software": None}
        plot.figure.savefig(path, dpi=200, metadata=metadata, **options)


def _measure(comparison: ComparedModels) -> Plot:
    models, metric = comparison.finished, comparison.metric
    scale = _scale(metric)
    figure, axes = _new(0.34 * len(models) + 0.9)
    rows = np.arange(len(models))[::-1]
    for row, model, style in zip(rows, models, _styles(comparison), strict=False):
        low, high = model.interval
        axes.plot([scale * low, scale * high], [row, row], color=style.color, lw=2)
        axes.plot(scale * model.value, row, "o", color=style.color, ms=6)
        axes.annotate(
            comparison.letters[model.name], (1.01, row), xycoords=("axes fraction", "data"),
            va="center",
        )  # fmt: skip
    axes.set_yticks(rows, [_with_runs(model) for model in models])
    axes.set_ylim(-0.6, len(models) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _mark_floor(axes, comparison)
    axes.set_xlabel(_axis(metric))
    is_lost = any(model.collapsed.any() or model.failed for model in models)
    brackets = "; in brackets: runs that did not collapse or fail" if is_lost else ""
    explain(figure, f"95 % intervals; models that share a letter cannot be told apart{brackets}")
    said = [
        f"{m.name} {value_text(metric, m.value)} ({_ends(metric, *m.interval)})"
        + (f" of {m.runs} runs" if " of " in m.runs else "")
        for m in models
    ]
    alt = f"{_capital(metric.label)} with its 95 % interval: {'; '.join(said)}."
    return Plot("accuracy" if metric.name == "accuracy" else "measure", alt, figure)


def _scale(metric: Metric) -> int:
    return 100 if metric.is_percentage else 1


def _axis(metric: Metric) -> str:
    """The name of an axis: which way is better is said where it is down."""
    return metric.title if metric.higher_is_better else f"{metric.title} (lower is better)"


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _ends(metric: Metric, low: float, high: float) -> str:
    if metric.is_percentage:
        return f"{100 * low:.1f} to {100 * high:.1f}"
    return f"{metric.text(low)} to {metric.text(high)}"


def _mark_floor(axes: Axes, comparison: ComparedModels) -> None:
    """A line at the value of the commonest answer, which every model should pass."""
    floor = comparison.floors[comparison.finished[0].name]
    if floor.value is None:
        return
    share = _scale(comparison.metric) * floor.value
    axes.axvline(share, color=FAINT, lw=1, zorder=0)
    axes.annotate(
        f'always "{_short(floor.label)}"', (share, 1), xycoords=("data", "axes fraction"),
        ha="center", va="bottom", fontsize=8, color=INK,
    )  # fmt: skip


def _differences(comparison: ComparedModels) -> Plot:
    pairs, among = comparison.pairs, ""
    if len(pairs) > PAIRS:
        pairs = [pair for pair in pairs if pair.first is comparison.finished[0]]
        among = "; the best against each other model"
    metric = comparison.metric
    scale = _scale(metric)
    figure, axes = _new(0.24 * len(pairs) + 0.9)
    rows = np.arange(len(pairs))[::-1]
    for row, pair in zip(rows, pairs, strict=True):
        found = pair.difference
        colour = PALETTE[0] if pair.differ else FAINT
        if not found.withheld:
            ends = [scale * found.family_low, scale * found.family_high]
            axes.plot(ends, [row, row], color=colour, lw=2)
        face = colour if pair.differ else "none"
        axes.plot(scale * found.mean, row, "o", color=colour, mfc=face, ms=5)
    axes.axvline(0, color=INK, lw=0.8)
    axes.set_yticks(
        rows,
        [f"{_short(pair.first.name)} minus {_short(pair.second.name)}" for pair in pairs],
        fontsize=8,
    )
    axes.set_ylim(-0.6, len(pairs) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    what = "difference in points" if metric.name == "accuracy" else f"difference of {metric.title}"
    axes.set_xlabel(what if metric.higher_is_better else f"{what}, in favour of the first")
    without = "; one run of each: none" if any(p.difference.withheld for p in pairs) else ""
    explain(
        figure,
        f"95 % intervals for all pairs together (Holm){without}; filled: told apart{among}",
    )
    told = [pair for pair in pairs if pair.differ]
    alt = f"Paired differences of {metric.label}{among}: {len(told)} of {len(pairs)} are told apart"
    if told:
        largest = max(told, key=lambda pair: pair.difference.mean)
        found = largest.difference
        alt += (
            f"; the largest is {largest.first.name} over {largest.second.name} by "
            f"{gap_and_interval(metric, found.mean, found.family_low, found.family_high)}"
        )
    return Plot("differences", f"{alt}.", figure)


def _measure_of_curves(comparison: ComparedModels) -> Metric | None:
    """The first that is in the curves of validation: the one of the ranking, if it can be."""
    points = [
        point
        for model in comparison.finished
        for record in model.trained
        for point in record.curves.get("validation", [])
    ]
    in_all = [m for m in (comparison.metric, *comparison.columns) if _are_in(m.name, points)]
    return in_all[0] if in_all else None


def _are_in(name: str, points: Sequence[dict[str, float]]) -> bool:
    return any(name in point for point in points)


def _training(comparison: ComparedModels, name: str, metric: Metric | None) -> Plot:
    """All models in one, or a panel for each where there are more than colours.

    Args:
        comparison: whose models to draw.
        name: of the values in curves.
        metric: which they are of; None: the loss.
    """
    is_nats = LOSSES[comparison.finished[0].kind] == "nll"
    title = metric.title if metric else f"loss ({'nats' if is_nats else 'squared error'})"
    scale = _scale(metric) if metric else 1
    drawn, ends = [], []
    for model, style in zip(comparison.finished, _styles(comparison), strict=False):
        epochs, values = _curve(model, "validation", name)
        if len(epochs):
            drawn.append((model, style))
            ends.append(scale * float(values.mean(0)[-1]))
    if len(drawn) > len(PALETTE):
        figure, panels = _panels(len(drawn))
        for axes, (model, style) in zip(panels, drawn, strict=True):
            _draw_training(axes, model, style, name, scale)
            axes.set_title(_short(model.name), fontsize=8)
        figure.supxlabel("epoch", fontsize=9)
        figure.supylabel(title, fontsize=9)
    else:
        figure, axes = _new(3.2)
        for model, style in drawn:
            _draw_training(axes, model, style, name, scale)
        _label_ends(figure, axes, ends, drawn)
        axes.set_xlabel("epoch")
        axes.set_title(title)
    explain(figure, "solid: validation, mean and range of the seeds; dashed: training")
    said = [
        f"{model.name} ends at {f'{end:.1f} %' if scale == 100 else f'{end:.3f}'}"
        for (model, _), end in zip(drawn, ends, strict=True)
    ]
    what = "loss" if metric is None else "accuracy" if name == "accuracy" else "measure"
    alt = (
        f"Validation {metric.label if metric else 'loss'} by epoch, mean over seeds: "
        f"{'; '.join(said)}."
    )
    return Plot(f"training_{what}", alt, figure)


def _draw_training(axes: Axes, model: ModelRuns, style: "_Style", name: str, scale: float) -> None:
    epochs, values = _curve(model, "train", name)
    if len(epochs):
        axes.plot(
            epochs, scale * values.mean(0), color=style.color, lw=0.9, alpha=0.55, ls=(0, (4, 1.5))
        )
    epochs, values = _curve(model, "validation", name)
    marker = "o" if len(epochs) == 1 else None  # of one point there is no line
    axes.plot(epochs, scale * values.mean(0), color=style.color, lw=1.8, marker=marker, ms=4)
    low, high = scale * values.min(0), scale * values.max(0)
    axes.fill_between(epochs, low, high, color=style.color, alpha=0.15, lw=0)


def _curve(model: ModelRuns, part: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs (points,) and values (runs, points), at the points that all runs have."""
    curves = [
        {point["epoch"]: point[metric] for point in record.curves.get(part, []) if metric in point}
        for record in model.trained
    ]
    if not curves:
        return np.empty(0), np.empty((0, 0))
    epochs = sorted(set.intersection(*(set(curve) for curve in curves)))
    return np.array(epochs), np.array([[curve[epoch] for epoch in epochs] for curve in curves])


def _learning_curve(comparison: ComparedModels) -> Plot:
    figure, axes = _new(_height(comparison))
    metric = comparison.metric
    scale, sizes = _scale(metric), list(comparison.curve)
    ends, drawn, said = [], [], []
    for model, style in zip(comparison.models, _styles(comparison), strict=True):
        found = [
            (size, runs)
            for size, standing in comparison.curve.items()
            for runs in standing.finished
            if runs.name == model.name
        ]
        if not found:
            continue
        at = [size for size, _ in found]
        mean = [scale * runs.value for _, runs in found]
        low, high = zip(*(runs.interval for _, runs in found), strict=True)
        axes.plot(at, mean, style.marker, ls=style.dashes, color=style.color, ms=4, lw=1.6)
        axes.fill_between(
            at, scale * np.array(low), scale * np.array(high), color=style.color, alpha=0.12, lw=0
        )
        drawn.append((model, style))
        ends.append(mean[-1])
        ends_of = [value_text(metric, value / scale) for value in (mean[0], mean[-1])]
        said.append(f"{model.name} from {ends_of[0]} to {ends_of[1]}")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    _label_ends(figure, axes, ends, drawn)
    axes.set_xlabel("training examples (log scale)")
    axes.set_title(_axis(metric))
    explain(figure, "bands: 95 % intervals over examples and seeds")
    alt = (
        f"{_capital(metric.label)} from {sizes[0]:,} to {sizes[-1]:,} training examples: "
        f"{'; '.join(said)}."
    )
    return Plot("learning_curve", alt, figure)


def _tuning(comparison: ComparedModels, tuning: Tuning) -> Plot:
    """Expected validation value against the number of trials (or what they cost)."""
    figure, axes = _new(_height(comparison))
    metric, budget = comparison.metric, tuning.tune.budget
    scale, ends, drawn, said = _scale(metric), [], [], []
    unit = next((key for key in ("train_seconds", "flops") if key in budget), "trials")
    for model, style in zip(comparison.models, _styles(comparison), strict=True):
        search = tuning.searches.get(model.name)
        if search is None:
            continue
        at = np.arange(1, len(search.curve) + 1) * cost_of_a_trial(search, unit)
        low, high = search.band
        axes.plot(at, scale * search.curve, style.marker, ls=style.dashes, color=style.color, ms=3)
        axes.fill_between(at, scale * low, scale * high, color=style.color, alpha=0.12, lw=0)
        drawn.append((model, style))
        ends.append(float(scale * search.curve[-1]))
        first, last = (value_text(metric, float(search.curve[i])) for i in (0, -1))
        said.append(f"{model.name} from {first} to {last}")
    _label_ends(figure, axes, ends, drawn)
    words = {"trials": "trials", "train_seconds": "s of training", "flops": "FLOPs of training"}
    axes.set_xlabel(words[unit])
    axes.set_title(f"validation {_axis(metric)}, best so far")
    what = (
        "the best of the first trials; bands: 95 % over validation examples"
        if tuning.tune.sampler == "tpe"
        else "expected best of so many of the trials; bands: 95 % over validation examples"
        + (" and trials" if tuning.tune.sampler == "random" else "")
    )
    explain(figure, what)
    alt = f"Validation {metric.label} of the best trial against {words[unit]}: {'; '.join(said)}."
    return Plot("tuning", alt, figure)


def _reliability(comparison: ComparedModels) -> Plot:
    shown = [
        (model, style)
        for model, style in zip(comparison.finished, _styles(comparison), strict=False)
        if not model.gives_labels
    ]
    figure, panels = _panels(len(shown))
    worst = []
    for axes, (model, style) in zip(panels, shown, strict=False):
        logits = model.logits.reshape(-1, model.logits.shape[-1])
        bins = reliability(logits, np.tile(model.labels, len(model.finished)))
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
        axes.set_title(_short(model.name), fontsize=8)
        axes.set_aspect("equal")
        gap = float(np.nansum(share * np.abs(bins.confidence - bins.accuracy)))
        worst.append((gap, model.name))
    explain(figure, "by tenth of the probability; area: share of the examples, over all runs")
    figure.supxlabel("probability of the predicted class", fontsize=9)
    figure.supylabel("share that is right", fontsize=9)
    gap, name = max(worst)
    alt = (
        "Reliability, over all runs, by tenth of the predicted class's probability; the area of a "
        f"dot is its share of the examples. {name} is furthest from the diagonal, by {gap:.2f} on "
        "average."
    )
    return Plot("reliability", alt, figure)


def _cost(comparison: ComparedModels) -> Plot:
    seconds = {model.name: model.mean_seconds for model in comparison.finished}
    known = {name: value for name, value in seconds.items() if value is not None}
    return _against_cost("cost", known, "seconds of one training", "faster", comparison)


def _use(comparison: ComparedModels) -> Plot:
    latencies = {name: 1000 * use.latency_p50 for name, use in measured(comparison).items()}
    return _against_cost("use", latencies, "ms a text", "cheaper to ask", comparison)


def _against_cost(
    name: str,
    cost_of: Mapping[str, float],
    axis: str,
    better: str,
    comparison: ComparedModels,
) -> Plot:
    """The measure against a cost, of which less is better, with the Pareto front."""
    of = axis.replace("one ", "")
    shown = [
        (model, style)
        for model, style in zip(comparison.finished, _styles(comparison), strict=False)
        if model.name in cost_of
    ]
    models, styles = [model for model, _ in shown], [style for _, style in shown]
    figure, axes = _new(_height(comparison))
    costs = [max(cost_of[model.name], 1e-3) for model in models]  # for the log scale
    metric = comparison.metric
    shares = [_scale(metric) * model.value for model in models]
    front = pareto_front(costs, shares if metric.higher_is_better else [-x for x in shares])
    axes.step(
        [costs[i] for i in front], [shares[i] for i in front], where="post", color=FAINT, lw=1.2
    )
    for x, y, style in zip(costs, shares, styles, strict=True):
        axes.plot(x, y, style.marker, color=style.color, ms=6)
    axes.set_xscale("log")
    _label_ends(figure, axes, shares, list(zip(models, styles, strict=True)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel(f"{axis} (log scale)")
    axes.set_title(_axis(metric))
    explain(figure, f"line: the Pareto front; no other model is both {better} and better")
    names = enumerate_names([models[i].name for i in front])
    alt = f"{_capital(metric.label)} against {of}. On the Pareto front: {names}."
    return Plot(name, alt, figure)


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Numbers of those that no other beats in both, in the order of their cost."""
    front: list[int] = []
    for number in sorted(range(len(costs)), key=lambda i: (costs[i], -values[i])):
        if not front or values[number] > values[front[-1]]:
            front.append(number)
    return front


@dataclass(frozen=True)
class _Style:
    color: str
    dashes: object
    marker: str


def _styles(comparison: ComparedModels) -> list[_Style]:
    """A style for each model, the same in all figures."""
    count = len(PALETTE)
    return [
        _Style(PALETTE[i % count], _DASHES[i // count % 3], _MARKERS[i // count % 3])
        for i in range(len(comparison.models))
    ]


def _new(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots()


def _height(comparison: ComparedModels) -> float:
    """Of a figure in which the name of each model has a line."""
    return max(3.2, _LINE * len(comparison.models) + _AROUND)


def _panels(number: int) -> tuple[Figure, list[Axes]]:
    """So many small axes with the same scales, three in a row."""
    across = min(3, number)
    down = -(-number // across)
    figure = Figure(figsize=(WIDTH, 1.75 * down + 0.2))
    grid = list(figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).flat)
    for axes in grid[number:]:
        axes.set_visible(False)
    return figure, grid[:number]


def _short(name: str) -> str:
    """``name`` as it fits a figure; in words it stands in full."""
    return cut(name, _NAME)


def _with_runs(model: ModelRuns) -> str:
    """Its name and, where runs collapsed or failed, how many did not."""
    return f"{_short(model.name)} ({model.runs})" if " of " in model.runs else _short(model.name)


def cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def explain(figure: Figure, text: str) -> None:
    """A line or two at the top that say how to read the figure."""
    text = textwrap.fill(text, int(_LETTERS * figure.get_figwidth()))
    figure.suptitle(text, x=0.01, ha="left", fontsize=8)


def _label_ends(
    figure: Figure,
    axes: Axes,
    ends: Sequence[float],
    drawn: Sequence[tuple[ModelRuns, "_Style"]],
) -> None:
    """At the right the name of each model, as high as its end, with its mark; none over another."""
    if not ends:
        return
    places = _spread(figure, axes, ends)
    for (model, style), place in zip(drawn, places, strict=True):
        name = _short(model.name)
        for text, offset, ink in ((_GLYPHS[style.marker], 5, style.color), (name, 14, INK)):
            axes.annotate(
                text, (1, place), xycoords=("axes fraction", "data"), xytext=(offset, 0),
                textcoords="offset points", va="center", color=ink, fontsize=8,
            )  # fmt: skip


def _spread(figure: Figure, axes: Axes, values: Sequence[float]) -> list[float]:
    """Places beside ``values`` for labels of one line, none over another and all in the axes.

    Those with the least squares of distances: once each is moved by the lines below it, they only
    have to be in order, which is isotonic regression.
    """
    low, high = axes.get_ylim()
    line = (high - low) * _LINE / (figure.get_figheight() - _AROUND)
    order = np.argsort(values, kind="stable")
    below = line * np.arange(len(values))
    in_order = isotonic_regression(np.array(values)[order] - below).x
    places = np.empty(len(values))
    places[order] = np.clip(in_order, low, max(high - below[-1], low)) + below
    return places.tolist()
