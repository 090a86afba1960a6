"""Every built-in measure against scikit-learn and SciPy, on tables that chance makes.

And its pseudo-values: their mean is the measure, their variance that of the jackknife.
"""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, log_softmax, softmax
from sklearn import metrics as sk

from hfbench.errors import UserError
from hfbench.metrics import estimate
from hfbench.metrics.built_in import BUILT_IN
from hfbench.metrics.estimate import UndefinedMeasureError, jackknife
from hfbench.metrics.registry import METRICS, find_metric, known_metrics, score

TABLES = 200
LABELS = ["a", "b", "c", "d", "e"]


def _binned_gap(logits, labels):
    confidence = softmax(logits.astype(float), -1).max(-1)
    right = logits.argmax(-1) == labels
    edges = np.linspace(0, 1, 11)
    bins = [(confidence >= low) & (confidence < high) for low, high in pairwise(edges)]
    bins[-1] |= confidence == 1
    return sum(abs(confidence[b].mean() - right[b].mean()) * b.mean() for b in bins if b.any())


def _one_against_rest(measure, x, y):
    p = softmax(x.astype(float), -1)
    return np.mean([measure(y == k, p[:, k]) for k in np.unique(y)])


def _present(y):
    return {"labels": np.unique(y) if y.ndim == 1 else np.flatnonzero(y.any(0))}


SINGLE = {
    "accuracy": lambda x, y: sk.accuracy_score(y, x.argmax(-1)),
    "balanced_accuracy": lambda x, y: sk.recall_score(
        y, x.argmax(-1), average="macro", **_present(y), zero_division=0),
    "f1_macro": lambda x, y: sk.f1_score(y, x.argmax(-1), average="macro", **_present(y)),
    "f1_micro": lambda x, y: sk.f1_score(y, x.argmax(-1), average="micro"),
    "f1_weighted": lambda x, y: sk.f1_score(y, x.argmax(-1), average="weighted"),
    "f1:b": lambda x, y: sk.f1_score(y == 1, x.argmax(-1) == 1),
    "precision:b": lambda x, y: sk.precision_score(y == 1, x.argmax(-1) == 1, zero_division=0),
    "recall:b": lambda x, y: sk.recall_score(y == 1, x.argmax(-1) == 1),
    "mcc": lambda x, y: sk.matthews_corrcoef(y, x.argmax(-1)),
    "kappa": lambda x, y: sk.cohen_kappa_score(y, x.argmax(-1)),
    "auroc": lambda x, y: _one_against_rest(sk.roc_auc_score, x, y),
    "average_precision": lambda x, y: _one_against_rest(sk.average_precision_score, x, y),
    "nll": lambda x, y: sk.log_loss(
        y, np.exp(log_softmax(x.astype(float), -1)), labels=range(x.shape[1])),
    "brier": lambda x, y: np.square(softmax(x.astype(float), -1) - np.eye(x.shape[1])[y])
    .sum(-1).mean(),
    "ece": _binned_gap,
}  # fmt: skip
MULTI = {
    "subset_accuracy": lambda x, y: sk.accuracy_score(y, x > 0),
    "hamming_loss": lambda x, y: sk.hamming_loss(y, x > 0),
    "f1_micro": lambda x, y: sk.f1_score(y, x > 0, average="micro"),
    "f1_macro": lambda x, y: sk.f1_score(y, x > 0, average="macro", **_present(y)),
    "f1_weighted": lambda x, y: sk.f1_score(y, x > 0, average="weighted", zero_division=0),
    "f1_samples": lambda x, y: sk.f1_score(y, x > 0, average="samples", zero_division=0),
    "f1:b": lambda x, y: sk.f1_score(y[:, 1], x[:, 1] > 0),
    "precision:b": lambda x, y: sk.precision_score(y[:, 1], x[:, 1] > 0, zero_division=0),
    "recall:b": lambda x, y: sk.recall_score(y[:, 1], x[:, 1] > 0),
    "lrap": lambda x, y: sk.label_ranking_average_precision_score(y, x),
    "auroc": lambda x, y: np.mean([
        sk.roc_auc_score(y[:, k], x[:, k]) for k in range(y.shape[1]) if 0 < y[:, k].mean() < 1]),
    "average_precision": lambda x, y: np.mean([
        sk.average_precision_score(y[:, k], x[:, k]) for k in _present(y)["labels"]]),
    "nll": lambda x, y: np.mean([
        sk.log_loss(y[:, k], expit(x[:, k].astype(float)), labels=[0, 1])
        for k in range(y.shape[1])]),
    "brier": lambda x, y: np.mean([
        sk.brier_score_loss(y[:, k], expit(x[:, k].astype(float)), pos_label=1)
        for k in range(y.shape[1])]),
}  # fmt: skip
NUMBERS = {
    "rmse": lambda x, y: sk.root_mean_squared_error(y, x[:, 0].astype(float)),
    "mse": lambda x, y: sk.mean_squared_error(y, x[:, 0].astype(float)),
    "mae": lambda x, y: sk.mean_absolute_error(y, x[:, 0].astype(float)),
    "pearson": lambda x, y: stats.pearsonr(x[:, 0].astype(float), y).statistic,
    "spearman": lambda x, y: stats.spearmanr(x[:, 0].astype(float), y).statistic,
    "r2": lambda x, y: sk.r2_score(y, x[:, 0].astype(float)),
}
ORACLES = {
    "single_label_classification": SINGLE,
    "multi_label_classification": MULTI,
    "regression": NUMBERS,
}
CASES = [(kind, name) for kind, oracles in ORACLES.items() for name in oracles]


