"""An Arrow table in a file, mapped into memory: it may be larger than memory.

The file has no name. No other process can find it half written or take it for its own, so that any
number of them can work on the same corpus at once, and the system frees the disk as soon as nobody
has the table any more, also after a kill. It lies where `datasets` keeps its own Arrow files, and
not in the folder for temporary files, which on many systems is memory.
"""

import mmap
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import datasets
import pyarrow as pa

from hfbench.system.files import writing

_GROUP_BYTES = 4 << 20  # so much is written as one piece, whose numbers then lie side by side


@dataclass(frozen=True)
class StoredTable:
    """A table in a file; its numbers and texts are read when they are looked at."""

    table: pa.Table
    _pages: mmap.mmap

    def release(self) -> None:
        """Let go of the memory of what was read; what is looked at again is read again."""
        if sys.platform != "win32":
            self._pages.madvise(mmap.MADV_DONTNEED)


def store(tables: Iterable[pa.Table]) -> StoredTable:
    """The rows of one or more tables of one schema, written as they come.

    Raises:
        StorageError: if they cannot be written, as on a full disk.
    """
    folder = Path(datasets.config.HF_DATASETS_CACHE)
    with writing(f"a corpus in the folder {folder} (HF_DATASETS_CACHE can name another)"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            groups = _grouped(tables)
            first = next(groups)
            with pa.ipc.new_stream(file, first.schema) as writer:
                for group in chain([first], groups):
                    writer.write_table(group)
            file.flush()
            pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return StoredTable(pa.ipc.open_stream(pa.py_buffer(pages)).read_all(), pages)


def _grouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    group: list[pa.Table] = []
    for table in tables:
        group.append(table)
        if sum(part.nbytes for part in group) >= _GROUP_BYTES:
            yield pa.concat_tables(group).combine_chunks()
            group = []
    if group:
        yield pa.concat_tables(group).combine_chunks()
