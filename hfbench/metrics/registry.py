"""The metrics, each an entry: curves, records, tables, cards and reports iterate them.

A metric of one's own:

    from hfbench.metrics import Metric, register

    register(Metric("error", lambda logits, labels: float((logits.argmax(-1) != labels).mean()),
                    title="error %", format=".1%", note="error: share of wrong answers.",
                    higher_is_better=False))
"""

import math
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from hfbench.errors import UserError, nearest
from hfbench.metrics.estimate import Estimate, UndefinedMeasureError, jackknife
from hfbench.metrics.threshold import shift

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
    estimate: Callable[[np.ndarray, np.ndarray], Estimate] | None = None
    """The same number with the influence of each example on it; None: by the jackknife."""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    """The least and the most that it can be."""
    columns_of: tuple[AnswerKind, ...] | None = None
    """The kinds whose records, curves and tables have it unasked; None: all of ``kinds``."""
    of_class: Callable[[int, np.ndarray, np.ndarray], Estimate] | None = None
    """The measure of one class or label, by its number: ``f1:spam`` in place of ``f1``."""

    weight: Callable[[np.ndarray], float] | None = None
    """Of labels: how many examples it rests on, where not all count alike; None: all."""
    of_probabilities: bool = False
    """Whether it looks at probabilities, whatever the thresholds from which on a label is given."""

    def seen(self, outputs: np.ndarray, thresholds: list[float] | None) -> np.ndarray:
        """Outputs as it is to look at them, shape (..., outputs); see `threshold.shift`."""
        return outputs if self.of_probabilities else shift(outputs, thresholds)

    def pseudo_values(self, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """A number for each example, whose mean is the measure, shape (examples,).

        Their variance over examples is that of the measure (times the examples), so that all that
        is known of means holds for it: Efron (1982), The jackknife, the bootstrap and other
        resampling plans, ch. 3 and 6.

        Raises:
            UndefinedMeasureError: if it has no meaning for these labels.
        """
        if self.estimate is None:
            return jackknife(self.compute, outputs, labels)
        return self.estimate(outputs, labels).pseudo_values

    @property
    def is_percentage(self) -> bool:
        """Whether people read it in per cent, and its differences in points."""
        return self.format.endswith("%")

    @property
    def label(self) -> str:
        """What a sentence calls it."""
        return self.title.removesuffix(" %")

    @property
    def type_on_hub(self) -> str:
        """What evaluation results on the Hub call it."""
        return self.hub_type or self.name

    def text(self, value: float) -> str:
        """``value`` as tables show it."""
        return format(value, self.format).removesuffix("%").removesuffix(".")


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
    | {
        "model",
        "measure",
        "use",
        "low",
        "high",
        "interval",
        "group",
        "above_majority",
        "p_majority",
        "majority",
    }
    | {"above_chance", "runs", "failed", "collapsed", "may_be_best", "seed_sd", "examples"}
    | {"parameters"}
    | {"body_parameters", "train_tokens", "train_flops", "train_seconds", "tokens_per_second"}
    | {"peak_memory_bytes", "peak_memory", "notes"}
    | {"latency_p50", "latency_p95", "texts_per_second", "disk_bytes", "memory_bytes"}
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
    """Those that records, curves and tables of it have unasked, in the order of columns."""
    return [
        metric
        for metric in METRICS.values()
        if kind in (metric.kinds if metric.columns_of is None else metric.columns_of)
    ]


def known_metrics(kind: AnswerKind) -> list[Metric]:
    """All that work on it."""
    return [metric for metric in METRICS.values() if kind in metric.kinds]


def find_metric(name: str, kind: AnswerKind, labels: Sequence[str], key: str) -> Metric:
    """The metric of this name, as a recipe or the command line gives it.

    Args:
        name: of a metric; with a class behind it (``f1:spam``) of that class alone.
        kind: of the answers that it is to judge.
        labels: names of the classes.
        key: where it was given.

    Raises:
        UserError: if there is none, or it has no meaning for ``kind`` or these classes.
    """
    known = {metric.name: metric for metric in known_metrics(kind)}
    stem, colon, of = name.partition(":")
    if stem not in known:
        if stem in METRICS:
            others = ", ".join(METRICS[stem].kinds)
            raise UserError(f"{key}: {stem!r} has no meaning for {kind} (it is for {others})")
        raise UserError(
            f"{key}: no measure {stem!r}{nearest(stem, known)} (known for {kind}: "
            f"{', '.join(known)})"
        )
    metric = known[stem]
    if metric.of_class is None:
        if colon:
            raise UserError(f"{key}: {stem!r} is not of one class; write {stem!r}")
        return metric
    if not colon:
        if len(labels) != 2 or kind != "single_label_classification":
            raise UserError(
                f"{key}: {stem!r} is of one class, and there are {len(labels)}: write "
                f"{stem}:{labels[0]}, or f1_macro for all"
            )
        return replace(metric, title=f"{metric.title} of {labels[1]}")
    if of not in labels:
        raise UserError(
            f"{key}: no class {of!r}{nearest(of, labels)} (classes: {', '.join(labels[:20])})"
        )
    return measure_of_class(metric, list(labels).index(of), of)


def measure_of_class(metric: Metric, number: int, name: str) -> Metric:
    """Of one class or label alone, by its number; ``name``: what it is called."""
    assert metric.of_class is not None
    estimate = partial(metric.of_class, number)
    return replace(
        metric,
        name=f"{metric.name}:{name}",
        title=f"{metric.title} of {name}",
        hub_type=metric.type_on_hub,
        compute=lambda outputs, labels: estimate(outputs, labels).value,
        estimate=estimate,
        weight=lambda labels: float(_has(labels, number).sum()),
        note=None,
    )


def _has(labels: np.ndarray, number: int) -> np.ndarray:
    return (labels == number) if labels.ndim == 1 else labels[:, number] == 1


def score(
    kind: AnswerKind,
    outputs: np.ndarray,
    labels: np.ndarray,
    also: Collection[Metric] = (),
    thresholds: list[float] | None = None,
) -> Scores:
    """The metrics of `metrics_of` and those of ``also``; for the arrays see `Metric.compute`, for
    ``thresholds`` `threshold.shift`.

    A metric that fails is left out, and the others stay: no bookkeeping may cost a run.
    """
    values, left_out = {}, {}
    for metric in dict.fromkeys([*metrics_of(kind), *also]):
        try:
            value = float(metric.compute(metric.seen(outputs, thresholds), labels))
        except UndefinedMeasureError as error:
            left_out[metric.name] = str(error)
            continue
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
