"""A corpus of the recipe -> texts for language-model pretraining, in two parts.

It is read, cut and stored piece by piece, so that it may be larger than memory.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import datasets

from hfbench.data.builtin import pets, sentiment
from hfbench.data.texts import store_texts
from hfbench.errors import UserError, nearest
from hfbench.recipe.model import Corpus
from hfbench.records.data import CorpusData
from hfbench.system.hashes import hash_texts
from hfbench.system.hub import resolve_revision, user_errors

# A sentence ends at . ! or ? (and a closing quote or bracket) before white space and a capital,
# digit or opening quote; the blank line of a paragraph or heading ends one, too. Abbreviations
# before a name ("Mr. Smith") are cut wrongly.
_MARKS = "'\"([\u2018\u201c"  # that open
_OPENING = rf"(?=[{re.escape(_MARKS)}]*[A-Z0-9])"
_SENTENCE_END = re.compile(
    rf"""(?<=[.!?])\s+{_OPENING}|(?<=[.!?]['")\]\u2019\u201d])\s+{_OPENING}|\n\s*\n"""
)
_PIECE = 1 << 20  # characters of a file that are read at a time


@dataclass(frozen=True)
class LoadedCorpus:
    """Texts of both parts, and what the record says of them."""

    texts: dict[str, Sequence[str]]
    """They are on the disk; to go through them needs no memory to speak of."""
    facts: CorpusData


def load_corpus(corpus: Corpus, folder: Path, key: str) -> LoadedCorpus:
    """Load and cut the texts; the first ``train_share``, in order, is the train part.

    With ``cut: blocks`` a text is a row here; it is cut in tokens after tokenising.

    Raises:
        UserError: naming ``key``, if the text cannot be had or is too little.
        StorageError: if it cannot be stored.
    """
    revision = resolve_revision(corpus.dataset_name, corpus.revision, "dataset", key)
    rows, source = _open_rows(corpus, folder, revision, key)
    texts = (text for row in rows for text in _cut(row, corpus) if text)
    stored = store_texts(islice(texts, corpus.first))
    train_size = int(len(stored) * corpus.train_share)
    if not 0 < train_size < len(stored):
        raise UserError(f"{key}: {source} gives {len(stored)} {corpus.cut}: too few for two parts")
    parts = dict(zip(("train", "validation"), stored.split(train_size), strict=True))
    facts = CorpusData(
        source=source,
        revision=revision,
        examples={part: len(items) for part, items in parts.items()},
        content_hash={part: hash_texts(items) for part, items in parts.items()},
    )
    return LoadedCorpus({**parts}, facts)


def cut_sentences(pieces: Iterable[str]) -> Iterator[str]:
    """Sentences of an English text by punctuation and capitals; white space becomes a space.

    The text comes in pieces, each of which may end anywhere.
    """
    rest, searched = "", 0
    for piece in pieces:
        rest += piece
        begin = 0
        # whether white space ends a sentence depends on what follows it and opening marks
        decided = len(rest.rstrip(_MARKS).rstrip())
        for end in _SENTENCE_END.finditer(rest, searched):
            if end.start() >= decided:
                break
            yield _in_one_line(rest[begin : end.start()])
            begin = end.end()
        rest, searched = rest[begin:], decided - begin
    for sentence in _SENTENCE_END.split(rest):
        yield _in_one_line(sentence)


def _in_one_line(text: str) -> str:
    return " ".join(text.split())


def _cut(pieces: Iterable[str], corpus: Corpus) -> Iterator[str]:
    """The texts of a row of the source; some may be empty."""
    if corpus.cut == "sentences":
        yield from cut_sentences(pieces)
    else:
        yield "".join(pieces).strip()


def _open_rows(
    corpus: Corpus, folder: Path, revision: str | None, key: str
) -> tuple[Iterable[Iterable[str]], str]:
    """The rows of the source, each in pieces, and its name."""
    if corpus.builtin == "pets":
        return ([text] for text in pets.sentences()), "built-in pets"
    if corpus.builtin == "sentiment-unlabelled":
        return ([text] for text in sentiment.unlabelled()), "built-in sentiment-unlabelled"
    rows: Iterable[Iterable[str]]
    if corpus.text_file:
        path = folder / corpus.text_file
        what = f"{key}.text_file: {path}"
        rows = [_read(path, what)] if corpus.cut == "sentences" else _read_lines(path, what)
        return rows, path.name
    assert corpus.dataset_name is not None
    source = corpus.dataset_name + (f" ({corpus.dataset_config})" if corpus.dataset_config else "")
    with user_errors(f"{key}.dataset_name: {source}"):
        data = datasets.load_dataset(
            corpus.dataset_name, corpus.dataset_config, revision=revision, split=corpus.split
        )
    if corpus.text_column not in data.column_names:
        raise UserError(
            f"{key}.text_column: split {corpus.split!r} of {source} has no column "
            f"{corpus.text_column!r}{nearest(corpus.text_column, data.column_names)} "
            f"(columns: {', '.join(data.column_names)})"
        )
    if data.features[corpus.text_column].dtype not in ("string", "large_string"):
        raise UserError(
            f"{key}.text_column: column {corpus.text_column!r} of {source} holds "
            f"{data.features[corpus.text_column].dtype}, not text"
        )
    return ([text] for text in _column(data, corpus.text_column) if text), source


def _read(path: Path, what: str) -> Iterator[str]:
    with user_errors(what), path.open(encoding="utf-8") as file:
        while piece := file.read(_PIECE):
            yield piece


def _read_lines(path: Path, what: str) -> Iterator[list[str]]:
    with user_errors(what), path.open(encoding="utf-8") as file:
        for line in file:
            for row in line.splitlines():  # a form feed, for one, ends a row, too
                yield [row]


def _column(data: datasets.Dataset, name: str) -> Iterator[str | None]:
    for batch in data.select_columns(name).with_format("arrow").iter(1000):
        yield from batch[name].to_pylist()
