"""The verb `hfbench pack`: the records of a finished recipe in two files."""

from pathlib import Path
from typing import Annotated

import typer

from hfbench.system.terminal import show


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
            show(f"{folder.path}: {len(folder.stems):,} records unpacked")
        else:
            show(f"{folder.path}: {pack_records(folder):,} records packed")
    if not done:
        show(f"{results}: nothing to {'unpack' if undo else 'pack'}")
