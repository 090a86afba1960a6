"""The verb `hfbench verify`: whether results, or a published model, are what was recorded."""

from pathlib import Path
from typing import Annotated

import typer

from hfbench.errors import UserError
from hfbench.system.terminal import show, tell


def verify(
    target: Annotated[
        str,
        typer.Argument(
            help="A results folder, or a model that hfbench pushed: USER/NAME of the Hub, or its "
            "folder.",
            metavar="RESULTS|MODEL",
        ),
    ],
    cells: Annotated[
        list[str] | None,
        typer.Option(
            help="Of results: names of records, also with * and ?; may be given again. By default "
            "all.",
            metavar="NAME",
        ),
    ] = None,
    relative_to: Annotated[
        Path | None,
        typer.Option(
            help="Of results: where relative paths of the recipe start.",
            metavar="FOLDER",
            show_default=".",
        ),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="Of a model of the Hub: a branch, tag or commit.")
    ] = None,
    trust_remote_code: Annotated[
        bool,
        typer.Option(
            "--trust-remote-code",
            help="Run code that is not hfbench's: a checkpoint's, and modules that a record names.",
        ),
    ] = False,
) -> None:
    """Say whether results or a published model are, to the last bit, what their records say.

    The cells of results are run again from their records alone. A model is loaded by a process
    without hfbench and must give the logits of its record. Exit code 1 if something differs; of
    results what is no longer as it was recorded (data, code, versions, hardware) is named.
    """
    from hfbench.publish.bundle import is_published_model

    folder = Path(target)
    of_results = {"--cells": bool(cells), "--relative-to": relative_to is not None}
    if is_published_model(folder) or not (folder.exists() or _is_path(target)):
        for option, is_given in of_results.items():
            if is_given:
                raise UserError(f"{option} is of a results folder, and {target} is a model")
        _verify_model(target, revision, trust_remote_code=trust_remote_code)
        return
    if revision is not None:
        raise UserError(f"--revision is of a model of the Hub, and {target} is a results folder")
    from hfbench.cli.run import run_verification

    run_verification(
        folder, cells or [], relative_to or Path(), trust_remote_code=trust_remote_code
    )


def _is_path(target: str) -> bool:
    """Whether what is not there was meant as a folder: `a/b` is a model of the Hub, but for `a`."""
    path = Path(target)
    return target.count("/") != 1 or target.startswith((".", "~")) or path.parent.is_dir()


def _verify_model(target: str, revision: str | None, *, trust_remote_code: bool) -> None:
    from hfbench.cli.publish import quiet_client
    from hfbench.publish.proof import NotTheModelError
    from hfbench.publish.push import verify_push
    from hfbench.system.sandbox import no_sandbox

    quiet_client()
    try:
        commit, found = verify_push(target, revision, trust_remote_code=trust_remote_code)
    except NotTheModelError as error:
        show(f"NOT PROVEN: {target}: {error}")
        tell({"model": target, "proven": False, "reason": str(error)})
        raise SystemExit(1) from None
    if trust_remote_code and (reason := no_sandbox()):
        show(f"its code ran outside a sandbox: {reason}")
    at = f" at {commit}" if commit else ""
    tell({"model": target, "proven": True, "commit": commit, "logits": found})
    show(f"proven: {target}{at} gives the logits of its record, bit for bit: {found}")
