"""How many evaluation examples a model could have seen in training, counted by their texts.

The field counts runs of n words (or tokens) that training and evaluation texts share: GPT-3 takes n
between 8 and 13 and any run (Brown et al. 2020, appendix C), PaLM 8 and 70 % of a text's runs
(Chowdhery et al. 2022, section 8), Llama 2 the share of a text's tokens that lie in shared runs, 80
% of them being dirty (Touvron et al. 2023, A.6), Llama 3 such tokens with n = 8 (Dubey et al. 2024,
section 5.1.4, after Singh et al. 2024). Here a text is

- *exact*, if a training text has the same letters and digits in the same order: case, accents'
  encoding, punctuation and white space do not count;
- *near*, if it is not exact and at least `NEAR_SHARE` of its words lie in runs of `RUN` words that
  occur in training texts: Llama's measure. The share of words and not of runs, because one changed
  word in the middle of a sentence of 16 breaks 8 of its 9 runs; in words and not in tokens, because
  models differ in their tokens.

A text of fewer than `RUN` words can only be exact. A smaller `RUN` would leave fewer of them (SST-2
has 11 % in its validation split), but finds templates: with 5, 19 of TREC's 500 test questions are
near, as "What is the capital of Mongolia?" is; with 8, none. SST-2's validation sentences come from
Rotten Tomatoes: of the 872, this finds 815 there; in ten novels, the word "bad".

Words are what white space and punctuation leave, so that of a language without spaces only exact
duplicates are found.

Of pairs each text is looked for alone, too: one that stands in training beside another text, as a
premise with each of its hypotheses, is no copy of an example, and yet it gives its label away.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
from datasets import Dataset

from hfbench.data.tables import texts_of
from hfbench.data.texts import in_batches
from hfbench.records.data import NEAR_SHARE, RUN, Overlap


class _Separators(dict[int, int]):
    """Table for `str.translate`: a space for each character that separates words."""

    def __missing__(self, code: int) -> int:
        separates = unicodedata.category(chr(code))[0] in "PZC"
        self[code] = ord(" ") if separates else code
        return self[code]


_SEPARATORS = _Separators()
_POWERS = np.array([pow(0x9E3779B97F4A7C15, k, 1 << 64) for k in range(RUN)], np.uint64)
"""By which the hashes of a run's words are multiplied, so that their order counts."""
_PARTS = 16  # in which many hashes are sorted, to have little beside them in memory


@dataclass(frozen=True)
class _Hashed:
    """Some texts as numbers of 64 bits, which take a tenth of the memory of their words.

    Of a billion different texts or runs two have the same number with a chance of 3 %.
    """

    texts: np.ndarray
    """Hash of each text's letters, shape (texts,)."""
    lengths: np.ndarray
    """Words of each text, shape (texts,)."""
    runs: np.ndarray
    """Hash of each run of `RUN` words, text after text, shape (runs,)."""

    @property
    def run_counts(self) -> np.ndarray:
        """Runs of each text, shape (texts,)."""
        return np.maximum(self.lengths - RUN + 1, 0)

    def covered(self, known: np.ndarray) -> np.ndarray:
        """The share of each text's words that lie in a known run, shape (texts,).

        Args:
            known: of each run whether it is, shape (runs,).
        """
        text = np.repeat(np.arange(len(self.lengths)), self.run_counts)[known]
        first_run = np.cumsum(self.run_counts) - self.run_counts
        first_word = np.cumsum(self.lengths) - self.lengths
        starts = np.flatnonzero(known) - first_run[text] + first_word[text]
        changes = np.zeros(self.lengths.sum() + 1, np.int64)
        np.add.at(changes, starts, 1)
        np.add.at(changes, starts + RUN, -1)
        before = np.concatenate([[0], np.cumsum(np.cumsum(changes[:-1]) > 0)])
        covered = before[first_word + self.lengths] - before[first_word]
        return covered / np.maximum(self.lengths, 1)


def count_task_overlaps(
    splits: Mapping[str, Dataset], groups: Mapping[str, np.ndarray] | None = None
) -> dict[str, Overlap]:
    """Of each split but ``train``: how many examples are in ``train``, too.

    Args:
        splits: with standard columns.
        groups: split -> the group of each row, shape (rows,), where rows have one.
    """
    counts = count_overlaps(_texts(splits["train"]), _evaluation_texts(splits))
    return {
        role: found.model_copy(
            update={
                "parts": _count_parts(splits["train"], splits[role]),
                "groups": int(np.isin(groups[role], groups["train"]).sum()) if groups else None,
            }
        )
        for role, found in counts.items()
    }


def _count_parts(train: Dataset, split: Dataset) -> dict[str, int] | None:
    """Of pairs: column -> examples whose text is that of a training example, but not the pair."""
    if "text_pair" not in split.column_names:
        return None
    trained, evaluated = _letters_of_pairs(train), _letters_of_pairs(split)
    others = ~np.isin(_as_one(evaluated), _as_one(trained))
    return {
        name: int((others & np.isin(evaluated[:, place], trained[:, place])).sum())
        for place, name in enumerate(("text", "text_pair"))
    }


def _letters_of_pairs(split: Dataset) -> np.ndarray:
    """Hashes of both texts' letters, shape (rows, 2)."""
    columns = [hashed.texts for hashed in _hashed(chain.from_iterable(texts_of(split)))]
    return np.concatenate(columns).reshape(-1, 2)


