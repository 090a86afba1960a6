"""What was asked, and the answer: three sentences or fewer, whatever the number of models."""

from collections.abc import Sequence

from hfbench.evidence.compared import ComparedModels, Pair
from hfbench.evidence.difference import Difference
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.slices import Turn
from hfbench.evidence.use import cheaper
from hfbench.evidence.words import (
    enumerate_names,
    few_names,
    gap_and_interval,
    gap_text,
    value_text,
)
from hfbench.metrics.registry import Metric

UNKNOWN = "with one run of each model nothing shows how much seeds matter"
"""Why nothing is claimed."""
TOLD = 3
"""Questions, and models with lost runs, that are told in words one by one."""


def question(comparison: ComparedModels) -> str:
    """The first that is asked, or which model is best."""
    number = len(comparison.models)
    source = comparison.task.source if comparison.task else "the data"
    if len(comparison.questions) == 1:
        (pair,) = comparison.questions
        return f"Is {pair.first.name} better than {pair.second.name} on {source}?"
    if comparison.task and comparison.task.problem_type == "regression":
        return f"Which of these {number} models predicts {source} best, and how sure is that?"
    return f"Which of these {number} models classifies {source} best, and how sure is that?"


def answer(comparison: ComparedModels, turns: Sequence[Turn] = ()) -> list[str]:
    """To the recipe's questions, to which model is best, and what must be known beside it.

    Args:
        comparison: of which it is.
        turns: where the order is another.
    """
    if not comparison.finished:
        return ["No run of any model finished."]
    waiting = len(comparison.waiting)
    is_asked = comparison.questions or waiting
    asked = [_about_questions(comparison.questions, waiting)] if is_asked else []
    of_best = _about_the_best(comparison)
    if turns:
        most = min(turns, key=lambda turn: turn.adjusted_p)
        of_best = f"{of_best.removesuffix('.')}; {turn_text(comparison.metric, most)}."
    if found := cheaper(comparison):
        of_best = f"{of_best.removesuffix('.')}; {found}."
    of_floor = _about_the_floor(comparison)
    # where no model beats the floor, which of them is best is of little interest
    both = [of_best, of_floor] if _some_is_better(comparison) else [of_floor, of_best]
    sentences = [*asked, *both]
    if lost := _about_lost_runs(comparison.models):
        if len(sentences) == 3:
            sentences[-1] = f"{sentences[-1].removesuffix('.')}; {lost}"
        else:
            sentences.append(lost)
    return sentences


def verdict(pair: Pair) -> str:
    """What is shown of two models, and where nothing is, what is excluded."""
    return verdict_of(pair.first.metric, pair.difference)


def verdict_of(metric: Metric, found: Difference) -> str:
    """As `verdict`."""
    names = (found.first, found.second)
    shown = gap_and_interval(metric, found.mean, found.family_low, found.family_high)
    if found.verdict == "equivalent":
        assert found.margin is not None  # by which it is
        margin = gap_text(metric, found.margin)
        return f"{names[0]} and {names[1]} differ by less than {margin}: {shown}"
    if found.verdict == "better":
        return f"{names[0]} is better than {names[1]} by {shown}"
    if found.verdict == "worse":
        less = gap_and_interval(metric, -found.mean, -found.family_high, -found.family_low)
        return f"{names[0]} is worse than {names[1]} by {less}"
    if found.withheld:
        return f"{names[0]} cannot be distinguished from {names[1]}: {UNKNOWN}"
    excluded = (
        f"that it is worse by more than {gap_text(metric, -found.family_low)}, or better by more "
        f"than {gap_text(metric, found.family_high)}, is excluded"
    )
    by_margin = ""
    if found.margin is not None and (found.not_worse or found.not_better):
        by_margin = f" ({found.words} by {gap_text(metric, found.margin)} or more)"
    return f"{names[0]} cannot be distinguished from {names[1]}{by_margin}: {excluded}"


def turn_text(metric: Metric, turn: Turn) -> str:
    """Where another model is better than the one that is best overall."""
    found, part = turn.difference, turn.part
    shown = gap_and_interval(metric, found.mean, found.low, found.high)
    return f"on {part.slice} {part.value}, {turn.better} is better than {found.second} by {shown}"


