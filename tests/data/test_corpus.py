import hashlib
import random

import pytest
from datasets import Dataset

from hfbench.data import corpus as corpus_module
from hfbench.data.builtin import pets, sentiment
from hfbench.data.corpus import cut_sentences, load_corpus
from hfbench.errors import UserError
from hfbench.recipe.model import Corpus


def load(folder, **corpus):
    return load_corpus(Corpus.model_validate(corpus), folder, "models.x.pretrain.corpus")


def split_sentences(text):
    """The whole text at once."""
    parts = corpus_module._SENTENCE_END.split(text)
    return [" ".join(part.split()) for part in parts if part.strip()]


def in_random_pieces(text, rng):
    while text:
        size = rng.choice([1, 2, 3, 10, 100])
        yield text[:size]
        text = text[size:]


def lists(loaded):
    return {part: list(texts) for part, texts in loaded.texts.items()}


def test_sentences_end_at_punctuation_quotes_and_blank_lines():
    text = (
        'A HEADING\n\nIt was  so. "Why?" she asked! He said "yes." Then (at 3.5 p)\nit '
        "ended. 12 left"
    )
    assert list(cut_sentences([text])) == [
        "A HEADING",
        "It was so.",
        '"Why?" she asked!',
        'He said "yes."',
        "Then (at 3.5 p) it ended.",
        "12 left",
    ]


def test_sentences_of_a_text_in_pieces_are_those_of_the_whole():
    rng, cuts = random.Random(0), 0
    signs = [*"..!?'\")]([\u2018\u201c\u2019\u201d", *"  \n\n\n\t\x0b\x85\u3000", *"AaBb1,"]
    for _ in range(3000):
        text = "".join(rng.choices(signs, k=rng.randint(0, 60)))
        found = [part for part in cut_sentences(in_random_pieces(text, rng)) if part]
        assert found == split_sentences(text)
        cuts += len(found)
    assert cuts > 4000


def test_a_long_text_without_a_sentence_end_is_searched_once():
    searched = []

    class Counting:
        def finditer(self, text, start):
            searched.append(len(text) - start)
            return iter(())

        def split(self, text):
            return [text]

    pieces = ["word " * 20] * 50
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "_SENTENCE_END", Counting())
        assert list(cut_sentences(pieces)) == ["".join(pieces).strip()]
    assert sum(searched) <= len("".join(pieces)) + len(pieces)  # the last space again


def test_the_first_share_in_order_is_for_training(tmp_path):
    loaded = load(tmp_path, builtin="pets")
    assert list(loaded.texts["train"]) == pets.sentences()[:166]  # 80 % of 208, as in the study
    assert list(loaded.texts["validation"]) == pets.sentences()[166:]
    assert loaded.facts.examples == {"train": 166, "validation": 42}


def test_the_unlabelled_corpus_holds_no_example_of_the_task(tmp_path):
    loaded = load(tmp_path, builtin="sentiment-unlabelled", cut="rows")
    labelled = {text for split in sentiment.splits().values() for text, _ in split}
    assert not labelled & {text for part in loaded.texts.values() for text in part}


def test_a_text_file_is_cut_into_sentences_or_lines(tmp_path):
    (tmp_path / "book.txt").write_text("One. Two\nand more. Three.\n\nFour.\n", encoding="utf-8")
    sentences = load(tmp_path, text_file="book.txt", train_share=0.5)
    assert lists(sentences) == {
        "train": ["One.", "Two and more."],
        "validation": ["Three.", "Four."],
    }
    lines = load(tmp_path, text_file="book.txt", cut="rows", first=2, train_share=0.5)
    assert lists(lines) == {"train": ["One. Two"], "validation": ["and more. Three."]}
    assert lines.facts.source == "book.txt"
    assert lines.facts.content_hash["train"] != sentences.facts.content_hash["train"]


@pytest.mark.parametrize("cut", ["sentences", "rows"])
def test_a_file_read_in_pieces_gives_what_it_gives_as_a_whole(tmp_path, monkeypatch, cut):
    rng = random.Random(1)
    signs = ["Word", "word", "\u20ac", "\U0001f600", ". ", "? ", '." ', "\n", "\r\n", "\r", "\n\n"]
    signs += [" ", "\x0c", "\u2028", "\x1c"]
    text = "".join(rng.choices(signs, k=4000))
    path = tmp_path / "book.txt"
    path.write_bytes(text.encode())
    monkeypatch.setattr(corpus_module, "_PIECE", 7)
    loaded = load(tmp_path, text_file="book.txt", cut=cut, train_share=0.7)

    whole = path.read_text("utf-8")
    expected = split_sentences(whole) if cut == "sentences" else whole.splitlines()
    expected = [text.strip() for text in expected if text.strip()]
    size = int(len(expected) * 0.7)
    parts = {"train": expected[:size], "validation": expected[size:]}
    assert size > 200
    assert lists(loaded) == parts
    assert loaded.facts.examples == {part: len(texts) for part, texts in parts.items()}
    assert loaded.facts.content_hash == {
        part: hashlib.sha256("".join(f"{text}\0" for text in texts).encode()).hexdigest()
        for part, texts in parts.items()
    }


def test_a_data_sets_rows_are_texts_without_the_empty_ones(tmp_path):
    rows = {"text": ["One. Two.", None, "", "  ", "Three."], "number": [0, 1, 2, 3, 4]}
    Dataset.from_dict(rows).to_parquet(tmp_path / "data" / "train.parquet")
    source = {"dataset_name": str(tmp_path / "data"), "train_share": 0.5}
    assert lists(load(tmp_path, cut="rows", **source)) == {
        "train": ["One. Two."],
        "validation": ["Three."],
    }
    assert lists(load(tmp_path, cut="sentences", **source)) == {
        "train": ["One."],
        "validation": ["Two.", "Three."],
    }
    with pytest.raises(UserError, match=r"corpus\.text_column: column 'number' .* int64, not text"):
        load(tmp_path, text_column="number", **source)


@pytest.mark.parametrize("content", [b"", b"One sentence only.", b"\xff\xfe broken"])
def test_a_text_that_gives_no_two_parts_is_an_error(tmp_path, content):
    (tmp_path / "book.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"models\.x\.pretrain\.corpus"):
        load(tmp_path, text_file="book.txt")
