"""A trial of tuning that is behind those before it ends early."""

import math
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfbench.metrics.registry import Metric


class Pruning(TrainerCallback):
    """Ends a training that was never as good, up to an epoch, as it was to be by then.

    Every process is told the same metrics, so that all end after the same step.
    """

    def __init__(self, metric: Metric, hurdles: Mapping[float, float], digits: int) -> None:
        """``hurdles``: epoch, rounded to so many digits -> the value of the measure."""
        self.metric, self._hurdles, self._digits = metric, hurdles, digits
        self.pruned_at: float | None = None
        """The epoch at which it ended the training."""
        self._sign = 1 if metric.higher_is_better else -1
        self._best = -math.inf

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        metrics: dict[str, float],
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer after each evaluation."""
        assert state.epoch is not None  # it trains
        self._best = max(self._best, self._sign * metrics[f"eval_{self.metric.name}"])
        hurdle = self._hurdles.get(round(state.epoch, self._digits))
        if hurdle is None or state.global_step >= state.max_steps:  # the end saves nothing
            return
        if self._best < self._sign * hurdle:
            self.pruned_at = state.epoch
            control.should_training_stop = True
