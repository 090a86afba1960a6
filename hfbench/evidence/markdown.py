"""Text in GitHub's Markdown: what comes from models and data is only text there."""

import html
import re
import textwrap
from collections.abc import Sequence

# What has a meaning wherever it stands, or just in this place. Not more: the page is read as it is,
# too, and `p <0.001`, `[1]` and `weight_decay` mean nothing.
_SPECIAL = re.compile(
    r"""
      \\(?=[!-/:-@\[-`{-~]|$)           # an escape
    | [`*~$]                            # code, emphasis, strikethrough, mathematics
    | (?<![^\W_])_                      # emphasis: an underscore that begins a word
    | \](?=[(\[:])                      # a link
    | (?:^|(?<=^\ ))([#>]|[-+](?!\d))   # a heading, quotation or list item
    """,
    re.VERBOSE,
)
_HTML = re.compile(r"<(?=[A-Za-z/!?])|&(?=#?\w+;)")
_NUMBERED = re.compile(r"^( ?\d+)(?=[.)](?:\s|$))")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")


def escape(text: str) -> str:
    """``text`` on one line, without a meaning in Markdown or HTML."""
    escaped = _NUMBERED.sub(r"\1\\", _SPECIAL.sub(r"\\\g<0>", one_line(text)))
    return _HTML.sub(lambda found: html.escape(found[0]), escaped)


def one_line(text: str) -> str:
    """``text`` with each white space as one space; other control characters are shown as such."""
    return _CONTROL.sub("\ufffd", re.sub(r"\s+", " ", text))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts; all columns but the first are flushed right."""
    rule = ["---", *(["---:"] * (len(header) - 1))]
    lines = [[_cell(text) for text in row] for row in [header, *rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def bullets(lines: Sequence[str]) -> str:
    """A list of texts."""
    return "\n".join(f"- {escape(line)}" for line in lines)


def fill(text: str) -> str:
    """A page with paragraphs of lines of at most 100; all but paragraphs stays as it is."""
    return "\n\n".join(_fill(block) for block in text.strip("\n").split("\n\n")) + "\n"


def _fill(block: str) -> str:
    if block.startswith(("#", "|", "!", "<", "    ")):  # heading, table, image, comment, code
        return block
    return textwrap.fill(block, 100, break_long_words=False, break_on_hyphens=False)


def _cell(text: str) -> str:
    return escape(text).replace("|", "\\|")
