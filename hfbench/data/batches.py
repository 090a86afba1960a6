"""Rows of tokens, stored end to end and padded batch by batch."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label that no loss counts; of a regression it is NaN."""


class PackedRows(torch.utils.data.Dataset):
    """A split; asked for several rows, it gives them as a padded batch.

    Only the rows of a batch are copied: the others stay where ``dataset`` has them, which may be on
    the disk. That is an order of magnitude faster than to fetch, pad and convert each row.

    Shapes:
        B: rows of a batch
        T: their padded length
    """

    def __init__(
        self, dataset: Dataset, tokenizer: PreTrainedTokenizerBase, *, round_lengths: bool
    ) -> None:
        """Take the columns of ``dataset``, of which ``input_ids`` must be one.

        Args:
            dataset: columns of lists with a whole number for each token, or of a number a row, or
                of so many numbers a row, which are Arrow's lists of a fixed size.
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
        lengths = pc.list_value_length(table["input_ids"]).to_numpy()
        self.lengths: np.ndarray = lengths.astype(np.int64)
        """Tokens of each row, shape (rows,)."""
        self.longest = int(self.lengths.max(initial=0))
        """Tokens of the longest row."""
        self._starts = np.cumsum(self.lengths) - self.lengths  # among the tokens of all rows
        chunks = table.to_batches()
        sizes = np.array([len(chunk) for chunk in chunks])
        self._first_rows = np.cumsum(sizes) - sizes  # of the chunks
        self._numbers: dict[str, np.ndarray] = {}
        self._lists: dict[str, list[np.ndarray]] = {}  # for each chunk the tokens of its rows
        for name, values in zip(table.column_names, table.columns, strict=True):
            if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
                flat = (chunk[name].flatten() for chunk in chunks)
                self._lists[name] = [part.to_numpy(zero_copy_only=False) for part in flat]
            elif pa.types.is_fixed_size_list(values.type):
                of_rows = [chunk[name].flatten().to_numpy() for chunk in chunks]
                shape = (len(table), values.type.list_size)
                self._numbers[name] = np.concatenate(of_rows).astype(np.int64).reshape(shape)
            else:
                is_float = pa.types.is_floating(values.type)
                self._numbers[name] = values.to_numpy().astype(np.float32 if is_float else np.int64)
        if self.pads_left and "labels" in self._lists:
            labels = zip(self._lists["labels"], self._first_rows, sizes, strict=True)
            self._lists["labels"] = [self._without_first(*chunk) for chunk in labels]

    def _without_first(self, labels: np.ndarray, first: int, rows: int) -> np.ndarray:
        """Labels of a chunk of ``rows`` rows, none for a row's first token.

        Before it there is nothing or, in a padded batch, padding, which must not learn to predict.
        """
        starts = self._starts[first : first + rows] - self._starts[first]
        labels = labels.astype(np.int64)
        labels[starts] = IGNORED
        return labels

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitems__(self, rows: list[int]) -> dict[str, Tensor]:
        """The padded batch of some rows; called by the data loader."""
        numbers = np.array(rows)
        length = self.shape(numbers)[0]
        lengths = self.lengths[numbers][:, None]  # (B, 1)
        place = np.arange(length)  # (T,)
        if self.pads_left:
            place = place - (length - lengths)  # (B, T)
        is_real = (place >= 0) & (place < lengths)  # (B, T)
        pieces = self._pieces(numbers)
        batch = {}
        for name, chunks in self._lists.items():
            batch[name] = np.full(is_real.shape, self._padding.get(name, 0), dtype=np.int64)
            batch[name][is_real] = np.concatenate([chunks[chunk][part] for chunk, part in pieces])
        batch |= {name: values[numbers] for name, values in self._numbers.items()}
        return {name: torch.from_numpy(values) for name, values in batch.items()}

    def _pieces(self, rows: np.ndarray) -> list[tuple[int, slice]]:
        """For each row its chunk, and its tokens among those of the chunk."""
        chunks = np.searchsorted(self._first_rows, rows, side="right") - 1
        begins = self._starts[rows] - self._starts[self._first_rows[chunks]]
        ends = begins + self.lengths[rows]
        return list(zip(chunks.tolist(), map(slice, begins.tolist(), ends.tolist()), strict=True))

    def shape(self, rows: np.ndarray) -> tuple[int, bool]:
        """Padded length of a batch of these rows, and whether any of them is shorter."""
        lengths = self.lengths[rows]
        longest = int(lengths.max())
        if self.round_lengths:
            longest = min(round_length(longest), self.longest)
        return longest, bool(lengths.min() < longest)

    def real_tokens(self, rows: np.ndarray, length: int) -> np.ndarray:
        """Where in the batch of these rows, padded to ``length``, real tokens stand.

        Returns:
            Of shape (B * T,): numbers of the real tokens, then those of the padding.
        """
        lengths = self.lengths[rows][:, None]  # (B, 1)
        place = np.arange(length)  # (T,)
        is_real = (place >= length - lengths) if self.pads_left else (place < lengths)  # (B, T)
        return np.concatenate([np.flatnonzero(is_real), np.flatnonzero(~is_real)])

    def used_ids(self) -> Tensor:
        """The ids that batches hold, ascending, that of the padding included."""
        ids = pa.chunked_array(self._lists["input_ids"]).unique().to_numpy()
        return torch.from_numpy(np.union1d(ids, self._padding["input_ids"])).long()

    def to(self, device: torch.device) -> "RowTensors":
        """All rows on ``device``, where batches are then made."""
        lists = {
            name: torch.cat([torch.tensor(chunk, device=device) for chunk in chunks])
            for name, chunks in self._lists.items()
        }
        numbers = {
            name: torch.tensor(values, device=device) for name, values in self._numbers.items()
        }
        lengths = torch.tensor(self.lengths, device=device)
        return RowTensors(lists, numbers, lengths, self._padding, self.pads_left)


class RowTensors:
    """All rows of `PackedRows` as tensors on a device, which makes the same batches."""

    def __init__(
        self,
        lists: dict[str, Tensor],
        numbers: dict[str, Tensor],
        lengths: Tensor,
        padding: dict[str, int],
        pads_left: bool,
    ) -> None:
        """Take tensors that are on one device.

        Args:
            lists: columns with a number for each token, those of all rows in one, (tokens,).
            numbers: columns with a number for each row, (rows,), or several, (rows, numbers).
            lengths: tokens of each row, (rows,).
            padding: what columns are padded with, other than 0.
            pads_left: whether that is done on the left.
        """
        self._lists, self._numbers, self._lengths = lists, numbers, lengths
        self._starts = lengths.cumsum(0) - lengths
        self._padding, self._pads_left = padding, pads_left

    def pad(self, rows: Tensor, length: int, with_mask: bool = True) -> dict[str, Tensor]:
        """Columns of shape (B, T), (B,) or (B, numbers), on the device of ``rows`` (B,) and data.

        Where no row is shorter the attention mask may be left out, for it masks nothing.
        """
        lengths = self._lengths[rows].unsqueeze(1)  # (B, 1)
        place = torch.arange(length, device=rows.device)  # (T,)
        if self._pads_left:
            place = place - (length - lengths)  # (B, T)
        is_real = (place >= 0) & (place < lengths)  # (B, T)
        index = self._starts[rows].unsqueeze(1) + torch.where(is_real, place, 0)
        batch = {
            name: torch.where(is_real, values[index].long(), self._padding.get(name, 0))
            for name, values in self._lists.items()
            if with_mask or name != "attention_mask"
        }
        return {**batch, **{name: values[rows] for name, values in self._numbers.items()}}


def round_length(length: int) -> int:
    """The next multiple of 8 or, from 64 on, of an eighth of the power of two below ``length``.

    Then padding adds at most an eighth, and the lengths up to 1,024 fall into 40 shapes.
    """
    step = max(8, 1 << max(length.bit_length() - 4, 0))
    return -(-length // step) * step


def round_widely(length: int) -> int:
    """The next power of two from 64 on: for what costs little, so that there are fewer shapes."""
    return 1 << max(6, (length - 1).bit_length())


def round_tokens(tokens: int) -> int:
    """The next multiple of 64 or, from 512 on, of an eighth of the power of two below ``tokens``.

    For tokens of a batch that is not padded: few shapes, and at most an eighth more from 512 on.
    """
    step = max(64, 1 << max(tokens.bit_length() - 4, 0))
    return -(-tokens // step) * step
