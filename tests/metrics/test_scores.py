import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss

from hfbench.metrics.evaluate_metric import ClassificationMetrics
from hfbench.metrics.measure import classification_metrics
from hfbench.metrics.scores import bits_per_byte


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("examples", [1, 10, 500])
def test_metrics_equal_scikit_learn(classes, examples):
    rng = np.random.default_rng(classes * examples)
    logits = rng.normal(size=(examples, classes)).astype(np.float32) * 5
    labels = rng.integers(0, classes, examples)
    metrics = classification_metrics(logits, labels)
    predicted = logits.argmax(1)
    # ours is over the classes that occur among the references
    f1 = f1_score(labels, predicted, average="macro", labels=np.unique(labels), zero_division=0)
    shifted = np.exp(logits.astype(float))
    probabilities = shifted / shifted.sum(1, keepdims=True)
    assert metrics["accuracy"] == pytest.approx(accuracy_score(labels, predicted), abs=1e-12)
    assert metrics["f1_macro"] == pytest.approx(f1, abs=1e-12)
    loss = log_loss(labels, probabilities, labels=range(classes))
    assert metrics["loss"] == pytest.approx(loss, abs=1e-6)


def test_loss_of_certain_and_wrong_logits_is_large_and_finite():
    metrics = classification_metrics(np.array([[1e4, -1e4]], dtype=np.float32), np.array([1]))
    assert metrics["loss"] == pytest.approx(2e4)


def test_metrics_need_no_network_and_work_alone(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *a: pytest.fail("asked the network"))
    metrics = ClassificationMetrics().compute(predictions=[[1, 0]] * 3, references=[0, 1, 0])
    assert (metrics["accuracy"], metrics["f1_macro"]) == (pytest.approx(2 / 3), 0.4)


def test_bits_per_byte_by_hand():
    # 6 tokens, each one of 8 that are equally likely: 18 bits for 9 bytes
    assert bits_per_byte(loss=np.log(8), tokens=6, num_bytes=9) == pytest.approx(2)
