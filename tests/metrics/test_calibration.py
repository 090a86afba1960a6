import numpy as np
import pytest
from sklearn.metrics import (
    confusion_matrix as sklearn_confusion,
)
from sklearn.metrics import (
    log_loss,
    precision_recall_fscore_support,
)

from hfbench.metrics.calibration import (
    brier_score,
    class_scores,
    confusion_matrix,
    error_if_calibrated,
    expected_calibration_error,
    reliability,
)
from hfbench.metrics.scores import negative_log_likelihood


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 500)
    return rng.normal(size=(500, 3)) + 1.5 * np.eye(3)[labels], labels


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)


def test_scores_are_those_of_their_definitions(answers):
    logits, labels = answers
    probabilities = softmax(logits)
    nll = negative_log_likelihood(logits, labels)
    assert nll == pytest.approx(log_loss(labels, probabilities), abs=1e-9)
    squares = ((probabilities - np.eye(3)[labels]) ** 2).sum(1)
    assert brier_score(logits, labels) == pytest.approx(np.mean(squares))
    error = 0.0
    for low in np.arange(10) / 10:
        top = probabilities.max(1)
        of = (top >= low) & (top < low + 0.1)
        if of.any():
            right = np.mean(probabilities.argmax(1)[of] == labels[of])
            error += of.mean() * abs(top[of].mean() - right)
    assert expected_calibration_error(logits, labels) == pytest.approx(error, abs=1e-9)


def test_probabilities_that_are_true_have_no_calibration_error():
    rng = np.random.default_rng(0)
    share = rng.uniform(0.5, 1, 200_000)
    labels = (rng.random(200_000) >= share).astype(int)
    logits = np.log(np.stack([share, 1 - share], 1))
    assert expected_calibration_error(logits, labels) < 0.005


def test_certainty_falls_into_the_last_bin():
    bins = reliability(np.array([[1000.0, 0.0], [1000.0, 0.0]]), np.array([0, 1]))
    assert bins.examples.tolist() == [0] * 9 + [2]
    assert bins.confidence[-1] == 1
    assert bins.accuracy[-1] == 0.5


def test_classes_are_those_of_scikit_learn(answers):
    logits, labels = answers
    predicted = np.where(logits.argmax(-1) == 2, 1, logits.argmax(-1))  # class 2 is never predicted
    found = confusion_matrix(predicted, labels, 3)
    assert (found == sklearn_confusion(labels, predicted, labels=[0, 1, 2])).all()
    expected = precision_recall_fscore_support(labels, predicted, labels=[0, 1, 2], zero_division=0)
    scores = class_scores(found)
    assert [s.precision for s in scores] == pytest.approx(expected[0])
    assert [s.recall for s in scores] == pytest.approx(expected[1])
    assert [s.f1 for s in scores] == pytest.approx(expected[2])


@pytest.mark.parametrize(("examples", "labels"), [(60, 3), (300, 2), (2000, 5)])
def test_what_calibrated_answers_have_by_chance_is_what_labels_drawn_from_them_give(
    examples, labels
):
    rng = np.random.default_rng(examples)
    logits = 1.5 * rng.normal(size=(examples, labels))
    probabilities = softmax(logits)
    edges = probabilities.cumsum(-1)[:, :-1]
    drawn = [
        expected_calibration_error(logits, (edges < rng.random((examples, 1))).sum(-1))
        for _ in range(400)
    ]
    assert error_if_calibrated(logits) == pytest.approx(np.mean(drawn), rel=0.06)
