"""The predictions beside a record: of each example its id, its label and the logits.

Nothing here imports pandas, which would take longer than most tables.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

from hfbench.record import WHAT_TO_DO, Record, RecordError, refuse_link

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


def load_predictions(record: Record, results: Path, split: str) -> "dict[str, np.ndarray]":
    """``id`` (n,), ``label`` (n,) and ``logits`` (n, labels) of one split, in the data's order.

    Raises:
        RecordError: if they are missing, or if the file is not as `Record.predictions` says.
    """
    return load_all_predictions([record], results, split)[0]


def load_all_predictions(
    records: Sequence[Record], results: Path, split: str
) -> "list[dict[str, np.ndarray]]":
    """As `load_predictions` of each record; runs on the same examples share their arrays."""
    import pyarrow as pa

    found: list[dict[str, np.ndarray]] = []
    examples: _Examples | None = None
    folder = results / "records"
    for record in records:
        path = _predictions_path(record, folder)
        try:
            table = _read_table(path)
            if examples is None or not examples.are_those_of(table):
                examples = _Examples.of(table, split)
            found.append(examples.with_logits(table))
        # columns that are missing or of another type, no rows, rows of unequal length
        except (OSError, KeyError, IndexError, TypeError, ValueError, pa.ArrowException) as error:
            raise RecordError(f"{path}: not valid predictions: {error}; {WHAT_TO_DO}") from None
    return found


def _predictions_path(record: Record, folder: Path) -> Path:
    if record.predictions is None:
        raise RecordError(f"{folder.parent}: the record of {record.stem} names no predictions")
    path = folder / record.predictions
    if not path.is_file():
        raise RecordError(f"{path}: the predictions of {record.stem} are missing")
    refuse_link(path)
    return path


def _read_table(path: Path) -> "pa.Table":
    """A Parquet file as columns of one chunk each.

    Read at once, for it is small: threads would take longer to start. `pyarrow.parquet.read_table`
    with a filter and `to_numpy` would import pandas: a quarter of a second.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pa.OSFile(str(path)) as file:
        content = pa.BufferReader(file.read_buffer())
    return pq.ParquetFile(content).read(use_threads=False).combine_chunks()


@dataclass(frozen=True, eq=False)
class _Examples:
    """The examples of a table of predictions, of which those of one split are chosen."""

    columns: "dict[str, pa.ChunkedArray]"
    rows: "np.ndarray"
    """Which are of the split, shape (all rows,)."""
    ids: "np.ndarray"
    labels: "np.ndarray"

    @classmethod
    def of(cls, table: "pa.Table", split: str) -> "_Examples":
        import numpy as np

        columns = {name: table[name] for name in ("split", "id", "label")}
        rows = np.array(columns["split"].to_pylist()) == split
        ids = np.array(list(compress(columns["id"].to_pylist(), rows)))
        return cls(columns, rows, ids, np.from_dlpack(columns["label"].chunk(0))[rows])

    def are_those_of(self, table: "pa.Table") -> bool:
        return all(column.equals(table[name]) for name, column in self.columns.items())

    def with_logits(self, table: "pa.Table") -> "dict[str, np.ndarray]":
        import numpy as np

        logits = np.from_dlpack(table["logits"].chunk(0).values).reshape(len(self.rows), -1)
        return {"id": self.ids, "label": self.labels, "logits": logits[self.rows]}
