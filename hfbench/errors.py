"""The exceptions that end in one message and an exit code, never in a traceback."""

from collections.abc import Iterable
from difflib import get_close_matches
from textwrap import shorten


class HfbenchError(Exception):
    """Whatever the command line shows as one message, without a traceback."""

    exit_code = 1
    """2 where what somebody gave is wrong and has to be changed; 1 where something failed."""


class UserError(HfbenchError, ValueError):
    """A mistake in a recipe, in data or on the command line."""

    exit_code = 2


class RecordError(UserError):
    """A record that cannot be read, or is not what it says."""


class DamagedRecordError(RecordError):
    """A record, or the predictions beside it, that is not what was written."""


class HubError(HfbenchError, RuntimeError):
    """The Hub, or the way to it, failed; it may do better when asked again."""


class WorkerError(HfbenchError, RuntimeError):
    """A process that ran a part of the work died."""


class StorageError(HfbenchError, RuntimeError):
    """Results cannot be written: the disk is full or fails, or the folder is read-only."""


def one_line(message: object) -> str:
    """What another program said, on one line of at most 300 characters, cut between words."""
    words = " ".join(str(message).split())
    return shorten(words, 300, placeholder=" ...") if " " in words[:290] else words[:300]


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` for the known name closest to ``name``, or an empty string."""
    matches = get_close_matches(name, list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""
