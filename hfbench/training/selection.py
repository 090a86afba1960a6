"""Which weights of a training are evaluated: the last, or those of the best evaluation."""

import math
from typing import Any

import torch
from transformers import (
    PreTrainedModel,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from hfbench.metrics.registry import METRICS
from hfbench.recipe.types import Selection


class WeightSelection(TrainerCallback):
    """Keeps the weights of the evaluation that ``selection`` prefers, in the CPU's memory.

    With ``patience`` the training ends after so many evaluations in a row that are no better.

    It sees the validation split only. Every process keeps a copy: all are told the same metrics, so
    all keep that of the same step.
    """

    def __init__(self, selection: Selection, patience: int | None = None) -> None:
        self.selection, self.patience = selection, patience
        self.measure = selection.removeprefix("best_")
        """The measure by which weights are chosen; ``last`` where they are not."""
        metric = METRICS.get(self.measure.partition(":")[0])
        self._sign = 1 if metric and metric.higher_is_better else -1
        self.step: int | None = None
        self._score, self._no_better = -math.inf, 0
        self._weights: dict[str, torch.Tensor] = {}

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        *,
        model: PreTrainedModel,
        metrics: dict[str, float],
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer after each evaluation."""
        if self.selection == "last":
            return
        score = self._sign * metrics[f"eval_{self.measure}"]
        if score > self._score:  # not >=: the earliest among equals
            self._score, self.step, self._no_better = score, state.global_step, 0
            self._weights = {
                name: tensor.to("cpu", copy=True) for name, tensor in model.state_dict().items()
            }
            return
        self._no_better += 1
        if self.patience and self._no_better >= self.patience:
            control.should_training_stop = True

    def load_into(self, model: PreTrainedModel, last_step: int) -> int:
        """Give ``model`` the selected weights after its last step; returns their step.

        Raises:
            RuntimeError: if there was no evaluation to choose from.
        """
        if self.selection == "last":
            return last_step
        if self.step is None:
            raise RuntimeError(
                f"selection: {self.selection} has nothing to choose from: no evaluation took "
                f"place in {last_step} steps; see eval_strategy and eval_delay"
            )
        model.load_state_dict(self._weights)
        return self.step
