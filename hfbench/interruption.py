"""Ctrl-C and SIGTERM: leave at once where nothing is to be saved, else after the step.

All that is written appears whole or not at all, so that it is safe to leave anywhere. Only a
pretraining, which may have run for hours, first saves a checkpoint from which it goes on.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class Interrupted(BaseException):
    """SIGINT or SIGTERM came; as KeyboardInterrupt, nothing that a handler of errors takes."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Signal:
    """Of this process."""

    number: int | None = None
    """The one that came."""
    is_asked_for: bool = False
    """Whether it waits for `SaveBeforeLeaving` and is not raised."""


@contextmanager
def interruptible(*signals: signal.Signals) -> Iterator[None]:
    """Within, the first of ``signals`` raises `Interrupted`, and a second ends the process."""
    before = {number: signal.signal(number, _receive) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _Signal.number = None


def _receive(number: int, frame: Any) -> None:
    if _Signal.number is not None:
        os._exit(128 + number)
    _Signal.number = number
    if not _Signal.is_asked_for:
        raise Interrupted(number)


@contextmanager
def until_saved() -> Iterator[None]:
    """Within is a training with `SaveBeforeLeaving`; the signal that came is raised at the end."""
    _Signal.is_asked_for = True
    try:
        yield
    finally:
        _Signal.is_asked_for = False
        _leave()  # also where the training failed: no other is to begin


class SaveBeforeLeaving(TrainerCallback):
    """Ends an interrupted training with a checkpoint of the step under way.

    It stands before `ExactResumption`, which prepares what is saved.
    """

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer before it logs, evaluates and saves."""
        if _Signal.number is not None:
            control.should_save = True
            control.should_training_stop = True

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Called by the Trainer in an evaluation, which may last: not waited for."""
        _leave()


def _leave() -> None:
    if _Signal.number is not None:
        raise Interrupted(_Signal.number)
