"""Who runs a cell: one process at a time, on this machine or on others that share the folder.

The lock is the operating system's (flock), which ends with the process that holds it, however that
ended: there is no heartbeat to miss and no lock of a dead process to clear. On NFS the kernel asks
the server for it, which gives up the locks of a machine that is gone when its lease has run out (90
seconds by default). A file system without locks is met by filelock's lock files; it says so.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from hfbench.system.files import writing


@contextmanager
def hold(path: Path) -> Iterator[bool]:
    """Whether this process, and no other, has the lock ``path`` until the end.

    The file is left there, empty: to delete it would break the lock of a process that has just
    opened it.

    Raises:
        StorageError: if there can be no lock there.
    """
    lock = FileLock(path, blocking=False)
    with writing(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            is_ours = False
        else:
            is_ours = True
    if not is_ours:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
