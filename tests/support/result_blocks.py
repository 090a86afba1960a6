"""The parts of README.md and docs/ that are taken from pages in results/, between marks.

``python tests/support/result_blocks.py`` writes them again: tables, answers and findings.
"""

import re
import textwrap
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def first_table(page: str, _: str) -> str:
    """The first table of a page, as it stands there."""
    lines = page.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| model |"))
    return "\n".join(takewhile(lambda line: line.startswith("|"), lines[start:]))


def answer(page: str, _: str) -> str:
    """The paragraph below the title, as a quotation."""
    return _quote(page.split("\n\n", 3)[2])


def findings(page: str, block: str) -> str:
    """The paragraphs that begin with the bold questions of ``block``, as a quotation."""
    paragraphs = [" ".join(paragraph.split()) for paragraph in page.split("\n\n")]
    found = []
    for quoted in block.split("\n>\n"):
        words = " ".join(line.lstrip("> ") for line in quoted.splitlines())
        question = re.match(r"\*\*.*?\*\*", words).group()
        (one,) = (paragraph for paragraph in paragraphs if paragraph.startswith(question))
        found.append(_quote(one))
    return "\n>\n".join(found)


KINDS: dict[str, Callable[[str, str], str]] = {
    "table": first_table, "answer": answer, "findings": findings,
}  # fmt: skip
MARKED = re.compile(rf"<!-- ({'|'.join(KINDS)}): (results/\S+) -->\n(.*?)<!-- end -->", re.S)


def filled(text: str) -> str:
    """A page with all such parts as they are in the results."""

    def fill(mark: re.Match[str]) -> str:
        kind, folder, block = mark.groups()
        page = (ROOT / folder / "README.md").read_text("utf-8")
        return f"<!-- {kind}: {folder} -->\n{KINDS[kind](page, block)}\n<!-- end -->"

    return MARKED.sub(fill, text)


def _quote(paragraph: str) -> str:
    words = " ".join(paragraph.split())
    lines = textwrap.wrap(words, 98, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"> {line}" for line in lines)


def main() -> None:
    """Write the pages whose parts have changed."""
    for path in PAGES:
        text = path.read_text("utf-8")
        if (new := filled(text)) != text:
            path.write_text(new, encoding="utf-8")
            print(f"Written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
