"""What a training that learnt nothing should try."""

import pytest

from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.footnotes import footnotes


def points(*losses):
    return {
        "train": [{"step": n, "epoch": n, "loss": loss} for n, loss in enumerate(losses)],
        "validation": [],
    }


def test_what_tuning_chose_is_not_to_be_tried_otherwise(tmp_path, write_record):
    entry = {"name": "stuck", "tuned": {"learning_rate": 0.5}}
    right = [number % 2 == 1 for number in range(60)]  # always y
    write_record(
        tmp_path, "stuck", 0, right, curves=points(0.693, 0.692, 0.69), settings={"models": [entry]}
    )
    (mark,) = footnotes(load_comparison(tmp_path)).values()
    assert "stayed at that of guessing, with the settings that tuning chose" in mark
    assert "try a " not in mark


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        ((0.80, 0.70, 0.69), "try a lower learning_rate (it was 0.5) and a warm-up"),
        ((0.55, 0.66, 0.69), "try a lower learning_rate (it was 0.5) and a warm-up"),
        ((0.693, 0.692, 0.69), "try a higher learning_rate (it was 0.5) or more epochs"),
        ((0.69, 0.40, 0.20), None),  # it learnt by heart: no matter of the rate
    ],
)
def test_the_training_loss_says_in_which_direction(tmp_path, write_record, losses, told):
    right = [number % 2 == 1 for number in range(60)]  # always y
    write_record(tmp_path, "stuck", 0, right, curves=points(*losses))
    write_record(tmp_path, "good", 0, [True] * 60, curves=points(0.69, 0.1))
    marks = footnotes(load_comparison(tmp_path))
    assert "did not train" in marks["stuck"]
    assert (told or "try a ") in marks["stuck"] if told else "try a " not in marks["stuck"]
    assert "try a " not in marks.get("good", "")
