"""A synthetic sentiment task: reviews of films, gadgets and meals, written by a grammar.

No text here was written by a reviewer. The task exists so that the default recipe runs without a
network and still tells models apart: a sentence's sentiment is composed from its parts, so that
counting words is not enough, and the grammar knows the answer. Its rules, each a table below:

- a quality has a sign and a strength; a degree ("very", "somewhat") changes the strength;
- a frame says the quality of an aspect, or denies it: "soon stopped being funny" against "never
  stops being funny", "nobody could call it dull" against "nobody could deny that it is dull";
- of two opposed clauses joined by contrast ("but", "although", "despite") one wins outright;
- two clauses joined by "and" or "while" are added up: the stronger wins;
- fillers say nothing.

The label is the sign of the score, and then, as an annotator errs, the other one for `NOISE` of the
examples: about 95 % is the best that any model can reach, but for luck. In the test split
of seed 0 it is 94.3 %.

Everything follows from the seed, byte for byte on each version of Python: the only random source is
`random.Random(seed).random()`, whose sequence Python guarantees.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

LABELS = ("negative", "positive")
SIZES = {"train": 3000, "validation": 500, "test": 1500}
POSITIVE_SHARE = 0.545  # of each split, noise included: "always positive" is a floor above one half
NOISE = 0.05  # fraction of the labels that contradict the text


def _words(line: str) -> tuple[str, ...]:
    return tuple(line.split())


# A sentence keeps to one domain.
ASPECTS = {
    "film": _words(
        "plot acting soundtrack dialogue ending script cast pacing humour lighting opening editing "
        "story finale scenery costume narration romance villain trailer"
    ),
    "gadget": _words(
        "battery screen handle lid motor cable manual keyboard speaker strap remote casing charger "
        "camera button hinge display sensor stand packaging"
    ),
    "meal": _words(
        "soup bread coffee dessert sauce salad pasta cheese cake rice fish steak pie curry chicken "
        "omelette gravy pudding stew pizza"
    ),
}
# Pairs (negative, positive), in the order of LABELS. "any" goes with each domain.
MILD = {
    "any": (
        _words("bad poor disappointing mediocre unpleasant annoying"),
        _words("good nice pleasant decent lovely likeable"),
    ),
    "film": (_words("dull predictable wooden tedious"), _words("clever funny gripping touching")),
    "gadget": (_words("flimsy slow clumsy noisy"), _words("sturdy quick handy reliable")),
    "meal": (_words("stale bland greasy soggy"), _words("fresh tasty fragrant tender")),
}
STRONG = (
    _words("awful dreadful terrible horrible disastrous appalling"),
    _words("superb wonderful brilliant excellent perfect delightful"),
)
DEGREES = {"very": 1.5, "really": 1.5, "remarkably": 1.5, "fairly": 0.5, "somewhat": 0.5}

STRENGTH = {
    word: strength * sign
    for words, strength in [*((pair, 1.0) for pair in MILD.values()), (STRONG, 2.0)]
    for sign, group in zip((-1, 1), words, strict=True)
    for word in group
}

# A frame's number multiplies the score of its qualities. A denial is weaker than what it denies
# ("not pleasant" is milder than "unpleasant") unless it is emphatic ("anything but"). AFFIRMING
# holds denying words that deny nothing, so that such a word does not decide either.
PLAIN = {
    "the {aspect} is {quality}": 1.0,
    "the {aspect} seemed {quality}": 1.0,
    "i found the {aspect} {quality}": 1.0,
    "everyone called the {aspect} {quality}": 1.0,
}
AFFIRMING = {
    "the {aspect} never stops being {quality}": 1.5,
    "the {aspect} is not only {quality} but also {second}": 1.0,
    "nobody could deny that the {aspect} is {quality}": 1.0,
}
DENYING = {
    "the {aspect} soon stopped being {quality}": -0.5,
    "the {aspect} is not {quality}": -0.5,
    "nobody could call the {aspect} {quality}": -0.5,
    "i do not think that the {aspect} is {quality}": -0.5,
    "the {aspect} is hardly {quality}": -0.5,
    "the {aspect} is anything but {quality}": -1.0,
}
NOUN_PHRASE = {"the {quality} {aspect}": 1.0}
FRAMES = PLAIN | AFFIRMING | DENYING | NOUN_PHRASE

CONTRASTS = (
    "{loser} but {winner}",
    "although {loser}, {winner}",
    "{winner}, although {loser}",
    "despite {loser}, {winner}",  # the one loser that is a noun phrase: "the dull plot"
)
SUMS = ("{x} and {y}", "{x} while {y}")
FILLERS = (
    "it was raining outside",
    "we went on a friday",
    "my sister chose this one",
    "my neighbour came along",
    "there were four of us",
    "i wrote this on the train",
    "we had read about it before",
    "it took about two hours",
    "you can buy it in most towns",
    "someone gave us a voucher",
    "last week was my second time",
    "others may see this differently",
)

# How often the grammar takes each branch; the rest of the probability goes to the branch not named.
P_CONTRAST, P_SUM = 0.25, 0.2  # else a single clause
P_DENYING, P_AFFIRMING = 0.23, 0.1  # else a plain frame
P_STRONG = 0.35  # else a mild quality
P_DEGREE = 0.5  # of a mild quality in a plain frame
P_FILLER = 0.2

T = TypeVar("T")


class Phrase(NamedTuple):
    """A piece of text with the score that the grammar gives it; its sign is the sentiment."""

    text: str
    score: float


NOTHING = Phrase("", 0.0)


class Example(NamedTuple):
    """A sentence with its noisy label (an index into `LABELS`) and its true score (never 0)."""

    text: str
    label: int
    score: float


def splits(seed: int = 0) -> dict[str, list[tuple[str, int]]]:
    """Pairs (text, label) by split, of the sizes in `SIZES`; no text comes twice in all of them."""
    return {name: [(e.text, e.label) for e in rows] for name, rows in examples(seed).items()}


def examples(seed: int = 0) -> dict[str, list[Example]]:
    """The rows of `splits(seed)` with their true scores, which tell a model's errors from noise."""
    return _examples(random.Random(seed), seen=set())


