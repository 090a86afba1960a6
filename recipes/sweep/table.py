"""The page of docs about the sweep, from its outcomes: python -m recipes.sweep.table."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from hfbench.evidence import markdown
from recipes.sweep import OUTCOMES

PAGE = Path(__file__).parents[2] / "docs" / "architectures.md"
_TITLES = {"classifier": "Classifiers", "language model": "Causal language models"}
_WORDS = {
    "trained": "trained",
    "refused": "refused, for what they are no causal language models",
    "failed": "failed",
    "not tried": "not tried",
}


def write_page(content: dict[str, Any]) -> str:
    """The page as Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    lines = [
        "# Architectures",
        "<!-- generated from recipes/sweep/outcomes.json by `python -m recipes.sweep.table` -->",
        "What becomes of every architecture that transformers maps to a classifier of texts or to "
        f"a causal language model ({versions}), small and from scratch: "
        "`python -m recipes.sweep.sweep results/local`, a few minutes on one core.",
        "*longest text*: tokens that the model takes of a text, found by asking it; its "
        "configuration says 64 where it says something. *elsewhere*: the logits that a fresh "
        "process without hfbench finds with the saved classifier, against the recorded ones.",
    ]
    for head, title in _TITLES.items():
        rows = [row for row in content["outcomes"] if row["head"] == head]
        lines += [f"## {title}", _count(rows), *_explain(rows), _table(head, rows)]
    return "\n\n".join(lines) + "\n"


def _count(rows: list[dict[str, Any]]) -> str:
    counts = Counter(row["outcome"] for row in rows)
    parts = [f"{counts[name]} {words}" for name, words in _WORDS.items() if counts[name]]
    same = sum(row.get("elsewhere") == "equal" for row in rows)
    alike = f" Of those that trained, {same} have equal logits elsewhere." if same else ""
    return f"Of {len(rows)} types: {'; '.join(parts)}.{alike}"


def _explain(rows: list[dict[str, Any]]) -> list[str]:
    """A bullet for each that failed, with what the stock Trainer makes of it."""
    failed = [row for row in rows if row["outcome"] == "failed"]
    if not failed:
        return []
    bullets = [
        f"{row['type']}: {row['reason']} The stock Trainer: {row['stock']}" for row in failed
    ]
    return [markdown.bullets(bullets)]


def _table(head: str, rows: list[dict[str, Any]]) -> str:
    elsewhere = ["elsewhere"] if head == "classifier" else []
    header = ["type", "outcome", "longest text", *elsewhere, "remarks"]
    return markdown.table(header, [_line(head, row) for row in rows])


def _line(head: str, row: dict[str, Any]) -> list[str]:
    if row["outcome"] != "trained":
        empty = [""] * (2 if head == "classifier" else 1)
        return [row["type"], row["outcome"], *empty, row["reason"]]
    most = row["max_length"]
    longest = "any" if most is None else f"{most:,}"
    remarks = [*row["notes"]]
    remarks += [f"not recorded: {key} ({why})" for key, why in row["not_recorded"].items()]
    elsewhere = [row["elsewhere"]] if head == "classifier" else []
    return [row["type"], "trained", longest, *elsewhere, "; ".join(remarks)]


def main() -> None:
    """Write the page."""
    content = json.loads(OUTCOMES.read_text("utf-8"))
    PAGE.write_text(write_page(content), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
