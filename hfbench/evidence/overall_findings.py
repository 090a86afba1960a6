"""What several tasks show together, in sentences: each number in them is one of the records'."""

from dataclasses import dataclass

from hfbench.evidence.findings import LOST_BY_CHOICE, waiting_text
from hfbench.evidence.overall import Overall, PooledPair, TaskResults
from hfbench.evidence.pooled import FEWEST_TASKS
from hfbench.evidence.stats import ALPHA
from hfbench.evidence.words import decimal, enumerate_names, few_names, in_points, p_text, points
from hfbench.records.identity import differences

_ARGUMENT = "training_arguments."
NOT_RUN = "not run"
FAILED = "failed"


@dataclass(frozen=True)
class OverallFindings:
    """What is written of several tasks, made once for all that is written."""

    overall: Overall
    question: str
    answer: list[str]
    """Three sentences or fewer."""
    notes: list[str]
    """What the columns mean, what is missing, and what cannot be concluded."""
    questions: str
    """How to read the table of what the recipe asks, and which of it waits for results; empty where
    nothing is asked."""
    pooled: list[str]
    """What the pooled differences mean, and why there are none where that is so."""
    ranks: list[str]
    """What the classical tests say, and how to read them."""

    @classmethod
    def of(cls, overall: Overall) -> "OverallFindings":
        """Of all that it has."""
        return cls(
            overall,
            question=f"Which model is best over {len(overall.tasks)} tasks, and how sure is that?",
            answer=_answer(overall),
            notes=_notes(overall),
            questions=_about_questions(overall),
            pooled=_pooled_notes(overall),
            ranks=_rank_notes(overall),
        )


def mean_title(overall: Overall) -> str:
    """What the mean over the tasks is called."""
    titles = {task.metric.title for task in overall.tasks}
    one = next(iter(titles)) if len(titles) == 1 else ""
    return f"mean {one}" if one.endswith("%") else "mean x 100"


def _answer(overall: Overall) -> list[str]:
    sentences = [_about_these(overall) if overall.has_mean else _about_ranks(overall)]
    if overall.has_mean and overall.pairs:
        sentences.append(_about_like_these(overall))
    if lost := _about_missing(overall):
        sentences.append(lost)
    return sentences


def _about_these(overall: Overall) -> str:
    best = overall.rows[0]
    assert best.mean is not None
    over = f"over these {len(overall.tasks)} tasks"
    leads = (
        f"{best.model} has the highest {mean_title(overall).removesuffix(' %')} {over}: "
        f"{decimal(best.mean.value)} ({decimal(best.mean.low)} to {decimal(best.mean.high)})"
    )
    pairs = [pair for pair in overall.pairs if pair.first == best.model]
    if not pairs:
        return f"{leads}; no other model has a result on each."
    alike = [pair.second for pair in pairs if pair.these and not pair.these.differ]
    if alike:
        return f"{leads}; it cannot be distinguished from {few_names(alike)} there."
    nearest = pairs[0].these
    assert nearest is not None
    return (
        f"{leads}; it is distinguished from every other model, and the next, {pairs[0].second}, is "
        f"{points(nearest.mean, nearest.family_low, nearest.family_high)} below."
    )


def _about_like_these(overall: Overall) -> str:
    if len(overall.tasks) < FEWEST_TASKS:
        return (
            f"Of other tasks like these nothing is said: {len(overall.tasks)} tasks do not show "
            f"how much differences vary from task to task ({FEWEST_TASKS} or more are needed)."
        )
    best = overall.rows[0].model
    pairs = [pair for pair in overall.pairs if pair.first == best]
    better = [p.second for p in pairs if p.like_these and p.like_these.verdict == "better"]
    if len(better) == len(pairs):
        return f"On tasks like these, too, {best} is better on average than every other model."
    open_ = [pair.second for pair in pairs if pair.second not in better]
    return (
        f"That {best} is better than {few_names(open_)} on average over tasks like these is not "
        "shown."
    )


def _about_ranks(overall: Overall) -> str:
    best = overall.rows[0]
    assert best.rank is not None
    leads = (
        f"{best.model} has the best average rank over these {len(overall.tasks)} tasks: "
        f"{best.rank.value:.2f} ({best.rank.low:.2f} to {best.rank.high:.2f})"
    )
    return f"{leads}; their measures have different units, so that there is no mean."


