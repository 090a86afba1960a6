"""What is fitted to features: logistic regression, nearest neighbours, one hidden layer."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from hfbench.recipe.rivals import ProbeHead
from hfbench.recipe.types import ProblemType
from hfbench.system.threads import one_blas_thread

FOLDS = 5
_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Values of C, of the logistic regression: each tenfold; features are standardised."""
_PENALTIES = (1e4, 1e3, 1e2, 1e1, 1.0)
"""Of ridge regression, in the same order: from much regularised to little."""
_NEIGHBOURS = (1, 3, 5, 9, 17, 33, 65)
_HIDDEN = 128
_EPOCHS = 200
_LEAST = 1e-6


class Head(Protocol):
    """A classifier of features, fitted."""

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """Log-probabilities, log-odds or numbers, of shape (rows, outputs)."""
        ...

    @property
    def parameter_count(self) -> int:
        """Numbers that it has learnt."""
        ...


@dataclass(frozen=True)
class Examples:
    """What a head is fitted to."""

    rows: np.ndarray
    """Features, shape (examples, width)."""
    labels: np.ndarray
    """As `tables.labels_of` reads them."""
    kind: ProblemType
    outputs: int
    weights: tuple[float, ...] | None = None
    """Of the labels; None: all count alike."""
    groups: np.ndarray | None = None
    """What belongs together, shape (examples,): no fold parts it."""

    def __getitem__(self, chosen: np.ndarray) -> "Examples":
        groups = None if self.groups is None else self.groups[chosen]
        return Examples(
            self.rows[chosen], self.labels[chosen], self.kind, self.outputs, self.weights, groups
        )


@dataclass(frozen=True)
class Fitted:
    """A head, and what was chosen for it."""

    head: Head
    chosen: dict[str, float] = field(default_factory=dict)
    """Setting -> value."""
    tried: dict[str, float] = field(default_factory=dict)
    """Value, as text -> mean loss of the parts that were held out."""
    folds: int | None = None


def fit_head(name: ProbeHead, examples: Examples, *, folds_seed: int, init_seed: int) -> Fitted:
    """Fit a head, with its setting chosen by cross-validation, the most regularised among equals.

    Args:
        name: which.
        examples: of training.
        folds_seed: parts the examples.
        init_seed: begins the hidden layer.
    """
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings(), one_blas_thread():
        # what the last step gives is an answer, too, and is compared as any other
        warnings.simplefilter("ignore", ConvergenceWarning)
        if name == "mlp":
            return Fitted(_Layers(examples, init_seed))
        return _choose(name, examples, folds_seed)


def _choose(name: ProbeHead, examples: Examples, folds_seed: int) -> Fitted:
    setting: str
    fit: Callable[[Examples, float], Head]
    if name == "knn":
        setting, fit, values = "k", _Neighbours, [float(k) for k in _NEIGHBOURS[::-1]]
    elif examples.kind == "regression":
        setting, fit, values = "alpha", _Ridge, [*_PENALTIES]
    else:
        setting, fit, values = "C", _Logistic, [*_STRENGTHS]
    parts = _folds(examples, folds_seed)
    if not parts:  # of a class that is there once, nothing can be held out
        chosen = values[len(values) // 2]
        return Fitted(fit(examples, chosen), {setting: chosen})
    least = min(len(train) for train, _ in parts)
    values = [value for value in values if name != "knn" or value <= least]
    losses = np.array([_losses(fit, values, examples[a], examples[b]) for a, b in parts])
    sizes = np.array([len(held) for _, held in parts])
    means = sizes @ losses / sizes.sum()
    chosen = values[int(means.argmin())]
    tried = {f"{value:g}": float(mean) for value, mean in zip(values, means, strict=True)}
    return Fitted(fit(examples, chosen), {setting: chosen}, tried, len(parts))


def _losses(
    fit: Callable[[Examples, float], Head], values: Sequence[float], train: Examples, held: Examples
) -> list[float]:
    return [loss(fit(train, value).logits(held.rows), held.labels, held.kind) for value in values]


def loss(logits: np.ndarray, labels: np.ndarray, kind: ProblemType) -> float:
    """Mean over the examples: nats, or of a regression the squared error."""
    if kind == "regression":
        return float(np.mean((logits[:, 0] - labels) ** 2))
    if kind == "multi_label_classification":  # of each label, log(1 + e^x) - yx
        return float(np.mean((np.logaddexp(0, logits) - labels * logits).sum(1)))
    return float(
        np.mean(np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(labels)), labels])
    )