def unlabelled(size: int = 8000, seed: int = 0) -> list[str]:
    """Distinct texts of the same grammar, none of them in `splits(seed)`; for pretraining.

    A smaller size gives the beginning of a larger one. Another seed's splits may share texts with
    this list, as sentences are short: pretrain with the seed of the task.
    """
    rng = random.Random(seed)
    seen: set[str] = set()
    _examples(rng, seen)
    return [_new_sentence(rng, seen).text for _ in range(size)]


# Composition: what a sentence says and what it is worth. No randomness here.


def quality(word: str, degree: str | None = None) -> Phrase:
    """`quality("dull", "very")` is ("very dull", -1.5)."""
    if degree is None:
        return Phrase(word, STRENGTH[word])
    return Phrase(f"{degree} {word}", DEGREES[degree] * STRENGTH[word])


def clause(frame: str, aspect: str, first: Phrase, second: Phrase = NOTHING) -> Phrase:
    """One of `FRAMES` filled in; "not only ... but also ..." alone takes a second quality."""
    text = frame.format(aspect=aspect, quality=first.text, second=second.text)
    return Phrase(text, FRAMES[frame] * (first.score + second.score))


def contrast(template: str, winner: Phrase, loser: Phrase) -> Phrase:
    """The loser counts for nothing, however strong it is."""
    return Phrase(template.format(winner=winner.text, loser=loser.text), winner.score)


def add(template: str, x: Phrase, y: Phrase) -> Phrase:
    """The score may be 0; `_body` draws again then."""
    return Phrase(template.format(x=x.text, y=y.text), x.score + y.score)


# Drawing: which sentence is composed.


