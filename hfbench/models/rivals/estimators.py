"""Any estimator of scikit-learn's kind as a control: it fits texts, and says how sure it is."""

import json
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from typing import Any, ClassVar

import numpy as np

from hfbench.errors import UserError
from hfbench.models.imports import find_function, hash_module
from hfbench.models.rivals import ESTIMATOR_VERSION
from hfbench.recipe.types import ProblemType

_LEAST = 1e-6


def make_estimator(path: str, key: str) -> Any:
    """What the function ``package.module:make`` returns; its module is imported already.

    Raises:
        UserError: with ``key``, if there is no such function, or it returns no estimator.
    """
    make = find_function(path, key)
    try:
        estimator = make()
    except Exception as error:  # a stranger's code runs, and may raise anything
        raise UserError(f"{key}: {path} raised {type(error).__name__}: {error}") from error
    if isinstance(estimator, type) or not all(
        hasattr(estimator, wanted) for wanted in ("fit", "predict", "get_params")
    ):
        raise UserError(
            f"{key}: {path} returned {_short(estimator)}, which is no estimator: it must have fit, "
            "predict and get_params, as a scikit-learn Pipeline has"
        )
    return estimator


def describe_estimator(path: str, key: str) -> dict[str, Any]:
    """What decides its answers, by content: code, classes, settings and their libraries."""
    estimator = make_estimator(path, key)
    parameters = estimator.get_params(deep=True)
    parts = [estimator, *(value for value in parameters.values() if hasattr(value, "get_params"))]
    return {
        "code": hash_module(path.partition(":")[0]),
        "class": type(estimator).__name__,
        "parameters": {name: _plain(value) for name, value in sorted(parameters.items())},
        "libraries": dict(_libraries(parts)),
    }


class EstimatorControl:
    """An estimator as a control, see `controls.Control`."""

    version: ClassVar[int] = ESTIMATOR_VERSION

    def __init__(self, path: str, key: str, kind: ProblemType, seed: int) -> None:
        """Make it, and give a seed to every part that would draw one.

        Args:
            path: ``package.module:make``.
            key: which names it, for messages.
            kind: of the task.
            seed: so that a fit comes out the same again.

        Raises:
            UserError: with ``key``.
        """
        self.estimator, self.key, self.kind = make_estimator(path, key), key, kind
        states = {
            name: seed
            for name, value in self.estimator.get_params(deep=True).items()
            if name.rpartition("__")[2] == "random_state" and value is None
        }
        if states:
            self.estimator.set_params(**states)

    def fit(self, texts: list[str], labels: np.ndarray, num_labels: int) -> "EstimatorControl":
        """Fit to texts and labels, as `controls.Control.fit` says."""
        self.num_labels = num_labels
        self.estimator.fit(texts, labels)
        return self

    def logits(self, texts: list[str]) -> np.ndarray:
        """Of its probabilities, else its decision function, else bare answers, (texts, outputs).

        Raises:
            UserError: if it answers in another shape.
        """
        found = self._scores(texts)
        shape = (len(texts), self.num_labels)
        if found.shape != shape:
            raise UserError(
                f"{self.key}: {type(self.estimator).__name__} answered in the shape {found.shape}, "
                f"and {shape} is wanted"
            )
        return found

    def parameter_count(self) -> None:
        """Nobody can say it of any estimator."""

    @property
    def notes(self) -> list[str]:
        """What is to be said of its logits."""
        if self.kind == "regression" or hasattr(self.estimator, "predict_proba"):
            return []
        if hasattr(self.estimator, "decision_function"):
            return [
                "its scores (decision_function) are no log-probabilities: confidence is a guess"
            ]
        return ["it answers without probabilities: measures of confidence say nothing"]

    def _scores(self, texts: list[str]) -> np.ndarray:
        estimator = self.estimator
        if self.kind == "regression":
            return np.asarray(estimator.predict(texts), dtype=np.float64).reshape(len(texts), -1)
        if hasattr(estimator, "predict_proba"):
            shares = estimator.predict_proba(texts)
            if self.kind == "multi_label_classification":
                if isinstance(shares, list):  # of each label the two probabilities
                    shares = np.stack([np.asarray(one)[:, -1] for one in shares], axis=1)
                return _odds(shares)
            return self._placed(np.log(np.asarray(shares, np.float64).clip(_LEAST)), np.log(_LEAST))
        if hasattr(estimator, "decision_function"):
            scores = np.asarray(estimator.decision_function(texts), dtype=np.float64)
            if self.kind == "multi_label_classification":
                return scores
            if scores.ndim == 1:  # of two classes it has one score
                scores = np.stack([np.zeros(len(scores)), scores], axis=1)
            return self._placed(scores, scores.min() - 1.0)
        predicted = np.asarray(estimator.predict(texts))
        if self.kind == "multi_label_classification":
            return _odds(predicted)
        return np.log(np.eye(self.num_labels)[predicted].clip(_LEAST))

    def _placed(self, values: np.ndarray, otherwise: float) -> np.ndarray:
        """In the columns of the labels: training examples may have lacked a class."""
        classes = np.asarray(self.estimator.classes_).astype(int)
        if values.shape[1] != len(classes):
            return values
        found = np.full((len(values), self.num_labels), otherwise)
        found[:, classes] = values
        return found


def _odds(shares: Any) -> np.ndarray:
    clipped = np.asarray(shares, dtype=np.float64).clip(_LEAST, 1 - _LEAST)
    return np.log(clipped) - np.log1p(-clipped)


def _plain(value: Any) -> Any:
    """As JSON has it; what JSON has not, by its class, for an address differs each time."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        if callable(value) and hasattr(value, "__qualname__"):
            return f"{value.__module__}.{value.__qualname__}"
        return type(value).__qualname__
    return value


def _libraries(parts: list[Any]) -> Iterator[tuple[str, str]]:
    packages = {type(part).__module__.partition(".")[0] for part in parts}
    for package in sorted(packages):
        for name in sorted(_distributions().get(package, [])):
            yield name, metadata.version(name)


@cache
def _distributions() -> Any:
    return metadata.packages_distributions()


def _short(value: Any) -> str:
    return " ".join(repr(value).split())[:80]
