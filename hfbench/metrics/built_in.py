"""The measures that hfbench brings, each an entry of the registry; docs/measures.md lists them."""

import math
from collections.abc import Callable

import numpy as np

from hfbench.metrics import confusion, multi_label, probability, ranking, regression
from hfbench.metrics.calibration import brier_score, expected_calibration_error
from hfbench.metrics.estimate import Estimate
from hfbench.metrics.registry import METRICS, Metric, ProblemType, register
from hfbench.metrics.scores import accuracy, f1_macro, negative_log_likelihood, perplexity

_Estimate = Callable[[np.ndarray, np.ndarray], Estimate]
_Compute = Callable[[np.ndarray, np.ndarray], float]
_SINGLE: tuple[ProblemType, ...] = ("single_label_classification",)
_MULTI: tuple[ProblemType, ...] = ("multi_label_classification",)
_BOTH = _SINGLE + _MULTI
_NUMBERS: tuple[ProblemType, ...] = ("regression",)
_SHARE = (0.0, 1.0)
_UPWARDS = (0.0, math.inf)

DEFAULTS: dict[ProblemType, str] = {
    "single_label_classification": "accuracy",
    "multi_label_classification": "f1_micro",
    "regression": "rmse",
}
"""The measure by which models are ranked where a recipe names none."""
LOSSES: dict[ProblemType, str] = {
    "single_label_classification": "nll",
    "multi_label_classification": "nll",
    "regression": "mse",
}
"""The measure that is the loss of training."""


def _value(estimate: _Estimate) -> _Compute:
    return lambda outputs, labels: estimate(outputs, labels).value


def _by_shape(single: _Estimate, multi: _Estimate) -> _Estimate:
    """Labels of shape (examples,) are single, of shape (examples, labels) multi-label."""
    return lambda outputs, labels: (multi if labels.ndim == 2 else single)(outputs, labels)


def _single_or(compute: _Compute, multi: _Estimate) -> _Compute:
    return lambda outputs, labels: (
        multi(outputs, labels).value if labels.ndim == 2 else compute(outputs, labels)
    )


_f1_macro = _by_shape(confusion.f1_macro, multi_label.f1_macro)
_nll = _by_shape(probability.nll, probability.nll_of_labels)
_brier = _by_shape(probability.brier, probability.brier_of_labels)
_micro = _by_shape(confusion.accuracy, multi_label.f1_micro)
_weighted = _by_shape(confusion.f1_weighted, multi_label.f1_weighted)
_auroc = _by_shape(ranking.auroc, ranking.auroc_of_labels)
_precision = _by_shape(ranking.average_precision, ranking.average_precision_of_labels)


def _of_second(single: Callable[[int, np.ndarray, np.ndarray], Estimate]) -> _Estimate:
    """Of the second of two classes, as scikit-learn's ``pos_label=1``."""
    return lambda outputs, labels: single(1, outputs, labels)


def _of_class(
    single: Callable[[int, np.ndarray, np.ndarray], Estimate],
    multi: Callable[[int, np.ndarray, np.ndarray], Estimate],
) -> Callable[[int, np.ndarray, np.ndarray], Estimate]:
    return lambda number, outputs, labels: (multi if labels.ndim == 2 else single)(
        number, outputs, labels
    )


def _of_classes(labels: np.ndarray) -> float:
    """Examples that a mean over classes rests on, where rare classes bring most of its variance.

    Satterthwaite's (1946) degrees of freedom of a sum of variances 1 / n_k, each known from n_k.
    """
    counts = np.bincount(labels) if labels.ndim == 1 else labels.sum(0)
    counts = np.minimum(counts, len(labels) - counts)
    counts = counts[counts > 0].astype(float)
    if not len(counts):
        return float(len(labels))
    return float(np.square(np.sum(1 / counts)) / np.sum(counts**-3.0))


def _of_the_second(labels: np.ndarray) -> float:
    return float((labels == 1).sum())


