"""Which examples one model answers rightly and another does not."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import compress
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hfbench.errors import UserError
from hfbench.evidence.fairness import evaluation_hash
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.stats import McNemar, mcnemar
from hfbench.evidence.words import p_text

NO_LABEL = "no label"


@dataclass(frozen=True)
class Flips:
    """What ``second`` fixes and breaks relative to ``first``, over runs with the same seed."""

    first: ModelRuns
    second: ModelRuns
    seeds: list[int | None]
    """The seeds that both have; a control's one run stands beside each seed of the other."""
    fixed: np.ndarray
    """Runs in which only ``second`` is right, by example, shape (examples,)."""
    broken: np.ndarray
    """Runs in which only ``first`` is right, by example, shape (examples,)."""
    by_seed: list[McNemar]
    """McNemar's cells and exact test, for each of the seeds."""

    @property
    def examples(self) -> np.ndarray:
        """Numbers of the examples that flip in any run, those that flip most often first."""
        flipped = np.flatnonzero(self.fixed + self.broken)
        return flipped[np.argsort(-np.abs(self.fixed - self.broken)[flipped], kind="stable")]

    def is_stable(self, example: int) -> bool:
        """Whether the example flips the same way with every seed."""
        return len(self.seeds) in (self.fixed[example], self.broken[example])


@dataclass(frozen=True)
class FlipCounts:
    """Flips of a group of examples, over all runs: their cells of McNemar's tables."""

    group: str
    examples: int
    fixed: int
    broken: int
    stable_fixed: int
    """Examples that are fixed with every seed."""
    stable_broken: int


def count_by_label(flips: Flips) -> list[FlipCounts]:
    """Flips by the right label; multi-label: of the examples that have it, and that have none."""
    labels = flips.first.labels
    masks = {
        name: labels == number if labels.ndim == 1 else labels[:, number] == 1
        for number, name in enumerate(_label_names(flips))
    }
    if labels.ndim == 2:
        masks[NO_LABEL] = ~labels.any(1)
    return _count(flips, masks)


def right_label(flips: Flips, example: int) -> str:
    """What is right, in words."""
    label, names = flips.first.labels[example], _label_names(flips)
    if label.ndim == 0:
        return names[label]
    return " + ".join(compress(names, label)) or NO_LABEL


def count_by_length(flips: Flips, texts: Mapping[str, str]) -> list[FlipCounts]:
    """Flips by thirds of the texts' lengths in words; ``texts``: id -> text."""
    words = np.array([len(texts[str(example)].split()) for example in flips.first.ids])
    first, second = np.quantile(words, [1 / 3, 2 / 3], method="inverted_cdf")
    third = (words > first).astype(int) + (words > second)
    names = [f"up to {first} words", f"{first + 1} to {second} words", f"over {second} words"]
    return _count(flips, {name: third == number for number, name in enumerate(names)})


def _count(flips: Flips, masks: Mapping[str, np.ndarray]) -> list[FlipCounts]:
    """By group; ``masks`` say which examples belong to each."""
    runs = len(flips.seeds)
    return [
        FlipCounts(
            group=name,
            examples=int(of.sum()),
            fixed=int(flips.fixed[of].sum()),
            broken=int(flips.broken[of].sum()),
            stable_fixed=int((flips.fixed[of] == runs).sum()),
            stable_broken=int((flips.broken[of] == runs).sum()),
        )
        for name, of in masks.items()
        if of.any()
    ]


def _label_names(flips: Flips) -> list[str]:
    return flips.first.finished[0].task.labels


def find_flips(first: ModelRuns, second: ModelRuns) -> Flips:
    """Compare two models example by example.

    Raises:
        UserError: if they were evaluated on different examples or have no seed in common.
    """
    if evaluation_hash(first.finished[0]) != evaluation_hash(second.finished[0]):
        raise UserError(f"{first.name} and {second.name} were evaluated on different examples")
    seeds = common_seeds(first, second)
    if not seeds:
        raise UserError(f"{first.name} and {second.name} have no finished seed in common")
    pairs = [(_run(first, seed), _run(second, seed)) for seed in seeds]
    return Flips(
        first=first,
        second=second,
        seeds=seeds,
        fixed=np.sum([other & ~one for one, other in pairs], axis=0),
        broken=np.sum([one & ~other for one, other in pairs], axis=0),
        by_seed=[mcnemar(other, one) for one, other in pairs],
    )


def print_flips(flips: Flips, console: Console, texts: Mapping[str, str] | None = None) -> None:
    """The counts by seed and by group, then every example that flips."""
    say = partial(console.print, markup=False, highlight=False)
    say(f"{flips.second.name} relative to {flips.first.name}:")
    for seed, test in zip(flips.seeds, flips.by_seed, strict=True):
        cells = f"{test.only_first} fixed, {test.only_second} broken"
        say(f"  seed {'-' if seed is None else seed}: {cells}; McNemar's {p_text(test.p_value)}")
    counts = _table(
        "", "examples", "fixed", "broken", "fixed by\nevery seed", "broken by\nevery seed"
    )
    for count in count_by_label(flips) + (count_by_length(flips, texts) if texts else []):
        counts.add_row(*map(str, vars(count).values()))
    say(counts)
    lines = _table("example", "label", "fixed", "broken", *(["text"] if texts else []))
    for number in flips.examples:
        example = str(flips.first.ids[number])
        line = [example, right_label(flips, number)]
        line += [str(flips.fixed[number]), str(flips.broken[number])]
        lines.add_row(*map(Text, [*line, *([texts[example]] if texts else [])]))
    say(lines)


def _table(*headers: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for header in headers:
        is_number = header not in ("", "example", "label", "text")
        table.add_column(header, justify="right" if is_number else "left")
    return table


def find_model(models: list[ModelRuns], name: str, results: Path) -> ModelRuns:
    """The model of this name, with a result.

    Raises:
        UserError: if there is none.
    """
    for model in models:
        if model.name == name and model.finished:
            return model
    known = ", ".join(model.name for model in models if model.finished)
    raise UserError(f"{results}: no finished run of a model {name!r} (finished: {known})")


def common_seeds(first: ModelRuns, second: ModelRuns) -> list[int | None]:
    """The seeds with which both finished; a control stands beside each seed of the other."""
    if first.seeds == [None]:
        return second.seeds
    if second.seeds == [None]:
        return first.seeds
    return [seed for seed in first.seeds if seed in second.seeds]


def _run(model: ModelRuns, seed: int | None) -> np.ndarray:
    return model.correct[0 if model.seeds == [None] else model.seeds.index(seed)]
