import pytest

from hfbench.data import pets, sentiment
from hfbench.data.corpus import load_corpus, split_sentences
from hfbench.errors import UserError
from hfbench.recipe import Corpus


def load(folder, **corpus):
    return load_corpus(Corpus.model_validate(corpus), folder, "models.x.pretrain.corpus")


def test_sentences_end_at_punctuation_quotes_and_blank_lines():
    text = (
        'A HEADING\n\nIt was  so. "Why?" she asked! He said "yes." Then (at 3.5 p)\nit '
        "ended. 12 left"
    )
    assert split_sentences(text) == [
        "A HEADING",
        "It was so.",
        '"Why?" she asked!',
        'He said "yes."',
        "Then (at 3.5 p) it ended.",
        "12 left",
    ]


def test_the_first_share_in_order_is_for_training(tmp_path):
    loaded = load(tmp_path, builtin="pets")
    assert loaded.texts["train"] == pets.sentences()[:166]  # 80 % of 208, as in the study
    assert loaded.texts["validation"] == pets.sentences()[166:]
    assert loaded.facts.examples == {"train": 166, "validation": 42}


def test_the_unlabelled_corpus_holds_no_example_of_the_task(tmp_path):
    loaded = load(tmp_path, builtin="sentiment-unlabelled", cut="rows")
    labelled = {text for split in sentiment.splits().values() for text, _ in split}
    assert not labelled & {text for part in loaded.texts.values() for text in part}


def test_a_text_file_is_cut_into_sentences_or_lines(tmp_path):
    (tmp_path / "book.txt").write_text("One. Two\nand more. Three.\n\nFour.\n", encoding="utf-8")
    sentences = load(tmp_path, text_file="book.txt", train_share=0.5)
    assert sentences.texts == {
        "train": ["One.", "Two and more."],
        "validation": ["Three.", "Four."],
    }
    lines = load(tmp_path, text_file="book.txt", cut="rows", first=2, train_share=0.5)
    assert lines.texts == {"train": ["One. Two"], "validation": ["and more. Three."]}
    assert lines.facts.source == "book.txt"
    assert lines.facts.content_hash["train"] != sentences.facts.content_hash["train"]


@pytest.mark.parametrize("content", [b"", b"One sentence only.", b"\xff\xfe broken"])
def test_a_text_that_gives_no_two_parts_is_an_error(tmp_path, content):
    (tmp_path / "book.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"models\.x\.pretrain\.corpus"):
        load(tmp_path, text_file="book.txt")
