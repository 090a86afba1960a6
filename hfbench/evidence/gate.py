"""Whether a candidate may take the place of a base: better or not worse, worse, or undecided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from xml.etree import ElementTree

import numpy as np

from hfbench.errors import UserError, nearest
from hfbench.evidence import markdown
from hfbench.evidence.compared import ComparedModels
from hfbench.evidence.crossed import Table
from hfbench.evidence.fairness import evaluation_hash, unlike
from hfbench.evidence.judge import judge
from hfbench.evidence.mixture import aligned, half_width
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.more import more_needed
from hfbench.evidence.standing import judging
from hfbench.evidence.stats import ALPHA
from hfbench.evidence.words import (
    enumerate_names,
    few_names,
    gap_and_interval,
    gap_text,
    signed_gap,
    value_text,
)
from hfbench.metrics.registry import Metric
from hfbench.system.terminal import clean

Verdict = Literal["better", "not worse", "worse", "undecided"]
PASSED: tuple[Verdict, ...] = ("better", "not worse")


@dataclass(frozen=True)
class Side:
    """What is to be replaced, or what replaces it."""

    place: str
    """As it was given, without the model."""
    model: str | None
    """The one row that counts; None: all that both sides have."""
    tasks: Mapping[str, ComparedModels]
    """By name; of a recipe with one task under ``""``."""


@dataclass(frozen=True)
class Gated:
    """One row of the candidate against one of the base, on the same examples."""

    base: str
    candidate: str
    task: str
    metric: Metric
    values: tuple[float, float]
    """Of the base and of the candidate; NaN without a result."""
    difference: tuple[float, float, float]
    """By how much the candidate is better, in units of the measure, and the ends of the interval
    (95 % for all rows together); positive is better whatever the measure's direction."""
    verdict: Verdict
    why: str
    """In a sentence, with what would settle it where it is undecided."""
    changes: list[str]
    """In what else than the model the candidate's runs differ from the base's."""

    is_unchanged: bool = False
    """Whether both gave the same answers."""

    @property
    def name(self) -> str:
        """Of the rows, and of the task where there are several."""
        rows = self.base if self.base == self.candidate else f"{self.candidate} for {self.base}"
        return f"{rows} on {self.task}" if self.task else rows


