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

    stream = list(chain.from_iterable(documents()))
    starts = range(0, len(stream) - block_size + 1, block_size)
    blocks = [stream[start : start + block_size] for start in starts]
    return {"input_ids": blocks, "attention_mask": [[1] * block_size for _ in blocks]}
