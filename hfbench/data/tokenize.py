"""Texts -> token ids, once per tokenizer and length, with the count of what was cut off."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from datasets import Dataset, DatasetDict
from transformers import PreTrainedTokenizerBase

from hfbench.recipe import Corpus
from hfbench.record import Tokens

_BATCH = 1000


@dataclass(frozen=True)
class TokenizedData:
    """Splits with the model's inputs and ``labels``, and their token counts."""

    splits: DatasetDict
    tokens: dict[str, Tokens]


def tokenize_task(
    splits: DatasetDict, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> TokenizedData:
    """Inputs of a sequence classifier; ``labels`` is the label's number."""
    tokenized, tokens = {}, {}
    for name, split in splits.items():
        texts = list(split["text"])
        pairs = list(split["text_pair"]) if "text_pair" in split.column_names else None
        columns, truncated = _encode(tokenizer, texts, pairs, max_length)
        tokens[name] = _count(columns, truncated)
        tokenized[name] = Dataset.from_dict({**columns, "labels": list(split["label"])})
    return TokenizedData(DatasetDict(tokenized), tokens)


def tokenize_corpus(
    texts: dict[str, list[str]],
    tokenizer: PreTrainedTokenizerBase,
    corpus: Corpus,
    model_max_length: int,
) -> TokenizedData:
    """Inputs of a causal language model; ``labels`` are the ids (the model shifts them itself)."""
    tokenized, tokens = {}, {}
    for name, part in texts.items():
        if corpus.cut == "blocks":
            block_size = min(corpus.block_size, model_max_length)
            columns, truncated = _blocks(tokenizer, part, block_size), 0
        else:
            max_length = min(corpus.max_length, model_max_length)
            columns, truncated = _encode(tokenizer, part, None, max_length)
        tokens[name] = _count(columns, truncated)
        tokenized[name] = Dataset.from_dict({**columns, "labels": columns["input_ids"]})
    return TokenizedData(DatasetDict(tokenized), tokens)


def _encode(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], pairs: list[str] | None, max_length: int
) -> tuple[dict[str, list[Any]], int]:
    """Columns of the tokenizer's outputs, and how many texts were longer than ``max_length``."""
    columns: dict[str, list[Any]] = {}
    truncated = 0
    for start in range(0, len(texts), _BATCH):
        batch = texts[start : start + _BATCH]
        batch_pairs = pairs[start : start + _BATCH] if pairs else None
        encoded = tokenizer(batch, batch_pairs, truncation=False, verbose=False)
        too_long = sum(len(ids) > max_length for ids in encoded["input_ids"])
        if too_long:  # only then is the work done twice
            encoded = tokenizer(batch, batch_pairs, truncation=True, max_length=max_length)
        truncated += too_long
        for name, values in encoded.items():
            columns.setdefault(name, []).extend(values)
    return columns, truncated


def _blocks(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], block_size: int
) -> dict[str, list[list[int]]]:
    """Texts, each followed by EOS, as one stream in blocks; what does not fill the last is left."""

    def documents() -> Iterator[list[int]]:
        for start in range(0, len(texts), _BATCH):
            encoded = tokenizer(texts[start : start + _BATCH], truncation=False, verbose=False)
            for ids in encoded["input_ids"]:
                yield [*ids, tokenizer.eos_token_id]

    stream = list(chain.from_iterable(documents()))
    starts = range(0, len(stream) - block_size + 1, block_size)
    blocks = [stream[start : start + block_size] for start in starts]
    return {"input_ids": blocks, "attention_mask": [[1] * block_size for _ in blocks]}


def _count(columns: dict[str, list[Any]], truncated: int) -> Tokens:
    total = sum(len(ids) for ids in columns["input_ids"])
    return Tokens(total=total, truncated_examples=truncated)