def _about_questions(questions: Sequence[Pair], waiting: int) -> str:
    """What is shown of them, and how many have no answer for want of results."""
    if len(questions) <= TOLD:
        many = "1 question waits" if waiting == 1 else f"{waiting} questions wait"
        told = [*map(verdict, questions), *([f"{many} for results"] if waiting else [])]
        return f"{'; '.join(told)}."
    kinds = {
        "better": "the first is better",
        "worse": "the second is better",
        "equivalent": "they differ by less than the margin",
        "undecided": "they cannot be distinguished",
    }
    counts = [
        f"in {number} {text}"
        for kind, text in kinds.items()
        if (number := sum(pair.difference.verdict == kind for pair in questions))
    ]
    if waiting:
        counts.append(f"{waiting} wait{'s' if waiting == 1 else ''} for results")
    return f"Of the {len(questions) + waiting} questions, {enumerate_names(counts)}."


def _about_the_best(comparison: ComparedModels) -> str:
    best = comparison.finished[0]
    metric = comparison.metric
    value = value_text(metric, best.value) + (f"; {best.lost}" if best.lost else "")
    if metric.name == "accuracy":
        leads = f"{best.name} is the most accurate ({value})"
    else:
        most = "highest" if metric.higher_is_better else "lowest"
        leads = f"{best.name} has the {most} {metric.label} ({value})"
    pairs = [pair for pair in comparison.pairs if pair.first is best]
    if not pairs:
        return f"{leads}; there is no other model to compare it with."
    if not comparison.best_set:
        return f"{leads}; models that answered other examples are not compared with it."
    if pairs[0].difference.withheld:
        return f"{leads}; {UNKNOWN}, so that no model is claimed to be better."
    others = [name for name in comparison.best_set if name != best.name]
    if others:
        beaten = len(comparison.finished) - len(comparison.best_set)
        rest = f"; the other {beaten} are not" if beaten else ""
        rest = "; the other is not" if beaten == 1 else rest
        return f"{leads}, but {few_names(others)} may be the best as well (95 % confidence){rest}."
    nearest = pairs[0]
    found = nearest.difference
    return (
        f"{leads} and, with 95 % confidence, the best; {nearest.second.name}, the next, is "
        f"{gap_and_interval(metric, found.mean, found.low, found.high)} "
        f"{'below' if metric.higher_is_better else 'above'}."
    )


def _some_is_better(comparison: ComparedModels) -> bool:
    """Than always giving the commonest answer; also where that has no number."""
    floors = [comparison.floors[model.name] for model in comparison.finished]
    return any(floor.above_majority or floor.value is None for floor in floors)


def _about_the_floor(comparison: ComparedModels) -> str:
    """Each model is in just one of three parts: better, not shown to be, or that very answer."""
    floors = {model.name: comparison.floors[model.name] for model in comparison.finished}
    first = next(iter(floors.values()))
    floor = f'always answering "{first.label}"'
    same = [name for name, found in floors.items() if found.is_same]
    if len(same) == len(floors):
        return f"Every model does the same as {floor}."
    if first.value is None:
        return f"{comparison.metric.label} has no number of {floor}: nothing says what is little."
    no_better = [n for n, f in floors.items() if not (f.is_same or f.above_majority)]
    better = len(floors) - len(same) - len(no_better)
    if not better:
        return f"No model is shown to beat {floor}."
    if no_better:
        verb = "is" if len(no_better) == 1 else "are"
        text = f"{few_names(no_better)} {verb} not shown to be better than {floor}"
    elif better == 1:
        (only,) = (name for name in floors if name not in same)
        text = f"{only} is better than {floor}"
    else:
        finished = "" if len(floors) == len(comparison.models) else " that finished"
        text = f"Every {'other ' if same else ''}model{finished} is better than {floor}"
    # a control is that answer by design
    fallen = [m.name for m in comparison.finished if m.name in same and not m.is_control]
    if fallen:
        verb = "does" if len(fallen) == 1 else "do"
        text += f"; {few_names(fallen)} {verb} just that"
    return f"{text}."


def _about_lost_runs(models: Sequence[ModelRuns]) -> str | None:
    """Runs that did not train or failed, which no accuracy speaks of."""
    collapsed = [model for model in models if model.collapsed.any()]
    parts = []
    if collapsed:
        parts.append(
            _of_models(collapsed, [int(m.collapsed.sum()) for m in collapsed], "did not train")
        )
    failed = [model for model in models if model.failed]
    if failed:
        parts.append(_of_models(failed, [len(model.failed) for model in failed], "failed"))
    return f"{'; '.join(parts)}." if parts else None


def _of_models(models: Sequence[ModelRuns], counts: Sequence[int], what: str) -> str:
    runs = [len(model.finished) + len(model.failed) for model in models]
    if len(models) > TOLD:
        return f"{sum(counts)} runs of {len(models)} models {what} (footnotes)"
    told = [
        f"{count} of {total} runs of {model.name}"
        for model, count, total in zip(models, counts, runs, strict=True)
    ]
    return f"{enumerate_names(told)} {what}"
