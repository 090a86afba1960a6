"""Losses of rows, and losses that are no number."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

from hfbench.data.batches import IGNORED


class NonFiniteLossError(ArithmeticError):
    """The loss or the logits became NaN or infinite."""

    def __init__(self, message: str, step: int) -> None:
        super().__init__(f"{message} at optimizer step {step}")
        self.step = step


class FiniteWatch:
    """Notes the step of the first loss that is not finite.

    The note is on the device and read when logging, so that no step waits for it.
    """

    def __init__(self, device: torch.device) -> None:
        self._step = torch.tensor(0, device=device)
        self._first_bad_step = torch.tensor(-1, device=device)

    def begin(self, step: int) -> None:
        """The losses that come are of this optimizer step, counted from 1."""
        self._step.fill_(step)

    def see(self, loss: Tensor) -> None:
        """Look at a loss; may be recorded as a part of a CUDA graph."""
        is_first = (self._first_bad_step < 0) & ~torch.isfinite(loss)
        self._first_bad_step.copy_(torch.where(is_first, self._step, self._first_bad_step))

    def refuse(self, accelerator: Accelerator) -> None:
        """Raises NonFiniteLossError, in every process, if a loss of any was not finite."""
        steps = accelerator.gather(self._first_bad_step.reshape(1))
        if (bad := steps[steps >= 0]).numel():
            raise NonFiniteLossError("the training loss is not finite", int(bad.min()))


def refuse_non_finite_logits(logits: np.ndarray, step: int) -> None:
    """Raises NonFiniteLossError, with this ``step``, if one of the logits is not finite."""
    if not np.isfinite(logits).all():
        raise NonFiniteLossError("the model's logits are not finite", step)


def row_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Of a language model: the sum of each row's token losses, and how many there are.

    Args:
        logits: (B, T, V).
        labels: (B, T), not shifted.

    Returns:
        Of shape (B, 2).
    """
    counts = (labels[:, 1:] != IGNORED).sum(1)
    if logits.device.type == "cpu":
        # row by row, so that what is as large as the logits does not exist once more
        losses = [
            F.cross_entropy(row[:-1].float(), targets[1:], ignore_index=IGNORED, reduction="sum")
            for row, targets in zip(logits, labels, strict=True)
        ]
        return torch.stack([torch.stack(losses), counts], dim=1)
    # launches for each row would take longer than the rest; without the last position, which
    # predicts nothing, the logits would have to be copied
    targets = F.pad(labels[:, 1:], (0, 1), value=IGNORED)
    of_tokens = F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="none"
    )
    return torch.stack([of_tokens.view_as(targets).sum(1), counts], dim=1)


def first_output(logits: Any, labels: Tensor) -> Tensor:
    """The logits alone, for ``preprocess_logits_for_metrics``: some models return more."""
    return logits[0] if isinstance(logits, tuple) else logits
