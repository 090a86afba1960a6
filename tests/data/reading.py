"""Read the rows of a CSV file and print by how many MB that made the process larger, at its peak.

python tests/data/reading.py FILE.csv
"""

import sys
from pathlib import Path

from hfbench.data.columns import standard_columns
from hfbench.data.sources import load_source
from hfbench.recipe.schema import Task


def peak_memory() -> float:
    """MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    task = Task(data_files={"train": sys.argv[1]}, validation_size=0.1)
    before = peak_memory()
    rows = standard_columns(load_source(task, Path(), None)["train"], "train", task, None)
    assert len(rows)
    print(peak_memory() - before)