def _choose(rng: random.Random, options: Sequence[T]) -> T:
    # Not rng.choice: its way from random bits to an index may change between Python versions.
    return options[int(rng.random() * len(options))]


def _quality(rng: random.Random, domain: str, with_degree: bool) -> Phrase:
    sign = int(rng.random() < 0.5)
    if rng.random() < P_STRONG:
        return quality(_choose(rng, STRONG[sign]))
    word = _choose(rng, MILD["any"][sign] + MILD[domain][sign])
    if with_degree and rng.random() < P_DEGREE:
        return quality(word, _choose(rng, tuple(DEGREES)))
    return quality(word)


def _fill(rng: random.Random, domain: str, frames: dict[str, float]) -> Phrase:
    frame, aspect = _choose(rng, tuple(frames)), _choose(rng, ASPECTS[domain])
    first = _quality(rng, domain, with_degree=frames is PLAIN)
    if "{second}" not in frame:
        return clause(frame, aspect, first)
    second = first
    while second == first or second.score * first.score < 0:
        second = _quality(rng, domain, with_degree=False)
    return clause(frame, aspect, first, second)


def _clause(rng: random.Random, domain: str) -> Phrase:
    u = rng.random()
    if u < P_DENYING:
        return _fill(rng, domain, DENYING)
    return _fill(rng, domain, AFFIRMING if u < P_DENYING + P_AFFIRMING else PLAIN)


def _contrast(rng: random.Random, domain: str) -> Phrase:
    template = _choose(rng, CONTRASTS)
    with_noun = template.startswith("despite")
    winner = loser = _clause(rng, domain)
    while loser.score * winner.score > 0:
        loser = _fill(rng, domain, NOUN_PHRASE) if with_noun else _clause(rng, domain)
    return contrast(template, winner, loser)


def _body(rng: random.Random, domain: str) -> Phrase:
    u = rng.random()
    if u < P_CONTRAST:
        return _contrast(rng, domain)
    if u >= P_CONTRAST + P_SUM:
        return _clause(rng, domain)
    total = NOTHING
    while total.score == 0:
        total = add(_choose(rng, SUMS), _clause(rng, domain), _clause(rng, domain))
    return total


def _sentence(rng: random.Random) -> Phrase:
    domain = _choose(rng, tuple(ASPECTS))
    body = _body(rng, domain)
    parts = [body.text]
    if rng.random() < P_FILLER:
        parts.insert(int(rng.random() * 2), _choose(rng, FILLERS))
    return Phrase(" ".join(part + "." for part in parts), body.score)


def _new_sentence(rng: random.Random, seen: set[str]) -> Phrase:
    """A sentence that is not in `seen`, which it joins."""
    sentence = _sentence(rng)
    while sentence.text in seen:
        sentence = _sentence(rng)
    seen.add(sentence.text)
    return sentence


def _examples(rng: random.Random, seen: set[str]) -> dict[str, list[Example]]:
    return {split: _split(rng, size, seen) for split, size in SIZES.items()}


def _split(rng: random.Random, size: int, seen: set[str]) -> list[Example]:
    """The labels come first, in random order, so that the share of positives is exact."""
    n_positive = round(size * POSITIVE_SHARE)
    labels = [1] * n_positive + [0] * (size - n_positive)
    for last in range(size - 1, 0, -1):  # Fisher-Yates; rng.shuffle has the trap of rng.choice
        other = int(rng.random() * (last + 1))
        labels[last], labels[other] = labels[other], labels[last]
    return [_example_labelled(rng, label, seen) for label in labels]


def _example_labelled(rng: random.Random, label: int, seen: set[str]) -> Example:
    """Draw until the noisy label is the wanted one.

    The noise is `NOISE` in both classes all the same, because the grammar itself prefers no sign.
    """
    while True:
        text, score = _new_sentence(rng, seen)
        is_flipped = rng.random() < NOISE
        if label == int((score > 0) != is_flipped):
            return Example(text, label, score)
