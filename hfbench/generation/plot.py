"""What a language model wrote as a heat map of its probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hfbench.evidence.figures import INK, STYLE, WIDTH, Plot, cut, explain, write_figures
from hfbench.generation.table import token_text, visible

if TYPE_CHECKING:
    from hfbench.generation.generate import Generation

_STEPS = 10
"""Generated tokens that fit side by side."""


def write_generation_plot(generations: "Sequence[Generation]", folder: Path) -> list[Path]:
    """Write generation.png and generation.svg; the same bytes each time."""
    return write_figures([draw_generations(generations)], folder)


def draw_generations(generations: "Sequence[Generation]") -> Plot:
    """A heat map for each generation: a column a token, the most probable ones below the chosen."""
    blocks = [
        (generation, start)
        for generation in generations
        for start in range(0, len(generation.steps), _STEPS)
    ]
    top = len(generations[0].steps[0].top)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2 * WIDTH, (0.3 * top + 0.9) * len(blocks) + 0.3))
        grid = figure.subplots(len(blocks), squeeze=False)[:, 0]
        for axes, (generation, start) in zip(grid, blocks, strict=True):
            _heat_map(axes, generation, start)
        explain(figure, "next tokens, most probable first, above them the chosen; raw probability")
    said = [f"after {visible(g.prompt, ' ')!r} {visible(g.continuation)!r}" for g in generations]
    return Plot("generation", f"Probabilities of generated tokens: {'; '.join(said)}.", figure)


def _heat_map(axes: Axes, generation: "Generation", start: int) -> None:
    steps = generation.steps[start : start + _STEPS]
    shares = np.array([[found.probability for found in step.top] for step in steps]).T
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xlim(-0.5, _STEPS - 0.5)  # columns are equally wide in all blocks
    for x, step in enumerate(steps):
        for y, found in enumerate(step.top):
            axes.annotate(
                f"{cut(token_text(found), 12)}\n{found.probability:.3f}", (x, y), ha="center",
                va="center", fontsize=6, color="white" if found.probability > 0.6 else INK,
            )  # fmt: skip
    axes.set_xticks(range(len(steps)), [cut(token_text(step.chosen), 12) for step in steps])
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=7)
    axes.set_yticks(range(len(shares)), [str(rank) for rank in range(1, len(shares) + 1)])
    for spine in axes.spines.values():
        spine.set_visible(False)
    title = cut(visible(generation.prompt, " "), 60)
    axes.set_title(f"{title}, token {start + 1} to {start + len(steps)}", fontsize=8)
