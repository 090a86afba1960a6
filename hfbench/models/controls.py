"""Trivial controls: what a model must beat before its accuracy means anything."""

from typing import ClassVar

import numpy as np

from hfbench.recipe.schema import Control


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


class TfidfLogisticRegression:
    """TF-IDF of words and pairs of words, and logistic regression with scikit-learn's defaults."""

    version: ClassVar[int] = 1

    def __init__(self) -> None:
        """Import scikit-learn, for which a run without this control does not wait."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        self.pipeline = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000)
        )

    def fit(
        self, texts: list[str], labels: np.ndarray, num_labels: int
    ) -> "TfidfLogisticRegression":
        """Fit to texts and labels, shape (examples,)."""
        self.pipeline.fit(texts, labels)
        return self

    def logits(self, texts: list[str]) -> np.ndarray:
        """Log-probabilities, shape (texts, num_labels)."""
        return self.pipeline.predict_log_proba(texts)

    def parameter_count(self) -> int:
        """Coefficients and intercepts of the regression."""
        regression = self.pipeline[-1]
        return regression.coef_.size + regression.intercept_.size


CONTROLS: dict[Control, type[MajorityClassifier] | type[TfidfLogisticRegression]] = {
    "majority": MajorityClassifier,
    "tfidf-logreg": TfidfLogisticRegression,
}
"""By the name that a recipe's ``control`` gives."""


def build_control(control: Control) -> MajorityClassifier | TfidfLogisticRegression:
    """The control of this name, not yet fitted."""
    return CONTROLS[control]()
