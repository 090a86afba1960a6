"""Which training examples the points of a learning curve have."""

import numpy as np

from hfbench.errors import UserError


def nested_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """The rows in an order whose every prefix is a stratified subset; shape (rows,).

    The classes' rows, each class in a random order, are spread evenly: the k-th of n has the rank
    (k + 0.5) / n. With two classes each prefix has half an example more or less of a class than its
    share, with C classes at most (1 + share * (C - 2)) / 2. How many rows of each class a prefix
    has does not depend on the seed; which ones does.

    Args:
        labels: class numbers, shape (rows,).
        seed: of the random order within the classes.
    """
    generator = np.random.default_rng(seed)
    ranks = np.empty(len(labels))
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        ranks[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.lexsort((labels, ranks))  # by rank; among equals by class


def check_train_sizes(
    sizes: list[int], labels: np.ndarray, names: list[str], order: np.ndarray
) -> None:
    """Check that every subset can be had and has every class.

    Args:
        sizes: numbers of rows.
        labels: as `tables.labels_of` reads them.
        names: of the classes.
        order: of the rows, shape (rows,): a subset is a beginning of it.

    Raises:
        UserError: naming ``train_sizes``, the size and what would be right.
    """
    rarest, smallest = _smallest(labels[order], names)
    for size in sizes:
        if size > len(labels):
            raise UserError(
                f"train_sizes: {size} is more than the train split has; give at most {len(labels)}"
            )
        if size < smallest:
            lacking = f"no example of {rarest!r}" if rarest else "no two numbers that differ"
            raise UserError(
                f"train_sizes: a stratified subset of {size} has {lacking}; "
                f"give at least {smallest}"
            )


def _smallest(labels: np.ndarray, names: list[str]) -> tuple[str, int]:
    """The class that comes last in these rows for the first time, and how many rows that takes."""
    if labels.dtype.kind == "f":
        return "", 2
    if labels.ndim == 2:
        present = np.flatnonzero(labels.any(0))
        first = labels[:, present].argmax(0)
    else:
        present, first = np.unique(labels, return_index=True)
    return names[present[first.argmax()]], int(first.max()) + 1
