"""Generations as tables, a column for each generated token: terminal, Markdown, CSV."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from hfbench.system.files import atomic, make_folder

if TYPE_CHECKING:
    from hfbench.generation.generate import Candidate, Generation
    from hfbench.generation.next_words import NextWords

RAW = (
    "Probabilities are raw: the softmax of the model's logits, before temperature, top-k or top-p."
)
_TOKEN = 14
"""Columns of the terminal that a token's text may take."""
_WHITE_SPACE = {"\n": "↵", "\t": "→"}


def visible(text: str, space: str = "·") -> str:
    r"""``text`` on one line with its white space shown; control characters become escapes.

    Example:
        >>> visible(" the\n")
        '·the↵'
    """
    shown = {**_WHITE_SPACE, " ": space}
    return "".join(
        shown.get(char) or (char if char.isprintable() else ascii(char)[1:-1]) for char in text
    )


def token_text(candidate: "Candidate") -> str:
    """A token for people; one that stands for no text by its number."""
    return visible(candidate.text) or f"#{candidate.token_id}"


def print_generations(
    generations: "Sequence[Generation]",
    console: Console,
    next_words: "Sequence[NextWords]" = (),
) -> None:
    """Each continuation with its table, in blocks of as many columns as the console is wide for.

    ``next_words`` are printed below, if there are any.
    """
    for generation in generations:
        text = Text.assemble(
            (visible(generation.prompt, " "), "bold"), visible(generation.continuation, " ")
        )
        console.print(text)
        console.print()
        for block in _blocks(generation, console.width):
            console.print(Text(block, no_wrap=True))
            console.print()
    for words in next_words:
        console.print(Text(f"{_next_words_title(words)}\n"))
        for line in _next_words_lines(words):
            console.print(Text("  {:<6} {:>7} {:>7}".format(*line)))
        console.print()
    console.print(Text(RAW))


def write_generations(
    generations: "Sequence[Generation]", folder: Path, next_words: "Sequence[NextWords]" = ()
) -> list[Path]:
    """Write generation.md and generation.csv to ``folder``, which is made if need be."""
    make_folder(folder)
    files = {
        folder / "generation.md": as_markdown(generations, next_words),
        folder / "generation.csv": as_csv(generations),
    }
    for path, text in files.items():
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
    return list(files)


def as_markdown(generations: "Sequence[Generation]", next_words: "Sequence[NextWords]" = ()) -> str:
    """A table for each generation: the chosen tokens at the head, the most probable below."""
    parts = [RAW]
    for generation in generations:
        prompt, continuation = (
            _escape(visible(text, " ")) for text in (generation.prompt, generation.continuation)
        )
        columns = [
            [str(position), *(f"{_escape(token)} {p:.3f}" for token, p in column)]
            for position, column in enumerate(_columns(generation), 1)
        ]
        names = ["", "chosen", *(str(rank) for rank in range(1, len(columns[0]) - 1))]
        lines = [list(line) for line in zip(names, *columns, strict=True)]
        parts += [f"**{prompt}**{continuation}", _markdown_table(lines)]
    for words in next_words:
        parts += [_escape(_next_words_title(words)), _markdown_table(_next_words_lines(words))]
    return "\n\n".join(parts) + "\n"


def as_csv(generations: "Sequence[Generation]") -> str:
    """A line for each of the most probable tokens of each position, with text and numbers as is.

    A chosen token that is not among them has a line without a rank.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["prompt", "position", "rank", "token_id", "token", "probability", "chosen"])
    for generation in generations:
        for position, step in enumerate(generation.steps, 1):
            lines: list[tuple[int | str, Candidate]] = list(enumerate(step.top, 1))
            if all(found.token_id != step.chosen.token_id for found in step.top):
                lines.append(("", step.chosen))
            for rank, found in lines:
                is_chosen = int(found.token_id == step.chosen.token_id)
                values = [rank, found.token_id, found.text, found.probability, is_chosen]
                writer.writerow([generation.prompt, position, *values])
    return text.getvalue()


def _columns(generation: "Generation") -> list[list[tuple[str, float]]]:
    """For each step the token and probability of the chosen one and then of the best."""
    return [
        [(token_text(found), found.probability) for found in (step.chosen, *step.top)]
        for step in generation.steps
    ]


def _blocks(generation: "Generation", width: int) -> Iterator[str]:
    """The table in blocks that are at most ``width`` wide, a column at the least."""
    top = len(generation.steps[0].top)
    names = [f"{name:<6}" for name in ("", "chosen", *range(1, top + 1))]
    block = names
    for position, column in enumerate(_columns(generation), 1):
        cells = _pad_column(position, column)
        if block is not names and cell_len(block[0]) + 2 + cell_len(cells[0]) > width:
            yield _join(block)
            block = names
        block = [f"{line}  {cell}" for line, cell in zip(block, cells, strict=True)]
    yield _join(block)


def _join(lines: list[str]) -> str:
    return "\n".join(line.rstrip() for line in lines)


def _pad_column(position: int, column: list[tuple[str, float]]) -> list[str]:
    """The cells of a column, all equally wide, below their position."""
    tokens = [
        token if cell_len(token) <= _TOKEN else f"{set_cell_size(token, _TOKEN - 1)}…"
        for token, _ in column
    ]
    width = max(map(cell_len, tokens))
    cells = [
        f"{set_cell_size(token, width)} {p:.3f}"
        for token, (_, p) in zip(tokens, column, strict=True)
    ]
    return [f"{position:<{width + 6}}", *cells]


def _next_words_title(words: "NextWords") -> str:
    return (
        f'The next word after "{visible(words.prompt, " ")}", over all sentences of the grammar '
        f"and by the model; KL divergence {words.kl_divergence:.4f} nats"
    )


def _next_words_lines(words: "NextWords") -> list[list[str]]:
    lines = [
        [word, f"{share:.3f}", f"{words.model[word]:.3f}"] for word, share in words.grammar.items()
    ]
    return [["word", "grammar", "model"], *lines]


def _escape(text: str) -> str:
    """``text`` without a meaning in Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>|&~$#!])", r"\\\1", text)


def _markdown_table(lines: list[list[str]]) -> str:
    rule = ["---"] * len(lines[0])
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])
