"""Trivial controls: what a model must beat before its accuracy means anything.

`CONTROLS` lists them. One of your own is a class as `Control` describes it, registered by
`register_control` in a module that the recipe names under ``imports``.
"""

from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from hfbench.errors import UserError, nearest


class Control(Protocol):
    """What fits texts and answers with logits, without being a neural network."""

    version: ClassVar[int]
    """Part of what a result is known by: raise it whenever the control's answers change, so that
    results of the former one are not taken for those of this one."""

    def fit(self, texts: list[str], labels: np.ndarray, num_labels: int) -> object:
        """Learn from texts and their labels, shape (examples,), numbers below ``num_labels``."""
        ...

    def logits(self, texts: list[str]) -> np.ndarray:
        """A score for each text and label, shape (texts, num_labels).

        They are taken for log-probabilities, but for a constant of each row, where the record tells
        how well they are calibrated.
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


class MajorityClassifier:
    """The shares of the classes in the training data, whatever the text."""

    version: ClassVar[int] = 1

    def fit(self, texts: list[str], labels: np.ndarray, num_labels: int) -> "MajorityClassifier":
        """Count the labels, shape (examples,)."""
        self.log_shares = np.log(np.bincount(labels, minlength=num_labels) / len(labels))
        return self

    def logits(self, texts: list[str]) -> np.ndarray:
        """Log of the shares for each text, shape (texts, num_labels)."""
        return np.tile(self.log_shares, (len(texts), 1))

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
    """

    version: ClassVar[int] = 2

    def __init__(self) -> None:
        """Import scikit-learn, for which a run without this control does not wait."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_union

        self.features = make_union(
            TfidfVectorizer(token_pattern=_WORD, ngram_range=(1, 2)),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5)),
        )
        self.regression = LogisticRegression(max_iter=1000)

    def fit(
        self, texts: list[str], labels: np.ndarray, num_labels: int
    ) -> "TfidfLogisticRegression":
        """Fit to texts and labels, shape (examples,)."""
        self.regression.fit(self.features.fit_transform(texts), labels)
        return self

    def logits(self, texts: list[str]) -> np.ndarray:
        """Log-probabilities, shape (texts, num_labels)."""
        return self.regression.predict_log_proba(self.features.transform(texts))

    def unknown(self, texts: list[str]) -> np.ndarray:
        """Whether a text has no word and no run of characters of the training texts."""
        return self.features.transform(texts).getnnz(axis=1) == 0

    def parameter_count(self) -> int:
        """Coefficients and intercepts of the regression."""
        return self.regression.coef_.size + self.regression.intercept_.size


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


def build_control(name: str) -> Control:
    """The control of this name, not yet fitted."""
    return CONTROLS[name]()
