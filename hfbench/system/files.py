"""Files that appear whole or not at all, and one error for all that prevents it."""

import os
import secrets
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
def saving(what: str) -> Iterator[None]:
    """As `writing`, where a library of the Hub saves a model or a tokenizer.

    Raises:
        StorageError: also instead of what they make of an error of the file system.
    """
    from safetensors import SafetensorError  # here: the command line writes without it

    try:
        with writing(what):
            yield
    except Exception as error:  # broad: a plain Exception is what tokenizers raises
        if type(error) in (SafetensorError, Exception):
            raise StorageError(f"{what} cannot be written: {error}") from error
        raise


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, where there is none yet.

    Raises:
        StorageError: if there cannot be one, for instance because a file has its name.
    """
    with writing(str(path)):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that becomes ``path`` on success and vanishes otherwise.

    It is made here under a name that nobody can know before, so that what is written goes through
    no link that somebody has put there. A process that is killed leaves it, see `clear_unfinished`.

    Raises:
        StorageError: if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    with writing(str(path)):
        try:
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk before going on."""
    if os.name == "nt" and path.is_dir():  # which has no such thing
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def clear_unfinished(path: Path) -> None:
    """Remove what processes left that were killed while they wrote ``path``.

    To be called where no other process may be writing it.
    """
    for temporary in path.parent.glob(f".{path.name}.*.tmp"):
        temporary.unlink()


def replace_folder(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``path`` hold all that ``write`` writes to the folder it is given, or be as before.

    Raises:
        StorageError: if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with saving(str(path)):
        for old in (temporary, path):
            if old.is_symlink():  # of what it leads to, nothing is removed
                old.unlink()
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)  # fails if there is anything
        write(temporary)
        for file in temporary.rglob("*"):
            _sync(file)
        _sync(temporary)
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
        _sync(path.parent)