@dataclass(frozen=True)
class Gate:
    """Whether the candidate passes."""

    base: str
    candidate: str
    margin: float
    """In units of the measure."""
    rows: list[Gated]
    notes: list[str]

    @property
    def reasons(self) -> list[str]:
        """Of each row, those that are unchanged taken together, and what else is to be known."""
        told = [row.why for row in self.rows if not row.is_unchanged]
        same = [row.name for row in self.rows if row.is_unchanged]
        if same:
            told.append(f"Nothing changed, to the last answer: {few_names(same)}.")
        return told + self.notes

    @property
    def exit_code(self) -> Literal[0, 1, 3]:
        """0: every row is better or not worse; 1: one is worse; 3: neither is shown."""
        verdicts = {row.verdict for row in self.rows}
        if "worse" in verdicts:
            return 1
        return 3 if "undecided" in verdicts else 0

    @property
    def verdict(self) -> str:
        """In a word."""
        return {0: "passed", 1: "failed", 3: "undecided"}[self.exit_code]

    def to_markdown(self) -> str:
        """For the page of a pull request."""
        metric = self.rows[0].metric
        header = ["row", "base", "candidate", "difference", "95 % interval", "verdict"]
        lines = [
            f"### hfbench gate: {self.verdict}",
            f"{markdown.escape(self.candidate)} in place of {markdown.escape(self.base)}; a loss "
            f"of less than {gap_text(metric, self.margin)} does not matter.",
            markdown.table(header, [_cells(row) for row in self.rows]),
            markdown.bullets(self.reasons),
        ]
        changed = [f"{row.candidate}: {'; '.join(row.changes)}" for row in self.rows if row.changes]
        if changed:
            lines += ["What changed beside the model:", markdown.bullets(changed)]
        return "\n\n".join(lines) + "\n"

    def to_junit(self) -> str:
        """As JUnit's XML, a test for each row: worse is failed, undecided is skipped."""
        failed = sum(row.verdict == "worse" for row in self.rows)
        skipped = sum(row.verdict == "undecided" for row in self.rows)
        counts = {
            "tests": str(len(self.rows)), "failures": str(failed), "skipped": str(skipped),
            "errors": "0",
        }  # fmt: skip
        suites = ElementTree.Element("testsuites", counts)
        suite = ElementTree.SubElement(suites, "testsuite", {"name": "hfbench gate", **counts})
        for row in self.rows:
            named = {"classname": f"hfbench.gate.{row.metric.name}", "name": clean(row.name)}
            test = ElementTree.SubElement(suite, "testcase", named)
            if row.verdict == "worse":
                ElementTree.SubElement(test, "failure", {"message": clean(row.why)})
            elif row.verdict == "undecided":
                ElementTree.SubElement(test, "skipped", {"message": clean(row.why)})
            ElementTree.SubElement(test, "system-out").text = clean(row.why)
        ElementTree.indent(suites)
        return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def gate(base: Side, candidate: Side, margin: float) -> Gate:
    """Compare rows of ``candidate`` with those of ``base``, on the same examples.

    A row passes where its whole interval lies above ``-margin``, and is worse where it does not
    and lies below 0. With 95 % confidence for all rows together (Bonferroni, a half for either
    mistake), no row passes that is worse by the margin or more, and none is called worse that is
    not. How much seeds matter is learnt from all rows of both sides.

    Args:
        base: what is in use.
        candidate: what is to take its place.
        margin: the loss that does not matter, above 0, in units of the measure.

    Raises:
        UserError: if a row is not there, or the sides have other examples or another measure.
    """
    tasks = _common_tasks(base, candidate)
    chosen = {task: _rows(base, candidate, task) for task in tasks}
    every = [pair for pairs in chosen.values() for pair in pairs]
    number = sum(not _same_answers(*pair) for pair in every)
    rows, notes = [], list[str]()
    for task, pairs in chosen.items():
        rows += _gate_task(base.tasks[task], candidate.tasks[task], task, pairs, margin, number)
        if base.model is None and candidate.model is None:
            known = {model.name for model in candidate.tasks[task].models}
            gone = [m.name for m in base.tasks[task].models if m.name not in known]
            if gone and pairs[0][0].name == pairs[0][1].name:
                notes.append(f"Only in {base.place}, not compared: {enumerate_names(gone)}.")
    return Gate(_place(base), _place(candidate), margin, rows, notes)


def _place(side: Side) -> str:
    return f"{side.place}:{side.model}" if side.model else side.place


def _cells(row: Gated) -> list[str]:
    mean, low, high = row.difference
    known = not np.isnan(mean)
    return [
        row.name,
        *("" if np.isnan(value) else value_text(row.metric, value) for value in row.values),
        signed_gap(row.metric, mean) if known else "",
        f"{signed_gap(row.metric, low)} to {signed_gap(row.metric, high)}" if known else "",
        row.verdict,
    ]


def _common_tasks(base: Side, candidate: Side) -> list[str]:
    missing = [task for task in base.tasks if task not in candidate.tasks]
    if missing:
        what = f"no task {missing[0]!r}" if missing[0] else "several tasks, and the base has one"
        raise UserError(f"{candidate.place}: it has {what}: give the folder of one task")
    return list(base.tasks)


