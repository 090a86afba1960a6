"""Write the task's own unlabelled text: SST-2's train sentences that the study did not take.

python recipes/study/unlabelled.py

They go to corpora/sst2_unlabelled.txt beside this script, one in a line, without any that gives
away an example on which a model is evaluated. Of SST-2 these are the official validation sentences,
which are the test here, and the first 1,200 train sentences, of which the validation examples are
taken; of Rotten Tomatoes, from whose sentences SST-2 was made, its validation and test sentences;
of TREC all questions. SST-2's train split has sentences and their parts side by side, so that most
of what is left out is a part of another.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import datasets

from hfbench.cli.script import exit_on_user_error
from hfbench.data.contamination import count_overlaps
from hfbench.errors import UserError
from hfbench.records.data import RUN

DATASET = ("nyu-mll/glue", "sst2")
OTHERS = {
    "cornell-movie-review-data/rotten_tomatoes": ("validation", "test"),
    "CogComp/trec": ("train", "test"),
}
"""The other tasks of study.yaml: the splits of which examples are evaluated."""
FIRST = 1200
"""Sentences of the train split that the task takes."""
OUTPUT = Path(__file__).with_name("corpora") / "sst2_unlabelled.txt"

SAME, SHARED = "the same letters", f"{RUN} words in a row"


def main() -> None:
    """Load the data, leave out what is evaluated, check what is left, and write it.

    Raises:
        UserError: if by hfbench's own measure an evaluation sentence is still there.
    """
    data = datasets.load_dataset(*DATASET)
    train = [sentence.strip() for sentence in data["train"]["sentence"][:]]
    test = [sentence.strip() for sentence in data["validation"]["sentence"][:]]
    evaluated = {"the test": test, f"the first {FIRST:,}": train[:FIRST]}
    for name, splits in OTHERS.items():
        other = datasets.load_dataset(name)
        evaluated[name] = [text.strip() for split in splits for text in other[split]["text"][:]]
    kept, left_out = leave_out(train[FIRST:], evaluated)
    check(kept, evaluated)
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text("".join(f"{sentence}\n" for sentence in kept), encoding="utf-8")
    print(f"{len(kept):,} of {len(train) - FIRST:,} sentences are in {OUTPUT}; left out:")
    for (reason, part), number in sorted(left_out.items()):
        print(f"  {number:,} with {reason} as a sentence of {part}")


def leave_out(
    sentences: Iterable[str], evaluated: Mapping[str, Sequence[str]]
) -> tuple[list[str], Counter[tuple[str, str]]]:
    """The sentences that give nothing of ``evaluated`` away, and how many others do.

    One does that has the same letters and digits, or a run of words in common of the length by
    which hfbench measures contamination. By that measure, one such run is seldom enough.

    Returns:
        The sentences, and for each reason and part of ``evaluated`` the number of others.
    """
    texts: dict[str, str] = {}
    runs: dict[tuple[str, ...], str] = {}
    for part, evaluation_texts in reversed([*evaluated.items()]):  # the first part wins
        for words in map(_words, evaluation_texts):
            texts["".join(words)] = part
            runs |= dict.fromkeys(_runs(words), part)
    kept, left_out = [], Counter[tuple[str, str]]()
    for sentence in sentences:
        words = _words(sentence)
        letters = "".join(words)
        if letters in texts:
            left_out[SAME, texts[letters]] += 1
        elif parts := {runs[run] for run in _runs(words) if run in runs}:
            left_out[SHARED, next(part for part in evaluated if part in parts)] += 1
        else:
            kept.append(sentence)
    return kept, left_out


def check(sentences: Iterable[str], evaluated: Mapping[str, Sequence[str]]) -> None:
    """Ask hfbench's own measure, too.

    Raises:
        UserError: if it finds a text of ``evaluated`` among ``sentences``.
    """
    for part, overlap in count_overlaps(sentences, evaluated).items():
        if overlap.exact or overlap.near:
            raise UserError(
                f"of {part} {overlap.exact} sentences are among those that are left, and "
                f"{overlap.near} nearly"
            )


def _words(text: str) -> tuple[str, ...]:
    """What white space and punctuation leave, as the measure has it; else the text as it is."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = (" " if unicodedata.category(char)[0] in "PZC" else char for char in folded)
    return tuple("".join(kept).split() or folded.split())


def _runs(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(RUN)), strict=False)


if __name__ == "__main__":
    with exit_on_user_error():
        main()
