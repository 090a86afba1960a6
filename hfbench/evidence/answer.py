"""What was asked, and the answer."""

from hfbench.evidence.compared import ComparedModels, Pair
from hfbench.evidence.words import enumerate_names, percent, points

_NAMED = 6
"""Models that the best one beats and a sentence may name; the table has them all."""


def question(comparison: ComparedModels) -> str:
    number = len(comparison.models)
    source = comparison.task.source if comparison.task else "the data"
    return f"Which of these {number} models classifies {source} best, and how sure is that?"


def answer(comparison: ComparedModels) -> list[str]:
    finished = comparison.finished
    if not finished:
        return ["No run of any model finished."]
    return [_about_the_best(comparison), _about_the_floor(comparison)]


def _about_the_best(comparison: ComparedModels) -> str:
    best = comparison.finished[0]
    leads = f"{best.name} is the most accurate ({percent(best.accuracy)})"
    pairs = [pair for pair in comparison.pairs if pair.first is best]
    alike = [pair.second.name for pair in pairs if not pair.differ]
    beaten = [pair for pair in pairs if pair.differ]
    if not pairs:
        return f"{leads}; there is no other model to compare it with."
    if not beaten:
        return f"{leads}, but it cannot be told from any other: {enumerate_names(alike)}."
    if alike:
        leads += f", but it cannot be told from {enumerate_names(alike)}"
    nearest = min(beaten, key=lambda pair: pair.difference.mean)
    return f"{leads}; it beats {_beaten(nearest, beaten)}."


def _beaten(nearest: Pair, beaten: list[Pair]) -> str:
    difference = nearest.difference
    by = f"{nearest.second.name} by {points(difference.mean, difference.low, difference.high)}"
    others = [pair.second.name for pair in beaten if pair is not nearest]
    if not others:
        return by
    listed = enumerate_names(others) if len(others) <= _NAMED else f"{len(others)} others"
    return f"{by} and, by more, {listed}"


def _about_the_floor(comparison: ComparedModels) -> str:
    floors = {
        model.name: comparison.floors[model.name]
        for model in comparison.finished
        if comparison.floors[model.name].majority is not None
    }
    if not floors:
        return "Every model gives one answer only."
    label = next(iter(floors.values())).label
    floor = f'always answering "{label}"'
    no_better = [name for name, found in floors.items() if not found.above_majority]
    if not no_better:
        others = "other " if len(floors) < len(comparison.finished) else ""
        return f"Every {others}model is better than {floor}."
    if len(no_better) == len(floors) > 1:
        return f"No model is shown to be better than {floor}."
    verb = "is" if len(no_better) == 1 else "are"
    return f"{enumerate_names(no_better)} {verb} not shown to be better than {floor}."
