"""The verb `hfbench fsck`: whether results are what was written."""

from pathlib import Path
from typing import Annotated

import typer

from hfbench.system.terminal import show, tell


def fsck(
    results: Annotated[
        Path,
        typer.Argument(
            help="A results folder, or the folder that holds those of several recipes.",
            metavar="RESULTS",
        ),
    ],
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Set what is damaged aside, so that `hfbench compare` runs it again."
        ),
    ] = False,
) -> None:
    """Check records, predictions and weights against their hashes and each other.

    Exit code 1 if something is damaged and was not set aside.
    """
    from hfbench.records.damage import find_damage, find_folders
    from hfbench.records.pack import unpack
    from hfbench.system.files import writing

    damaged = checked = 0
    for folder in find_folders(results):
        checked += len(folder.stems)
        found = list(find_damage(folder))
        if found and repair and folder.packed:
            unpack(folder)
        for damage in found:
            damaged += 1
            show(damage.what)
            moved = None
            if repair:
                with writing(str(folder.path)):
                    moved = damage.set_aside()
                show(f"  moved to {moved}")
            tell({"event": "damage", "what": damage.what, "moved_to": moved})
    verb = "set aside" if repair else "damaged"
    show(f"{checked:,} records looked at, {damaged:,} {verb}")
    tell({"results": results, "records": checked, "damaged": damaged, "repaired": repair})
    if damaged and not repair:
        raise SystemExit(1)
