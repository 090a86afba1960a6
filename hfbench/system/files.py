"""Files that appear whole or not at all, whatever happens while they are written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hfbench.errors import StorageError


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Within, an error of the file system is a StorageError that says ``what`` was to be written.

    Raises:
        StorageError: instead of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(f"{what} cannot be written: {error}") from error


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that becomes ``path`` on success and vanishes otherwise.

    A process that is killed leaves it, see `clear_unfinished`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def clear_unfinished(path: Path) -> None:
    """Remove what processes left that were killed while they wrote ``path``.

    To be called where no other process may be writing it.
    """
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        temporary.unlink()
