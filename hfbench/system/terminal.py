"""What a person sees: nothing of it moves the cursor, rewrites lines or fills the clipboard.

Labels, names, sources and messages come from data and from strangers. A control character in them
would be a command to the terminal (ECMA-48; OSC 52 writes to the clipboard), and a bidirectional
one would show a text in another order (Unicode Standard Annex 9; "Trojan Source", Boucher and
Anderson 2021).
"""

import os
import re
import sys
from collections.abc import Iterable
from typing import IO, TextIO

from rich.console import Console as RichConsole
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """``text`` with a picture of each control character: ``␛`` of ESC; tabs and line ends stay."""
    return _UNSAFE.sub(_picture, text)


def show(text: str, file: TextIO | None = None) -> None:
    """Print a text that may hold what somebody else wrote, by default to standard output."""
    try:
        print(clean(text), file=file, flush=True)
    except BrokenPipeError:
        _hush(file or sys.stdout)


class Console(RichConsole):
    """One whose own commands alone reach the terminal."""

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
