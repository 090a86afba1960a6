"""Files that appear whole or not at all, whatever happens while they are written."""

import os
import shutil
from collections.abc import Callable, Iterator
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


def replace_folder(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``path`` hold all that ``write`` writes to the folder it is given, or be as before.

    Raises:
        OSError: also where the libraries that write weights and tokenizers have another for it.
    """
    from safetensors import SafetensorError  # here: tables need none

    temporary = path.with_name(f".{path.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        write(temporary)
    except Exception as error:  # broad: a plain Exception is what tokenizers raises
        if type(error) in (SafetensorError, Exception):  # the file system's, in other clothes
            raise OSError(str(error)) from error
        raise
    shutil.rmtree(path, ignore_errors=True)
    temporary.rename(path)
