"""Ctrl-C, SIGTERM and SIGHUP: leave at once where nothing is to be saved, else after the step.

All that is written appears whole or not at all, so that it is safe to leave anywhere. Only a
pretraining, which may have run for hours, first saves a checkpoint from which it goes on: see
`training.stopping`.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

STOPPING = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
"""What asks a process to stop: Ctrl-C, a scheduler, a terminal that was closed."""


class Interrupted(BaseException):
    """One of `STOPPING` came; as KeyboardInterrupt, nothing that a handler of errors takes."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class _Signal:
    """Of this process."""

    number: int | None = None
    """The one that came."""
    is_asked_for: bool = False
    """Whether it waits for the training to save and is not raised."""
    second_ends: bool = True
    """Whether another one ends the process at once."""


@contextmanager
def interruptible(*signals: signal.Signals, second_ends: bool = True) -> Iterator[None]:
    """Within, the first of ``signals`` raises `Interrupted`.

    A second one ends the process, or else does nothing while the first waits. One that is ignored,
    as ``nohup`` has SIGHUP, stays so.
    """
    heeded = [number for number in signals if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, _receive) for number in heeded}
    _Signal.second_ends = second_ends
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _Signal.number = None


def _receive(number: int, frame: Any) -> None:
    if _Signal.number is not None:
        if _Signal.second_ends:
            os._exit(128 + number)
        return
    _Signal.number = number
    if not _Signal.is_asked_for:
        raise Interrupted(number)


@contextmanager
def until_saved() -> Iterator[None]:
    """Within, a signal is not raised: who trains asks for it. At the end it is raised."""
    _Signal.is_asked_for = True
    try:
        yield
    finally:
        _Signal.is_asked_for = False
        leave()  # also where the training failed: no other is to begin


def signal_that_came() -> int | None:
    """Number of the signal that was received and is not raised yet."""
    return _Signal.number


def leave_between_steps() -> None:
    """Raise `Interrupted`, if a signal came and its exception was lost, as in a finalizer.

    Not where the training is to save first.
    """
    if not _Signal.is_asked_for:
        leave()


def note_signal(number: int) -> None:
    """As if it had come here: it came to another process of the same launcher."""
    _Signal.number = number


def leave() -> None:
    """Raise `Interrupted`, if a signal came."""
    if _Signal.number is not None:
        raise Interrupted(_Signal.number)
