"""What hfbench does, line by line: in a file beside the records, and at wish on the terminal.

Log records hold no secrets and no commands to a terminal, see `redaction.redact_output`.
"""

import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from hfbench.errors import StorageError
from hfbench.system.files import make_folder, writing
from hfbench.system.redaction import redact_output

_LOGGER = logging.getLogger("hfbench")


def log_to_terminal(level: int | None) -> None:
    """From now on show what hfbench logs on standard error; None: no longer."""
    for handler in [one for one in _LOGGER.handlers if isinstance(one, _OnTerminal)]:
        _LOGGER.removeHandler(handler)
    _LOGGER.setLevel(level or logging.NOTSET)
    if level is not None:
        redact_output()
        handler = _OnTerminal(sys.stderr)
        handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
        _LOGGER.addHandler(handler)


def is_verbose() -> bool:
    """Whether `log_to_terminal` was asked for everything."""
    return any(isinstance(handler, _OnTerminal) for handler in _LOGGER.handlers)


@contextmanager
def log_to_file(path: Path) -> Iterator[None]:
    """Within, append what hfbench logs to a file.

    Raises:
        StorageError: if it cannot be written.
    """
    redact_output()
    make_folder(path.parent)
    with writing(str(path)):
        handler = _InFile(path, encoding="utf-8")
    where = f"{platform.node()}:{os.getpid()}"
    handler.setFormatter(
        logging.Formatter(f"%(asctime)s {where} %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    )
    level = _LOGGER.level
    _LOGGER.addHandler(handler)
    if not is_verbose():
        _LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(level)
        with writing(str(path)):
            handler.close()


class _OnTerminal(logging.StreamHandler[IO[str]]):
    """The one that `log_to_terminal` adds."""


class _InFile(logging.FileHandler):
    """One that does not go on where nothing can be written."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """As logging calls it."""
        error = sys.exc_info()[1]
        raise StorageError(f"{self.baseFilename} cannot be written: {error}") from error
