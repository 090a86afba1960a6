import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import f1_score, precision_recall_curve

from hfbench.metrics.threshold import best_f1_thresholds, shift


@pytest.mark.parametrize("seed", range(20))
def test_no_cut_has_a_higher_f1(seed):
    generator = np.random.default_rng(seed)
    logits = generator.normal(-1, 2, (60, 3)).round(1).astype(np.float32)  # with ties
    labels = (generator.random((60, 3)) < expit(logits - [1, 0, -1])).astype(np.int64)
    thresholds = best_f1_thresholds(logits, labels)
    given = shift(logits, thresholds) > 0
    assert np.array_equal(given, expit(logits.astype(float)) > thresholds)
    for label in range(3):
        precision, recall, _ = precision_recall_curve(labels[:, label], logits[:, label])
        best = np.nanmax(2 * precision * recall / np.maximum(precision + recall, 1e-12))
        assert f1_score(labels[:, label], given[:, label]) == pytest.approx(best)


def test_of_two_classes_it_is_that_of_the_second():
    generator = np.random.default_rng(3)
    logits = generator.normal(size=(80, 2)).astype(np.float32)
    labels = (logits[:, 1] - logits[:, 0] > 1.2).astype(np.int64)
    (threshold,) = best_f1_thresholds(logits, labels)
    assert threshold > 0.7
    assert np.array_equal(shift(logits, [threshold]).argmax(-1), labels)
    assert shift(logits, None) is logits


def test_half_is_kept_where_nothing_is_better():
    logits = np.array([[2.0, 1.0], [-1.0, -3.0]], dtype=np.float32)
    assert best_f1_thresholds(logits, np.array([[1, 0], [0, 0]])) == [0.5, 0.5]
