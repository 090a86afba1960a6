import numpy as np
import pytest
import torch
from datasets import Dataset, concatenate_datasets
from transformers import DataCollatorForSeq2Seq, DataCollatorWithPadding

from hfbench.data.batches import IGNORED, PackedRows, round_length, round_tokens, round_widely
from hfbench.models.tokenizer import train_tokenizer


def rows(lengths=(3, 1, 7, 4), list_labels=False):
    ids = [[10 * number + place for place in range(n)] for number, n in enumerate(lengths)]
    columns = {"input_ids": ids, "attention_mask": [[1] * n for n in lengths]}
    columns["token_type_ids"] = [[place % 2 for place in range(n)] for n in lengths]
    columns["labels"] = ids if list_labels else list(range(len(lengths)))
    return Dataset.from_dict(columns)


@pytest.fixture(params=["right", "left"])
def tokenizer(request):
    made = train_tokenizer(["a b c"], 300)
    made.padding_side = request.param
    made.model_input_names = ["input_ids", "attention_mask", "token_type_ids"]
    return made


@pytest.mark.parametrize("list_labels", [False, True])
def test_a_batch_is_that_of_the_librarys_collator(tokenizer, list_labels):
    dataset, chosen = rows(list_labels=list_labels), [2, 0, 3]
    collate = (
        DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED)
        if list_labels
        else DataCollatorWithPadding(tokenizer)
    )
    expected = collate([dataset[row] for row in chosen])
    if list_labels and tokenizer.padding_side == "left":
        # the model shifts labels: the last padding would learn to predict the first token
        first = expected["attention_mask"].argmax(1)
        expected["labels"][torch.arange(len(chosen)), first] = IGNORED
    batch = PackedRows(dataset, tokenizer, round_lengths=False).__getitems__(chosen)
    assert set(batch) == set(expected)
    for name, values in batch.items():
        assert values.dtype == torch.long
        assert torch.equal(values, expected[name]), name


def test_rows_chosen_from_a_data_set_are_those_rows(tokenizer):
    packed = PackedRows(rows().select([3, 1]), tokenizer, round_lengths=False)
    assert packed.lengths.tolist() == [4, 1]
    assert packed.__getitems__([0])["input_ids"].tolist() == [[30, 31, 32, 33]]
    packed = PackedRows(rows().select(range(2, 4)), tokenizer, round_lengths=False)
    assert packed.__getitems__([1])["input_ids"].tolist() == [[30, 31, 32, 33]]


def test_rounded_lengths_end_at_the_longest_row(tokenizer):
    packed = PackedRows(rows((3, 9, 20)), tokenizer, round_lengths=True)
    assert packed.shape(np.array([0])) == (8, True)
    assert packed.shape(np.array([0, 1])) == (16, True)
    assert packed.shape(np.array([2])) == (20, False)  # 24 might be more than a model can take


def test_the_mask_can_be_left_out(tokenizer):
    packed = PackedRows(rows(), tokenizer, round_lengths=False)
    batch = packed.to(torch.device("cpu")).pad(torch.tensor([0]), 3, with_mask=False)
    assert set(batch) == {"input_ids", "token_type_ids", "labels"}


@pytest.mark.parametrize("list_labels", [False, True])
def test_batches_made_on_a_device_are_those_of_the_loader(tokenizer, list_labels):
    lengths = np.random.default_rng(0).integers(1, 20, 50).tolist()
    parts = [rows(lengths[:30], list_labels), rows(lengths[30:], list_labels)]  # two chunks
    packed = PackedRows(concatenate_datasets(parts), tokenizer, round_lengths=False)
    on_device = packed.to(torch.device("cpu"))
    for chosen in ([0], [49, 29, 30, 3], list(range(50))):
        expected = packed.__getitems__(chosen)
        batch = on_device.pad(torch.tensor(chosen), packed.shape(np.array(chosen))[0])
        assert list(batch) == list(expected)
        for name, values in batch.items():
            assert values.dtype == expected[name].dtype == torch.long
            assert torch.equal(values, expected[name]), name


def test_round_length_adds_an_eighth_at_most_and_leaves_few_shapes():
    lengths = range(1, 1025)
    rounded = [round_length(length) for length in lengths]
    assert all(0 <= new - old < max(8, old / 8) for old, new in zip(lengths, rounded, strict=True))
    assert len(set(rounded)) == 40


def test_used_ids_are_all_ids_and_that_of_the_padding(tokenizer):
    packed = PackedRows(rows((2, 1)), tokenizer, round_lengths=False)
    assert packed.used_ids().tolist() == sorted({0, 1, 10, tokenizer.pad_token_id})


def test_real_tokens_are_where_the_mask_says_then_padding(tokenizer):
    packed = PackedRows(rows(), tokenizer, round_lengths=False)
    chosen = np.array([2, 0, 3])
    mask = packed.__getitems__(chosen.tolist())["attention_mask"]
    found = packed.real_tokens(chosen, 7)
    real = int(mask.sum())
    assert found[:real].tolist() == mask.flatten().nonzero().flatten().tolist()
    assert sorted(found.tolist()) == list(range(mask.numel()))


def test_numbers_are_rounded_to_few_shapes():
    tokens = [round_tokens(number) for number in range(1, 4097)]
    assert all(0 <= found - n - 1 < max(64, n / 8 + 1) for n, found in enumerate(tokens))
    assert len({found for found in tokens if found > 256}) <= 30
    assert [round_widely(n) for n in (1, 64, 65, 128, 500)] == [64, 64, 128, 128, 512]
