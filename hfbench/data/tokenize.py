"""Texts -> token ids, once per tokenizer and length, with the count of what was cut off."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict
from transformers import PreTrainedTokenizerBase

from hfbench.recipe import Corpus
from hfbench.record import Tokens

_BATCH = 1000


@dataclass(frozen=True)
class TokenizedData:
    """Splits with the model's inputs and ``labels``."""

    splits: DatasetDict
    truncated: dict[str, np.ndarray]
    """Split -> whether each row was cut at max_length, shape (rows,)."""

    def lengths(self, split: str) -> np.ndarray:
        """Tokens of each row, padding apart, shape (rows,)."""
        return np.array([len(ids) for ids in self.splits[split]["input_ids"]])

    @property
    def tokens(self) -> dict[str, Tokens]:
        """Token counts by split."""
        return {
            split: Tokens(
                total=int(self.lengths(split).sum()), truncated_examples=int(truncated.sum())
            )
            for split, truncated in self.truncated.items()
        }

    def with_train_rows(self, rows: np.ndarray) -> "TokenizedData":
        """The same data with only these rows of the train split."""
        splits = DatasetDict({**self.splits, "train": self.splits["train"].select(rows)})
        return TokenizedData(splits, {**self.truncated, "train": self.truncated["train"][rows]})


def tokenize_task(
    splits: DatasetDict, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> TokenizedData:
    """Inputs of a sequence classifier; ``labels`` is the label's number."""
    tokenized, truncated = {}, {}
    for name, split in splits.items():
        texts = list(split["text"])
        pairs = list(split["text_pair"]) if "text_pair" in split.column_names else None
        columns, truncated[name] = _encode(tokenizer, texts, pairs, max_length)
        tokenized[name] = Dataset.from_dict({**columns, "labels": list(split["label"])})
    return TokenizedData(DatasetDict(tokenized), truncated)


def tokenize_corpus(
    texts: dict[str, list[str]],
    tokenizer: PreTrainedTokenizerBase,
    corpus: Corpus,
    model_max_length: int,
) -> TokenizedData:
    """Inputs of a causal language model; ``labels`` are the ids (the model shifts them itself)."""
    tokenized, truncated = {}, {}
    for name, part in texts.items():
        if corpus.cut == "blocks":
            block_size = min(corpus.block_size, model_max_length)
            columns = _blocks(tokenizer, part, block_size)
            truncated[name] = np.zeros(len(columns["input_ids"]), dtype=bool)
        else:
            max_length = min(corpus.max_length, model_max_length)
            columns, truncated[name] = _encode(tokenizer, part, None, max_length)
        tokenized[name] = Dataset.from_dict({**columns, "labels": columns["input_ids"]})
    return TokenizedData(DatasetDict(tokenized), truncated)


def predicted_bytes(
    texts: list[str], tokenizer: PreTrainedTokenizerBase, corpus: Corpus, model_max_length: int
) -> int | None:
    """UTF-8 bytes of ``texts`` that a language model predicts: the denominator of bits per byte.

    A token counts the bytes that the text has from the end of the tokens before it to its own end,
    so that the tokens of a text together count each of its bytes once, white space that a tokenizer
    drops included. What is not predicted does not count: the first token of each example, which
    has nothing before it, and what truncation cut off. EOS and other special tokens count no byte,
    but what they cost is part of the loss.

    The examples are those of `tokenize_corpus`. None where the tokenizer does not know the places
    of its tokens, as one written in Python.
    """
    if not tokenizer.is_fast:
        return None
    if corpus.cut != "blocks":
        max_length = min(corpus.max_length, model_max_length)
        return sum(
            int(sizes[1:].sum()) for sizes in _token_bytes(tokenizer, texts, max_length=max_length)
        )
    block_size = min(corpus.block_size, model_max_length)
    stream = [np.append(sizes, 0) for sizes in _token_bytes(tokenizer, texts)]  # 0: the EOS
    blocks = _cut_blocks(np.concatenate(stream).tolist(), block_size)
    return sum(sum(block[1:]) for block in blocks)


def _token_bytes(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int | None = None
) -> Iterator[np.ndarray]:
    """For each text the bytes that each token adds, shape (tokens,)."""
    for start in range(0, len(texts), _BATCH):
        batch = texts[start : start + _BATCH]
        encoded = tokenizer(
            batch,
            truncation=max_length is not None,
            max_length=max_length,
            return_offsets_mapping=True,
            verbose=False,
        )
        for text, offsets in zip(batch, encoded["offset_mapping"], strict=True):
            # special tokens have the offsets (0, 0); parts of a character all have its end
            ends = np.maximum.accumulate([end for _, end in offsets], dtype=np.int64)
            bytes_before = np.cumsum([0, *(len(char.encode()) for char in text)])
            yield np.diff(bytes_before[ends], prepend=0)


def _encode(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], pairs: list[str] | None, max_length: int
) -> tuple[dict[str, list[Any]], np.ndarray]:
    """Columns of the tokenizer's outputs, and which texts were longer than ``max_length``."""
    columns: dict[str, list[Any]] = {}
    truncated: list[bool] = []
    for start in range(0, len(texts), _BATCH):
        batch = texts[start : start + _BATCH]
        batch_pairs = pairs[start : start + _BATCH] if pairs else None
        encoded = tokenizer(batch, batch_pairs, truncation=False, verbose=False)
        too_long = [len(ids) > max_length for ids in encoded["input_ids"]]
        if any(too_long):  # only then is the work done twice
            encoded = tokenizer(batch, batch_pairs, truncation=True, max_length=max_length)
        truncated.extend(too_long)
        for name, values in encoded.items():
            columns.setdefault(name, []).extend(values)
    return columns, np.array(truncated, dtype=bool)


def _blocks(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], block_size: int
) -> dict[str, list[list[int]]]:
    """Texts, each followed by EOS, as one stream in blocks; what does not fill the last is left."""

    def documents() -> Iterator[list[int]]:
        for start in range(0, len(texts), _BATCH):
            encoded = tokenizer(texts[start : start + _BATCH], truncation=False, verbose=False)
            for ids in encoded["input_ids"]:
                yield [*ids, tokenizer.eos_token_id]

    blocks = _cut_blocks(list(chain.from_iterable(documents())), block_size)
    return {"input_ids": blocks, "attention_mask": [[1] * block_size for _ in blocks]}


def _cut_blocks(stream: list[int], block_size: int) -> list[list[int]]:
    starts = range(0, len(stream) - block_size + 1, block_size)
    return [stream[start : start + block_size] for start in starts]
