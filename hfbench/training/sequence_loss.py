"""The training loss of a sequence classifier as sums, so that it does not depend on how a batch is
cut.

Of each problem type it is torch's: `CrossEntropyLoss`, `BCEWithLogitsLoss` and `MSELoss`, as
transformers' own models have them. A piece of a batch gives the sum over its rows, which is divided
by the `items` of all pieces.

Shapes:
    B: rows
    L: labels; 1 output of a regression
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from hfbench.data.batches import IGNORED
from hfbench.recipe.types import ProblemType


@dataclass(frozen=True)
class SequenceLoss:
    """A loss of logits (B, L) and labels.

    Labels are class numbers (B,), 0 and 1 (B, L), or numbers to be predicted (B,). Those of a row
    that does not count are `IGNORED`, or NaN in a regression.
    """

    problem_type: ProblemType = "single_label_classification"
    weights: tuple[float, ...] | None = None
    """Single label: of each class, as `CrossEntropyLoss` has them: the mean is weighted, its
    denominator is the sum of the examples' weights. Multi-label: `pos_weight` of each label, the
    factor of its loss where it is there; the denominator stays the number of labels."""
    function: Callable[[Tensor, Tensor], Tensor] | None = None
    """In place of torch's: of logits (B, L) and labels, the loss of each row, (B,)."""

    def total(self, logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
        """Sum of the rows' losses, a scalar.

        Args:
            logits: (B, L), in float32.
            labels: see the class.
            smoothing: share of a label's weight that all classes share; multi-label: between there
                and not there.
        """
        if self.function is not None:
            return self._by_function(logits, labels)
        if self.problem_type == "regression":
            errors = torch.where(_counts(labels), logits.squeeze(-1) - labels, 0.0)
            return errors.square().sum()
        weights = self._weights_on(logits.device)
        if self.problem_type == "multi_label_classification":
            targets = labels.clamp(min=0).to(logits.dtype) * (1 - smoothing) + smoothing / 2
            losses = F.binary_cross_entropy_with_logits(
                logits, targets, pos_weight=weights, reduction="none"
            )
            return torch.where(_counts(labels), losses, 0.0).sum()
        return F.cross_entropy(
            logits,
            labels,
            weights,
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=smoothing,
        )

    def items(self, labels: Tensor) -> Tensor:
        """By what sums are divided: the rows or labels that count, or the sum of their weights."""
        counts = _counts(labels)
        if self.function is not None:
            return _rows(counts).sum()
        if self.problem_type != "single_label_classification":
            return counts.sum()
        weights = self._weights_on(labels.device)
        if weights is None:
            return counts.sum()
        return torch.where(counts, weights[labels.clamp(min=0)], 0.0).sum()

    def _by_function(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Sum of the rows' losses; what stands for a row that does not count is of no matter.

        Raises:
            ValueError: if it gives anything but a number for each row.
        """
        assert self.function is not None
        counts = _counts(labels)
        losses = self.function(logits, torch.where(counts, labels, torch.zeros_like(labels)))
        if losses.shape != logits.shape[:1]:
            raise ValueError(
                f"loss: it returned the shape {tuple(losses.shape)} for {len(logits)} rows, and "
                f"must return a loss for each, ({len(logits)},)"
            )
        return torch.where(_rows(counts), losses, 0.0).sum()

    def _weights_on(self, device: torch.device) -> Tensor | None:
        return None if self.weights is None else _tensor(self.weights, device)


@cache
def _tensor(weights: tuple[float, ...], device: torch.device) -> Tensor:
    """Made once: a recorded step may not copy from the CPU."""
    return torch.tensor(weights, device=device)


def _rows(counts: Tensor) -> Tensor:
    """Whether each row counts, of whether each label does."""
    return counts.any(-1) if counts.ndim == 2 else counts


def _counts(labels: Tensor) -> Tensor:
    return ~labels.isnan() if labels.is_floating_point() else labels != IGNORED