for _metric in (
    Metric(
        "accuracy", accuracy, "accuracy %", ".2%", None, True,
        estimate=confusion.accuracy, bounds=_SHARE,
    ),
    Metric(
        "f1_macro", _single_or(f1_macro, multi_label.f1_macro), "macro F1", ".3f",
        "macro F1: mean of the classes' F1.", True, kinds=_BOTH, hub_type="f1",
        estimate=_f1_macro, bounds=_SHARE, weight=_of_classes,
    ),
    Metric(
        "nll", _single_or(negative_log_likelihood, probability.nll_of_labels), "NLL", ".3f",
        "NLL: negative log-likelihood, in nats.", False, kinds=_BOTH,
        estimate=_nll, of_probabilities=True, bounds=_UPWARDS,
    ),
    Metric(
        "brier", _single_or(brier_score, probability.brier_of_labels), "Brier", ".3f",
        "Brier: squared distance of the probabilities to the answer, 0 to 2.", False, kinds=_BOTH,
        hub_type="brier_score", estimate=_brier, of_probabilities=True, bounds=(0.0, 2.0),
        columns_of=_SINGLE,
    ),
    Metric(
        "ece", expected_calibration_error, "ECE", ".3f",
        "ECE: expected calibration error over 10 bins of equal width of the highest probability.",
        False, estimate=probability.ece, of_probabilities=True, bounds=_SHARE,
    ),
    Metric("perplexity", perplexity, "perplexity", ".2f", None, False, kinds=("language model",)),
    Metric(
        "balanced_accuracy", _value(confusion.balanced_accuracy), "balanced accuracy %", ".2%",
        "balanced accuracy: mean of the classes' recall.", True,
        estimate=confusion.balanced_accuracy, bounds=_SHARE, columns_of=(),
        weight=_of_classes,
    ),
    Metric(
        "f1_micro", _value(_micro), "micro F1", ".3f",
        "micro F1: of all labels of all examples together.", True, kinds=_BOTH, hub_type="f1",
        estimate=_micro, bounds=_SHARE, columns_of=_MULTI,
    ),
    Metric(
        "f1_weighted", _value(_weighted), "weighted F1", ".3f",
        "weighted F1: mean of the classes' F1, by their size.", True, kinds=_BOTH, hub_type="f1",
        estimate=_weighted, bounds=_SHARE, columns_of=(),
    ),
    Metric(
        "f1", _value(_of_second(confusion.f1_of)), "F1", ".3f", None, True, kinds=_BOTH,
        weight=_of_the_second,
        estimate=_of_second(confusion.f1_of), bounds=_SHARE, columns_of=(),
        of_class=_of_class(confusion.f1_of, multi_label.f1_of),
    ),
    Metric(
        "precision", _value(_of_second(confusion.precision_of)), "precision", ".3f", None, True,
        kinds=_BOTH, weight=_of_the_second,
        estimate=_of_second(confusion.precision_of), bounds=_SHARE, columns_of=(),
        of_class=_of_class(confusion.precision_of, multi_label.precision_of),
    ),
    Metric(
        "recall", _value(_of_second(confusion.recall_of)), "recall", ".3f", None, True,
        kinds=_BOTH, weight=_of_the_second,
        estimate=_of_second(confusion.recall_of), bounds=_SHARE, columns_of=(),
        of_class=_of_class(confusion.recall_of, multi_label.recall_of),
    ),
    Metric(
        "mcc", _value(confusion.matthews), "MCC", ".3f",
        "MCC: Matthews' correlation of answers and classes, -1 to 1.", True,
        hub_type="matthews_correlation", estimate=confusion.matthews, bounds=(-1.0, 1.0),
        columns_of=(),
    ),
    Metric(
        "kappa", _value(confusion.kappa), "kappa", ".3f",
        "kappa: Cohen's, accuracy above what agrees by chance.", True,
        hub_type="cohen_kappa", estimate=confusion.kappa, bounds=(-1.0, 1.0), columns_of=(),
    ),
    Metric(
        "auroc", _value(_auroc), "AUROC", ".3f",
        "AUROC: area under the ROC curve, each class against the others.", True, kinds=_BOTH,
        hub_type="roc_auc", estimate=_auroc, of_probabilities=True, bounds=_SHARE, columns_of=(),
        weight=_of_classes,
    ),
    Metric(
        "average_precision", _value(_precision), "average precision", ".3f",
        "average precision: area under the curve of precision by recall, each class against the "
        "others.", True, kinds=_BOTH, estimate=_precision, of_probabilities=True, bounds=_SHARE,
        columns_of=(),
        weight=_of_classes,
    ),
    Metric(
        "subset_accuracy", _value(multi_label.subset_accuracy), "subset accuracy %", ".2%",
        "subset accuracy: share of the examples with just the right labels.", True, kinds=_MULTI,
        hub_type="accuracy", estimate=multi_label.subset_accuracy, bounds=_SHARE,
    ),
    Metric(
        "f1_samples", _value(multi_label.f1_samples), "samples F1", ".3f",
        "samples F1: mean of the examples' F1.", True, kinds=_MULTI, hub_type="f1",
        estimate=multi_label.f1_samples, bounds=_SHARE, columns_of=(),
    ),
    Metric(
        "hamming_loss", _value(multi_label.hamming_loss), "Hamming loss", ".3f",
        "Hamming loss: share of all labels that are wrong.", False, kinds=_MULTI,
        estimate=multi_label.hamming_loss, bounds=_SHARE, columns_of=(),
    ),
    Metric(
        "lrap", _value(ranking.label_ranking), "LRAP", ".3f",
        "LRAP: label ranking average precision.", True, kinds=_MULTI,
        estimate=ranking.label_ranking, of_probabilities=True, bounds=_SHARE, columns_of=(),
    ),
    Metric(
        "rmse", _value(regression.rmse), "RMSE", "#.4g", "RMSE: root of the mean squared error.",
        False, kinds=_NUMBERS, estimate=regression.rmse, bounds=_UPWARDS,
    ),
    Metric(
        "mse", _value(regression.mse), "MSE", "#.4g", "MSE: mean squared error.", False,
        kinds=_NUMBERS, estimate=regression.mse, bounds=_UPWARDS, columns_of=(),
    ),
    Metric(
        "mae", _value(regression.mae), "MAE", "#.4g", "MAE: mean absolute error.", False,
        kinds=_NUMBERS, estimate=regression.mae, bounds=_UPWARDS,
    ),
    Metric(
        "pearson", _value(regression.pearson), "Pearson", ".3f",
        "Pearson: correlation with the labels.", True, kinds=_NUMBERS, hub_type="pearsonr",
        estimate=regression.pearson, bounds=(-1.0, 1.0),
    ),
    Metric(
        "spearman", _value(regression.spearman), "Spearman", ".3f",
        "Spearman: correlation of the ranks.", True, kinds=_NUMBERS, hub_type="spearmanr",
        estimate=regression.spearman, bounds=(-1.0, 1.0),
    ),
    Metric(
        "r2", _value(regression.r2), "R2", ".3f",
        "R2: 1 less the squared error as a share of the labels' variance.", True, kinds=_NUMBERS,
        hub_type="r_squared", estimate=regression.r2, bounds=(-math.inf, 1.0),
    ),
):  # fmt: skip
    register(_metric)

BUILT_IN = tuple(METRICS.values())
"""Those that are not anybody's own, which compute the same for ever."""
