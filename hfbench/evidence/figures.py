"""What all figures share: their style, their size, their legends, and how they are written."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.optimize import isotonic_regression

from hfbench.evidence.families import Family, families_of, family_of
from hfbench.evidence.model_runs import ModelRuns
from hfbench.metrics.registry import Metric
from hfbench.system.files import atomic, make_folder

INK = "#303030"
"""Text, axes and all that is no model; a page may put its own colour in its place."""
FAINT = "#808080"
"""Lines that guide the eye, and what is not shown to be there: 3.9 on white."""
ACCENT = "#0067a7"
"""What is no model and stands out."""
WIDTH = 4.8
"""Inches; narrow, so that letters stay readable on a phone."""
WIDE = 9.0
"""Inches, as wide as the report's page."""
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))
_GLYPHS = {
    "o": "●", "s": "■", "^": "▲", "D": "◆", "v": "▼", "P": "✚", "X": "✖", "<": "◀", ">": "▶",
}  # fmt: skip
_MARKERS = tuple(_GLYPHS)
_NAME = 24
"""Letters of a name that fit a narrow figure."""
_LONG_NAME = 44
"""And a wide one."""
_LINE = 0.165
"""Inches from a line of small letters to the next."""
_LETTERS = 17
"""Small letters to an inch."""
DRAWN = 30
"""Models that a figure has room for: the best; the tables have them all."""
_SAID = 6
"""Models that a description names; the table has them all."""

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


@dataclass(frozen=True)
class Style:
    """How a model is drawn, the same in all figures: the colour is its family's."""

    family: Family
    dashes: Any
    marker: str

    @property
    def color(self) -> str:
        """The family's."""
        return self.family.color


def styles(models: Sequence[ModelRuns]) -> list[Style]:
    """A style for each model; within a family dashes and marks are another for each."""
    seen: dict[Family, int] = {}
    found = []
    for model in models:
        family = family_of(model)
        number = seen.get(family, 0)
        seen[family] = number + 1
        found.append(
            Style(family, _DASHES[number % len(_DASHES)], _MARKERS[number % len(_MARKERS)])
        )
    return found


def write_figures(plots: Sequence[Plot], folder: Path) -> list[Path]:
    """Write each figure as PNG (200 dots an inch) and SVG; the same bytes each time."""
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
    salt = f"{plot.name} wide" if plot.figure.get_figwidth() == WIDE else plot.name
    with mpl.rc_context({**STYLE, "svg.hashsalt": salt}):
        is_svg = str(path).endswith(".svg") or options.get("format") == "svg"
        metadata = {"Date": None, "Creator": None} if is_svg else {"Software": None}
        plot.figure.savefig(path, dpi=200, metadata=metadata, **options)


def is_wide(width: float) -> bool:
    """Whether a figure has the width of a page, not of a phone."""
    return width > WIDTH


def scale_of(metric: Metric) -> int:
    """By what its values are multiplied."""
    return 100 if metric.is_percentage else 1


def axis_title(metric: Metric) -> str:
    """The name of an axis: which way is better is said where it is down."""
    return metric.title if metric.higher_is_better else f"{metric.title} (lower is better)"


def capital(text: str) -> str:
    """With a capital letter at its beginning."""
    return f"{text[:1].upper()}{text[1:]}"


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """With one pair of axes."""
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots()


def rows_of_dots(width: float, number: int, row: float) -> tuple[Figure, Axes]:
    """Axes with a line of ``row`` inches for each of so many names, the first one at the top."""
    figure, axes = new_figure(width, row * number + 1.1)
    axes.set_ylim(number - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return figure, axes


def height_for(models: Sequence[ModelRuns], width: float) -> float:
    """Of a figure in which the name of each model has a line."""
    return max(3.8 if is_wide(width) else 3.3, _LINE * len(models) + 1.3)


def panels(width: float, number: int, *, square: bool = False) -> tuple[Figure, list[Axes]]:
    """So many small axes with the same scales, three or six in a row."""
    across = min(6 if is_wide(width) else 3, number)
    down = -(-number // across)
    side = width / across
    height = min(side, 3.0) if square else min(max(1.1 * side, 1.75), 3.0)
    figure = Figure(figsize=(width, height * down + 0.5))
    grid = list(figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).flat)
    for axes in grid[number:]:
        axes.set_visible(False)
    for axes in grid[max(number - across, 0) : number]:  # also where nothing stands below
        axes.tick_params(labelbottom=True)
    return figure, grid[:number]


def short(name: str, width: float = WIDTH) -> str:
    """``name`` as it fits a figure; in words it stands in full."""
    return cut(name, _LONG_NAME if is_wide(width) else _NAME)


def cut(text: str, letters: int) -> str:
    """The beginning of a text that is longer."""
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def few(said: Sequence[str]) -> str:
    """What is said of each model; of many, of the first ones."""
    if len(said) <= _SAID + 1:
        return "; ".join(said)
    return f"{'; '.join(said[:_SAID])}; {len(said) - _SAID} others: see the tables"


def among(models: Sequence[ModelRuns]) -> str:
    """What an explanation adds where there are more models than are drawn."""
    return f"; the best {DRAWN} of {len(models)} models" if len(models) > DRAWN else ""


def explain(figure: Figure, text: str) -> None:
    """A line or two at the top that say how to read the figure."""
    text = textwrap.fill(text, int(_LETTERS * figure.get_figwidth()))
    figure.suptitle(text, x=0.01, ha="left", fontsize=8)


def add_legend(figure: Figure, models: Sequence[ModelRuns]) -> None:
    """Below: what the colours mean, where there are several."""
    families = families_of(models)
    if len(families) < 2:
        return
    marks = [
        Line2D([], [], marker="o", ls="", ms=5, color=family.color, label=family.title)
        for family in families
    ]
    figure.legend(
        handles=marks, loc="outside lower left", fontsize=8, frameon=False, handletextpad=0.2,
        ncols=len(marks) if is_wide(figure.get_figwidth()) else 2,
    )  # fmt: skip


def label_ends(
    figure: Figure,
    axes: Axes,
    ends: Sequence[float],
    drawn: Sequence[tuple[ModelRuns, Style]],
) -> None:
    """At the right the name of each model, as high as its end, with its mark; none over another.

    To be called when the figure has its explanation and its legend, which take from the height.
    """
    if not ends:
        return
    figure.draw_without_rendering()  # for the height of the axes
    height = axes.get_window_extent().height / figure.dpi
    low, high = axes.get_ylim()
    places = spread(ends, (high - low) * _LINE / height, low, high)
    for (model, style), place in zip(drawn, places, strict=True):
        name = short(model.name, figure.get_figwidth())
        for text, offset, ink in ((_GLYPHS[style.marker], 5, style.color), (name, 16, INK)):
            axes.annotate(
                text, (1, place), xycoords=("axes fraction", "data"), xytext=(offset, 0),
                textcoords="offset points", va="center", color=ink, fontsize=8,
            )  # fmt: skip


def spread(values: Sequence[float], line: float, low: float, high: float) -> list[float]:
    """Places near ``values``, at least ``line`` from each other and from ``low`` to ``high``.

    Those with the least squares of distances: once each is moved by the lines below it, they only
    have to be in order, which is isotonic regression.
    """
    order = np.argsort(values, kind="stable")
    below = line * np.arange(len(values))
    in_order = isotonic_regression(np.array(values)[order] - below).x
    places = np.empty(len(values))
    places[order] = np.clip(in_order, low, max(high - below[-1], low)) + below
    return places.tolist()
