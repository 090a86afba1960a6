"""Which scripts texts are written in, by the names that Unicode gives their letters."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache

UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""Scripts that put no space between words."""
# of letters that are no script: full-width Latin, mathematical bold and the like
_FORMS = ("FULLWIDTH", "HALFWIDTH", "MATHEMATICAL", "MODIFIER", "FEMININE", "MASCULINE", "MICRO")


_MOST_TEXTS = 20_000


def count_letters(texts: Sequence[str]) -> dict[str, int]:
    """Script -> its letters, the most frequent first; of 20,000 texts or a little more at most."""
    found: Counter[str] = Counter()
    some = texts[:: max(1, len(texts) // _MOST_TEXTS)]
    for character, count in Counter("".join(some)).items():
        if script := _script(character):
            found[script] += count
    return dict(found.most_common())


@cache
def _script(character: str) -> str | None:
    """The first word of the letter's name, e.g. LATIN; None for what is no letter."""
    if not character.isalpha():
        return None
    name = unicodedata.name(character, "unknown").split()[0]
    return "LATIN" if name in _FORMS else name


def has_letters(text: str) -> bool:
    """Whether there is a letter or a digit, which words are made of."""
    return any(map(str.isalnum, text))
