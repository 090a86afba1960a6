"""Runs of several models on the same examples of a task, judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hfbench.errors import UserError, nearest
from hfbench.evidence.judge import Judgement, judge
from hfbench.evidence.logs.logged import LoggedRun

TOGETHER = "all tasks"
"""The name of all examples of all tasks, each of which counts alike."""


@dataclass(frozen=True)
class JudgedTask:
    """What can be said of the models on one task, or on all of them together."""

    task: str
    metric: str
    judgement: Judgement
    """Scores of which higher is better: of a metric of which lower is, with the other sign."""
    examples: int
    lower_is_better: bool
    notes: list[str]
    """What is not the same for all models, and which other metrics there are."""


def judge_logs(
    rows: Mapping[str, Sequence[LoggedRun]],
    *,
    metric: str | None = None,
    margin: float | None = None,
    reference: str | None = None,
) -> list[JudgedTask]:
    """Each task that all rows have and, of several, all of them together at the end.

    Args:
        rows: name of a model -> its runs, of any tasks.
        metric: as the logs call it; default: the first that all have.
        margin: the difference that matters.
        reference: a row; every other one against it is a question.

    Raises:
        UserError: if rows share no task or metric, or have other examples.
    """
    if len(rows) < 2:
        raise UserError(f"two models or more are compared, and there is {', '.join(rows)}")
    of_rows = {name: _by_task(runs) for name, runs in rows.items()}
    first, *others = of_rows.values()
    shared = [task for task in first if all(task in tasks for tasks in others)]
    if not shared:
        told = "; ".join(f"{name}: {', '.join(tasks)}" for name, tasks in of_rows.items())
        raise UserError(f"the models have no task in common ({told})")
    tables = []
    for task in shared:
        runs = {name: tasks[task] for name, tasks in of_rows.items()}
        tables.append(_table(task, runs, metric))
    judged = [table.judged(margin, reference) for table in tables]
    alone = {task for tasks in of_rows.values() for task in tasks} - set(shared)
    if alone:
        judged[0].notes.append(f"Not of all models, and left out: {', '.join(sorted(alone))}.")
    if len(tables) > 1 and (whole := _together(tables)):
        judged.append(whole.judged(margin, reference))
    return judged


def _by_task(runs: Sequence[LoggedRun]) -> dict[str, list[LoggedRun]]:
    found: dict[str, list[LoggedRun]] = {}
    for run in runs:
        found.setdefault(run.task, []).append(run)
    return found


@dataclass(frozen=True)
class _Table:
    task: str
    metric: str
    scores: dict[str, np.ndarray]
    """Row -> shape (runs, examples)."""
    lower_is_better: bool
    notes: list[str]

    def judged(self, margin: float | None, reference: str | None) -> JudgedTask:
        sign = -1 if self.lower_is_better else 1
        single = [name for name, scores in self.scores.items() if len(scores) == 1]
        every = len(single) == len(self.scores)
        notes = list(self.notes)
        if every:
            notes.append(
                "One run of each model: what is said is about these answers and new examples, not "
                "about another run."
            )
        elif single:
            notes.append(f"One run only ({', '.join(single)}): taken to vary as the others do.")
        found = judge(
            {name: sign * scores for name, scores in self.scores.items()},
            margin=margin,
            reference=reference,
            controls=single if every else [],
        )
        examples = next(iter(self.scores.values())).shape[1]
        return JudgedTask(self.task, self.metric, found, examples, self.lower_is_better, notes)


def _table(task: str, rows: Mapping[str, Sequence[LoggedRun]], metric: str | None) -> _Table:
    every = [run for runs in rows.values() for run in runs]
    known = [name for name in every[0].scores if all(name in run.scores for run in every)]
    chosen = metric or (known[0] if known else None)
    if chosen not in known:
        if metric:
            raise UserError(
                f"{task}: no metric {metric!r} of all models{nearest(metric, known)} (metrics: "
                f"{', '.join(known) or 'none'})"
            )
        there = ", ".join(dict.fromkeys(name for run in every for name in run.scores))
        raise UserError(f"{task}: no metric is there of all models (of some: {there})")
    examples = _examples(task, rows)
    scores = {
        name: np.array([[run.scores[chosen][example] for example in examples] for run in runs])
        for name, runs in rows.items()
    }
    lower = any(chosen in run.lower_is_better for run in every)
    notes = _unlike(rows)
    if others := [name for name in known if name != chosen]:
        notes.append(f"Other metrics: {', '.join(others)} (--metric).")
    if not any(every[0].contents.values()):
        notes.append("Logs without hashes: that examples are the same is known by their ids alone.")
    return _Table(task, chosen, scores, lower, notes)


def _examples(task: str, rows: Mapping[str, Sequence[LoggedRun]]) -> list[str]:
    """The examples, in the first log's order.

    Raises:
        UserError: if they are not the same in all.
    """
    (first_name, first_runs), *_ = rows.items()
    first = first_runs[0]
    for name, runs in rows.items():
        for run in runs:
            missing = first.contents.keys() ^ run.contents.keys()
            if missing:
                some = ", ".join(sorted(missing)[:5])
                raise UserError(
                    f"{task}: {run.source} has {len(run.contents):,} examples, {first.source} "
                    f"{len(first.contents):,}; {len(missing):,} are in one alone ({some}). Models "
                    "are compared on the same examples (--limit?)"
                )
            other = [e for e, content in first.contents.items() if run.contents[e] != content]
            if other:
                raise UserError(
                    f"{task}: {len(other):,} of {len(first.contents):,} examples of {name} are "
                    f"others than those of {first_name} ({', '.join(other[:5])}), by question or "
                    "answer: another version of the data?"
                )
    return list(first.contents)


def _unlike(rows: Mapping[str, Sequence[LoggedRun]]) -> list[str]:
    """What should be the same for all models, and is not."""
    notes = []
    facts = dict.fromkeys(key for runs in rows.values() for run in runs for key in run.facts)
    for fact in facts:
        values = {
            name: " and ".join(dict.fromkeys(run.facts.get(fact, "unknown") for run in runs))
            for name, runs in rows.items()
        }
        if len(set(values.values())) > 1:
            told = ", ".join(f"{value} ({name})" for name, value in values.items())
            notes.append(f"NOT THE SAME: {fact}: {told}.")
    (first, *_), *_ = rows.values()
    for name, runs in rows.items():
        prompts = runs[0].prompts
        other = sum(prompts.get(e) != prompt for e, prompt in first.prompts.items() if prompts)
        if other:
            notes.append(
                f"NOT THE SAME: {other:,} of {len(first.prompts):,} prompts of {name} are others "
                f"than those of {first.model}."
            )
    return notes


def _together(tables: Sequence[_Table]) -> _Table | None:
    """All examples of tasks that have the same metric, and as many runs of each row."""
    metrics = {(table.metric, table.lower_is_better) for table in tables}
    runs = [{name: len(scores) for name, scores in table.scores.items()} for table in tables]
    if len(metrics) > 1 or any(one != runs[0] for one in runs):
        return None
    scores = {
        name: np.concatenate([table.scores[name] for table in tables], axis=1)
        for name in tables[0].scores
    }
    notes = [
        f"Every example of the {len(tables)} tasks counts alike, large tasks more than small. The "
        "tables of single tasks are each by itself: of many, some tell models apart by chance."
    ]
    return _Table(TOGETHER, tables[0].metric, scores, tables[0].lower_is_better, notes)
