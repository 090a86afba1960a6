"""Logits and labels -> how right a classifier is; losses -> how well a language model predicts."""

import math
import warnings

import numpy as np
from scipy.special import log_softmax


def classification_metrics(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Every registered metric; the negative log-likelihood by its name in training, ``loss``.

    Of a metric that gives no number, a warning says why.

    Args:
        logits: shape (examples, labels); the prediction is the highest, the first among equals.
        labels: shape (examples,).
    """
    from hfbench.metrics.evaluate_metric import ClassificationMetrics

    metrics = ClassificationMetrics(keep_in_memory=True)
    found = metrics.compute(predictions=logits, references=labels)
    return {"loss" if name == "nll" else name: value for name, value in found.items()}


def language_model_metrics(losses: np.ndarray, tokens: np.ndarray) -> dict[str, float]:
    """``loss`` (nats a token) and every registered metric of a language model.

    Args:
        losses: sum of the tokens' losses of each row, shape (rows,).
        tokens: how many tokens of each row were predicted, shape (rows,).
    """
    from hfbench.metrics.registry import score

    scores = score("language model", losses, tokens)
    warn_of(scores.left_out)
    return {"loss": mean_loss(losses, tokens), **scores.values}


def warn_of(left_out: dict[str, str]) -> None:
    """Say why metrics have no number."""
    for name, reason in left_out.items():
        warnings.warn(f"metric {name!r} is left out: {reason}", stacklevel=3)


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of right predictions, in [0, 1]."""
    return float(np.mean(logits.argmax(-1) == labels))


def f1_macro(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the classes among the labels of each class's F1, in [0, 1].

    A class that is never predicted counts 0. Classes that do not occur among the labels are left
    out, so that the mean is over the same classes for every model (Sokolova and Lapalme 2009).
    """
    predicted, scores = logits.argmax(-1), []
    for label in np.unique(labels):
        hits = np.sum((predicted == label) & (labels == label))
        scores.append(2 * hits / (np.sum(predicted == label) + np.sum(labels == label)))
    return float(np.mean(scores))


def negative_log_likelihood(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean over the examples of -log softmax(logits)[label], in nats."""
    log_probabilities = log_softmax(logits.astype(np.float64), axis=-1)
    return float(-np.take_along_axis(log_probabilities, labels[:, None], -1)[:, 0].mean())


def mean_loss(losses: np.ndarray, tokens: np.ndarray) -> float:
    """Of a language model, in nats a token."""
    return float(losses.sum() / tokens.sum())


def perplexity(losses: np.ndarray, tokens: np.ndarray) -> float:
    """Of a language model: e to its loss."""
    return math.exp(mean_loss(losses, tokens))


def bits_per_byte(loss: float, tokens: int, num_bytes: int) -> float:
    """A language model's total negative log-likelihood in bits, for each byte of the text.

    Unlike the loss of a token it can be compared between tokenizers.

    Args:
        loss: mean over the predicted tokens, in nats.
        tokens: the number of predicted tokens.
        num_bytes: of the text that they stand for; see `data.tokens.predicted_bytes`.
    """
    return loss * tokens / math.log(2) / num_bytes
