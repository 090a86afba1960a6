"""The verb `hfbench pack`: the records of a finished recipe in two files."""

from pathlib import Path
from typing import Annotated

import typer

from hfbench.system.terminal import show, tell


def pack(
    results: Annotated[
        Path,
        typer.Argument(
            help="A results folder, or the folder that holds those of several recipes.",
            metavar="RESULTS",
        ),
    ],
    undo: Annotated[
        bool, typer.Option("--undo", help="Make files of packed records again.")
    ] = False,
) -> None:
    """Pack the records of a finished recipe into records.parquet and predictions.parquet.

    Every verb reads them as before; `hfbench compare` unpacks them when it has to run a cell.
    """
    from hfbench.records.damage import find_folders
    from hfbench.records.pack import pack as pack_records
    from hfbench.records.pack import unpack

    done = 0
    for folder in find_folders(results):
        if undo is not (folder.packed is not None):
            continue
        done += 1
        if undo:
            for problem in unpack(folder):
                show(problem)
            records = len(folder.stems)
        else:
            records = pack_records(folder)
        show(f"{folder.path}: {records:,} records {'un' if undo else ''}packed")
        tell({"results": folder.path, "records": records, "packed": not undo})
    if not done:
        show(f"{results}: nothing to {'unpack' if undo else 'pack'}")