def _rows(base: Side, candidate: Side, task: str) -> list[tuple[ModelRuns, ModelRuns]]:
    """The pairs that are compared."""
    ours, theirs = ({m.name: m for m in side.tasks[task].models} for side in (base, candidate))
    if base.model or candidate.model:
        found = _find(base, ours, candidate.model), _find(candidate, theirs, base.model)
        return [found]
    both = [name for name in ours if name in theirs]
    if both:
        return [(ours[name], theirs[name]) for name in both]
    if len(ours) == len(theirs) == 1:
        return [(*ours.values(), *theirs.values())]  # type: ignore[list-item]
    raise UserError(
        f"{candidate.place}: no row is called as one of {base.place}: name them, as in "
        f"{base.place}:{next(iter(ours))} {candidate.place}:{next(iter(theirs))}"
    )


def _find(side: Side, models: Mapping[str, ModelRuns], others: str | None) -> ModelRuns:
    """The row that is named; else the one that is called as the other side's, or the only one."""
    if side.model is not None:
        if side.model not in models:
            known = ", ".join(models)
            raise UserError(
                f"{side.place}: no model {side.model!r}{nearest(side.model, models)} "
                f"(models: {known})"
            )
        return models[side.model]
    if others is not None and others in models:
        return models[others]
    if len(models) == 1:
        return next(iter(models.values()))
    raise UserError(
        f"{side.place}: it has {len(models)} rows and none is called {others!r}: name one, as in "
        f"{side.place}:{next(iter(models))}"
    )


def _gate_task(
    base: ComparedModels, candidate: ComparedModels, task: str,
    pairs: Sequence[tuple[ModelRuns, ModelRuns]], margin: float, number: int,
) -> list[Gated]:  # fmt: skip
    if base.metric.name != candidate.metric.name:
        raise UserError(
            f"the base is ranked by {base.metric.label} and the candidate by "
            f"{candidate.metric.label}: compare both with the same task.metric"
        )
    metric = base.metric
    together = [model for one, other in pairs for model in (one, other) if model.finished]
    for one in together:
        first = together[0].finished[0]
        if evaluation_hash(one.finished[0]) != evaluation_hash(first):
            raise UserError(
                f"{one.name} and {together[0].name} were evaluated on other examples "
                f"({one.finished[0].task.source} and {first.task.source}): only rows of the same "
                "examples can be compared"
            )
    keys = _Keys(base.finished, candidate.finished, together)
    models = [replace(model, name=name) for name, model in keys.models.items()]
    looks = [len(one.asked[-1].looks) for one in (base, candidate) if one.asked]
    found = judge(
        {model.name: model.pseudo_values for model in models},
        looks=max([1, *looks]),
        **judging(models, metric),
    )
    assert found.table is not None
    return [_gate_row(one, other, keys, found.table, task, margin, number) for one, other in pairs]


class _Keys:
    """Names for the rows of both sides; rows that gave the same answers are one."""

    def __init__(
        self, base: Sequence[ModelRuns], candidate: Sequence[ModelRuns], asked: Sequence[ModelRuns]
    ) -> None:
        self.models: dict[str, ModelRuns] = {}
        self._of: dict[int, str] = {}
        same = evaluation_hash(asked[0].finished[0]) if asked else None
        for side, models in (("base", base), ("candidate", candidate)):
            for model in models:
                if evaluation_hash(model.finished[0]) != same:
                    continue
                known = [n for n, one in self.models.items() if _same_answers(one, model)]
                name = known[0] if known else f"{side}/{model.name}"
                self.models.setdefault(name, model)
                self._of[id(model)] = name

    def of(self, model: ModelRuns) -> str:
        return self._of[id(model)]


def _same_answers(one: ModelRuns, other: ModelRuns) -> bool:
    return one.seeds == other.seeds != [] and np.array_equal(one.logits, other.logits)


