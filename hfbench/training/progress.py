"""What a training tells of its steps."""

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_SECONDS_BETWEEN_STEPS = 0.2  # that are shown


class StepBar(TrainerCallback):
    """Moves the bar of a cell, a few times a second; the Trainer's own would be one of many."""

    def __init__(self, show: Callable[[int, int], None], say: Callable[[str], None]) -> None:
        """Take what shows a step of so many, and what says a line that stays."""
        self.show, self.say = show, say
        self._shown = -_SECONDS_BETWEEN_STEPS

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer after each optimizer step."""
        now = time.monotonic()
        if now - self._shown >= _SECONDS_BETWEEN_STEPS:
            self._shown = now
            self.show(state.global_step, state.max_steps)
