"""Estimators of scikit-learn's kind as controls."""

import sys
import types

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Perceptron, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from hfbench.errors import UserError
from hfbench.models.rivals.estimators import EstimatorControl, describe_estimator

SINGLE, MULTI, REGRESSION = (
    "single_label_classification",
    "multi_label_classification",
    "regression",
)
TEXTS = ["good film", "bad film", "fine film", "poor film", "great meal", "dull meal"] * 4
LABELS = np.array([1, 0, 1, 0, 1, 0] * 4)


@pytest.fixture
def own(monkeypatch, tmp_path):
    """Make an estimator of a module ``own_estimators`` that is imported."""
    module = types.ModuleType("own_estimators")
    module.__file__ = str(tmp_path / "own_estimators.py")
    (tmp_path / "own_estimators.py").write_text("# here")
    monkeypatch.setitem(sys.modules, "own_estimators", module)

    def make(last, kind=SINGLE, seed=0):
        module.make = lambda: make_pipeline(TfidfVectorizer(), last)
        return EstimatorControl("own_estimators:make", "models.m.estimator", kind, seed)

    make.module = module
    return make


@pytest.mark.parametrize(
    "last", [LogisticRegression(), LinearSVC(), Perceptron(), NearestCentroid()]
)
def test_logits_say_what_the_estimator_predicts(own, last):
    control = own(last).fit(TEXTS, LABELS, 2)
    logits = control.logits(TEXTS)
    assert logits.shape == (24, 2)
    assert (logits.argmax(1) == control.estimator.predict(TEXTS)).all()


def test_probabilities_become_log_probabilities_and_scores_say_that_they_are_none(own):
    control = own(LogisticRegression()).fit(TEXTS, LABELS, 2)
    assert control.logits(TEXTS) == pytest.approx(control.estimator.predict_log_proba(TEXTS))
    assert control.notes == []
    assert "decision_function" in own(LinearSVC()).notes[0]
    assert "without probabilities" in own(Ridge()).notes[0]


def test_a_class_that_training_lacked_gets_the_lowest_logit(own):
    for last in (LogisticRegression(), LinearSVC()):
        logits = own(last).fit(TEXTS, LABELS * 2, 3).logits(TEXTS)
        assert (logits.argmin(1) == 1).all()


@pytest.mark.parametrize(
    "last", [OneVsRestClassifier(LogisticRegression()), MultiOutputClassifier(LogisticRegression())]
)
def test_several_labels_get_log_odds(own, last):
    labels = np.stack([LABELS, 1 - LABELS, np.arange(24) % 2], axis=1)
    control = own(last, MULTI).fit(TEXTS, labels, 3)
    assert ((control.logits(TEXTS) > 0) == control.estimator.predict(TEXTS)).all()


def test_a_regression_answers_numbers(own):
    control = own(Ridge(), REGRESSION).fit(TEXTS, LABELS * 1.5, 1)
    assert control.logits(TEXTS)[:, 0] == pytest.approx(control.estimator.predict(TEXTS))


def test_what_would_draw_by_chance_gets_the_seed_and_what_has_one_keeps_it(own):
    answers = [
        own(RandomForestClassifier(5, random_state=state), seed=seed)
        .fit(TEXTS, LABELS, 2)
        .logits(TEXTS)
        for state, seed in ((None, 1), (None, 1), (None, 2), (7, 1), (7, 2))
    ]
    assert (answers[0] == answers[1]).all()
    assert (answers[0] != answers[2]).any()
    assert (answers[3] == answers[4]).all()


def test_the_identity_has_settings_classes_and_code_and_no_address(own, tmp_path):
    own(LogisticRegression(C=2))
    key = ("own_estimators:make", "k")
    before = describe_estimator(*key)
    assert before["parameters"]["logisticregression__C"] == 2
    assert "scikit-learn" in before["libraries"]
    assert describe_estimator(*key) == before
    own.module.make = lambda: make_pipeline(TfidfVectorizer(), LogisticRegression(C=3))
    assert describe_estimator(*key) != before
    own(LogisticRegression(C=2))
    (tmp_path / "own_estimators.py").write_text("# changed")
    assert describe_estimator(*key) != before


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: 3, "own_estimators:make returned 3, which is no estimator"),
        (lambda: LogisticRegression, "which is no estimator"),
        (lambda: 1 / 0, "own_estimators:make raised ZeroDivisionError"),
        (5, "own_estimators has no function 'make'"),
    ],
)
def test_what_makes_no_estimator_is_refused_with_its_key(own, made, message):
    own.module.make = made
    with pytest.raises(UserError, match=f"models.m.estimator: .*{message}"):
        EstimatorControl("own_estimators:make", "models.m.estimator", SINGLE, 0)
