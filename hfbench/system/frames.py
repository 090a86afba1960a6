"""Where in its code an error was raised, without a path of this machine."""

import traceback
from dataclasses import dataclass

from hfbench.system.redaction import redact

_FRAMES = 6


@dataclass(frozen=True)
class Place:
    """Of an error."""

    module: str
    """Python's name of the module, e.g. ``transformers.models.t5.modeling_t5``."""
    line: int
    frames: list[str]
    """The calls that led there, the last ones, each as ``module:line function``."""


def place_of(error: BaseException) -> Place | None:
    """Where the cause of ``error`` was raised; None for an error that was not."""
    while error.__cause__ is not None:
        error = error.__cause__
    calls = [
        (redact(str(frame.f_globals.get("__name__"))), line, frame.f_code.co_name)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    if not calls:
        return None
    module, line, _ = calls[-1]
    return Place(module, line, [f"{name}:{at} {what}" for name, at, what in calls[-_FRAMES:]])
