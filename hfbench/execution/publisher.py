"""Who publishes a pretraining's checkpoints: given by whoever starts a comparison.

So training knows nothing of the Hub, of cards or of tables.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from hfbench.recipe.cells import Cell


class Publisher(Protocol):
    """A `transformers.TrainerCallback` that publishes the checkpoints of one pretraining."""

    say: Callable[[str], None]
    """Says a line that stays."""

    def finish(self, folder: Path) -> str | None:
        """Publish the weights in ``folder``, the last ones; why not, if that is so."""


OpenPublishers = Callable[[Sequence[Cell]], Mapping[str, Publisher]]
"""Cells -> the publisher of each that publishes, by its name.

A function of a module, so that worker processes can be told its name. It raises UserError or
HubError where nothing could be published.
"""
