"""Figures of what changes while models learn: by epoch, by number of examples, by trial."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from hfbench.evidence.compared import ComparedModels
from hfbench.evidence.figures import (
    DRAWN,
    Plot,
    Style,
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
    scale_of,
    short,
    styles,
)
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.tuning import Tuning, cost_of_a_trial
from hfbench.evidence.words import value_text
from hfbench.metrics.built_in import LOSSES
from hfbench.metrics.registry import Metric

_BANDS = 5
"""Curves whose bands can be told apart; more have none."""
_SPREAD = 0.3
"""Of the distance of two sizes, over how much the points of one are spread."""


def measure_of_curves(comparison: ComparedModels) -> Metric | None:
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


def training(
    comparison: ComparedModels, name: str, metric: Metric | None, width: float
) -> Plot | None:
    """All models in one, or a panel for each where two have the same colour.

    None where no model was evaluated twice: of one point there is no curve.

    Args:
        comparison: whose models to draw.
        name: of the values in curves.
        metric: which they are of; None: the loss.
        width: in inches.
    """
    is_nats = LOSSES[comparison.finished[0].kind] == "nll"
    title = metric.title if metric else f"loss ({'nats' if is_nats else 'squared error'})"
    scale = scale_of(metric) if metric else 1
    shown, ends = [], []
    for model, style in zip(comparison.finished, styles(comparison.models), strict=False):
        epochs, values = _curve(model, "validation", name)
        if len(epochs) > 1:
            shown.append((model, style))
            ends.append(scale * float(values.mean(0)[-1]))
    if not shown:
        return None
    drawn = shown[:DRAWN]
    models = [model for model, _ in drawn]
    how = "solid: validation, mean and range of the seeds; dashed: training"
    how += among([model for model, _ in shown])
    if len({style.family for _, style in drawn}) < len(drawn):
        figure, grid = panels(width, len(drawn))
        for axes, (model, style) in zip(grid, drawn, strict=True):
            _draw_training(axes, model, style, name, scale)
            axes.set_title(short(model.name), fontsize=8)
        explain(figure, f"{title} by epoch; {how}")
        add_legend(figure, models)
    else:
        figure, axes = new_figure(width, height_for(models, width))
        for model, style in drawn:
            _draw_training(axes, model, style, name, scale)
        axes.set_xlabel("epoch")
        axes.set_title(title)
        explain(figure, how)
        add_legend(figure, models)
        label_ends(figure, axes, ends[:DRAWN], drawn)
    said = [
        f"{model.name} ends at {f'{end:.1f} %' if scale == 100 else f'{end:.3f}'}"
        for (model, _), end in zip(shown, ends, strict=True)
    ]
    what = "loss" if metric is None else "accuracy" if name == "accuracy" else "measure"
    alt = f"Validation {metric.label if metric else 'loss'} by epoch, mean over seeds: {few(said)}."
    return Plot(f"training_{what}", alt, figure)


def _draw_training(axes: Axes, model: ModelRuns, style: Style, name: str, scale: float) -> None:
    epochs, values = _curve(model, "train", name)
    if len(epochs):
        axes.plot(epochs, scale * values.mean(0), color=style.color, lw=0.8, ls=(0, (4, 1.5)))
    epochs, values = _curve(model, "validation", name)
    axes.plot(epochs, scale * values.mean(0), color=style.color, lw=1.8)
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


def learning_curve(comparison: ComparedModels, width: float) -> Plot:
    """The measure against the number of training examples."""
    figure, axes = new_figure(width, height_for(comparison.models[:DRAWN], width))
    metric = comparison.metric
    scale, sizes = scale_of(metric), list(comparison.curve)
    shown: list[tuple[ModelRuns, Style]] = []
    ends, said = [], []
    shifts = _shifts(sizes, min(len(comparison.models), DRAWN))
    for model, style in zip(comparison.models, styles(comparison.models), strict=True):
        found = [
            (size, runs)
            for size, standing in comparison.curve.items()
            for runs in standing.finished
            if runs.name == model.name
        ]
        if not found:
            continue
        mean = [scale * runs.value for _, runs in found]
        if len(shown) < DRAWN:
            at = shifts[len(shown)] * np.array([size for size, _ in found])
            bounds = scale * np.array([runs.interval for _, runs in found]).T
            axes.plot(at, mean, style.marker, ls=style.dashes, color=style.color, ms=5, lw=1.6)
            axes.vlines(at, *bounds, color=style.color, lw=1.2)
        shown.append((model, style))
        ends.append(mean[-1])
        ends_of = [value_text(metric, value / scale) for value in (mean[0], mean[-1])]
        said.append(f"{model.name} from {ends_of[0]} to {ends_of[1]}")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("training examples (log scale)")
    axes.set_title(axis_title(metric))
    models = [model for model, _ in shown]
    what = "upright: 95 % intervals over examples and seeds; models stand side by side"
    explain(figure, what + among(models))
    add_legend(figure, models[:DRAWN])
    label_ends(figure, axes, ends[:DRAWN], shown[:DRAWN])
    alt = (
        f"{capital(metric.label)} from {sizes[0]:,} to {sizes[-1]:,} training examples: "
        f"{few(said)}."
    )
    return Plot("learning_curve", alt, figure)


def _shifts(sizes: Sequence[int], models: int) -> np.ndarray:
    """By what the sizes are multiplied for each model, so that no point covers another."""
    nearest = min(np.diff(np.log(sizes)))
    return np.exp(_SPREAD * nearest * (np.linspace(-0.5, 0.5, models) if models > 1 else [0.0]))


def tuning_curve(comparison: ComparedModels, tuning: Tuning, width: float) -> Plot | None:
    """Expected validation value against the number of trials (or what they cost).

    None where no model had two: of one point there is no curve.
    """
    if not any(len(search.curve) > 1 for search in tuning.searches.values()):
        return None
    figure, axes = new_figure(width, height_for(comparison.models[:DRAWN], width))
    metric, budget = comparison.metric, tuning.tune.budget
    shown: list[tuple[ModelRuns, Style]] = []
    scale, ends, said = scale_of(metric), [], []
    unit = next((key for key in ("train_seconds", "flops") if key in budget), "trials")
    has_bands = len(tuning.searches) <= _BANDS
    for model, style in zip(comparison.models, styles(comparison.models), strict=True):
        search = tuning.searches.get(model.name)
        if search is None:
            continue
        at = np.arange(1, len(search.curve) + 1) * cost_of_a_trial(search, unit)
        if len(shown) < DRAWN:
            low, high = search.band
            values = scale * search.curve
            axes.plot(at, values, style.marker, ls=style.dashes, color=style.color, ms=4)
            if has_bands:
                axes.fill_between(
                    at, scale * low, scale * high, color=style.color, alpha=0.12, lw=0
                )
        shown.append((model, style))
        ends.append(float(scale * search.curve[-1]))
        first, last = (value_text(metric, float(search.curve[i])) for i in (0, -1))
        said.append(f"{model.name} from {first} to {last}")
    words = {"trials": "trials", "train_seconds": "s of training", "flops": "FLOPs of training"}
    axes.set_xlabel(words[unit])
    axes.set_title(f"validation {axis_title(metric)}, best so far")
    in_order = tuning.tune.sampler == "tpe"
    what = "the best of the first trials" if in_order else "expected best of so many of the trials"
    if has_bands:
        what += "; bands: 95 % over validation examples"
        what += " and trials" if tuning.tune.sampler == "random" else ""
    models = [model for model, _ in shown]
    explain(figure, what + among(models))
    add_legend(figure, models[:DRAWN])
    label_ends(figure, axes, ends[:DRAWN], shown[:DRAWN])
    alt = f"Validation {metric.label} of the best trial against {words[unit]}: {few(said)}."
    return Plot("tuning", alt, figure)