def _folds(examples: Examples, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows of each fold's training part and of what it holds out; fewer than two: none."""
    from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

    labels, groups = examples.labels, examples.groups
    is_single = examples.kind == "single_label_classification"
    most = len(labels) if groups is None else len(np.unique(groups))
    if is_single and groups is None:
        most = int(np.bincount(labels)[np.unique(labels)].min())
    folds = min(FOLDS, most)
    if folds < 2:
        return []
    splitter: Any
    if groups is not None:
        splitter = (
            StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
            if is_single
            else (GroupKFold(folds, shuffle=True, random_state=seed))
        )
    else:
        kind = StratifiedKFold if is_single else KFold
        splitter = kind(folds, shuffle=True, random_state=seed)
    # by rows alone: the features have no part in it
    return list(splitter.split(np.zeros(len(labels)), labels, groups))


class _Standardised:
    """Features with mean 0 and standard deviation 1 in training; constant ones are left at 0."""

    def __init__(self, rows: np.ndarray) -> None:
        self.mean, sd = rows.mean(0), rows.std(0)
        self.scale = np.where(sd > _LEAST, sd, 1.0)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        return (rows.astype(np.float64) - self.mean) / self.scale


class _Logistic:
    """Logistic regression; of several labels one for each."""

    def __init__(self, examples: Examples, strength: float) -> None:
        from sklearn.linear_model import LogisticRegression

        self.standardise = _Standardised(examples.rows)
        rows, labels, weights = self.standardise(examples.rows), examples.labels, examples.weights
        if examples.kind == "multi_label_classification":
            problems = [(column, weights and {1: weights[n]}) for n, column in enumerate(labels.T)]
        else:
            problems = [(labels, weights and dict(enumerate(weights)))]
        self.outputs, self.fits = examples.outputs, list[Any]()
        for target, by_class in problems:
            found = np.unique(target)
            if len(found) == 1:  # of a label that all have or none has, nothing can be learnt
                self.fits.append(int(found[0]))
                continue
            few = {c: w for c, w in by_class.items() if c in found} if by_class else None
            one = LogisticRegression(C=strength, max_iter=500, class_weight=few)
            self.fits.append(one.fit(rows, target))
        self.is_single = examples.kind == "single_label_classification"

    def logits(self, rows: np.ndarray) -> np.ndarray:
        rows = self.standardise(rows)
        if not self.is_single:
            return np.stack([_odds(one, rows) for one in self.fits], axis=1)
        found = np.full((len(rows), self.outputs), np.log(_LEAST))
        (one,) = self.fits
        if isinstance(one, int):
            found[:, one] = 0.0
        else:
            found[:, one.classes_] = one.predict_log_proba(rows)
        return found

    @property
    def parameter_count(self) -> int:
        fits = [one for one in self.fits if not isinstance(one, int)]
        return sum(one.coef_.size + one.intercept_.size for one in fits)


def _odds(fitted: Any, rows: np.ndarray) -> np.ndarray:
    if isinstance(fitted, int):
        return np.full(len(rows), np.log(1 / _LEAST) * (2 * fitted - 1))
    return fitted.decision_function(rows)


class _Ridge:
    """Ridge regression."""

    def __init__(self, examples: Examples, penalty: float) -> None:
        from sklearn.linear_model import Ridge

        self.standardise = _Standardised(examples.rows)
        self.fit = Ridge(alpha=penalty).fit(self.standardise(examples.rows), examples.labels)

    def logits(self, rows: np.ndarray) -> np.ndarray:
        return self.fit.predict(self.standardise(rows))[:, None]

    @property
    def parameter_count(self) -> int:
        return self.fit.coef_.size + 1


class _Neighbours:
    """The k training examples whose features point most nearly in the same direction."""

    def __init__(self, examples: Examples, k: float) -> None:
        from sklearn.neighbors import NearestNeighbors

        self.examples, self.k = examples, min(int(k), len(examples.labels))
        self.index = NearestNeighbors(n_neighbors=self.k, algorithm="brute")
        self.index.fit(_unit(examples.rows))

    def logits(self, rows: np.ndarray) -> np.ndarray:
        nearest = self.index.kneighbors(_unit(rows), return_distance=False)
        labels = self.examples.labels[nearest]  # (rows, k), multi-label (rows, k, outputs)
        kind, outputs = self.examples.kind, self.examples.outputs
        if kind == "regression":
            return labels.mean(1, keepdims=True)
        weights = np.array(self.examples.weights or [1.0] * outputs)
        # one more vote, spread evenly: no label is impossible
        if kind == "multi_label_classification":
            yes = (labels * weights).sum(1) + 0.5
            no = (1 - labels).sum(1) + 0.5
            return np.log(yes) - np.log(no)
        votes = np.stack([(labels == one).sum(1) for one in range(outputs)], axis=1) * weights
        votes = votes + 1 / outputs
        return np.log(votes / votes.sum(1, keepdims=True))

    @property
    def parameter_count(self) -> int:
        """All training examples, which it keeps."""
        return self.examples.rows.size


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _LEAST)


