"""The small grammar corpus of the study: who holds or rubs a dog or a cat.

The corpus is a finite language of 208 sentences, so a language model trained on it can be compared
with the truth: as every sentence is equally likely, the exact distribution of the next word is a
count over `sentences()`.

The file that the study used is not perfectly clean. It has stray spaces before some full stops, it
repeats "I hold and rub ..." where its own pattern asks for "I rub and hold ...", and it lists the
sentences of a subject in changing order. Here is the clean form, in the file's order of subjects,
so that "the first 80 % in order" still means the same subjects.
"""

import re
from collections import Counter
from itertools import product

SINGLE_SUBJECTS = ("I", "She", "He")
JOINT_SUBJECTS = ("He and I", "She and I", "She and he", "He and she")
ONE_VERB = ("hold",), ("rub",)
BOTH_VERBS = ("hold", "rub"), ("rub", "hold")
ONE_ANIMAL = "dog", "cat"
BOTH_ANIMALS = "dog and cat", "cat and dog"
ARTICLES = "a", "the"

Predicate = tuple[tuple[str, ...], str]  # verbs without ending, and their object


def sentences() -> list[str]:
    """All 208 sentences, distinct: 48 for each single subject, then 16 for each joint one.

    Alone, a person may use both verbs or meet both animals, but not both pairs in one sentence; two
    people use one verb on one animal. Each predicate comes plain and, after that, with "can".
    """
    simple = _predicates(ONE_VERB, ONE_ANIMAL)
    paired = _predicates(BOTH_VERBS, ONE_ANIMAL) + _predicates(ONE_VERB, BOTH_ANIMALS)
    return [
        _sentence(subject, can, verbs, object_)
        for subjects, predicates in ((SINGLE_SUBJECTS, simple + paired), (JOINT_SUBJECTS, simple))
        for subject in subjects
        for can in (False, True)
        for verbs, object_ in predicates
    ]


def next_words(prefix: str, train_share: float = 1.0) -> dict[str, float]:
    """The exact distribution of the word after ``prefix``, most probable first.

    Every sentence is equally likely; a full stop is a word.

    Args:
        prefix: whole words from a sentence's beginning on.
        train_share: count only the first share of the sentences, in order, which is what a
            model trained on that share of the corpus has seen; by default all.

    Returns:
        Word -> probability; empty where no sentence goes on after ``prefix``.

    Example:
        >>> next_words("He and I")
        {'can': 0.5, 'hold': 0.25, 'rub': 0.25}
    """
    given = _words(prefix)
    known = sentences()
    counts = Counter(
        words[len(given)]
        for words in map(_words, known[: int(train_share * len(known))])
        if words[: len(given)] == given and len(words) > len(given)
    )
    return {word: count / counts.total() for word, count in counts.most_common()}


def _predicates(verbs: tuple[tuple[str, ...], ...], animals: tuple[str, ...]) -> list[Predicate]:
    """Each verb with each object; the article changes fastest, as in the study's file."""
    return [
        (verb, f"{article} {animal}") for verb, animal, article in product(verbs, animals, ARTICLES)
    ]


def _sentence(subject: str, can: bool, verbs: tuple[str, ...], object_: str) -> str:
    """The verb takes -s after She or He alone, never after "can"."""
    ending = "s" if subject in ("She", "He") and not can else ""
    verb_phrase = " and ".join(verb + ending for verb in verbs)
    return f"{subject} {'can ' if can else ''}{verb_phrase} {object_}."


def _words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)
