"""A vocabulary as large as GPT-2's, and generated texts as long and as varied as real ones.

A word is a token, so that a text's length in tokens is known. How often words occur follows the law
of Zipf and Mandelbrot, fitted to the GPT-2 tokens of English: a book of 105,000 tokens has 10,600
different ones, novels of 474,000 tokens 14,300, the first 1,200 sentences of SST-2 (15,000 tokens)
4,060; the generated texts come within 3 %.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from hfbench.data.builtin import pets

VOCAB_SIZE = 50_257
EOS = "<|endoftext|>"
MAX_LENGTH = 1024
_WORDS = 14_000  # that texts are made of
_ZIPF_EXPONENT, _ZIPF_SHIFT = 1.05, 2
_COMMON_WORDS = 115  # the first words, which make up half of a text


@dataclass(frozen=True)
class Lengths:
    """Tokens of a text: log-normal, as sentences of English are."""

    median: float
    sigma: float
    """Standard deviation of the logarithm."""
    longest: int

    def draw(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """Shape (number,), each 2 to ``longest``."""
        lengths = np.exp(rng.normal(np.log(self.median), self.sigma, number))
        return lengths.round().astype(int).clip(2, self.longest)


# fitted to the sentences of a book, a quarter of a padded batch of 16 of which is no padding
BOOK = Lengths(median=15, sigma=1.07, longest=130)
# and to those of SST-2's train split
REVIEWS = Lengths(median=9, sigma=0.72, longest=60)


def save_tokenizer(folder: Path, vocab_size: int = VOCAB_SIZE) -> None:
    """A tokenizer of whole words with so many entries, pads being EOS as with GPT-2's."""
    known = sorted({word for text in pets.sentences() for word in re.findall(r"\w+|[^\w\s]", text)})
    words = [*known, *(f"w{n}" for n in range(vocab_size - 1 - len(known))), EOS]
    backend = Tokenizer(WordLevel({word: n for n, word in enumerate(words)}, unk_token=EOS))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token=EOS,
        eos_token=EOS,
        pad_token=EOS,
        model_max_length=MAX_LENGTH,
    )
    tokenizer.save_pretrained(folder)


def texts(number: int, lengths: Lengths, seed: int) -> list[str]:
    """So many texts, the same for the same seed."""
    rng = np.random.default_rng(seed)
    frequencies = (np.arange(1, _WORDS + 1) + _ZIPF_SHIFT) ** -_ZIPF_EXPONENT
    sizes = lengths.draw(rng, number)
    drawn = rng.choice(_WORDS, size=sizes.sum(), p=frequencies / frequencies.sum())
    return [
        " ".join(f"w{word}" for word in part) for part in np.split(drawn, np.cumsum(sizes)[:-1])
    ]


def write_json_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """One row a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_reviews(path: Path, number: int, seed: int, *, learnable: bool = False) -> None:
    """Labelled texts; the labels say nothing or, if ``learnable``, how common the first word is."""
    written = texts(number, REVIEWS, seed)
    labels = np.random.default_rng([seed, 1]).integers(2, size=number).tolist()
    if learnable:
        labels = [int(int(text.split()[0].removeprefix("w")) < _COMMON_WORDS) for text in written]
    rows = zip(written, labels, strict=True)
    write_json_lines(path, [{"text": text, "label": label} for text, label in rows])
