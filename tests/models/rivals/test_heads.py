"""Heads on features: by scikit-learn's own search, by hand, and at the edges."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hfbench.models.rivals.heads import Examples, fit_head, loss

KINDS = ("single_label_classification", "multi_label_classification", "regression")


def make(kind, number=120, seed=0, width=12):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(number, width)).astype(np.float32) * np.linspace(0.1, 9, width)
    truth = np.random.default_rng(9).normal(size=(width, 3))
    scores = rows / np.linspace(0.1, 9, width) @ truth
    scores = scores + rng.normal(size=scores.shape)
    labels = {
        "single_label_classification": scores.argmax(1),
        "multi_label_classification": (scores > 0).astype(int),
        "regression": scores[:, 0],
    }[kind]
    return Examples(rows, labels, kind, 1 if kind == "regression" else 3)


def fit(name, examples, seed=0):
    return fit_head(name, examples, folds_seed=seed, init_seed=seed)


def test_the_linear_head_is_what_a_search_by_scikit_learn_finds():
    examples = make(KINDS[0])
    fitted = fit("linear", examples, seed=3)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
        {"logisticregression__C": [1e-4, 1e-3, 1e-2, 1e-1, 1.0]},
        scoring="neg_log_loss",
        cv=StratifiedKFold(5, shuffle=True, random_state=3),
    ).fit(examples.rows.astype(np.float64), examples.labels)
    assert fitted.chosen == {"C": search.best_params_["logisticregression__C"]}
    assert list(fitted.tried.values()) == pytest.approx(-search.cv_results_["mean_test_score"])
    logits = fitted.head.logits(examples.rows)
    assert logits == pytest.approx(
        search.predict_log_proba(examples.rows.astype(np.float64)), abs=1e-3
    )
    assert fitted.folds == 5
    assert fitted.head.parameter_count == 3 * 12 + 3


@pytest.mark.parametrize("name", ["linear", "knn", "mlp"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_head_learns_every_kind(name, kind):
    train, test = make(kind, 300), make(kind, 100, seed=1)
    fitted = fit(name, train)
    logits = fitted.head.logits(test.rows)
    assert logits.shape == (100, train.outputs)
    assert np.isfinite(logits).all()
    mean = train.labels.mean(0)
    if kind == KINDS[0]:
        nothing = np.log(np.bincount(train.labels) / 300)
    else:
        nothing = np.log(mean) - np.log1p(-mean) if kind == KINDS[1] else np.array([mean])
    floor = loss(np.tile(nothing, (100, 1)), test.labels, kind)
    assert loss(logits, test.labels, kind) < 0.95 * floor


def test_the_loss_is_the_mean_of_what_each_example_costs():
    logits = np.array([[1.0, -2.0], [0.5, 0.25]])
    by_hand = -np.log([np.e / (np.e + np.exp(-2)), np.exp(0.25) / (np.exp(0.5) + np.exp(0.25))])
    assert loss(logits, np.array([0, 1]), KINDS[0]) == pytest.approx(by_hand.mean())
    shares = 1 / (1 + np.exp(-logits))
    labels = np.array([[1, 0], [0, 1]])
    each = -(labels * np.log(shares) + (1 - labels) * np.log(1 - shares)).sum(1)
    assert loss(logits, labels, KINDS[1]) == pytest.approx(each.mean())


def test_neighbours_vote_by_direction_and_not_by_length():
    rows = np.array([[1, 0], [2, 0.1], [0, 1], [0.1, 3]], np.float32)
    head = fit("knn", Examples(rows, np.array([0, 0, 1, 1]), KINDS[0], 2)).head
    assert head.logits(np.array([[100, 1], [0.01, 5]])).argmax(1).tolist() == [0, 1]


def test_no_fold_parts_a_group():
    """Each group has a feature of its own that says its label: parted, it would be looked up."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 4)
    labels = np.repeat(rng.integers(0, 2, 30), 4)
    rows = np.eye(30, dtype=np.float32)[groups]
    parted = fit("linear", Examples(rows, labels, KINDS[0], 2))
    kept = fit("linear", Examples(rows, labels, KINDS[0], 2, groups=groups))
    assert min(parted.tried.values()) < 0.1
    assert min(kept.tried.values()) > 0.6


def test_a_class_of_one_example_leaves_no_folds_and_a_missing_class_gets_almost_nothing():
    rows = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    labels = np.array([0, 0, 0, 0, 2, 2, 2, 2, 2])
    one = fit("linear", Examples(rows, np.where(np.arange(9) == 0, 2, labels * 0), KINDS[0], 3))
    assert one.folds is None
    assert one.tried == {}
    logits = fit("linear", Examples(rows, labels, KINDS[0], 3)).head.logits(rows)
    assert (logits[:, 1] < -10).all()


def test_weights_of_classes_count():
    examples = make(KINDS[0])
    weighted = Examples(examples.rows, examples.labels, KINDS[0], 3, weights=(50.0, 1.0, 1.0))
    for name in ("linear", "knn", "mlp"):
        plain, heavy = (fit(name, one).head.logits(one.rows) for one in (examples, weighted))
        assert (heavy.argmax(1) == 0).sum() > (plain.argmax(1) == 0).sum(), name


def test_the_hidden_layer_depends_on_its_seed_and_on_nothing_else():
    examples = make(KINDS[0])
    first, again, other = (
        fit("mlp", examples, seed).head.logits(examples.rows) for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()