class _Layers:
    """One hidden layer, trained until a tenth of the training examples says that it is enough."""

    def __init__(self, examples: Examples, seed: int) -> None:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        self.standardise = _Standardised(examples.rows)
        self.kind, self.outputs = examples.kind, examples.outputs
        # a tenth of few would be no example of some class
        stops_early = len(examples.labels) >= 10 * max(10, examples.outputs)
        options: dict[str, Any] = {
            "hidden_layer_sizes": (_HIDDEN,),
            "early_stopping": stops_early and _is_common(examples),
            "random_state": seed,
            "max_iter": _EPOCHS,
        }
        rows, labels = self.standardise(examples.rows), examples.labels
        if self.kind == "regression":
            self.mean, self.sd = labels.mean(), max(labels.std(), _LEAST)
            self.fit: Any = MLPRegressor(**options).fit(rows, (labels - self.mean) / self.sd)
            return
        sample_weight = None
        if examples.weights and self.kind == "single_label_classification":
            sample_weight = np.array(examples.weights)[labels]
        self.fit = MLPClassifier(**options).fit(rows, labels, sample_weight=sample_weight)

    def logits(self, rows: np.ndarray) -> np.ndarray:
        rows = self.standardise(rows)
        if self.kind == "regression":
            return self.fit.predict(rows)[:, None] * self.sd + self.mean
        shares = self.fit.predict_proba(rows).clip(_LEAST, 1 - _LEAST)
        if self.kind == "multi_label_classification":
            return np.log(shares) - np.log1p(-shares)
        found = np.full((len(rows), self.outputs), np.log(_LEAST))
        found[:, self.fit.classes_] = np.log(shares)
        return found

    @property
    def parameter_count(self) -> int:
        return sum(part.size for part in (*self.fit.coefs_, *self.fit.intercepts_))


def _is_common(examples: Examples) -> bool:
    """Whether each class has enough examples that some of it can be held out."""
    if examples.kind != "single_label_classification":
        return True
    return bool(np.bincount(examples.labels)[np.unique(examples.labels)].min() >= 2)
