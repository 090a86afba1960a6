import errno
import resource
import tracemalloc

import datasets
import numpy as np
import pyarrow as pa
import pytest

from hfbench.data import arrow_file, corpus, texts
from hfbench.data.arrow_file import store
from hfbench.data.batches import IGNORED, PackedRows
from hfbench.data.corpus import load_corpus
from hfbench.data.texts import in_batches, store_texts
from hfbench.data.tokens import predicted_bytes, tokenize_corpus
from hfbench.errors import StorageError
from hfbench.models import tokenizer as training
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.model import Corpus
from hfbench.training.sampler import with_ignored_row

WORDS = [f"text {number} \u20ac" for number in range(2500)]  # several batches


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def small_pieces(monkeypatch):
    """So that a small corpus is read and written in many."""
    monkeypatch.setattr(corpus, "_PIECE", 1 << 11)
    monkeypatch.setattr(texts, "_BATCH_CHARACTERS", 1 << 11)
    monkeypatch.setattr(arrow_file, "_GROUP_BYTES", 1 << 13)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["the end of a line"], 270)


def test_stored_texts_are_a_list_but_for_their_memory(small_pieces):
    train, validation = store_texts(iter(WORDS)).split(2100)
    assert len(train._column.chunks) > 1
    for stored, expected in [(train, WORDS[:2100]), (validation, WORDS[2100:])]:
        assert len(stored) == len(expected)
        assert list(stored) == list(stored) == expected
        for index in (0, 5, -1, -7, len(expected) - 1):
            assert stored[index] == expected[index]
        for part in (slice(3), slice(-4, None), slice(10, 300, 7), slice(None), slice(9, 2)):
            assert stored[part] == expected[part]
        with pytest.raises(IndexError):
            stored[len(expected)]
    assert WORDS[2099] in train
    assert WORDS[2100] not in train
    assert list(store_texts([])) == []


def test_batches_are_limited_in_texts_and_in_characters():
    sizes = [len(batch) for batch in in_batches(["a"] * 2500)]
    assert sizes == [1000, 1000, 500]
    long = "a" * (1 << 19)
    assert [len(batch) for batch in in_batches([long, long, "b", long, long, "c"])] == [2, 3, 1]


def test_what_is_stored_leaves_no_file_whenever_the_process_ends(cache):
    seen = []

    def tables():
        for number in range(3):
            yield pa.table({"number": pa.array([number])})
            seen.append(list(cache.iterdir()))

    stored = store(tables())
    assert stored.table["number"].to_pylist() == [0, 1, 2]
    assert seen == [[], [], []]
    assert list(cache.iterdir()) == []


def test_a_full_disk_is_named(cache):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 14, hard))
    try:
        with pytest.raises(StorageError, match=rf"{cache} \(HF_DATASETS_CACHE.* File too large"):
            store_texts(WORDS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_folder_that_cannot_be_made_is_named(cache):
    cache.write_text("a file")
    with pytest.raises(StorageError, match="HF_DATASETS_CACHE") as caught:
        store_texts(WORDS)
    assert caught.value.__cause__.errno == errno.EEXIST


def test_an_error_of_the_source_is_not_one_of_the_disk(cache):
    def source():
        yield "text"
        raise ValueError("of the source")

    with pytest.raises(ValueError, match="of the source"):
        store_texts(source())


def test_a_tokenizer_is_trained_once_for_equal_texts_wherever_they_are():
    training._train_tokenizer.cache_clear()
    listed, stored = train_tokenizer(WORDS, 300), train_tokenizer(store_texts(WORDS), 300)
    other = train_tokenizer(store_texts(["quite", "other", "words"] * 9), 300)
    assert training._train_tokenizer.cache_info().misses == 2
    assert listed.get_vocab() == stored.get_vocab() != other.get_vocab()


def heap_peak(function):
    """Bytes that Python's and Arrow's heap grew by, at most and to stay."""
    arrow = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        result = function()
        return tracemalloc.get_traced_memory()[1], pa.total_allocated_bytes() - arrow, result
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("cut", ["sentences", "rows", "blocks"])
def test_memory_does_not_grow_with_the_corpus(tmp_path, small_pieces, tokenizer, cut):
    settings = Corpus(text_file="book.txt", cut=cut, max_length=64)

    def prepare():
        loaded = load_corpus(settings, tmp_path, "corpus")
        data = tokenize_corpus(loaded.texts, tokenizer, settings, 64)
        predicted_bytes(loaded.texts["validation"], tokenizer, settings, 64)
        return loaded, data

    def peak(repetitions):
        text = "He was at the very end of the line. She saw it there!\n" * repetitions
        (tmp_path / "book.txt").write_text(text)
        peak, stays, kept = heap_peak(prepare)
        assert stays < 1 << 12  # of Arrow, for tables that are in files
        return peak, kept

    peak(100)  # imports
    (small, _), (large, kept) = peak(400), peak(3200)
    assert sum(kept[0].facts.examples.values()) >= 3200
    assert large < 1.3 * small


def test_batches_of_a_stored_corpus_copy_no_other_rows(tokenizer):
    row = "a line of the text" * 20
    settings = Corpus(builtin="pets", cut="rows")
    data = tokenize_corpus({"train": store_texts([row] * 2000)}, tokenizer, settings, 512)
    tokens = data.tokens["train"].total
    peak, arrow, packed = heap_peak(
        lambda: PackedRows(with_ignored_row(data.splits["train"]), tokenizer, round_lengths=False)
    )
    assert tokens > 300_000
    assert peak + arrow < tokens // 4  # a number for each row, not for each token
    expected = tokenizer([row] * 2)["input_ids"]
    batch = packed.__getitems__([1999, 2000])  # the last one is ignored
    assert batch["input_ids"].tolist() == expected
    assert batch["labels"].tolist() == [expected[0], [IGNORED] * len(expected[0])]
    assert packed.used_ids().tolist() == np.unique([*expected[0], tokenizer.pad_token_id]).tolist()
