import numpy as np
import pytest

from hfbench.errors import UserError
from hfbench.models import controls
from hfbench.models.controls import build_control, refuse_unknown_control, register_control
from hfbench.recipe.schema import BUILTIN_CONTROLS


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
    assert isinstance(build_control("words"), Words)


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
    control = build_control("majority").fit([""] * 4, np.array([0, 1, 1, 1]), 2)
    np.testing.assert_allclose(np.exp(control.logits(["a", "b"])), [[0.25, 0.75]] * 2)
