"""A corpus of the recipe -> texts for language-model pretraining, in two parts."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import datasets

from hfbench.data import pets, sentiment
from hfbench.data.hub import resolve_revision, user_errors
from hfbench.errors import UserError, nearest
from hfbench.recipe import Corpus
from hfbench.record import CorpusData

# A sentence ends at . ! or ? (and a closing quote or bracket) before white space and a capital,
# digit or opening quote; the blank line of a paragraph or heading ends one, too. Abbreviations
# before a name ("Mr. Smith") are cut wrongly.
_OPENING = r"""(?=['"(\[\u2018\u201c]*[A-Z0-9])"""
_SENTENCE_END = re.compile(
    rf"""(?<=[.!?])\s+{_OPENING}|(?<=[.!?]['")\]\u2019\u201d])\s+{_OPENING}|\n\s*\n"""
)


@dataclass(frozen=True)
class LoadedCorpus:
    """Texts of both parts, and what the record says of them."""

    texts: dict[str, list[str]]
    facts: CorpusData


def load_corpus(corpus: Corpus, folder: Path, key: str) -> LoadedCorpus:
    """Load and cut the texts; the first ``train_share``, in order, is the train part.

    With ``cut: blocks`` a text is a row here; it is cut in tokens after tokenising.

    Raises:
        UserError: naming ``key``, if the text cannot be had or is too little.
    """
    revision = resolve_revision(corpus.dataset_name, corpus.revision, "dataset", key)
    rows, source = _load_rows(corpus, folder, revision, key)
    texts = rows
    if corpus.cut == "sentences":
        texts = [sentence for row in rows for sentence in split_sentences(row)]
    texts = [text.strip() for text in texts if text.strip()][: corpus.first]
    train_size = int(len(texts) * corpus.train_share)
    if not 0 < train_size < len(texts):
        raise UserError(f"{key}: {source} gives {len(texts)} {corpus.cut}: too few for two parts")
    parts = {"train": texts[:train_size], "validation": texts[train_size:]}
    facts = CorpusData(
        source=source,
        revision=revision,
        examples={part: len(items) for part, items in parts.items()},
        content_hash={part: _hash_texts(items) for part, items in parts.items()},
    )
    return LoadedCorpus(parts, facts)


def split_sentences(text: str) -> list[str]:
    """Sentences of English text by punctuation and capitals; white space within becomes a space."""
    return [" ".join(part.split()) for part in _SENTENCE_END.split(text) if part.strip()]


def _load_rows(
    corpus: Corpus, folder: Path, revision: str | None, key: str
) -> tuple[list[str], str]:
    if corpus.builtin == "pets":
        return pets.sentences(), "built-in pets"
    if corpus.builtin == "sentiment-unlabelled":
        return sentiment.unlabelled(), "built-in sentiment-unlabelled"
    if corpus.text_file:
        path = folder / corpus.text_file
        with user_errors(f"{key}.text_file: {path}"):
            text = path.read_text("utf-8")
        return ([text] if corpus.cut == "sentences" else text.splitlines()), path.name
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
    return [row for row in data[corpus.text_column] if row], source


def _hash_texts(texts: list[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()
