"""What a model must beat: the answer that is the same for every text."""

import numpy as np

from hfbench.records.data import TaskData


def name_of_floor(task: TaskData) -> str:
    """The answer: the commonest class or set of labels in training, or the mean of its numbers."""
    train = task.splits["train"]
    if task.problem_type == "regression":
        return f"{_mean(task):.4g}"
    if task.problem_type == "multi_label_classification":
        return ", ".join(train.commonest_set or []) or "no label"
    return task.labels[commonest_class(task)]


def commonest_class(task: TaskData) -> int:
    """The class that the training examples have most of, the first among equals."""
    return int(np.argmax([task.splits["train"].label_counts[label] for label in task.labels]))


def floor_outputs(task: TaskData, examples: int) -> np.ndarray:
    """Outputs that give that answer to each of so many examples, shape (examples, outputs).

    Of classes they have the shares of the training examples as their probabilities.
    """
    train = task.splits["train"]
    if task.problem_type == "regression":
        return np.full((examples, 1), _mean(task), dtype=np.float32)
    counts = np.array([train.label_counts[label] for label in task.labels], dtype=float)
    if task.problem_type == "single_label_classification":
        # where a class has no training example, it has as much as a tenth of one
        logits = np.log(np.maximum(counts, 0.1) / train.examples)
    else:
        share = np.clip(counts / train.examples, 1e-4, 1 - 1e-4)
        given = np.isin(task.labels, train.commonest_set or [])
        logits = np.where(given, 1.0, -1.0) * np.abs(np.log(share / (1 - share)))
    return np.tile(logits.astype(np.float32), (examples, 1))


def is_floor(predicted: np.ndarray, task: TaskData) -> bool:
    """Whether all predictions, of shape (runs, examples, ...), are that answer."""
    if task.problem_type == "regression":
        return bool(np.allclose(predicted, _mean(task), rtol=1e-4, atol=1e-6))
    if task.problem_type == "multi_label_classification":
        answer = np.isin(task.labels, task.splits["train"].commonest_set or [])
        return bool((predicted == answer).all())
    return bool((predicted == commonest_class(task)).all())


def always_the_same(predicted: np.ndarray) -> np.ndarray:
    """Whether each run gives one answer to all examples; ``predicted``: (runs, examples, ...)."""
    runs = predicted.reshape(len(predicted), predicted.shape[1], -1)
    return (runs == runs[:, :1]).all((1, 2))


def _mean(task: TaskData) -> float:
    target = task.splits["train"].target
    assert target is not None  # of a regression
    return target.mean
