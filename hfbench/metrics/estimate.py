"""A measure of some examples, and what each example has to do with it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hfbench.errors import UserError

_BLOCKS = 200
"""Of examples that are left out together, where a measure takes long and examples are many."""
_SHARE_OF_WORK = 40_000_000
"""Numbers (outputs of all examples, once for each left out) that delete-one may go through."""


class UndefinedMeasureError(UserError):
    """That a measure has no meaning for these labels; the message is the reason."""


class Estimate(NamedTuple):
    """A measure T of a sample and its influence function (infinitesimal jackknife; Efron 1982)."""

    value: float
    influence: np.ndarray
    """How T changes with the share of each example, shape (examples,); its mean is 0. The variance
    of T over samples is that of the mean of these."""
    losses: np.ndarray | None = None
    """Of a measure that is a mean over examples, what it is the mean of."""

    @classmethod
    def of_mean(cls, losses: np.ndarray) -> "Estimate":
        """Of a measure that is a mean over examples, shape (examples,)."""
        value = float(losses.mean())
        return cls(value, losses - value, losses)

    @property
    def pseudo_values(self) -> np.ndarray:
        """T plus the influence of each example: their mean is T, shape (examples,)."""
        if self.losses is not None:  # without rounding: right and wrong stay 1 and 0
            return self.losses
        return self.value + self.influence


def jackknife(
    compute: Callable[[np.ndarray, np.ndarray], float], outputs: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """Pseudo-values of any measure, by leaving examples out; their mean is the measure.

    One at a time (Tukey 1958); of many examples in `_BLOCKS` blocks, each of every so manieth
    example, whose pseudo-value all of a block share.

    Args:
        compute: of outputs (examples, ...) and labels (examples, ...).
        outputs: of all examples.
        labels: of all examples.
    """
    examples = len(labels)
    whole = float(compute(outputs, labels))
    work = examples * outputs.size
    blocks = examples if work <= _SHARE_OF_WORK else min(_BLOCKS, examples)
    number = np.arange(examples) % blocks
    left_out = np.array(
        [compute(outputs[number != block], labels[number != block]) for block in range(blocks)],
        dtype=float,
    )
    changes = (left_out - whole)[number]
    size = np.bincount(number, minlength=blocks)[number]
    influence = -(examples - size) / size * changes
    return whole + influence - influence.mean()
