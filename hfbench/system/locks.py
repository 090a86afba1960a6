"""Who runs a cell: one process at a time, on this machine or on others that share the folder.

The lock is the operating system's (flock), which ends with the process that holds it, however that
ended: there is no heartbeat to miss and no lock of a dead process to clear. On NFS the kernel asks
the server for it, which gives up the locks of a machine that is gone when its lease has run out (90
seconds by default). A file system without locks is met by filelock's lock files; it says so.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from hfbench.system.files import writing

_ATTEMPTS = 20
"""To make the folder of a lock and the lock before another process removes the folder."""

_WAIT_SECONDS = 0.2


@contextmanager
def hold(path: Path) -> Iterator[bool]:
    """Whether this process, and no other, has the lock ``path`` until the end.

    The file is left there, empty; `clear` removes it.

    Raises:
        StorageError: if there can be no lock there.
    """
    lock = FileLock(path, blocking=False)
    with writing(str(path)):
        is_ours = _acquire(lock, path)
    if not is_ours:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextmanager
def wait_for(path: Path) -> Iterator[None]:
    """Have the lock ``path`` until the end, as soon as no other process has it; see `hold`."""
    while True:
        with hold(path) as is_ours:
            if is_ours:
                yield
                return
        time.sleep(_WAIT_SECONDS)


def _acquire(lock: FileLock, path: Path) -> bool:
    for attempt in range(_ATTEMPTS):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            return False
        except FileNotFoundError:  # another process has just removed the folder, see `clear`
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return True
    raise AssertionError  # every way through the loop ends it


def clear(folder: Path) -> None:
    """Remove the locks in ``folder`` that no process holds, and the folder where it is then empty.

    Who has opened a file that is removed meanwhile gets no lock of it: filelock asks, once it has
    the lock, whether the file still has a name.
    """
    for path in sorted(folder.glob("*.lock")):
        with hold(path) as is_ours:
            if is_ours:
                path.unlink(missing_ok=True)
    with suppress(OSError):  # it is gone, or another process has made a lock there
        folder.rmdir()
