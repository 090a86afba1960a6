"""Trivial controls: what a model must beat before its accuracy means anything.

`CONTROLS` lists them. One of your own is a class as `Control` describes it, registered by
`register_control` in a module that the recipe names under ``imports``.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from hfbench.errors import UserError, nearest
from hfbench.recipe.types import ProblemType


class Control(Protocol):
    """What fits texts and answers with logits, without being a neural network."""

    version: ClassVar[int]
    """Part of what a result is known by: raise it whenever the control's answers change, so that
    results of the former one are not taken for those of this one."""

    def fit(self, texts: list[str], labels: np.ndarray, num_labels: int) -> object:
        """Learn from texts and their labels, shape (examples,), numbers below ``num_labels``.

        A control that names other ``problem_types`` than that of a single label gets theirs, too:
        0 and 1 of shape (examples, num_labels), or the numbers that are to be predicted,
        shape (examples,).
        """
        ...

    def logits(self, texts: list[str]) -> np.ndarray:
        """A score for each text and label, shape (texts, num_labels).

        They are taken for log-probabilities, but for a constant of each row, where the record tells
        how well they are calibrated; of several labels for log-odds, and of a regression, of shape
        (texts, 1), for the numbers themselves.
        """
        ...

    def parameter_count(self) -> int | None:
        """Numbers that it has learned, after `fit`; None if it has none to speak of."""
        ...


@runtime_checkable
class KnowsItsLimits(Protocol):
    """What a control may say besides: of which texts it knows nothing."""

    def unknown(self, texts: list[str]) -> np.ndarray:
        """Whether a text has nothing that was in the training texts, shape (texts,)."""
        ...


ALL_KINDS: tuple[ProblemType, ...] = (
    "single_label_classification",
    "multi_label_classification",
    "regression",
)
_LEAST = 1e-3
"""A share of a label that is always, or never, there; and log-odds just beyond one half."""


def _kind_of(labels: np.ndarray) -> ProblemType:
    if labels.ndim == 2:
        return "multi_label_classification"
    return "regression" if labels.dtype.kind == "f" else "single_label_classification"


class MajorityClassifier:
    """The shares of the classes in the training data, whatever the text.

    Of several labels their shares, too, but so that the most frequent set is what it predicts: a
    share that says otherwise is moved just beyond one half. Of a regression the mean.
    """

    version: ClassVar[int] = 1
    problem_types: ClassVar[tuple[ProblemType, ...]] = ALL_KINDS

    def fit(self, texts: list[str], labels: np.ndarray, num_labels: int) -> "MajorityClassifier":
        """Count the labels."""
        kind = _kind_of(labels)
        if kind == "regression":
            self.answer = labels.mean(keepdims=True)
        elif kind == "multi_label_classification":
            sets, counts = np.unique(labels, axis=0, return_counts=True)
            commonest = sets[np.lexsort((sets.sum(1), -counts))[0]] > 0  # the smallest among equals
            shares = np.clip(labels.mean(0), _LEAST, 1 - _LEAST)
            odds = np.log(shares / (1 - shares))
            self.answer = np.where(commonest, odds.clip(min=_LEAST), odds.clip(max=-_LEAST))
        else:
            self.answer = np.log(np.bincount(labels, minlength=num_labels) / len(labels))
        return self

    def logits(self, texts: list[str]) -> np.ndarray:
        """The same for each text, shape (texts, outputs)."""
        return np.tile(self.answer, (len(texts), 1))

    def parameter_count(self) -> None:
        """It has none to speak of."""


# A letter alone, a sign and an emoji are words, too: every text that is not blank has one.
_WORD = r"(?u)\w+|[^\w\s]"


class TfidfLogisticRegression:
    """TF-IDF of words and of runs of characters, and logistic regression as scikit-learn has it.

    The words are single ones and pairs, the runs have 2 to 5 characters and end with the word: by
    these it can read languages that do not part words by spaces. It takes both at once. On 1,200
    sentences of SST-2, drawn five times, that is right in 70.9 % of the validation (69 to 72), on
    all of Rotten Tomatoes in 79.3 % of the test; by scikit-learn's words alone in 66.5 % (64 to 68)
    and 78.2 %. To choose one of the two by cross-validation would cost several fits.

    Of several labels each has a regression of its own; numbers are predicted by ridge regression.
    """

    version: ClassVar[int] = 2
    problem_types: ClassVar[tuple[ProblemType, ...]] = ALL_KINDS

    def __init__(
        self,
        class_weights: tuple[float, ...] | None = None,
        *,
        C: float = 1.0,  # noqa: N803
    ) -> None:
        """Import scikit-learn, for which a run without this control does not wait.

        Args:
            class_weights: as of the loss by which a network is trained, see `SequenceLoss`.
            C: the inverse of the strength of the regularization, as scikit-learn calls it.
        """
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_union

        self.features = make_union(
            TfidfVectorizer(token_pattern=_WORD, ngram_range=(1, 2)),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5)),
        )
        self.class_weights, self.C = class_weights, C
        self.regressions: list[Any] = []

    def fit(
        self, texts: list[str], labels: np.ndarray, num_labels: int
    ) -> "TfidfLogisticRegression":
        """Fit to texts and labels."""
        from sklearn.linear_model import LogisticRegression, Ridge

        features, self.kind = self.features.fit_transform(texts), _kind_of(labels)
        if self.kind == "regression":
            self.regressions = [Ridge(alpha=1 / self.C).fit(features, labels)]
        elif self.kind == "multi_label_classification":
            weights = self.class_weights or (1.0,) * num_labels
            self.regressions = [
                LogisticRegression(C=self.C, max_iter=1000, class_weight={1: weight}).fit(
                    features, of
                )
                if of.any() and not of.all()
                else _Always(bool(of.any()))
                for of, weight in zip(labels.T, weights, strict=True)
            ]
        else:
            by_class = self.class_weights and dict(enumerate(self.class_weights))
            regression = LogisticRegression(C=self.C, max_iter=1000, class_weight=by_class)
            self.regressions = [regression.fit(features, labels)]
        return self

    def logits(self, texts: list[str]) -> np.ndarray:
        """Log-probabilities, log-odds or numbers, shape (texts, outputs)."""
        features = self.features.transform(texts)
        if self.kind == "regression":
            return self.regressions[0].predict(features)[:, None]
        if self.kind == "multi_label_classification":
            return np.stack([one.decision_function(features) for one in self.regressions], axis=1)
        return self.regressions[0].predict_log_proba(features)

    def unknown(self, texts: list[str]) -> np.ndarray:
        """Whether a text has no word and no run of characters of the training texts."""
        return self.features.transform(texts).getnnz(axis=1) == 0

    def parameter_count(self) -> int:
        """Coefficients and intercepts of the regressions."""
        return sum(one.coef_.size + np.size(one.intercept_) for one in self.regressions)


class _Always:
    """The regression of a label that all training texts have, or none, as in a small subset."""

    coef_ = intercept_ = np.empty(0)

    def __init__(self, is_there: bool) -> None:
        self.is_there = is_there

    def decision_function(self, features: Any) -> np.ndarray:
        """Log-odds of `_LEAST`, shape (texts,)."""
        odds = np.log((1 - _LEAST) / _LEAST)
        return np.full(features.shape[0], odds if self.is_there else -odds)


CONTROLS: dict[str, type[Control]] = {
    "majority": MajorityClassifier,
    "tfidf-logreg": TfidfLogisticRegression,
}
"""By the name that a recipe's ``control`` gives."""


