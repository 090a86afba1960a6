"""What only tells of a run: it is recorded where it can be had, and never fails the run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from hfbench.errors import one_line
from hfbench.system.redaction import redact

Result = TypeVar("Result")


@dataclass(frozen=True)
class Bookkeeping:
    """Asks for such facts, and keeps why one could not be had."""

    not_recorded: dict[str, str] = field(default_factory=dict)
    """Key of the record -> the reason; its value is null there."""

    def ask(self, key: str, find: Callable[[], Result]) -> Result | None:
        """What ``find`` gives; None where it fails, with the reason noted under ``key``."""
        try:
            return find()
        except Exception as error:  # a model's code runs, and may raise anything
            self.not_recorded[key] = one_line(redact(f"{type(error).__name__}: {error}"))
            return None
