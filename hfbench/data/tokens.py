"""Texts -> token ids, once per tokenizer and length, with the count of what was cut off.

The tokenizer's own threads do the work, and each batch is put into Arrow at once: there a number is
a few bytes, in a Python list an object and a pointer to it. The tokens of a corpus are written to
the disk as they come.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, compress, islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Dataset, DatasetDict
from datasets.fingerprint import generate_random_fingerprint
from datasets.table import InMemoryTable
from transformers import BatchEncoding, PreTrainedTokenizerBase

from hfbench.data.arrow_file import store
from hfbench.data.tables import labels_of
from hfbench.data.texts import in_batches
from hfbench.errors import UserError
from hfbench.recipe.model import Corpus
from hfbench.recipe.types import Truncation
from hfbench.records.schema import Tokens

_TYPES = {"input_ids": pa.list_(pa.int32())}
_OTHER_TYPE = pa.list_(pa.int8())  # masks and the like

_Encoded = tuple[pa.Table, np.ndarray]  # some rows, and the tokens cut off each, shape (rows,)
_SIDES = {"head": "right", "tail": "left"}
"""What is left of a text -> the side on which a tokenizer cuts."""
_HEAD = 4
"""Of ``head_tail`` one token in so many is of the beginning, as 128 of 510 by Sun et al. 2019."""


@dataclass(frozen=True)
class TokenizedData:
    """Splits with the model's inputs and ``labels``."""

    splits: DatasetDict
    cut: dict[str, np.ndarray]
    """Split -> tokens of each row that were cut off at max_length, shape (rows,)."""
    _lengths: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def lengths(self, split: str) -> np.ndarray:
        """Tokens of each row, padding apart, shape (rows,)."""
        if split not in self._lengths:  # every cell asks again
            table = self.splits[split].select_columns("input_ids").with_format("arrow")[:]
            lengths = pc.list_value_length(table["input_ids"]).to_numpy()
            self._lengths[split] = lengths.astype(np.int64)
        return self._lengths[split]

    @property
    def tokens(self) -> dict[str, Tokens]:
        """Token counts by split."""
        return {
            split: Tokens(
                total=int(self.lengths(split).sum()),
                truncated_examples=int(np.count_nonzero(cut)),
                cut=int(cut.sum()),
            )
            for split, cut in self.cut.items()
        }

    def with_train_rows(self, rows: np.ndarray) -> "TokenizedData":
        """The same data with only these rows of the train split."""
        splits = DatasetDict({**self.splits, "train": self.splits["train"].select(rows)})
        return TokenizedData(splits, {**self.cut, "train": self.cut["train"][rows]})


def tokenize_task(
    splits: DatasetDict,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    truncation: Truncation = "head",
) -> TokenizedData:
    """Inputs of a sequence classifier; ``labels`` as `tables.labels_of` reads them.

    Args:
        splits: of a `LoadedTask`.
        tokenizer: of the model; the side on which it would cut by itself has no part in it.
        max_length: tokens, special ones included.
        truncation: what is left of a longer text; of a pair, of each text.

    Raises:
        UserError: if the tokenizer cannot cut so.
    """
    tokenized, removed = {}, {}
    for name, split in splits.items():
        texts = split["text"][:]
        pairs = split["text_pair"][:] if "text_pair" in split.column_names else None
        encoded = _encode(tokenizer, texts, pairs, max_length, truncation)
        tables, cut = zip(*encoded, strict=True)
        labels = _label_column(split)
        tokenized[name] = _dataset(pa.concat_tables(tables).append_column("labels", labels))
        removed[name] = np.concatenate(cut)
    return TokenizedData(DatasetDict(tokenized), removed)


def _label_column(split: Dataset) -> pa.Array:
    labels = labels_of(split)
    if labels.ndim == 2:  # a list of a fixed size is no list of tokens
        flat = pa.array(labels.reshape(-1), pa.int8())
        return pa.FixedSizeListArray.from_arrays(flat, labels.shape[1])
    return pa.array(labels)


def tokenize_corpus(
    texts: Mapping[str, Sequence[str]],
    tokenizer: PreTrainedTokenizerBase,
    corpus: Corpus,
    model_max_length: int,
) -> TokenizedData:
    """Inputs of a causal language model; ``labels`` are the ids (the model shifts them itself).

    The tokens are in files, and no more of them than a batch is in memory here.

    Raises:
        StorageError: if they cannot be written.
        UserError: if they do not fill a block.
    """
    tokenized, removed = {}, {}
    for name, part in texts.items():
        if corpus.cut == "blocks":
            encoded = _blocks(tokenizer, part, min(corpus.block_size, model_max_length))
        else:
            encoded = _encode(tokenizer, part, None, min(corpus.max_length, model_max_length))
        cut: list[np.ndarray] = []
        table = store(_noting(encoded, cut)).table
        removed[name] = np.concatenate(cut)
        # the same file twice
        tokenized[name] = _dataset(table.append_column("labels", table["input_ids"]))
    return TokenizedData(DatasetDict(tokenized), removed)


def _noting(encoded: Iterable[_Encoded], cut: list[np.ndarray]) -> Iterator[pa.Table]:
    for table, removed in encoded:
        cut.append(removed)
        yield table