def table(kind, seed, examples=None):
    """Outputs and labels; logits are of few values, so that there are ties."""
    rng = np.random.default_rng(seed)
    examples = examples or int(rng.integers(8, 60))
    labels = int(rng.integers(2, len(LABELS) + 1))
    if kind == "regression":
        y = np.round(rng.normal(size=examples), int(rng.integers(0, 3)))
        x = rng.normal() * y + np.round(rng.normal(size=examples), 1)
        return x[:, None].astype(np.float32), y
    if kind == "multi_label_classification":
        y = (rng.random((examples, labels)) < rng.uniform(0.02, 1, labels)).astype(np.int64)
        x = rng.normal(size=(examples, labels)) + 2 * rng.random() * (y - 0.5)
        return np.round(x, 1).astype(np.float32), y
    y = rng.choice(
        labels, size=examples, p=rng.dirichlet(np.full(labels, 1.0 if examples < 100 else 20.0))
    )
    x = rng.normal(size=(examples, labels)) + 3 * rng.random() * np.eye(labels)[y]
    return np.round(x, int(rng.integers(1, 3))).astype(np.float32), y


def metric_of(kind, name):
    return find_metric(name, kind, LABELS, "metric")


def test_every_built_in_measure_has_an_oracle():
    stems = {(kind, name.partition(":")[0]) for kind, name in CASES}
    assert stems == {(k, m.name) for m in BUILT_IN for k in m.kinds if k in ORACLES}
    assert len(stems) >= 20


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("kind", ORACLES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_measures_are_those_of_scikit_learn(kind, seed):
    check_all(kind, seed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@pytest.mark.parametrize("kind", ORACLES)
@settings(max_examples=TABLES, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_measures_are_those_of_scikit_learn_on_many_tables(kind, seed):
    check_all(kind, seed)


def check_all(kind, seed):
    """Value, bounds, and that pseudo-values have it as their mean."""
    outputs, labels = table(kind, seed)
    for name, oracle in ORACLES[kind].items():
        metric = metric_of(kind, name)
        try:
            value = metric.compute(outputs, labels)
        except UndefinedMeasureError:
            continue
        assert value == pytest.approx(oracle(outputs, labels), abs=1e-9), name
        pseudo = metric.pseudo_values(outputs, labels)
        assert pseudo.shape == (len(labels),)
        assert np.isfinite(pseudo).all()
        assert pseudo.mean() == pytest.approx(value, abs=1e-9), name
        low, high = metric.bounds
        assert low - 1e-12 <= value <= high + 1e-12


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_its_influence_is_what_leaving_an_example_out_shows(kind, name):
    # bins and ranks are steps, which many examples make smooth
    examples = 900 if name in ("average_precision", "ece", "auroc") else 300
    outputs, labels = table(kind, 5, examples=examples)
    metric = metric_of(kind, name)
    by_formula = metric.pseudo_values(outputs, labels)
    left_out = jackknife(metric.compute, outputs, labels)
    assert np.corrcoef(by_formula, left_out)[0, 1] > 0.999
    assert by_formula.std() == pytest.approx(left_out.std(), rel=0.03)


@pytest.mark.parametrize("kind", ["single_label_classification", "multi_label_classification"])
def test_the_influence_on_average_precision_is_the_jackknife_s_with_few_examples_and_ties(kind):
    outputs, labels = table(kind, 7, examples=25)
    metric = metric_of(kind, "average_precision")
    for scores in (outputs, np.round(outputs)):
        left_out = jackknife(metric.compute, scores, labels)
        np.testing.assert_allclose(metric.pseudo_values(scores, labels), left_out, atol=1e-9)


@pytest.mark.filterwarnings("error")
def test_one_number_for_every_text_correlates_with_nothing():
    labels = np.random.default_rng(0).normal(size=30)
    outputs = np.full((30, 1), labels.mean(), np.float32)
    found = score("regression", outputs, labels)
    assert not found.left_out
    assert (found.values["pearson"], found.values["spearman"]) == (0, 0)


@pytest.mark.parametrize("labels", [np.zeros(9, int), np.zeros((9, 2), int), np.ones(9)])
def test_a_measure_without_a_meaning_says_why(labels):
    kind = {("i", 1): "single_label_classification", ("i", 2): "multi_label_classification"}.get(
        (labels.dtype.kind, labels.ndim), "regression"
    )
    outputs = np.random.default_rng(0).normal(size=(9, 1 if kind == "regression" else 2))
    found = score(kind, outputs, labels, [m for m in known_metrics(kind) if not m.of_class])
    assert not any("NaN" in reason or "nan" in reason for reason in found.left_out.values())
    assert all("all" in reason or "no " in reason for reason in found.left_out.values())
    assert (
        found.left_out.keys()
        >= {
            "single_label_classification": {"mcc", "kappa", "auroc", "average_precision"},
            "multi_label_classification": {"auroc", "average_precision", "f1_micro", "f1_macro"},
            "regression": {"pearson", "spearman", "r2"},
        }[kind]
    )


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("f1_macor", "single_label_classification", "did you mean 'f1_macro'"),
        ("pearson", "single_label_classification", "'pearson' has no meaning for single_label"),
        ("accuracy", "regression", "'accuracy' has no meaning for regression"),
        ("f1", "single_label_classification", "is of one class, and there are 5"),
        ("f1:z", "single_label_classification", "no class 'z'"),
        ("mcc:a", "single_label_classification", "'mcc' is not of one class"),
    ],
)
def test_a_measure_that_is_not_there_or_does_not_fit_is_refused(name, kind, message):
    with pytest.raises(UserError, match=message):
        find_metric(name, kind, LABELS, "task.metric")


def test_the_jackknife_in_blocks_is_near_that_of_single_examples(monkeypatch):
    outputs, labels = table("single_label_classification", 5, examples=2000)
    metric = metric_of("single_label_classification", "mcc")
    singles = jackknife(metric.compute, outputs, labels)
    monkeypatch.setattr(estimate, "_SHARE_OF_WORK", 0)
    blocks = jackknife(metric.compute, outputs, labels)
    assert blocks.mean() == pytest.approx(singles.mean())
    # as many independent numbers as there are blocks
    assert blocks.std() * np.sqrt(10) == pytest.approx(singles.std(), rel=0.2)


def test_the_examples_of_evaluates_own_metrics_come_out():
    """The numbers in `evaluate`'s documentation; its metrics are scikit-learn's functions."""
    labels, predicted = np.array([1, 3, 2, 0, 3, 2]), [1, 2, 2, 0, 3, 3]
    assert round(METRICS["mcc"].compute(np.eye(4)[predicted], labels), 2) == 0.54
    labels, logits = np.array([0, 1, 2, 0, 1, 2]), np.eye(3)[[0, 2, 1, 0, 0, 1]]
    found = {n: METRICS[n].compute(logits, labels) for n in ("f1_macro", "f1_micro", "f1_weighted")}
    assert {name: round(value, 2) for name, value in found.items()} == {
        "f1_macro": 0.27, "f1_micro": 0.33, "f1_weighted": 0.27,
    }  # fmt: skip
