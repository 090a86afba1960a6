"""Measures of which class is taken for which: functions of the shares of a confusion matrix.

The influence of an example is the derivative of the measure by the share of its cell, less the mean
of that (the delta method; Bishop, Fienberg and Holland 1975, ch. 14). In the formulas C is the
matrix of shares (right class, predicted class), h its diagonal, r its sums by right class and p
those by predicted class.
"""

from dataclasses import dataclass

import numpy as np

from hfbench.metrics.estimate import Estimate, UndefinedMeasureError


@dataclass(frozen=True, eq=False)
class Confusion:
    """Predictions and labels, class numbers of shape (examples,), and the shares of their cells."""

    predicted: np.ndarray
    labels: np.ndarray
    h: np.ndarray
    r: np.ndarray
    p: np.ndarray

    @classmethod
    def of(cls, logits: np.ndarray, labels: np.ndarray) -> "Confusion":
        """Of logits (examples, classes); the highest is predicted, the first among equals."""
        predicted, classes, examples = logits.argmax(-1), logits.shape[-1], len(labels)
        hits = np.bincount(labels[predicted == labels], minlength=classes)
        return cls(
            predicted,
            labels,
            hits / examples,
            np.bincount(labels, minlength=classes) / examples,
            np.bincount(predicted, minlength=classes) / examples,
        )

    @property
    def right(self) -> np.ndarray:
        """Whether each prediction is right, shape (examples,)."""
        return self.predicted == self.labels

    @property
    def present(self) -> np.ndarray:
        """Whether each class is among the labels, shape (classes,)."""
        return self.r > 0

    def refuse_one_class(self) -> None:
        """Refuse labels that are all of one class.

        Raises:
            UndefinedMeasureError: if they are.
        """
        if self.present.sum() < 2:
            raise UndefinedMeasureError("all labels are of one class")

    def estimate(self, value: float, derivative: np.ndarray) -> Estimate:
        """``derivative``: by the share of each example's cell, shape (examples,)."""
        return Estimate(float(value), derivative - derivative.mean())


def accuracy(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Share of right predictions."""
    return Estimate.of_mean((logits.argmax(-1) == labels).astype(float))


def balanced_accuracy(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Mean recall of the classes among the labels."""
    found = Confusion.of(logits, labels)
    r = np.where(found.present, found.r, 1.0)
    recall, classes = found.h / r, found.present.sum()
    derivative = (found.right - recall[labels]) / r[labels] / classes
    return found.estimate(recall[found.present].mean(), derivative)


def f1_macro(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Mean F1 of the classes among the labels."""
    found = Confusion.of(logits, labels)
    weights = found.present / found.present.sum()
    return _weighted_f1(found, weights)


def f1_weighted(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Mean F1 of the classes, each by its share among the labels."""
    found = Confusion.of(logits, labels)
    rest = _weighted_f1(found, found.r)
    of_weights = _f1(found)[labels]
    return Estimate(rest.value, rest.influence + of_weights - of_weights.mean())


def f1_of(number: int, logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """F1 of one class, 2 h / (r + p); 0 where it is never predicted."""
    found = Confusion.of(logits, labels)
    _refuse_absent(found, number)
    return _weighted_f1(found, np.eye(len(found.r))[number])


def recall_of(number: int, logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Recall of one class, h / r."""
    found = Confusion.of(logits, labels)
    _refuse_absent(found, number)
    hit = found.right & (labels == number)
    return _ratio(hit, labels == number)


def precision_of(number: int, logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Precision of one class, h / p; 0 where it is never predicted."""
    found = Confusion.of(logits, labels)
    hit = found.right & (labels == number)
    return _ratio(hit, found.predicted == number)


def matthews(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Matthews' correlation for any number of classes (Gorodkin 2004); 0 for one answer to all.

    (sum h - sum r p) / sqrt((1 - sum p^2) (1 - sum r^2)).
    """
    found = Confusion.of(logits, labels)
    found.refuse_one_class()
    r, p = found.r, found.p
    above = found.h.sum() - r @ p
    by_predicted, by_right = 1 - p @ p, 1 - r @ r
    if (p > 0).sum() < 2:
        return Estimate.of_mean(np.zeros(len(labels)))
    value = above / np.sqrt(by_predicted * by_right)
    of_above = found.right - p[labels] - r[found.predicted]
    of_below = -2 * p[found.predicted] / by_predicted - 2 * r[labels] / by_right
    return found.estimate(value, of_above / np.sqrt(by_predicted * by_right) - value / 2 * of_below)


def kappa(logits: np.ndarray, labels: np.ndarray) -> Estimate:
    """Cohen's (1960): accuracy above chance agreement e = sum r p, (sum h - e) / (1 - e)."""
    found = Confusion.of(logits, labels)
    found.refuse_one_class()
    r, p = found.r, found.p
    by_chance = r @ p
    value = (found.h.sum() - by_chance) / (1 - by_chance)
    of_chance = p[labels] + r[found.predicted]
    return found.estimate(value, (found.right - of_chance + value * of_chance) / (1 - by_chance))


def _f1(found: Confusion) -> np.ndarray:
    both = found.r + found.p
    return 2 * found.h / np.where(both > 0, both, 1.0)


def _weighted_f1(found: Confusion, weights: np.ndarray) -> Estimate:
    """Of the classes' F1 by fixed weights, shape (classes,)."""
    both = found.r + found.p
    both = np.where(both > 0, both, 1.0)
    f1, share = _f1(found), weights / both
    derivative = (
        2 * found.right * share[found.labels]
        - (share * f1)[found.labels]
        - (share * f1)[found.predicted]
    )
    return found.estimate(weights @ f1, derivative)


def _ratio(hits: np.ndarray, of: np.ndarray) -> Estimate:
    """Share of ``hits`` among ``of``; both say yes or no of each example."""
    if not of.any():
        return Estimate.of_mean(np.zeros(len(of)))
    value = float(hits.sum() / of.sum())
    return Estimate(value, (hits - value * of) / of.mean())


def _refuse_absent(found: Confusion, number: int) -> None:
    if not found.r[number]:
        raise UndefinedMeasureError("no label is of this class")
