"""Which row to take: the cheapest that is not worse than the best by a margin or more."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hfbench.errors import UserError
from hfbench.evidence.compared import ComparedModels
from hfbench.evidence.crossed import Table
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.more import more_needed
from hfbench.evidence.shortfall import Shortfall, shortfalls
from hfbench.evidence.stats import ALPHA
from hfbench.evidence.use import three_digits, use_of
from hfbench.evidence.words import enumerate_names, few_names, gap_text, value_text
from hfbench.metrics.registry import Metric
from hfbench.records.schema import ClassificationRecord

Prefer = Literal["parameters", "latency", "train_seconds"]
Standing = Literal["good enough", "open", "worse"]


@dataclass(frozen=True)
class Cost:
    """What is to be small."""

    title: str
    """The head of its column."""
    number: Callable[[float], str]
    """As its cells have it."""
    unit: str
    """Behind the number in a sentence."""
    as_cheap: float
    """What is above this share of another cost is not cheaper: clocks tell no more."""

    def text(self, cost: float | None) -> str:
        """``127,634 parameters``, ``3.1 ms a text`` or ``24 s of training``."""
        return f"{self.number(cost)} {self.unit}" if cost is not None else "cost unknown"


COSTS: dict[Prefer, Cost] = {
    "parameters": Cost("parameters", lambda number: f"{number:,.0f}", "parameters", 1.0),
    "latency": Cost("ms a text", lambda seconds: three_digits(1000 * seconds), "ms a text", 0.9),
    "train_seconds": Cost("train s", three_digits, "s of training", 0.9),
}


@dataclass(frozen=True)
class Option:
    """A row as something to choose."""

    name: str
    cost: float | None
    """Parameters, or seconds; None where it is unknown."""
    values: list[float]
    """Of the measure of each task; NaN where it has no result."""
    shortfalls: list[Shortfall]
    """By how much it may be worse than the best row of each task, in units of the measure."""
    standing: Standing
    """Whether it is worse than the best by less than the margin, on each task; ``worse``: it is
    shown not to be; ``open``: neither."""
    lost: str | None
    """How many of its runs collapsed or failed; None where none did."""

    @property
    def bound(self) -> float:
        """The most by which it is worse than the best, on the task where that is largest."""
        return max(found.bound for found in self.shortfalls)


@dataclass(frozen=True)
class Decision:
    """Which row to take, and what would have to be run to be surer."""

    margin: float
    """In units of the measure."""
    prefer: Prefer
    tasks: list[str]
    metrics: list[Metric]
    """By which the models of each task are ranked."""
    options: list[Option]
    """The cheapest first; those of unknown cost last."""
    chosen: Option | None
    """The cheapest that is good enough; None where none is shown to be, or no cost is known."""
    text: str
    """The decision in a sentence, with what would make it surer."""
    cautions: list[str]
    """What is to be known beside it."""

    def __str__(self) -> str:
        return self.text


def decide(
    comparisons: Mapping[str, ComparedModels], margin: float, prefer: Prefer = "parameters"
) -> Decision:
    """Choose the cheapest row that is worse than the best by less than ``margin``, if at all.

    A row that is worse by the margin or more is chosen in at most 5 decisions of 100, whichever
    row is the best, however many rows there are and whatever is preferred: the bounds of all rows
    hold together (`shortfall.shortfalls`). Of several tasks a row must be good enough on
    each, and the error is shared by them (Bonferroni).

    Args:
        comparisons: by the names of their tasks, one or more.
        margin: the loss that does not matter, above 0, in units of the measure: of an accuracy a
            fraction.
        prefer: what is to be small: ``parameters``, ``latency`` (median seconds of one text, see
            `records.use`), or ``train_seconds`` (of one training).

    Raises:
        UserError: if the margin is not above 0, models answered different examples, tasks have
            measures in other units, or costs were measured on different devices.
    """
    if not 0 < margin < math.inf:
        raise UserError(f"margin must be above 0, not {margin}")
    tables = {name: _table(name, comparison) for name, comparison in comparisons.items()}
    metrics = [comparison.metric for comparison in comparisons.values()]
    if len({metric.is_percentage for metric in metrics}) > 1:
        raise UserError(
            f"the measures of {enumerate_names(list(comparisons))} have other units, and one "
            "margin cannot be a difference of each: decide each task by itself"
        )
    _refuse_different_devices(comparisons, prefer)
    level = ALPHA / len(tables)
    found_by = {task: shortfalls(table, level) for task, table in tables.items()}
    nowhere = Shortfall(math.inf, None, level)
    names = dict.fromkeys(model.name for one in comparisons.values() for model in one.models)
    options = []
    for name in names:
        own = [found_by[task].get(name, nowhere) for task in tables]
        models = [model for one in comparisons.values() for model in one.models
                  if model.name == name]  # fmt: skip
        if not any(model.finished for model in models):
            continue
        is_worse = any(_is_worse(one, name, margin) for one in comparisons.values())
        standing: Standing = "worse" if is_worse else "open"
        options.append(
            Option(
                name,
                _cost(models, prefer),
                [_value(one, name) for one in comparisons.values()],
                own,
                "good enough" if max(one.bound for one in own) < margin else standing,
                _lost(models),
            )
        )
    options.sort(key=lambda option: math.inf if option.cost is None else option.cost)
    chosen = _choose(options, metrics, prefer)
    found = Decision(margin, prefer, list(comparisons), metrics, options, chosen, "", [])
    return replace(found, text=_said(found, tables), cautions=_cautions(found, comparisons))


def _table(name: str, comparison: ComparedModels) -> Table:
    if comparison.table is None:
        why = (
            "no run finished" if not comparison.finished else ("models answered different examples")
        )
        raise UserError(f"{name}: {why}, so that nothing can be decided")
    return comparison.table


def _value(comparison: ComparedModels, name: str) -> float:
    return next((model.value for model in comparison.models if model.name == name), math.nan)


def _is_worse(comparison: ComparedModels, name: str, margin: float) -> bool:
    """Whether some row is shown to be better by the margin or more; 5 % error for all pairs."""
    return any(
        pair.second.name == name and pair.difference.family_low >= margin
        for pair in comparison.pairs
    )


def _lost(models: Sequence[ModelRuns]) -> str | None:
    collapsed = sum(int(model.collapsed.sum()) for model in models if model.finished)
    failed = sum(len(model.failed) for model in models)
    runs = sum(len(model.finished) + len(model.failed) for model in models)
    parts = [f"{n} {what}" for n, what in ((collapsed, "collapsed"), (failed, "failed")) if n]
    return f"of its {runs} runs {enumerate_names(parts)}" if parts else None


def _cost(models: Sequence[ModelRuns], prefer: Prefer) -> float | None:
    """The largest over the tasks; None where it is unknown of one."""
    found = [_cost_of(model, prefer) for model in models if model.finished]
    known = [cost for cost in found if cost is not None]
    return max(known) if len(known) == len(found) else None


def _cost_of(model: ModelRuns, prefer: Prefer) -> float | None:
    if prefer == "train_seconds":
        return model.mean_seconds
    if prefer == "latency":
        use = use_of(model)
        return use.latency_p50 if use else None
    if model.is_control and model.is_majority:
        return 0
    return model.finished[0].model_facts.parameters


def _refuse_different_devices(comparisons: Mapping[str, ComparedModels], prefer: Prefer) -> None:
    devices: dict[str, str] = {}
    for model in [model for one in comparisons.values() for model in one.finished]:
        use = use_of(model)
        if prefer == "latency" and use:
            devices.setdefault(use.device, model.name)
        for record in model.finished if prefer == "train_seconds" else []:
            if isinstance(record, ClassificationRecord):
                devices.setdefault(record.training.device, model.name)
    if len(devices) > 1:
        where = enumerate_names([f"{name} on {device}" for device, name in devices.items()])
        raise UserError(f"--prefer {prefer}: seconds of different devices say nothing: {where}")
    if prefer == "latency" and not devices:
        raise UserError(
            "--prefer latency: no row has it, since these results are from before it was measured: "
            "`hfbench compare --rerun` measures it"
        )


def _choose(options: Sequence[Option], metrics: Sequence[Metric], prefer: Prefer) -> Option | None:
    known = [one for one in options if one.standing == "good enough" and one.cost is not None]
    if not known:
        return None
    least = min(one.cost for one in known if one.cost is not None)
    near = [
        one for one in known if one.cost is not None and COSTS[prefer].as_cheap * one.cost <= least
    ]

    def quality(option: Option) -> float:
        """Sum over tasks of what is better when it is higher."""
        signs = [1 if metric.higher_is_better else -1 for metric in metrics]
        return sum(sign * value for sign, value in zip(signs, option.values, strict=True))

    return max(near, key=quality)


def _said(found: Decision, tables: Mapping[str, Table]) -> str:
    metric, cost = found.metrics[0], COSTS[found.prefer]
    margin = gap_text(metric, found.margin)
    confident = f"with {100 * (1 - ALPHA):.0f} % confidence"
    on_tasks = f" on each of the {len(found.tasks)} tasks" if len(found.tasks) > 1 else ""
    chosen = found.chosen
    if chosen is None:
        enough = [one.name for one in found.options if one.standing == "good enough"]
        if enough:
            return (
                f"What these cost ({cost.title}) is unknown: {few_names(enough)}, which are shown "
                f"to be within {margin} of the best{on_tasks}."
            )
        nearest = min(found.options, key=lambda option: option.bound)
        known = (
            f": {nearest.name} comes nearest, which may be worse by "
            f"{gap_text(metric, nearest.bound)}"
            if nearest.bound < math.inf
            else ""
        )
        return (
            f"No row is shown to be within {margin} of the best{on_tasks}{known}; "
            f"{_to_settle(nearest, tables, found.margin)}."
        )
    how_sure = (
        "it is the best"
        if chosen.bound == 0
        else f"it is worse than the best by at most {gap_text(metric, chosen.bound)}"
    )
    text = (
        f"Take {chosen.name} ({cost.text(chosen.cost)}), the cheapest row that is shown to "
        f"be within {margin} of the best{on_tasks}: {how_sure}, {confident}"
    )
    cheaper = [
        one
        for one in found.options
        if one.cost is not None and one.cost < cost.as_cheap * (chosen.cost or 0)
    ]
    maybe = [one for one in cheaper if one.standing == "open"]
    if maybe:
        # of those that are cheaper the one that is most likely to be good enough
        first = min(maybe, key=lambda option: option.bound)
        others = (
            f", like {few_names([o.name for o in maybe if o is not first])},"
            if (len(maybe) > 1)
            else ""
        )
        text += (
            f"; {first.name} ({cost.text(first.cost)}){others} may be, too (it may be worse "
            f"by {gap_text(metric, first.bound)}): {_to_settle(first, tables, found.margin)}"
        )
    elif cheaper:
        text += f"; every cheaper row is worse by {margin} or more"
    else:
        text += "; no row is cheaper"
    return f"{text}."


def _to_settle(option: Option, tables: Mapping[str, Table], margin: float) -> str:
    """What would show whether it is good enough, on the task where it may be worse by most."""
    worst, (task, table) = max(
        zip(option.shortfalls, tables.items(), strict=True), key=lambda pair: pair[0].bound
    )
    if option.name not in table.number:
        return f"it has no result on {task}"
    if math.isinf(worst.bound):
        return "run a second seed of one row at least: nothing shows how much seeds matter"
    assert worst.against is not None  # without another that may be the best the bound is 0
    more = more_needed(table, option.name, worst.against, -margin, worst.level).text
    return f"{more}{f' on {task}' if len(tables) > 1 else ''}"


def _cautions(found: Decision, comparisons: Mapping[str, ComparedModels]) -> list[str]:
    lines, chosen = [], found.chosen
    if chosen is not None and chosen.lost:
        lines.append(f"{chosen.name}: {chosen.lost}; the measure is of the others.")
    for comparison in comparisons.values() if chosen else []:
        floor = comparison.floors.get(chosen.name) if chosen else None
        if chosen and floor and floor.value is not None and not floor.above_majority:
            value = value_text(comparison.metric, floor.value)
            what = "is that very answer" if floor.is_same else "is not shown to be better"
            task = f"{comparison.task.source}: " if len(comparisons) > 1 and comparison.task else ""
            lines.append(
                f'{task}{chosen.name} {what}: always answering "{floor.label}" has {value}.'
            )
    unknown = [one.name for one in found.options if one.cost is None]
    if unknown and chosen:
        lines.append(f"Cost unknown, so never chosen: {few_names(unknown)}.")
    if found.prefer == "train_seconds":
        lines.append("Seconds of one training each; pretraining is not included.")
    return lines
