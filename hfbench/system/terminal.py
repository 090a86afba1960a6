"""What a person sees: nothing of it moves the cursor, rewrites lines or fills the clipboard.

Labels, names, sources and messages come from data and from strangers. A control character in them
would be a command to the terminal (ECMA-48; OSC 52 writes to the clipboard), and a bidirectional
one would show a text in another order (Unicode Standard Annex 9; "Trojan Source", Boucher and
Anderson 2021).
"""

import json
import math
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, TextIO

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

# half of a surrogate pair, as JSON may have it, is no character at all: no terminal can be sent it
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


@dataclass
class Speech:
    """How this process speaks on standard output; see `hfbench.cli.output`."""

    quiet: bool = False
    """Results only, no progress and no notes."""
    json: bool = False
    """A JSON object a line in place of all that is for people."""


SPEECH = Speech()
"""Of this process; the command line sets it."""


def clean(text: str) -> str:
    """``text`` with a picture of each control character: ``␛`` of ESC; tabs and line ends stay."""
    return _UNSAFE.sub(_picture, text)


def show(text: str, file: TextIO | None = None) -> None:
    """Print a text that may hold what somebody else wrote, by default to standard output.

    There it is for people, and not printed where JSON is wanted.
    """
    if SPEECH.json and file is None:
        return
    _print(clean(text), file)


def note(text: str) -> None:
    """Print what is not the result: not where that alone is wanted."""
    if not SPEECH.quiet:
        show(text)


def tell(values: Mapping[str, Any]) -> None:
    """Print a line of JSON, where that is wanted; what is no finite number is null."""
    if SPEECH.json:
        _print(json.dumps(_plain(values), allow_nan=False), None)


def _plain(value: Any) -> Any:
    """As JSON has it: NumPy's numbers and paths, too."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    if hasattr(value, "tolist"):  # of NumPy
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _print(text: str, file: TextIO | None) -> None:
    try:
        print(text, file=file, flush=True)
    except BrokenPipeError:
        _hush(file or sys.stdout)


class Console(RichConsole):
    """One whose own commands alone reach the terminal; silent where JSON is wanted."""

    def __init__(self, **options: Any) -> None:
        to_output = not options.get("stderr") and options.get("file") is None
        super().__init__(**{"quiet": SPEECH.json and to_output, **options})

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As `rich.console.Console.render`."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=clean(segment.text))

    def on_broken_pipe(self) -> None:
        """As rich calls it when nobody reads any more: what runs goes on, and says nothing."""
        self.quiet = True
        _hush(self.file)


def _hush(file: IO[str]) -> None:
    """Let what is left in the buffers, and what comes, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, file.fileno())
    os.close(nowhere)


def _picture(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"