def register_control(name: str, control: type[Control]) -> None:
    """Make a control of one's own known under ``name``, in this process.

    Raises:
        ValueError: if the name is another's, or if the control says no version.
    """
    known = CONTROLS.get(name, control)
    # a module that is imported anew brings a new class, which is the same control
    if (known.__module__, known.__qualname__) != (control.__module__, control.__qualname__):
        raise ValueError(f"the name {name!r} is that of the control {known.__qualname__}")
    if not isinstance(vars(control).get("version"), int):
        raise ValueError(
            f"{control.__qualname__} says no version: write `version = 1` in its class, and raise "
            "it whenever its answers change"
        )
    CONTROLS[name] = control


def refuse_unknown_control(name: str, key: str) -> None:
    """Refuse a control that nobody has registered.

    Raises:
        UserError: with ``key`` and the nearest known name.
    """
    if name not in CONTROLS:
        raise UserError(
            f"{key}: unknown control {name!r}{nearest(name, CONTROLS)} "
            f"(known: {', '.join(CONTROLS)})"
        )


def refuse_unfit_control(name: str, kind: ProblemType, key: str) -> None:
    """Refuse a control that does not answer what is asked.

    Raises:
        UserError: with ``key``.
    """
    control = CONTROLS[name]
    known = getattr(control, "problem_types", ("single_label_classification",))
    if kind not in known:
        raise UserError(
            f"{key}: {name!r} answers {', '.join(known)}, and the task is {kind}; its class says "
            "so in `problem_types`"
        )


def build_control(
    name: str, class_weights: tuple[float, ...] | None, config: Mapping[str, Any]
) -> Control:
    """The control of this name, not yet fitted; only TF-IDF knows what to do with weights.

    Args:
        name: in `CONTROLS`.
        class_weights: of the training loss.
        config: arguments of its class.
    """
    control = CONTROLS[name]
    weights = (class_weights,) if control is TfidfLogisticRegression else ()
    return control(*weights, **config)
