import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from hfbench.data.weights import class_weights
from hfbench.errors import UserError
from hfbench.recipe.task import Task


def weigh(labels, given, names=("a", "b", "c")):
    task = Task(builtin="sentiment", validation_size=0.2, class_weights=given)
    return class_weights(task, labels, list(names))


def test_balanced_weights_are_those_of_scikit_learn():
    labels = np.array([0] * 7 + [1] * 2 + [2] * 11)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert weigh(labels, "balanced") == pytest.approx(expected)


def test_of_several_labels_they_are_without_by_with():
    labels = np.array([[1, 0, 1], [0, 0, 1], [0, 1, 1], [0, 0, 1]])
    assert weigh(labels, "balanced") == (3.0, 3.0, 0.25)  # of a label that all have at least one


def test_a_name_that_is_not_listed_has_one():
    assert weigh(np.array([0, 1, 2]), {"b": 2.5}) == (1.0, 2.5, 1.0)
    assert weigh(np.array([0, 1, 2]), None) is None
    with pytest.raises(UserError, match="has no label 'B'"):
        weigh(np.array([0, 1, 2]), {"B": 2.0})
