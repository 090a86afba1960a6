"""A table as texts, before it is Markdown, LaTeX, HTML or lines on a terminal."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TextTable:
    """A table as texts."""

    header: list[str]
    rows: list[list[str]]
    """Each as long as the header; the first cell names the row."""
