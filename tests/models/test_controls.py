import numpy as np
import pytest

from hfbench.errors import UserError
from hfbench.models import controls
from hfbench.models.controls import (
    KnowsItsLimits,
    build_control,
    refuse_unknown_control,
    register_control,
)
from hfbench.recipe.model import BUILTIN_CONTROLS


class Words:
    """As a user writes one."""

    version = 1

    def fit(self, texts, labels, num_labels):
        self.num_labels = num_labels

    def logits(self, texts):
        return np.zeros((len(texts), self.num_labels))

    def parameter_count(self):
        return None


@pytest.fixture(autouse=True)
def controls_of_their_own(monkeypatch):
    monkeypatch.setattr(controls, "CONTROLS", {**controls.CONTROLS})


def test_a_recipe_knows_the_built_in_ones_without_importing_them():
    assert tuple(controls.CONTROLS) == BUILTIN_CONTROLS


def test_one_that_is_registered_can_be_built():
    register_control("words", Words)
    refuse_unknown_control("words", "models.a.control")
    assert isinstance(build_control("words", None, {}), Words)


def test_an_unknown_one_is_named_with_the_nearest_and_all():
    with pytest.raises(UserError) as error:
        refuse_unknown_control("majorty", "models.a.control")
    assert str(error.value) == (
        "models.a.control: unknown control 'majorty'; did you mean 'majority'? "
        "(known: majority, tfidf-logreg)"
    )


def test_a_name_stands_for_one_control():
    register_control("words", Words)
    register_control("words", type("Words", (Words,), {"version": 1, "__module__": __name__}))
    with pytest.raises(ValueError, match="the name 'majority' is that of the control MajorityCl"):
        register_control("majority", Words)


@pytest.mark.parametrize("fields", [{}, {"version": "1"}])
def test_one_without_a_version_of_its_own_is_refused(fields):
    """An inherited one would stay when the answers change."""
    with pytest.raises(ValueError, match="Other says no version: write `version = 1`"):
        register_control("other", type("Other", (Words,), fields))


def test_the_majority_classifier_says_the_shares_of_the_classes():
    control = build_control("majority", None, {}).fit([""] * 4, np.array([0, 1, 1, 1]), 2)
    np.testing.assert_allclose(np.exp(control.logits(["a", "b"])), [[0.25, 0.75]] * 2)


def accuracy(texts, labels, held_out=8):
    control = build_control("tfidf-logreg", None, {}).fit(texts[:-held_out], labels[:-held_out], 2)
    return (control.logits(texts[-held_out:]).argmax(1) == labels[-held_out:]).mean()


@pytest.mark.parametrize(
    "wholes",
    [
        ("\U0001f600!", "\U0001f621!"),  # no letter at all
        ("\U0001f600", "\U0001f621"),
        ("a", "b"),  # words of a letter, which scikit-learn's own pattern leaves out
        ("...", "?!"),
    ],
)
def test_texts_without_words_are_classified(wholes):
    labels = np.arange(40) % 2
    assert accuracy([wholes[label] for label in labels], labels) == 1


def test_a_language_that_does_not_part_words_is_classified_by_its_characters():
    generator = np.random.default_rng(0)
    labels = np.arange(200) % 2
    letters = [chr(0x4E00 + number) for number in range(300)]
    texts = []
    for label in labels:
        text = generator.choice(letters, 8).tolist()
        texts.append("".join([*text[:3], "\u597d\u5403" if label else "\u96be\u5403", *text[3:]]))
    assert accuracy(texts, labels, held_out=60) > 0.9


def test_words_and_pairs_of_words_count_as_well():
    texts = [f"was {'not good' if n % 2 else 'good not'} at all" for n in range(40)]
    assert accuracy(texts, np.arange(40) % 2) == 1


def test_texts_with_nothing_of_the_training_texts_are_known_as_such():
    control = build_control("tfidf-logreg", None, {}).fit(
        ["good film", "bad film"], np.array([1, 0]), 2
    )
    assert control.unknown(["a bad day", "\u597d\u5403", "filming", "xyz"]).tolist() == [
        False, True, False, True,
    ]  # fmt: skip
    assert isinstance(control, KnowsItsLimits)
    assert not isinstance(build_control("majority", None, {}), KnowsItsLimits)
