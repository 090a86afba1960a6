"""Logits and labels -> how right a classifier is; losses -> how well a language model predicts."""

import math

import numpy as np
from scipy.special import log_softmax


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
