"""Rows of tokens, stored end to end and padded batch by batch."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label that no loss counts."""


class PackedRows(torch.utils.data.Dataset):
    """A split as tensors; asked for several rows, it gives them as a padded batch.

    A column of lists is one tensor for all rows, wherever a list of a row begins. That is an order
    of magnitude faster than to fetch, pad and convert each row, and can be done on a GPU.

    Shapes:
        B: rows of a batch
        T: their padded length
    """

    def __init__(
        self, dataset: Dataset, tokenizer: PreTrainedTokenizerBase, *, round_lengths: bool
    ) -> None:
        """Take the columns of ``dataset``, whole numbers all, of which ``input_ids`` must be one.

        Args:
            dataset: columns of numbers, or of lists with a number for each token.
            tokenizer: says on which side, and with what, rows are padded.
            round_lengths: pad up to `round_length`, so that there are few different shapes.
        """
        self.round_lengths = round_lengths
        self.pads_left = tokenizer.padding_side == "left"
        self._padding = {
            "input_ids": tokenizer.pad_token_id,
            "token_type_ids": tokenizer.pad_token_type_id,
            "labels": IGNORED,
        }
        table = dataset.with_format("arrow")[:]
        ids = table["input_ids"].combine_chunks()
        lengths = pc.list_value_length(ids).to_numpy(zero_copy_only=False)
        self.lengths: np.ndarray = lengths.astype(np.int64)
        """Tokens of each row, shape (rows,)."""
        self._starts = torch.from_numpy(np.cumsum(self.lengths) - self.lengths)
        self._row_lengths = torch.from_numpy(self.lengths)
        self._numbers: dict[str, Tensor] = {}
        self._lists: dict[str, Tensor] = {}
        for name in table.column_names:
            column = table[name].combine_chunks()
            is_list = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
            numbers = (column.flatten() if is_list else column).to_numpy(zero_copy_only=False)
            values = torch.from_numpy(numbers.astype(np.int64))
            (self._lists if is_list else self._numbers)[name] = values

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitems__(self, rows: list[int]) -> dict[str, Tensor]:
        """The padded batch of some rows; called by the data loader."""
        numbers = np.array(rows)
        return self.pad(torch.from_numpy(numbers), self.shape(numbers)[0])

    def shape(self, rows: np.ndarray) -> tuple[int, bool]:
        """Padded length of a batch of these rows, and whether any of them is shorter."""
        lengths = self.lengths[rows]
        longest = int(lengths.max())
        if self.round_lengths:
            longest = min(round_length(longest), int(self.lengths.max()))
        return longest, bool(lengths.min() < longest)

    def pad(self, rows: Tensor, length: int, with_mask: bool = True) -> dict[str, Tensor]:
        """Columns of shape (B, T) or (B,), on the device where ``rows`` (B,) and the data are.

        Where no row is shorter the attention mask may be left out, for it masks nothing.
        """
        lengths = self._row_lengths[rows].unsqueeze(1)  # (B, 1)
        place = torch.arange(length, device=rows.device)  # (T,)
        if self.pads_left:
            place = place - (length - lengths)  # (B, T)
        is_real = (place >= 0) & (place < lengths)  # (B, T)
        index = self._starts[rows].unsqueeze(1) + torch.where(is_real, place, 0)
        batch = {
            name: torch.where(is_real, values[index], self._padding.get(name, 0))
            for name, values in self._lists.items()
            if with_mask or name != "attention_mask"
        }
        return {**batch, **{name: values[rows] for name, values in self._numbers.items()}}

    def used_ids(self) -> Tensor:
        """The ids that batches hold, ascending, that of the padding included."""
        padding = torch.tensor([self._padding["input_ids"]])
        return torch.cat([self._lists["input_ids"], padding]).unique()

    def to(self, device: torch.device) -> "PackedRows":
        """A copy whose batches are made on ``device``."""
        copy: Any = object.__new__(PackedRows)
        copy.__dict__ = {**self.__dict__}
        copy._starts, copy._row_lengths = self._starts.to(device), self._row_lengths.to(device)
        copy._lists = {name: values.to(device) for name, values in self._lists.items()}
        copy._numbers = {name: values.to(device) for name, values in self._numbers.items()}
        return copy


def round_length(length: int) -> int:
    """The next multiple of 8 or, from 64 on, of an eighth of the power of two below ``length``.

    Then padding adds at most an eighth, and the lengths up to 1,024 fall into 40 shapes.
    """
    step = max(8, 1 << max(length.bit_length() - 4, 0))
    return -(-length // step) * step
