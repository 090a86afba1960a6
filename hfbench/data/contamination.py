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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

import numpy as np

from hfbench.records.schema import NEAR_SHARE, RUN, Overlap

if TYPE_CHECKING:
    from datasets import Dataset  # a table is written without it


_Words = tuple[str, ...]


class _Separators(dict[int, int]):
    """Table for `str.translate`: a space for each character that separates words."""

    def __missing__(self, code: int) -> int:
        separates = unicodedata.category(chr(code))[0] in "PZC"
        self[code] = ord(" ") if separates else code
        return self[code]


_SEPARATORS = _Separators()


def count_task_overlaps(
    splits: Mapping[str, "Dataset"], groups: Mapping[str, np.ndarray] | None = None
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


def _count_parts(train: "Dataset", split: "Dataset") -> dict[str, int] | None:
    """Of pairs: column -> examples whose text is that of a training example, but not the pair."""
    if "text_pair" not in split.column_names:
        return None
    trained, evaluated = (
        {name: ["".join(_words(text)) for text in data[name][:]] for name in ("text", "text_pair")}
        for data in (train, split)
    )
    pairs = set(zip(*trained.values(), strict=True))
    others = [pair not in pairs for pair in zip(*evaluated.values(), strict=True)]
    counts = {}
    for name, texts in evaluated.items():
        known = set(trained[name])
        counts[name] = sum(
            other and text in known for other, text in zip(others, texts, strict=True)
        )
    return counts


def count_corpus_overlaps(
    corpus: Iterable[str], splits: Mapping[str, "Dataset"]
) -> dict[str, Overlap]:
    """Of each split but ``train``: how many examples are in the texts of ``corpus``, too."""
    return count_overlaps(corpus, _evaluation_texts(splits))


def count_overlaps(
    train_texts: Iterable[str], evaluations: Mapping[str, Sequence[str]]
) -> dict[str, Overlap]:
    """Split -> how many of its texts are exact or near; ``train_texts`` are read once.

    Memory does not grow with ``train_texts``, if they are an iterator.
    """
    splits = {split: [_words(text) for text in texts] for split, texts in evaluations.items()}
    texts, runs = _seen(train_texts, list(chain(*splits.values())))
    return {split: _count(words, texts, runs) for split, words in splits.items()}


def _evaluation_texts(splits: Mapping[str, "Dataset"]) -> dict[str, list[str]]:
    return {split: _texts(data) for split, data in splits.items() if split != "train"}


def _texts(data: "Dataset") -> list[str]:
    """A pair of texts is one text."""
    columns = [data[name][:] for name in ("text", "text_pair") if name in data.column_names]
    return [" ".join(parts) for parts in zip(*columns, strict=True)]


def _words(text: str) -> _Words:
    folded = unicodedata.normalize("NFKC", text).casefold()
    # a text of punctuation alone is its own word: "?!" is no duplicate of "..."
    return tuple(folded.translate(_SEPARATORS).split() or folded.split())


def _runs(words: _Words) -> Iterator[_Words]:
    return zip(*(islice(words, start, None) for start in range(RUN)), strict=False)


def _seen(train_texts: Iterable[str], wanted: Sequence[_Words]) -> tuple[set[str], set[_Words]]:
    """What ``train_texts`` have of the ``wanted`` texts (their letters) and of their runs."""
    wanted_texts = {"".join(words) for words in wanted}
    wanted_runs = {run for words in wanted for run in _runs(words)}
    texts: set[str] = set()
    runs: set[_Words] = set()
    for words in map(_words, train_texts):
        texts.update(wanted_texts & {"".join(words)})
        runs.update(wanted_runs.intersection(_runs(words)))
    return texts, runs


def _count(evaluated: Sequence[_Words], texts: set[str], runs: set[_Words]) -> Overlap:
    others = [words for words in evaluated if "".join(words) not in texts]
    return Overlap(
        examples=len(evaluated),
        exact=len(evaluated) - len(others),
        near=sum(_covered(words, runs) >= NEAR_SHARE for words in others),
        short=sum(len(words) < RUN for words in evaluated),
    )


def _covered(words: _Words, runs: set[_Words]) -> float:
    """The share of ``words`` that lie in one of ``runs``."""
    starts = (start for start, run in enumerate(_runs(words)) if run in runs)
    covered = {place for start in starts for place in range(start, start + RUN)}
    return len(covered) / len(words)


def count_repetitions(texts: Iterable[str]) -> Overlap:
    """How many of ``texts`` are exact or near to those before them."""
    seen, runs = set[str](), set[int]()
    examples = exact = near = short = 0
    for words in map(_words, texts):
        own = [hash(run) for run in _runs(words)]  # numbers: of long texts, runs fill the memory
        examples, short = examples + 1, short + (len(words) < RUN)
        if (same := "".join(words)) in seen:
            exact += 1
        else:
            starts = (start for start, run in enumerate(own) if run in runs)
            covered = {place for start in starts for place in range(start, start + RUN)}
            near += len(covered) >= NEAR_SHARE * len(words)
        seen.add(same)
        runs.update(own)
    return Overlap(examples=examples, exact=exact, near=near, short=short)
