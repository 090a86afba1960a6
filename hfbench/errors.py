"""The exceptions that end in a message and an exit code, not in a traceback."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake in a recipe, in data or on the command line.

    Shown without a traceback; exit code 2.
    """


class HubError(RuntimeError):
    """The Hub, or the way to it, failed; it may do better when asked again.

    Shown without a traceback; exit code 1.
    """


class WorkerError(RuntimeError):
    """A process that ran a part of the work died.

    Shown without a traceback; exit code 1.
    """


class StorageError(RuntimeError):
    """Results cannot be written: the disk is full or fails, or the folder is read-only.

    Shown without a traceback; exit code 1.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the known name closest to ``name``, or an empty string."""
    matches = get_close_matches(name, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
