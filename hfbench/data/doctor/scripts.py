"""Which scripts texts are written in, by the names that Unicode gives their letters."""

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache

UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""Scripts that put no space between words."""
# of letters that are no script: full-width Latin, mathematical bold and the like
_FORMS = ("FULLWIDTH", "HALFWIDTH", "MATHEMATICAL", "MODIFIER", "FEMININE", "MASCULINE", "MICRO")


def count_letters(texts: Iterable[str]) -> dict[str, int]:
    """Script -> its letters, the most frequent first."""
    found: Counter[str] = Counter()
    for character, count in Counter("".join(texts)).items():
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