def _as_one(pairs: np.ndarray) -> np.ndarray:
    """A hash of each row."""
    return pairs[:, 0] + _POWERS[1] * pairs[:, 1]


def count_corpus_overlaps(
    corpus: Iterable[str], splits: Mapping[str, Dataset]
) -> dict[str, Overlap]:
    """Of each split but ``train``: how many examples are in the texts of ``corpus``, too."""
    return count_overlaps(corpus, _evaluation_texts(splits))


def count_overlaps(
    train_texts: Iterable[str], evaluations: Mapping[str, Iterable[str]]
) -> dict[str, Overlap]:
    """Split -> how many of its texts are exact or near; all texts are read once.

    Memory does not grow with ``train_texts``, if they are an iterator.
    """
    splits = {split: _joined(_hashed(texts)) for split, texts in evaluations.items()}
    texts = np.unique(np.concatenate([each.texts for each in splits.values()] or [_none()]))
    runs = np.unique(np.concatenate([each.runs for each in splits.values()] or [_none()]))
    texts_seen, runs_seen = np.zeros(len(texts), bool), np.zeros(len(runs), bool)
    for hashed in _hashed(train_texts):
        _mark(texts_seen, texts, hashed.texts)
        _mark(runs_seen, runs, hashed.runs)
    return {
        split: _overlap(
            hashed,
            np.isin(hashed.texts, texts[texts_seen]),
            np.isin(hashed.runs, runs[runs_seen]),
        )
        for split, hashed in splits.items()
    }


def _mark(seen: np.ndarray, wanted: np.ndarray, hashes: np.ndarray) -> None:
    """Say of each of ``wanted``, which are sorted, that it is among ``hashes``."""
    if len(wanted):
        hashes = np.unique(hashes)  # sorted numbers are looked up in a third of the time
        places = np.minimum(np.searchsorted(wanted, hashes), len(wanted) - 1)
        seen[places[wanted[places] == hashes]] = True


def _overlap(hashed: _Hashed, exact: np.ndarray, runs_known: np.ndarray) -> Overlap:
    """Of texts of which, and of whose runs, it is known which stand elsewhere, too."""
    near = hashed.covered(runs_known) >= NEAR_SHARE
    return Overlap(
        examples=len(hashed.texts),
        exact=int(exact.sum()),
        near=int((near & ~exact).sum()),
        short=int((hashed.lengths < RUN).sum()),
    )


def count_repetitions(texts: Iterable[str]) -> Overlap:
    """How many of ``texts`` are exact or near to those before them."""
    hashed = _joined(_hashed(texts))
    numbers = np.arange(len(hashed.texts), dtype=np.int32)
    exact = _stood_before(hashed.texts, numbers)
    runs_known = _stood_before(hashed.runs, np.repeat(numbers, hashed.run_counts))
    return _overlap(hashed, exact, runs_known)


def _stood_before(hashes: np.ndarray, text: np.ndarray) -> np.ndarray:
    """Of each hash whether a text before its own has the same, shape (hashes,).

    Args:
        hashes: shape (hashes,).
        text: the number of the text of each, which grows, shape (hashes,).
    """
    known = np.zeros(len(hashes), bool)
    parts = hashes.astype(np.uint8) % _PARTS
    for part in range(_PARTS):
        places = np.flatnonzero(parts == part)
        _, first, inverse = np.unique(hashes[places], return_index=True, return_inverse=True)
        known[places] = text[places[first[inverse]]] < text[places]
    return known


def _evaluation_texts(splits: Mapping[str, Dataset]) -> dict[str, Iterator[str]]:
    return {split: _texts(data) for split, data in splits.items() if split != "train"}


def _texts(split: Dataset) -> Iterator[str]:
    """A pair of texts is one text."""
    return map(" ".join, texts_of(split))


def _hashed(texts: Iterable[str]) -> Iterator[_Hashed]:
    """Some texts at a time."""
    for batch in in_batches(texts):
        words = list(map(_words, batch))
        lengths = np.array([len(each) for each in words])
        hashes = np.fromiter(map(hash, chain.from_iterable(words)), np.int64).view(np.uint64)
        counts = np.maximum(lengths - RUN + 1, 0)
        # where the k-th run of a text starts among all words: its first word, and k more
        first = np.repeat(np.cumsum(lengths) - lengths, counts)
        starts = first + np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        runs = np.zeros(len(starts), np.uint64)
        for place, power in enumerate(_POWERS):
            runs += hashes[starts + place] * power
        texts_as_one = np.array([hash("".join(each)) for each in words]).view(np.uint64)
        yield _Hashed(texts_as_one, lengths, runs)


def _joined(batches: Iterable[_Hashed]) -> _Hashed:
    every = list(batches) or [_Hashed(_none(), np.zeros(0, np.int64), _none())]
    return _Hashed(
        np.concatenate([each.texts for each in every]),
        np.concatenate([each.lengths for each in every]),
        np.concatenate([each.runs for each in every]),
    )


def _none() -> np.ndarray:
    return np.zeros(0, np.uint64)


def letters(text: str) -> str:
    """The letters and digits by which a text is known again, see above."""
    return "".join(_words(text))


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    # a text of punctuation alone is its own word: "?!" is no duplicate of "..."
    return folded.translate(_SEPARATORS).split() or folded.split()
