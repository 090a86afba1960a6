from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, Value, concatenate_datasets

from hfbench.data import tables
from hfbench.data.tables import Texts, in_memory, take, texts_of, values, with_labels

FEATURES = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})


def split(rows):
    """In chunks of 1, 2, 3, ... rows."""
    every = Dataset.from_dict(
        {"text": [f"text {row}" for row in range(rows)], "label": [row % 2 for row in range(rows)]},
        features=FEATURES,
    )
    ends = [end for end in np.cumsum(range(rows)) if end < rows] + [rows]
    return concatenate_datasets([every.select(range(start, end)) for start, end in pairwise(ends)])


@pytest.mark.parametrize("number", [0, 1, 7, 100, 400])
def test_taken_rows_are_those_that_datasets_selects(number):
    rows = np.random.default_rng(number).permutation(300)[:number]
    rows = np.concatenate([rows, rows[:50]])  # some of them twice
    data = split(300)
    taken = take(data, rows)
    assert taken[:] == data.select(rows)[:]
    assert taken.features == FEATURES


def test_rows_of_selected_rows_are_taken_too():
    data = split(50).select([40, 3, 7])
    assert take(data, np.array([2, 0]))["text"][:] == ["text 7", "text 40"]


def test_labels_are_replaced_and_nothing_else():
    data = with_labels(split(10), np.arange(10) % 3, ["a", "b", "c"])
    assert data["label"][:4] == [0, 1, 2, 0]
    assert data.features["label"].names == ["a", "b", "c"]
    assert data["text"][:] == split(10)["text"][:]


def test_texts_are_a_list_but_for_their_memory(monkeypatch):
    monkeypatch.setattr(tables, "_BATCH_ROWS", 7)
    data = split(60).select(range(59, -1, -1))
    texts, listed = Texts(data, "text"), data["text"][:]
    assert list(texts) == listed
    assert [texts[0], texts[-1], *texts[10:40:3]] == [listed[0], listed[-1], *listed[10:40:3]]
    assert len(texts) == 60
    assert list(texts_of(data)) == [(text,) for text in listed]
    assert list(values(pa.chunked_array([["a", None], [], ["b"]]))) == ["a", None, "b"]


def test_rows_in_memory_have_another_fingerprint_each_time():
    table = pa.table({"text": ["a"]})
    assert in_memory(table)._fingerprint != in_memory(table)._fingerprint