def _gate_row(
    base: ModelRuns, candidate: ModelRuns, keys: _Keys, table: Table, task: str,
    margin: float, number: int,
) -> Gated:  # fmt: skip
    metric, nan = base.metric, float("nan")
    shared: dict[str, Any] = {
        "base": base.name, "candidate": candidate.name, "task": task, "metric": metric,
        "values": (base.value, candidate.value),
    }  # fmt: skip
    if not base.finished:
        raise UserError(f"no run of {base.name} finished, so that nothing can be compared with it")
    if not candidate.finished:
        why = f"No run of {candidate.name} finished ({candidate.failed[0].failure.text})."
        none = (nan, nan, nan)
        return Gated(**shared, difference=none, verdict="worse", why=why, changes=[])
    names = keys.of(candidate), keys.of(base)
    if names[0] == names[1]:
        why = "{} has the very answers of {}: nothing changed.".format(*_names(base, candidate))
        same = (0.0, 0.0, 0.0)
        return Gated(**shared, difference=same, verdict="not worse", why=why, changes=[],
                     is_unchanged=True)  # fmt: skip
    centres, variances, weights = aligned(table.mixtures([names]))
    level = ALPHA / max(number, 1) / table.looks
    half = float(half_width(np.array([level]), variances, weights)[0])
    low, high = float(centres[0]) - half, float(centres[0]) + half
    mean = float(np.subtract(*(table.means[table.number[name]] for name in names)))
    # so often that what the base has is what most runs have
    of_base = base.finished * len(candidate.finished)
    renamed = [
        *(record.model_copy(update={"model": "base"}) for record in of_base),
        *(record.model_copy(update={"model": "candidate"}) for record in candidate.finished),
    ]
    verdict, why = _judge(base, candidate, (mean, low, high), margin, table, names, level)
    return Gated(
        **shared,
        difference=(mean, low, high),
        verdict=verdict,
        why=_sentence(why, task),
        changes=unlike(renamed).get("candidate", []),
    )


def _judge(
    base: ModelRuns, candidate: ModelRuns, found: tuple[float, float, float], margin: float,
    table: Table, names: tuple[str, str], level: float,
) -> tuple[Verdict, str]:  # fmt: skip
    mean, low, high = found
    metric, (who, what) = base.metric, _names(base, candidate)
    gap, less = gap_and_interval(metric, mean, low, high), gap_text(metric, margin)
    if any(table.seeds_unknown[table.number[name]] for name in names):
        return "undecided", (
            f"{who} and {what} cannot be compared: with one run of each nothing shows how much "
            "seeds matter; run a second seed."
        )
    lost, before = _lost_share(candidate), _lost_share(base)
    if low > -margin and lost > before:
        return "undecided", (
            f"{who} lost more of its runs than {what} ({candidate.runs} trained, there "
            f"{base.runs}), of which the difference of {gap} says nothing: run more seeds."
        )
    if low > 0:
        return "better", f"{who} is better than {what} by {gap}."
    if low > -margin:
        return "not worse", (
            f"{who} is not worse than {what} by {less} or more: the difference is {gap}."
        )
    if high < 0:
        worse = gap_and_interval(metric, -mean, -high, -low)
        return "worse", f"{who} is worse than {what} by {worse}."
    more = more_needed(table, *names, -margin, level / 2).text
    return "undecided", (
        f"Whether {who} is worse than {what} by {less} or more is not decided: the difference is "
        f"{gap}; {more}."
    )


def _sentence(text: str, task: str) -> str:
    """With the task before it, or a capital letter, but for the name of a model."""
    if task:
        return f"{task}: {text}"
    return f"T{text[1:]}" if text.startswith("the ") else text


def _names(base: ModelRuns, candidate: ModelRuns) -> tuple[str, str]:
    """The candidate and the base, as a sentence calls them."""
    if candidate.name != base.name:
        return candidate.name, base.name
    return f"the candidate's {candidate.name}", "the base's"


def _lost_share(model: ModelRuns) -> float:
    """Of its runs that collapsed or failed."""
    runs = len(model.finished) + len(model.failed)
    return (len(model.failed) + int(model.collapsed.sum())) / runs
