"""What is said of a finished cell."""

import pytest

from hfbench.execution.kinds.facts import compared_outcome


@pytest.mark.parametrize(
    ("task", "metrics", "said"),
    [
        ({}, {"accuracy": 0.48}, "validation accuracy 48.00 %"),
        ({"metric": "f1:y"}, {"accuracy": 0.48, "f1:y": 0.25}, "validation F1 of y 0.250"),
        ({"metric": "balanced_accuracy"}, {"accuracy": 0.4, "balanced_accuracy": 0.5},
         "validation balanced accuracy 50.00 %"),
        ({"metric": "mcc"}, {"accuracy": 0.5}, "validation MCC none"),
    ],
)  # fmt: skip
def test_it_is_the_measure_of_the_task_in_its_unit(tmp_path, write_record, task, metrics, said):
    settings = {"models": [{"name": "m"}], "task": task}
    record = write_record(
        tmp_path, "m", 0, [True] * 4, settings=settings, metrics={"validation": metrics}
    )
    assert compared_outcome(record) == said


def test_of_a_regression_it_is_the_error(tmp_path, write_record):
    settings = {"models": [{"name": "m"}], "task": {}}
    record = write_record(
        tmp_path, "m", 0, [True] * 4, settings=settings, metrics={"validation": {"rmse": 0.5}}
    )
    task = record.task.model_copy(update={"problem_type": "regression", "labels": ["stars"]})
    record = record.model_copy(update={"task": task})
    assert compared_outcome(record) == "validation RMSE 0.5000"