def _about_missing(overall: Overall) -> str | None:
    lacking = [row.model for row in overall.rows if row.rank is None]
    if not lacking:
        return None
    verb = "has" if len(lacking) == 1 else "have"
    return f"{few_names(lacking)} {verb} no result on some task and no place among the others."


def _notes(overall: Overall) -> list[str]:
    tasks = overall.tasks
    metrics = {task.metric.name: task.metric for task in tasks}
    notes = [
        "Values with 95 % intervals over examples and seeds, as on the page of each task: "
        + "; ".join(_describe(task) for task in tasks)
        + "."
    ]
    if not overall.has_mean:
        notes.append(
            "There is no mean over the tasks, and no pooled difference: "
            f"{enumerate_names([metric.title for metric in metrics.values()])} are not of one "
            "scale on which 1 is the best. Ranks have no unit."
        )
    elif len(metrics) > 1:
        notes.append(
            f"The mean is of different measures ({', '.join(metrics)}), each times 100, as in "
            "GLUE: a point of one counts as much as a point of another."
        )
    if overall.has_mean:
        notes.append(
            "Mean: over these tasks, each with the same weight; its interval counts the examples "
            "and seeds of every task, and the tasks as given. Models that share a letter (group) "
            "cannot be distinguished by it, with 5 % error for all pairs together (Holm)."
        )
    notes.append(
        "Rank: 1 is the best on a task, equal models share theirs; the interval shows how the "
        "average would vary with other examples and seeds (parametric bootstrap), and between "
        "models that are nearly equal it is too short. Best in: tasks on which no model has a "
        "better value, and in brackets those on which it may be the best (95 % confidence set)."
    )
    return [
        *notes, *_same_pretrainings(overall), *_missing(overall), *_lost(overall),
        *_differing(overall),
    ]  # fmt: skip


def _describe(task: TaskResults) -> str:
    data = task.comparison.task
    assert data is not None  # it has a result
    examples = data.splits[data.evaluation_split].examples
    told = f"{task.name}: {task.metric.title}, {examples:,} {data.evaluation_split} examples"
    if len(task.comparison.curve) > 1:
        told += (
            f", the most training examples of its learning curve ({max(task.comparison.curve):,})"
        )
    return told


def _same_pretrainings(overall: Overall) -> list[str]:
    """That tasks are not independent where rows start from the same draws of pretrainings."""
    names = []
    for model in overall.complete:
        seeds = [{*(task.models[model].pretrainings or [])} for task in overall.tasks]
        if len(set.union(*seeds)) > 1 and sum(map(len, seeds)) > len(set.union(*seeds)):
            names.append(model)
    if not names:
        return []
    return [
        f"The same pretrainings on several tasks count as others on each ({few_names(names)}): if "
        "one that is good for a task is good for another, intervals over the tasks are too narrow."
    ]


def _missing(overall: Overall) -> list[str]:
    """Which cells of the matrix are empty, and why; once for all models of which it is the same."""
    models: dict[str, list[str]] = {}
    for row in overall.rows:
        absent = [task.name for task in overall.tasks if row.model not in task.models]
        failed = [task.name for task in overall.tasks if has_failed(task, row.model)]
        parts = [f"every run failed on {enumerate_names(failed)}"] if failed else []
        parts += [f"not run on {enumerate_names(absent)}"] if absent else []
        if parts:
            models.setdefault("; ".join(parts), []).append(row.model)
    return [f"{enumerate_names(names)}: {what}." for what, names in models.items()]


def has_failed(task: TaskResults, model: str) -> bool:
    """Whether it was run on the task and has no result."""
    return model in task.models and not task.models[model].finished


def _lost(overall: Overall) -> list[str]:
    """Runs that no value speaks of, where others of the model are left."""
    lost = [
        f"{row.model} on {task.name} {task.models[row.model].runs}"
        for row in overall.rows
        for task in overall.tasks
        if row.model in task.models and " of " in task.models[row.model].runs
    ]
    if not lost:
        return []
    return [
        f"Runs that neither failed nor collapsed: {', '.join(lost)}. A value is of these, or of "
        "those that collapsed where there is no other."
    ]


