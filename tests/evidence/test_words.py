"""Numbers as people read them."""

import pytest

from hfbench.evidence.words import ends_text, gap_text, p_text, points, signed_gap
from hfbench.metrics.registry import METRICS

ACCURACY, F1 = METRICS["accuracy"], METRICS["f1_macro"]


@pytest.mark.parametrize(
    ("p_value", "text"),
    [(1.0, "p >0.99"), (0.995, "p >0.99"), (0.99, "p 0.990"), (0.0311, "p 0.031"), (0, "p <0.001")],
)
def test_no_p_value_is_said_to_be_0_or_1(p_value, text):
    assert p_text(p_value) == text


@pytest.mark.parametrize("gap", [-0.0, -0.0004, 0.0004])
def test_what_rounds_to_zero_has_no_sign(gap):
    assert signed_gap(ACCURACY, gap) == "0.0"
    assert gap_text(ACCURACY, gap) == "0.0 points"
    assert points(gap, gap, gap) == "0.0 points (95 % interval 0.0 to 0.0)"
    assert signed_gap(F1, gap) == "0.000"
    assert gap_text(F1, gap) == "0.000"
    assert ends_text(F1, gap, 0.5).startswith("0.000")
