"""Measures of answers that may have several labels: a label is given where its logit is above 0."""

import numpy as np

from hfbench.metrics.estimate import Estimate, UndefinedMeasureError


def subset_accuracy(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Share of the examples with just the right labels."""
    return Estimate.of_mean(((logits > 0) == (labels == 1)).all(-1).astype(float))


def hamming_loss(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Share of the labels, over all examples, that are wrong."""
    return Estimate.of_mean(((logits > 0) != (labels == 1)).mean(-1))


def f1_micro(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """F1 of all labels of all examples together."""
    hits, both = _counts(logits, labels)
    if not labels.any():
        raise UndefinedMeasureError("no example has a label")
    value = hits.sum() / both.sum()
    return Estimate(float(value), (hits.sum(1) - value * both.sum(1)) / both.sum(1).mean())


def f1_macro(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Mean F1 of the labels that some example has."""
    present = _present(labels)
    return _weighted_f1(logits, labels, present / present.sum())


def f1_weighted(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Mean F1 of the labels, each by how many examples have it."""
    _present(labels)
    counts = labels.sum(0)
    weights = counts / counts.sum()
    fixed = _weighted_f1(logits, labels, weights)
    hits, both = _counts(logits, labels)
    f1 = hits.sum(0) / np.maximum(both.sum(0), 1)
    of_weights = (labels @ f1 - labels.sum(1) * fixed.value) / labels.sum(1).mean()
    return Estimate(fixed.value, fixed.influence + of_weights)


def f1_samples(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Mean over the examples of the F1 of their labels; 0 without any label, given or right."""
    hits, both = (counts.sum(1) for counts in _counts(logits, labels))
    return Estimate.of_mean(hits / np.maximum(both, 1))


def f1_of(number: int, logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """F1 of one label."""
    if not labels[:, number].any():
        raise UndefinedMeasureError("no example has this label")
    return _weighted_f1(logits, labels, np.eye(labels.shape[1])[number])


def recall_of(number: int, logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Recall of one label."""
    if not labels[:, number].any():
        raise UndefinedMeasureError("no example has this label")
    return _ratio(_counts(logits, labels)[0][:, number] / 2, labels[:, number])


def precision_of(number: int, logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Precision of one label; 0 where it is never given."""
    return _ratio(_counts(logits, labels)[0][:, number] / 2, (logits[:, number] > 0).astype(float))


def _counts(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each label of each example: twice whether it is rightly given; whether it is given plus
    whether it is right; (examples, labels).
    """
    given, right = logits > 0, labels == 1
    return 2.0 * (given & right), given.astype(float) + right


def _present(labels: np.ndarray) -> np.ndarray:
    present = np.asarray(labels.any(0))
    if not present.any():
        raise UndefinedMeasureError("no example has a label")
    return present


def _weighted_f1(logits: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Estimate:
    hits, both = _counts(logits, labels)
    of_label = both.mean(0)
    share = weights / np.where(of_label > 0, of_label, 1.0)
    f1 = hits.mean(0) / np.where(of_label > 0, of_label, 1.0)
    return Estimate(float(weights @ f1), (hits - both * f1) @ share)


def _ratio(hits: np.ndarray, of: np.ndarray) -> Estimate:
    if not of.any():
        return Estimate.of_mean(np.zeros(len(of)))
    value = float(hits.sum() / of.sum())
    return Estimate(value, (hits - value * of) / of.mean())
