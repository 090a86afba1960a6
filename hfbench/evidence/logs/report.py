"""What logs show, in a table and in sentences."""

import math

from hfbench.evidence.answer import verdict_of
from hfbench.evidence.logs.matched import JudgedTask
from hfbench.evidence.words import ends_text, few_names, value_text
from hfbench.metrics.registry import Metric

_PAIRS = 6
"""That are told one by one; the letters tell of all."""


def title(one: JudgedTask) -> str:
    """Which task, and by what."""
    direction = ", lower is better" if one.lower_is_better else ""
    return f"{one.task}: {one.metric}{direction}, {one.examples:,} examples"


def table_rows(one: JudgedTask) -> list[list[str]]:
    """The header, and a line for each model, the best first."""
    metric = _metric(one)
    rows = [["model", metric.title, "95 % interval", "group", "runs"]]
    for row in one.judgement.rows:
        mean, low, high = row.mean, row.low, row.high
        if one.lower_is_better:
            mean, low, high = 0.0 - mean, 0.0 - high, 0.0 - low  # 0 has no sign
        rows.append(
            [row.name, metric.text(mean), ends_text(metric, low, high), row.group, str(row.runs)]
        )
    return rows


def lines(one: JudgedTask) -> list[str]:
    """What is shown, then what is not the same for all."""
    metric, found = _metric(one), one.judgement
    told = found.questions or found.pairs
    said = [f"{verdict_of(metric, pair)}." for pair in told[:_PAIRS]]
    if len(told) > _PAIRS:
        said = [_best(one)]
    family = f"all {len(told)} questions" if found.questions else f"all {len(told)} pairs"
    together = f" for {family} together (Holm)" if len(told) > 1 else ""
    said.append(f"Paired differences, example by example; error 5 %{together}.")
    return said + one.notes


def _best(one: JudgedTask) -> str:
    first, best = one.judgement.rows[0], one.judgement.best
    value = value_text(_metric(one), -first.mean if one.lower_is_better else first.mean)
    others = [name for name in best if name != first.name]
    if not others:
        return f"{first.name} is the best ({value}), with 95 % confidence."
    verb = "may" if len(others) == 1 else "may each"
    return f"{first.name} leads ({value}); {few_names(others)} {verb} be the best as well."


def _metric(one: JudgedTask) -> Metric:
    """How its numbers are written: shares in per cent."""
    table = one.judgement.table
    assert table is not None  # every row has a run
    scores = [row.scores for row in table.rows]
    is_share = all(((s >= 0) & (s <= 1)).all() for s in scores) and not one.lower_is_better

    def compute(outputs: object, labels: object) -> float:
        return math.nan  # of logs there are only scores

    name = f"{one.metric} %" if is_share else one.metric
    form = ".2%" if is_share else "#.4g"
    return Metric(one.metric, compute, name, form, None, not one.lower_is_better)
