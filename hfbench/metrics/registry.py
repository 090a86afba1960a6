"""The metrics, each an entry: curves, records, tables, cards and reports iterate them.

A metric of one's own:

    from hfbench.metrics import Metric, register

    register(Metric("error", lambda logits, labels: float((logits.argmax(-1) != labels).mean()),
                    title="error %", format=".1%", note="error: share of wrong answers.",
                    higher_is_better=False))
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hfbench.errors import UserError
from hfbench.metrics.calibration import brier_score, expected_calibration_error
from hfbench.metrics.scores import accuracy, f1_macro, negative_log_likelihood, perplexity

ProblemType = Literal["single_label_classification", "multi_label_classification", "regression"]
"""What a sequence classifier is asked, in transformers' words (``config.problem_type``)."""
AnswerKind = ProblemType | Literal["language model"]
"""Whose answers a metric judges."""


@dataclass(frozen=True)
class Metric:
    """A number that says how good answers are."""

    name: str
    """Its key in records and its column in CSV: an identifier."""
    compute: Callable[[np.ndarray, np.ndarray], float]
    """Of outputs and labels. Single label: logits (examples, labels) in float32 and class numbers
    (examples,). Multi-label: logits (examples, labels) and 0 or 1 (examples, labels). Regression:
    values (examples, 1) and numbers (examples,). Of a language model: the summed losses (rows,) and
    the numbers of predicted tokens (rows,)."""
    title: str
    """The head of its column."""
    format: str
    """A format specification; where it ends in ``%``, the title has the sign and the cells have
    none."""
    note: str | None
    """A sentence for below the table."""
    higher_is_better: bool
    kinds: tuple[AnswerKind, ...] = ("single_label_classification",)
    """On what it works."""
    hub_type: str | None = None
    """How evaluation results on the Hub call it; None: by its name."""

    def text(self, value: float) -> str:
        """``value`` as tables show it."""
        return format(value, self.format).removesuffix("%")


@dataclass(frozen=True)
class Scores:
    """What the metrics say of one run."""

    values: dict[str, float]
    """Metric -> a finite number."""
    left_out: dict[str, str]
    """Metric -> why it gave none, in words."""


METRICS: dict[str, Metric] = {}
"""In the order of columns."""

RESERVED = frozenset(
    # points of a curve
    {"loss", "step", "epoch", "grad_norm", "learning_rate"}
    # columns of tables
    | {"model", "low", "high", "interval", "group", "above_majority", "p_majority", "majority"}
    | {"above_chance", "runs", "failed", "collapsed", "may_be_best", "seed_sd", "examples"}
    | {"parameters"}
    | {"body_parameters", "train_tokens", "train_flops", "train_seconds", "tokens_per_second"}
    | {"peak_memory_bytes", "peak_memory", "notes"}
    # columns of published runs
    | {"kind", "seed", "train_size", "status", "failure", "evaluation_split", "steps", "flops"}
    | {"started", "record"}
)
"""What stands beside the metrics and has its name already."""


def register(metric: Metric) -> Metric:
    """Add a metric behind the others; gives it back.

    Raises:
        UserError: if its name is taken, or is no identifier.
    """
    if not metric.name.isidentifier():
        raise UserError(f"metric {metric.name!r}: its name must be an identifier, such as my_score")
    if metric.name in METRICS or metric.name in RESERVED:
        raise UserError(f"metric {metric.name!r}: this name is taken")
    METRICS[metric.name] = metric
    return metric


def metrics_of(kind: AnswerKind) -> list[Metric]:
    """Those that work on it."""
    return [metric for metric in METRICS.values() if kind in metric.kinds]


def score(kind: AnswerKind, outputs: np.ndarray, labels: np.ndarray) -> Scores:
    """Every metric of ``kind``; for the arrays see `Metric.compute`.

    A metric that fails is left out, and the others stay: no bookkeeping may cost a run.
    """
    values, left_out = {}, {}
    for metric in metrics_of(kind):
        try:
            value = float(metric.compute(outputs, labels))
        except Exception as error:  # it is anybody's code, and may raise anything
            left_out[metric.name] = f"{type(error).__name__}: {error}"
            continue
        if math.isfinite(value):
            values[metric.name] = value
        else:
            left_out[metric.name] = f"it is {value}"
    return Scores(values, left_out)


def warn_of(left_out: dict[str, str]) -> None:
    """Say why metrics have no number."""
    for name, reason in left_out.items():
        warnings.warn(f"metric {name!r} is left out: {reason}", stacklevel=3)


register(Metric("accuracy", accuracy, "accuracy %", ".2%", None, True))
register(
    Metric(
        "f1_macro", f1_macro, "macro F1", ".3f", "macro F1: mean of the classes' F1.", True,
        hub_type="f1",
    )
)  # fmt: skip
register(
    Metric(
        "nll", negative_log_likelihood, "NLL", ".3f", "NLL: negative log-likelihood, in nats.",
        False,
    )
)  # fmt: skip
register(
    Metric(
        "brier", brier_score, "Brier", ".3f",
        "Brier: squared distance of the probabilities to the answer, 0 to 2.", False,
        hub_type="brier_score",
    )
)  # fmt: skip
register(
    Metric(
        "ece", expected_calibration_error, "ECE", ".3f",
        "ECE: expected calibration error over 10 bins of equal width of the highest probability.",
        False,
    )
)  # fmt: skip
register(
    Metric("perplexity", perplexity, "perplexity", ".2f", None, False, kinds=("language model",))
)

BUILT_IN = tuple(METRICS.values())
"""Those that are not anybody's own, which compute the same for ever."""
