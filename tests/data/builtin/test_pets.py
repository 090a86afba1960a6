"""The grammar corpus against a regular expression of its language, and against the study's file."""

import re
from collections import Counter
from pathlib import Path

import pytest

from hfbench.data.builtin import pets

STUDY_FILE = Path(__file__).parents[4] / "shared" / "corpora" / "SmallSimpleCorpus.txt"

ONE = "(a|the) (dog|cat)"
ONE_OR_BOTH = "(a|the) (dog|cat|dog and cat|cat and dog)"
BARE = f"((hold|rub) {ONE_OR_BOTH}|(hold and rub|rub and hold) {ONE})"
WITH_S = f"((holds|rubs) {ONE_OR_BOTH}|(holds and rubs|rubs and holds) {ONE})"
ALONE = rf"I (can )?{BARE}\.|(She|He) (can {BARE}|{WITH_S})\."
TOGETHER = rf"(He and I|She and I|She and he|He and she) (can )?(hold|rub) {ONE}\."


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    return pets.sentences()


def test_there_are_208_distinct_sentences(sentences):
    assert len(sentences) == len(set(sentences)) == 208


def test_subjects_come_in_the_order_and_number_of_the_study(sentences):
    subjects = [re.match(r"\w+( and (I|he|she))?(?= )", sentence)[0] for sentence in sentences]

    assert list(Counter(subjects).items()) == [
        ("I", 48),
        ("She", 48),
        ("He", 48),
        ("He and I", 16),
        ("She and I", 16),
        ("She and he", 16),
        ("He and she", 16),
    ]
    assert subjects == sorted(subjects, key=list(Counter(subjects)).index), "a subject comes twice"


def test_subject_and_verb_agree_in_every_sentence(sentences):
    """208 distinct sentences of a regular expression that has 144 + 64 are all that it has."""
    alone = [sentence for sentence in sentences if re.fullmatch(ALONE, sentence)]
    together = [sentence for sentence in sentences if re.fullmatch(TOGETHER, sentence)]

    assert (len(alone), len(together)) == (144, 64)


@pytest.mark.parametrize(
    "sentence",
    [
        "I hold a dog.",
        "I rub and hold the cat.",
        "She holds and rubs a dog.",
        "She can hold and rub a dog.",
        "He rubs the cat and dog.",
        "He and I hold a dog.",
        "She and he can rub the cat.",
    ],
)
def test_the_grammar_has(sentence, sentences):
    assert sentence in sentences


@pytest.mark.parametrize(
    "sentence",
    ["She hold a dog.", "I holds a dog.", "He can rubs a cat.", "He and she holds a dog."],
)
def test_the_grammar_has_not(sentence, sentences):
    assert sentence not in sentences


def test_two_calls_give_the_same_sentences_in_the_same_order(sentences):
    assert pets.sentences() == sentences
    assert sentences[0] == "I hold a dog."
    assert sentences[-1] == "He and she can rub the cat."


@pytest.mark.skipif(not STUDY_FILE.exists(), reason="the study's corpus lies beside the checkout")
def test_only_four_sentences_are_not_in_the_file_of_the_study(sentences):
    text = STUDY_FILE.read_text(encoding="utf-8")
    of_study = [part.strip() + "." for part in text.split(".") if part.strip()]

    assert len(of_study) == 208
    assert set(of_study) <= set(sentences)
    assert set(sentences) - set(of_study) == {
        f"I rub and hold {article} {animal}."
        for article in ("a", "the")
        for animal in ("dog", "cat")
    }
    assert sentences[144:] == of_study[144:], "the joint subjects come in exactly the study's order"