def predicted_bytes(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, corpus: Corpus, model_max_length: int
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
    stream = (np.append(sizes, 0) for sizes in _token_bytes(tokenizer, texts))  # 0: the EOS
    return sum(int(blocks[:, 1:].sum()) for blocks in _cut_blocks(stream, block_size))


def _token_bytes(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_length: int | None = None
) -> Iterator[np.ndarray]:
    """For each text the bytes that each token adds, shape (tokens,)."""
    for batch in in_batches(texts):
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
            if not text.isascii():  # otherwise a character is a byte
                ends = np.cumsum([0, *(len(char.encode()) for char in text)])[ends]
            yield np.diff(ends, prepend=0)


def _encode(
    tokenizer: PreTrainedTokenizerBase,
    texts: Iterable[str],
    pairs: Iterable[str] | None,
    max_length: int,
    truncation: Truncation = "head",
) -> Iterator[_Encoded]:
    """The tokenizer's outputs as columns; a text is cut at ``max_length``."""
    others = iter(pairs or ())
    for batch in in_batches(texts):
        batch_pairs = list(islice(others, len(batch))) or None
        columns = dict(tokenizer(batch, batch_pairs, truncation=False, verbose=False))
        lengths = [len(ids) for ids in columns["input_ids"]]
        # without a limit of its own a tokenizer says 10^30, which is none of NumPy's numbers
        removed = np.array([max(length - max_length, 0) for length in lengths])
        if removed.any():  # only for these is the work done twice
            long = list(compress(batch, removed))
            long_pairs = list(compress(batch_pairs, removed)) if batch_pairs else None
            cut = _truncate(tokenizer, long, long_pairs, max_length, truncation)
            for name, rows in cut.items():
                for row, values in zip(np.flatnonzero(removed), rows, strict=True):
                    columns[name][row] = values
            # of a pair a tokenizer may cut off more than it must
            left = np.array([len(ids) for ids in columns["input_ids"]])
            removed = lengths - left
        yield pa.table({name: _lists(name, rows) for name, rows in columns.items()}), removed


def _truncate(
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    pairs: list[str] | None,
    max_length: int,
    truncation: Truncation,
) -> BatchEncoding:
    """The tokenizer's outputs of texts that are all too long, by column."""
    if truncation != "head_tail":
        with _cutting_on(tokenizer, _SIDES[truncation]):
            return tokenizer(texts, pairs, truncation=True, max_length=max_length)
    if not tokenizer.is_fast:
        raise UserError(
            "task.truncation: head_tail needs a tokenizer that knows the places of its tokens; "
            f"{type(tokenizer).__name__} does not: give head or tail"
        )
    heads = _truncate(tokenizer, texts, pairs, max_length, "head")
    tails = _truncate(tokenizer, texts, pairs, max_length, "tail")
    # both have as many tokens of each text, and the special tokens at the same places
    rows = range(len(texts))
    from_head = [_first_quarter(tails.sequence_ids(row)) for row in rows]
    return BatchEncoding(
        {
            name: [
                np.where(chosen, head, tail).tolist()
                for chosen, head, tail in zip(from_head, heads[name], tails[name], strict=True)
            ]
            for name in tails
        }
    )


def _first_quarter(texts_of_tokens: list[int | None]) -> np.ndarray:
    """Which tokens are in the first quarter of their text, shape (tokens,)."""
    owners = np.array([-1 if owner is None else owner for owner in texts_of_tokens])
    chosen = np.zeros(len(owners), dtype=bool)
    for text in (0, 1):
        places = np.flatnonzero(owners == text)
        chosen[places[: len(places) // _HEAD]] = True
    return chosen


@contextmanager
def _cutting_on(tokenizer: PreTrainedTokenizerBase, side: str) -> Iterator[None]:
    before = tokenizer.truncation_side
    tokenizer.truncation_side = side
    try:
        yield
    finally:
        tokenizer.truncation_side = before


def _lists(name: str, rows: list[list[int]]) -> pa.Array:
    return pa.array(rows, _TYPES.get(name, _OTHER_TYPE))


def _blocks(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], block_size: int
) -> Iterator[_Encoded]:
    """Texts, each followed by EOS, as one stream in blocks; what does not fill the last is left."""

    def stream() -> Iterator[np.ndarray]:
        for batch in in_batches(texts):
            encoded = tokenizer(batch, truncation=False, verbose=False)
            documents = ([*ids, tokenizer.eos_token_id] for ids in encoded["input_ids"])
            yield np.fromiter(chain.from_iterable(documents), np.int32)

    number = 0
    for blocks in _cut_blocks(stream(), block_size):
        starts = np.arange(0, blocks.size + 1, block_size)
        columns = {"input_ids": blocks, "attention_mask": np.ones_like(blocks, dtype=np.int8)}
        table = pa.table(
            {
                name: pa.ListArray.from_arrays(starts, pa.array(values.ravel()))
                for name, values in columns.items()
            }
        )
        yield table, np.zeros(len(blocks), dtype=np.int64)
        number += len(blocks)
    if number == 0:
        raise UserError(
            "a corpus with `cut: blocks`: its training or its validation part does not fill one "
            f"block of {block_size} tokens; give a smaller block_size or more text"
        )


def _cut_blocks(stream: Iterable[np.ndarray], block_size: int) -> Iterator[np.ndarray]:
    """Of a stream that comes in pieces; each of shape (blocks, block_size)."""
    rest = np.empty(0, dtype=np.int32)
    for piece in stream:
        known = np.concatenate([rest, piece])
        filled = len(known) - len(known) % block_size
        yield known[:filled].reshape(-1, block_size)
        rest = known[filled:]


def _dataset(table: pa.Table) -> Dataset:
    # not the fingerprint of the content, for which all of it would be read into memory
    return Dataset(InMemoryTable(table), fingerprint=generate_random_fingerprint())