def _differing(overall: Overall) -> list[str]:
    """In what the models of one name differ from task to task, once for all that do alike."""
    models: dict[tuple[str, ...], list[str]] = {}
    tuned = []
    for model in overall.complete:
        first, *others = (
            task.models[model].finished[0].settings["models"][0] for task in overall.tasks
        )
        lines = [line for other in others for line in differences(first, other)]
        keys = {line.partition(": ")[0] for line in lines}
        chosen = {key.removeprefix("tuned.") for key in keys if key.startswith("tuned.")}
        if chosen:
            tuned.append(model)
        keys = {k for k in keys if k.removeprefix("tuned.").removeprefix(_ARGUMENT) not in chosen}
        if keys:
            models.setdefault(tuple(sorted(keys)), []).append(model)
    lines = [f"Settings were tuned on each task by itself: {few_names(tuned)}."] if tuned else []
    return lines + [
        f"Not the same on every task: {enumerate_names(keys)} of {few_names(names)}."
        for keys, names in models.items()
    ]


def _about_questions(overall: Overall) -> str:
    lines = []
    if overall.questions:
        lines.append(
            "What the recipe asks; intervals and p are for these questions together (Holm), and "
            "not for all pairs."
        )
        these = overall.questions[0].these
        if these and these.margin is not None:
            lines.append(
                f"A difference of {in_points(these.margin)} matters: by the margin is more than "
                "that, equivalent less on both sides; not worse excludes a loss of as much, and "
                "not better a gain."
            )
        if lost := [pair for pair in overall.questions if overall.loses_by_choice(pair)]:
            names = [f"{pair.first} minus {pair.second}" for pair in lost]
            lines.append(f"{LOST_BY_CHOICE}: {enumerate_names(names)}.")
    if overall.waiting:
        lines.append(waiting_text(overall.waiting, overall.complete))
    return " ".join(lines)


def _pooled_notes(overall: Overall) -> list[str]:
    if not overall.has_mean:
        return []
    notes = [
        "Over these tasks: the mean of the differences on each. Its interval and p count the "
        "examples and seeds; of other tasks they say nothing.",
    ]
    if any(pair.these and pair.these.withheld for pair in overall.pairs):
        notes.append(
            "Not known: on some task the models have one run each, and nothing shows how much "
            "seeds matter there."
        )
    if len(overall.tasks) < FEWEST_TASKS:
        notes.append(
            f"Over tasks like these: not known. With {len(overall.tasks)} tasks the spread of the "
            "differences between tasks, which decides it, is hardly known; "
            f"{FEWEST_TASKS} tasks or more are needed."
        )
    else:
        notes.append(
            "Over tasks like these: the tasks count as drawn from many, whose differences vary "
            "around a mean (random effects; Paule and Mandel's tau is their standard deviation, "
            "the interval Hartung and Knapp's). It holds as far as the tasks were not chosen for "
            "their results, and differ from each other as do the ones that it is to hold for."
        )
    notes.append(
        "Intervals and p are those of all pairs together (Holm), for each of the two questions; "
        "they leave out 0 just where the two models are distinguished. Better on: tasks with the "
        "higher value, and in brackets those on which the two are distinguished."
    )
    return notes


def _rank_notes(overall: Overall) -> list[str]:
    tests = overall.tests
    if tests is None:
        return ["Friedman's test needs three models or more with a result on each task."]
    tasks, models = len(overall.tasks), len(overall.complete)
    verdict = "differ" if tests.p_value < ALPHA else "are not shown to differ"
    found = (
        f"By ranks alone, with tasks drawn from tasks like these, the {models} models {verdict}: "
        f"Friedman's chi-square {tests.chi_square:.2f} ({p_text(tests.p_chi_square)}), Iman and "
        f"Davenport's F {_f_text(tests.f_value)} ({p_text(tests.p_value)})."
    )
    nemenyi = (
        f"Nemenyi's critical difference: average ranks that are {tests.critical_difference:.2f} "
        "or more apart differ (5 % error for all pairs)"
    )
    if tests.critical_difference > models - 1:
        nemenyi += f"; with {tasks} tasks no two of {models} models can be so far apart"
    few = "These tests see one value a task and not how sure it is"
    if tasks < FEWEST_TASKS:
        few += f", and with {tasks} tasks their p-values are rough"
    return [found, f"{nemenyi}.", f"{few} (Demsar 2006)."]


def _f_text(value: float) -> str:
    return "beyond measure" if value == float("inf") else f"{value:.2f}"


def told_apart(pair: PooledPair) -> str:
    """On how many tasks each is better, and distinguished: ``2:1 (1:0)``."""
    up, down = pair.told_apart.count(1), pair.told_apart.count(-1)
    return f"{pair.wins}:{pair.losses} ({up}:{down})"
