"""How much a verb says and in what form: three options of every verb, before or after its name."""

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Annotated, Any

import typer

from hfbench.system.log import log_to_terminal
from hfbench.system.terminal import SPEECH

Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Only the result: no progress, no notes."),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Also what hfbench logs, on standard error: why a cell failed, ..."
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="JSON in place of text: a line an event, a line a result."),
]
_OPTIONS = {"quiet": Quiet, "verbose": Verbose, "as_json": Json}


def reset() -> None:
    """As before any option."""
    SPEECH.quiet = SPEECH.json = False
    log_to_terminal(None)


def speak(*, quiet: bool, verbose: bool, as_json: bool) -> None:
    """From now on; what was said before the verb stays."""
    SPEECH.quiet |= quiet
    SPEECH.json |= as_json
    if verbose:
        log_to_terminal(logging.DEBUG)


def speaking(verb: Callable[..., None]) -> Callable[..., None]:
    """``verb`` with the options of this module."""

    @functools.wraps(verb)
    def run(*args: Any, quiet: bool, verbose: bool, as_json: bool, **options: Any) -> None:
        speak(quiet=quiet, verbose=verbose, as_json=as_json)
        verb(*args, **options)

    own = inspect.signature(verb)
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation
        )
        for name, annotation in _OPTIONS.items()
    ]
    run.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*own.parameters.values(), *added]
    )
    run.__annotations__ = {**verb.__annotations__, **_OPTIONS}
    return run
