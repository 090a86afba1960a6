"""By what rows are drawn in proportion, for each kind of label.

Labels are as `tables.labels_of` gives them: class numbers (rows,), rows of 0 and 1 (rows, labels),
or numbers to be predicted (rows,).
"""

import numpy as np

_BINS = 10
_EXCHANGES = 8
"""How many rows each row of the second part is offered in exchange, in each of as many rounds."""
_OFTEN = 5
"""Rows that a label set must have, to be spread by itself."""


def strata(labels: np.ndarray) -> np.ndarray:
    """A number for each row, shape (rows,), by which rows are spread evenly.

    The class; of several labels the whole set where it is frequent, else the one of them that
    fewest rows have; of numbers to be predicted the tenth that they lie in.
    """
    if labels.ndim == 2:
        sets = numbered(labels)
        is_frequent = np.bincount(sets)[sets] >= _OFTEN
        return numbered(np.where(is_frequent, sets, len(labels) + rarest(labels)))
    return tenths(labels) if labels.dtype.kind == "f" else labels


def rarest(labels: np.ndarray) -> np.ndarray:
    """Of each row of 0 and 1 the label that fewest rows have, or their number where it has none."""
    ranks = np.argsort(np.argsort(labels.sum(0), kind="stable"), kind="stable")
    without = labels.shape[1]
    number = np.where(labels > 0, ranks, without).argmin(1)
    return np.where(labels.any(1), number, without)


def tenths(numbers: np.ndarray, bins: int = _BINS) -> np.ndarray:
    """Which of ``bins`` parts of as many rows each lies in, by rank; at least two rows a part."""
    rows = len(numbers)
    ranks = np.empty(rows, dtype=np.int64)
    ranks[np.argsort(numbers, kind="stable")] = np.arange(rows)
    return ranks * max(min(bins, rows // 2), 1) // rows


def classes_in(labels: np.ndarray) -> set[int]:
    """The numbers of the classes or labels that some row has; none of numbers to be predicted."""
    if labels.ndim == 2:
        return set(np.flatnonzero(labels.any(0)).tolist())
    return set() if labels.dtype.kind == "f" else set(labels.tolist())


def in_one_row(labels: np.ndarray) -> set[int]:
    """The classes or labels that one row alone has."""
    if labels.ndim == 2:
        return set(np.flatnonzero(labels.sum(0) == 1).tolist())
    if labels.dtype.kind == "f":
        return set()
    numbers, counts = np.unique(labels, return_counts=True)
    return set(numbers[counts == 1].tolist())


def numbered(labels: np.ndarray) -> np.ndarray:
    """A number for each row that is equal where their labels are, shape (rows,)."""
    axis = 0 if labels.ndim == 2 else None
    return np.unique(labels, axis=axis, return_inverse=True)[1].reshape(-1)


def split_label_sets(
    labels: np.ndarray, held_out: int, seed: int, spared: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The rows that are kept and those that are held out, of each label its share.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of
    Multi-Label Data"): the rarest label that is left is dealt out first, each of its rows to the
    part that wants it most; here to one that has room, so that the parts have just the wanted size.
    It looks at one label of a row, its rarest: for the others, rows of the parts are exchanged.

    Args:
        labels: 0 and 1, shape (rows, labels).
        held_out: rows of the second part.
        seed: of the order in which rows are dealt out.
        spared: whether a row must be kept, shape (rows,); not more than there is room for.
    """
    rows = len(labels)
    order = np.random.default_rng(seed).permutation(rows)
    room = np.array([rows - held_out, held_out])
    wanted = np.outer(room / rows, labels.sum(0))  # (2, labels)
    part = np.full(rows, -1)

    def give(row: int, to: int) -> None:
        part[row] = to
        room[to] -= 1
        wanted[to] -= labels[row]

    for row in np.flatnonzero(spared).tolist():
        give(row, 0)
    while (left := labels[part < 0].sum(0)).any():
        label = int(np.where(left > 0, left, rows + 1).argmin())
        for row in order[(part[order] < 0) & (labels[order, label] > 0)].tolist():
            wishes = [(room[to] > 0, wanted[to, label], room[to]) for to in (0, 1)]
            give(row, int(wishes[1] > wishes[0]))
    others = order[part[order] < 0]  # without any label
    part[others] = np.repeat([0, 1], room)
    _exchange(labels, part, np.flatnonzero(~spared), seed)
    return np.flatnonzero(part == 0), np.flatnonzero(part == 1)


def _exchange(labels: np.ndarray, part: np.ndarray, free: np.ndarray, seed: int) -> None:
    """Exchange rows of the two parts, in place, while that brings the labels nearer their shares.

    The distance is the sum over labels of the squared surplus in the second part, in units of what
    it is by chance.

    Args:
        labels: 0 and 1, shape (rows, labels).
        part: 0 or 1, shape (rows,).
        free: the rows that may be exchanged.
        seed: of the rows that are offered.
    """
    generator = np.random.default_rng([seed, 1])
    table, share = labels.astype(np.int64), part.mean()
    wanted = share * table.sum(0)
    weights = 1 / np.maximum(wanted * (1 - share), 1.0)
    surplus = table[part == 1].sum(0) - wanted
    for _ in range(_EXCHANGES):
        kept = free[part[free] == 0]
        for row in free[part[free] == 1].tolist():
            offered = generator.choice(kept, _EXCHANGES)
            change = table[offered] - table[row]
            gain = (change * (2 * surplus + change)) @ weights
            best = int(gain.argmin())
            if gain[best] < 0 and part[offered[best]] == 0:
                part[row], part[offered[best]] = 0, 1
                surplus = surplus + change[best]
