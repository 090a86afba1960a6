import numpy as np
import pytest
from datasets import Dataset, DatasetDict

from hfbench.data.tokenize import tokenize_corpus, tokenize_task
from hfbench.models.load import train_tokenizer
from hfbench.recipe import Corpus

TEXTS = ["a b c d e f g h", "a b", "c", "h g f"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a b c d e f g h"], 258)


def test_truncated_texts_are_counted(tokenizer):
    splits = DatasetDict(train=Dataset.from_dict({"text": TEXTS, "label": [0, 1, 0, 1]}))
    data = tokenize_task(splits, tokenizer, max_length=5)
    # every letter is a token, and so is every space
    assert [len(ids) for ids in data.splits["train"]["input_ids"]] == [5, 3, 1, 5]
    assert data.tokens["train"].truncated_examples == 1
    assert data.tokens["train"].total == 14
    assert list(data.splits["train"]["labels"]) == [0, 1, 0, 1]


def test_counts_of_chosen_rows_are_those_of_tokenising_them_alone(tokenizer):
    columns = {"text": TEXTS, "label": [0, 1, 0, 1]}
    splits = DatasetDict(train=Dataset.from_dict(columns), validation=Dataset.from_dict(columns))
    whole = tokenize_task(splits, tokenizer, max_length=4)
    for rows in ([0], [1, 2], [1, 3], [3, 0, 2]):
        chosen = whole.with_train_rows(np.array(rows))
        alone = tokenize_task(
            DatasetDict({**splits, "train": splits["train"].select(rows)}), tokenizer, max_length=4
        )
        assert chosen.tokens == alone.tokens
        assert chosen.splits["train"].to_list() == alone.splits["train"].to_list()
        assert chosen.tokens["validation"] == whole.tokens["train"]


def test_pairs_are_one_input(tokenizer):
    columns = {"text": ["a b"], "text_pair": ["c"], "label": [0]}
    data = tokenize_task(DatasetDict(train=Dataset.from_dict(columns)), tokenizer, 16)
    assert data.splits["train"]["input_ids"][0] == tokenizer("a b", "c")["input_ids"]


def test_tokens_are_those_of_one_text_at_a_time(tokenizer):
    texts = [f"{letter} b" for letter in "abcdefgh"] * 300  # more than one batch
    corpus = Corpus(builtin="pets")
    data = tokenize_corpus({"train": texts}, tokenizer, corpus, model_max_length=64)
    expected = [tokenizer(text)["input_ids"] for text in texts]
    assert list(data.splits["train"]["input_ids"]) == expected
    assert list(data.splits["train"]["labels"]) == expected


def test_blocks_hold_all_tokens_with_an_end_after_each_text(tokenizer):
    corpus = Corpus(builtin="pets", cut="blocks", block_size=4)
    data = tokenize_corpus({"train": TEXTS}, tokenizer, corpus, model_max_length=64)
    stream = [i for text in TEXTS for i in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]
    blocks = list(data.splits["train"]["input_ids"])
    assert {len(block) for block in blocks} == {4}
    assert [i for block in blocks for i in block] == stream[: len(stream) // 4 * 4]
