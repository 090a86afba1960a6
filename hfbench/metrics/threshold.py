"""From which probability on a label is given.

A metric of decisions asks whether a logit is above 0, or which of two is higher. So a threshold is
a shift of logits: of each of several labels its own, of two classes that of the second. Metrics of
probabilities look at the logits as they are.
"""

import numpy as np

_FARTHEST = 30.0
"""Log-odds, beyond which a probability is 0 or 1."""


def best_f1_thresholds(logits: np.ndarray, labels: np.ndarray) -> list[float]:
    """The probabilities from which on F1 is highest on these examples, that nearest to 0.5 first.

    Args:
        logits: shape (examples, labels), of two classes (examples, 2).
        labels: 0 or 1, shape (examples, labels); or class numbers, shape (examples,).

    Returns:
        Of each label, or of the second of two classes, one probability. 0.5 of a label that no
        example has, whose F1 is 0 whatever is predicted.
    """
    if labels.ndim == 1:
        return [_best_f1(logits[:, 1].astype(np.float64) - logits[:, 0], labels == 1)]
    return [
        _best_f1(scores, there > 0)
        for scores, there in zip(logits.T.astype(np.float64), labels.T, strict=True)
    ]


def _best_f1(scores: np.ndarray, there: np.ndarray) -> float:
    """Of log-odds, shape (examples,)."""
    if not there.any():
        return 0.5
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], np.cumsum(there[order])
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + there.sum())
    below = np.append(ordered[1:], ordered[-1] - 2)  # the next score that is not given the label
    cuts = ((ordered + below) / 2).clip(-_FARTHEST, _FARTHEST)
    # 0 lies between the same two scores as the middle of them: take what is usual
    cuts = np.where((below < 0) & (ordered > 0), 0.0, cuts)
    f1[below == ordered] = -1.0  # equal scores cannot be parted
    best = np.flatnonzero(f1 == f1.max())
    cut = cuts[best[np.abs(cuts[best]).argmin()]]
    return float(1 / (1 + np.exp(-cut)))


def shift(logits: np.ndarray, thresholds: list[float] | None) -> np.ndarray:
    """Logits that say by their sign, or by the higher of two, what is given from thresholds on.

    Args:
        logits: shape (..., labels).
        thresholds: as `best_f1_thresholds` gives them; None: as they are.
    """
    if thresholds is None:
        return logits
    probabilities = np.array(thresholds)
    cuts = np.log(probabilities / (1 - probabilities))
    if len(cuts) != logits.shape[-1]:
        cuts = np.array([0.0, *cuts])
    return (logits.astype(np.float64) - cuts).astype(np.float32)
