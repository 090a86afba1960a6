"""Numbers that are to be predicted."""

import json

import numpy as np
import pytest

from hfbench.data.tables import labels_of
from hfbench.data.task import load_task
from hfbench.errors import UserError
from hfbench.recipe.task import Task

SCORES = [round(0.125 * (i * 7 % 41), 3) for i in range(40)]


@pytest.fixture
def load(tmp_path):
    def load(scores, ending="jsonl", **task):
        if ending == "csv":
            lines = ["text,score", *(f"text {i},{score}" for i, score in enumerate(scores))]
        else:
            lines = [json.dumps({"text": f"text {i}", "score": s}) for i, s in enumerate(scores)]
        (tmp_path / f"t.{ending}").write_text("\n".join(lines) + "\n")
        values = {"data_files": {"train": f"t.{ending}"}, "label_column": "score", **task}
        values = {"validation_size": 0.25, **values}
        return load_task(Task.model_validate(values), tmp_path)

    return load


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_numbers_with_fractions_are_read_as_they_are(load, ending):
    loaded = load(SCORES, ending)
    assert (loaded.facts.problem_type, loaded.facts.labels) == ("regression", ["score"])
    found = {}
    for split in loaded.splits.values():
        found |= dict(zip(split["id"], labels_of(split).tolist(), strict=True))
    assert [found[f"train/{row}"] for row in range(40)] == SCORES
    train = labels_of(loaded.splits["train"])
    target = loaded.facts.splits["train"].target
    assert target
    assert (target.mean, target.sd) == (pytest.approx(train.mean()), pytest.approx(train.std()))
    assert (target.low, target.high) == (train.min(), train.max())
    # one of each four neighbours, which are a tenth, is held out
    held_out = np.searchsorted(np.sort(SCORES), labels_of(loaded.splits["validation"]))
    assert sorted(held_out // 4) == [*range(10)]


def test_whole_numbers_are_classes_unless_the_recipe_says_otherwise(load):
    whole = [i % 6 for i in range(60)]
    assert load(whole).facts.problem_type == "single_label_classification"
    assert load(whole, "csv").facts.labels == ["0", "1", "2", "3", "4", "5"]
    facts = load(whole, "csv", problem_type="regression", target_range=[0.0, 5.0]).facts
    assert facts.problem_type == "regression"
    assert facts.splits["train"].label_counts == {}


@pytest.mark.parametrize(
    ("scores", "task", "message"),
    [
        ([*SCORES, None], {}, "1 of 41 rows of split 'train' have no number in column 'score'"),
        ([*SCORES, float("nan")], {}, "(rows 40; the first has nan)"),
        ([*SCORES, float("inf")], {}, "(rows 40; the first has inf)"),
        ([0.5] * 20, {}, "each of the 15 train examples has 0.5 in column 'score'"),
        (SCORES, {"target_range": [0.0, 4.0]}, "7 of 40 rows of split 'train' have a number in "),
        (SCORES, {"label_names": {"a": "b", "c": "d"}}, "task.label_names: it has no meaning for"),
        (SCORES, {"class_weights": "balanced"}, "task.class_weights: it has no meaning for regres"),
        (SCORES, {"min_class_size": 2}, "task.min_class_size: it has no meaning for regression"),
        (SCORES, {"validation_size": 40}, "give from 1 to 39 examples"),
        (["a", "b"] * 10, {"problem_type": "regression"}, "have no number in column 'score'"),
        ([True, False] * 9, {"problem_type": "regression"}, "have no number in column 'score'"),
    ],
)
def test_what_cannot_be_used_is_refused(load, scores, task, message):
    with pytest.raises(UserError) as error:
        load(scores, **task)
    assert message in str(error.value)
