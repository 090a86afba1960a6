"""What is simulated: tables of right and wrong answers of which the truth is known."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm

from hfbench.evidence.comparison import load_comparison

STUDY = Path(__file__).parents[2] / "results" / "study" / "study" / "sst2"


@dataclass(frozen=True)
class Draw:
    """One table."""

    right: list[np.ndarray]
    """Of each row, shape (runs, examples)."""
    truth: Sequence[float]
    """The accuracy of each row over all examples of the kind and all seeds that train."""
    controls: Sequence[bool]
    collapsed: Sequence[Sequence[bool]]
    """Of each run, whether it collapsed."""
    pretrainings: Sequence[Sequence[int] | None] = ()
    """Of each run of each row, from which of its pretrained weights it started; None: from none."""
    clusters: np.ndarray | None = None
    """What each example belongs to, shape (examples,); None: they are independent."""


@dataclass(frozen=True)
class Setting:
    """Tables of one kind."""

    name: str
    runs: Sequence[int]
    """Of each row."""
    examples: int
    facts: dict[str, Any]
    """What else was set, in words or points of a percentage."""
    draw: Callable[[np.random.Generator], Draw]

    def describe(self) -> dict[str, Any]:
        """For the record."""
        numbers = sorted(set(self.runs))
        runs = str(numbers[0]) if len(numbers) == 1 else ", ".join(map(str, self.runs))
        return {"name": self.name, "runs": runs, "examples": self.examples, **self.facts}


@dataclass(frozen=True)
class Grid:
    """Settings that vary in what the title says."""

    title: str
    text: str
    settings: list[Setting]


@dataclass(frozen=True)
class Row:
    """A model as it is simulated."""

    runs: int
    accuracy: float
    seed_sd: float
    """Standard deviation of the accuracy over seeds, a fraction."""
    collapse: float = 0.0
    """Probability that a run answers one class only."""
    pretrainings: int = 0
    """From which its runs start in turn; 0: from none."""
    pretraining_sd: float = 0.0
    """Standard deviation of the accuracy over pretrainings, a fraction."""
    this_one: bool = False
    """Whether the truth is that of the pretrained weights of the table, and not of all."""


def latent(
    rows: Sequence[Row], examples: int, *, shared: float = 0.5, common: float = 0.5,
    heavy: bool = False, groups: int | None = None, of_groups: float = 0.0,
) -> Callable[[np.random.Generator], Draw]:  # fmt: skip
    """Answers are right where a latent normal variable is above 0.

    It is made of the example (``shared`` of its variance beside the seed; of that, ``common`` for
    all rows alike), the seed, and the rest. ``heavy``: a fifth of the examples have twelve times
    the variance of the others, so that all runs are right about some and wrong about others.
    ``groups``: examples belong to so many, of which the largest are four times the smallest, and
    ``of_groups`` of an example's part of the variance is that of its group.
    """
    sizes = np.linspace(1, 4, groups) / np.linspace(1, 4, groups).sum() if groups else None

    def of_examples(rng: np.random.Generator, belongs: np.ndarray | None) -> np.ndarray:
        each = rng.standard_normal(examples)
        if belongs is None or groups is None:
            return each
        return (
            np.sqrt(1 - of_groups) * each
            + np.sqrt(of_groups) * rng.standard_normal(groups)[belongs]
        )

    slope = [norm.pdf(norm.ppf(row.accuracy)) for row in rows]  # points by latent units
    shift = [row.seed_sd / by for row, by in zip(rows, slope, strict=True)]
    between = [row.pretraining_sd / by for row, by in zip(rows, slope, strict=True)]

    def draw(rng: np.random.Generator) -> Draw:
        scale = np.where(rng.random(examples) < 0.2, np.sqrt(12), 1.0) if heavy else np.ones(1)
        belongs = rng.choice(groups, examples, p=sizes) if groups else None
        everyone = of_examples(rng, belongs)
        right, collapsed, started = [], [], []
        truth = [row.accuracy for row in rows]
        for number, (row, seed_sd, base_sd) in enumerate(zip(rows, shift, between, strict=True)):
            own = of_examples(rng, belongs)
            value = np.sqrt(common) * everyone + np.sqrt(1 - common) * own
            value = np.sqrt(shared) * scale * value + np.sqrt(1 - shared) * rng.standard_normal(
                (row.runs, examples)
            )
            value = value + seed_sd * rng.standard_normal((row.runs, 1))
            threshold = _threshold(row.accuracy, float(np.hypot(seed_sd, base_sd)), shared, heavy)
            bases = None
            if row.pretrainings:
                bases = np.arange(row.runs) % row.pretrainings
                of_bases = base_sd * rng.standard_normal(row.pretrainings)
                value = value + of_bases[bases, None]
                if row.this_one:
                    shares = norm.sf((threshold - of_bases) / np.sqrt(1 + seed_sd**2))
                    truth[number] = float(shares.mean())
            started.append(None if bases is None else bases.tolist())
            table = value > threshold
            fails = rng.random(row.runs) < row.collapse
            while fails.all():  # of a row without any other run there is nothing to know
                fails = rng.random(row.runs) < row.collapse
            table[fails] = np.arange(examples) % 2 == 0
            right.append(table)
            collapsed.append(fails.tolist())
        return Draw(right, truth, [False] * len(rows), collapsed, started, belongs)

    return draw


@cache
def _threshold(accuracy: float, seed_sd: float, shared: float, heavy: bool) -> float:
    """Above which just ``accuracy`` of the latent variable's distribution is."""
    parts = [(0.8, 1.0), (0.2, 12.0)] if heavy else [(1.0, 1.0)]
    sds = [(share, np.sqrt(shared * scale + 1 - shared + seed_sd**2)) for share, scale in parts]
    low, high = -20.0, 20.0
    for _ in range(80):
        middle = (low + high) / 2
        above = sum(share * norm.sf(middle / sd) for share, sd in sds)
        low, high = (middle, high) if above > accuracy else (low, middle)
    return low


def redrawn(runs: int, examples: int) -> Callable[[np.random.Generator], Draw]:
    """The study's own answers: ten runs of each model and 872 examples, drawn with replacement.

    The ten runs and the examples are then all that there is, and the truth is their mean.
    """

    def draw(rng: np.random.Generator) -> Draw:
        models = _study()
        which = rng.integers(models[0].shape[1], size=examples)
        right = [
            table[:, which]
            if len(table) == 1
            else table[rng.integers(len(table), size=runs)][:, which]
            for table in models
        ]
        return Draw(
            right,
            [float(table.mean()) for table in models],
            [len(table) == 1 for table in models],
            [[False] * len(table) for table in right],
        )

    return draw


@cache
def _study() -> list[np.ndarray]:
    return [model.correct for model in load_comparison(STUDY).finished]


def _latent(name: str, rows: Sequence[Row], examples: int, **more: Any) -> Setting:
    facts = {
        "accuracies": [100 * row.accuracy for row in rows],
        "seed_sd": [round(100 * row.seed_sd, 3) for row in rows],
        "collapse": [row.collapse for row in rows],
        **more,
    }
    runs = [row.runs for row in rows]
    return Setting(name, runs, examples, facts, latent(rows, examples, **more))


def _equal(runs: int, examples: int, sd: float, **more: Any) -> Setting:
    rows = [Row(runs, 0.65, sd / 100)] * 6
    return _latent(f"{runs} runs, {examples} examples, sd {sd}", rows, examples, **more)


def _different(runs: int, examples: int, sds: Sequence[float], name: str) -> Setting:
    rows = [Row(runs, 0.65, sd / 100) for sd in sds]
    return _latent(f"{name}, {runs} runs, {examples} examples", rows, examples)


def _pretrained(pretrainings: int, sd: float, *, this_one: bool = False) -> Setting:
    runs = 5 if pretrainings == 5 else 6
    base = Row(
        runs, 0.65, 0.01, pretrainings=pretrainings, pretraining_sd=sd / 100, this_one=this_one
    )
    rows = [base, base, Row(runs, 0.65, 0.01), Row(runs, 0.65, 0.01)]
    what = ", about these weights" if this_one else ""
    facts = {"pretrainings": pretrainings, "pretraining_sd": sd, "this_one": this_one}
    name = f"{pretrainings} pretrainings, sd {sd}{what}"
    return Setting(name, [runs] * 4, 872, facts, latent(rows, 872))


_HETEROGENEOUS = (0.5, 1, 2, 3, 4, 6)
_ONE_WILD = (1, 1, 1, 1, 1, 8)
_ACCURACIES = (0.9, 0.8, 0.75, 0.74, 0.65, 0.55)

GRIDS = {
    "equal": Grid(
        "six equal rows",
        "65 % each, 60, 240, 872 and 2,000 examples, seeds that vary by 1, 3 and 8 points.",
        [
            _equal(runs, examples, sd)
            for runs, examples, sd in itertools.product(
                (1, 2, 3, 5, 10), (60, 240, 872, 2000), (1, 3, 8)
            )
        ],
    ),
    "no_seeds": Grid(
        "six equal rows, seeds do not matter",
        "as above with 60 and 2,000 examples, but every seed has the same accuracy: then "
        "intervals are too wide, since nothing but many runs can show it.",
        [_equal(runs, examples, 0) for runs, examples in itertools.product((2, 3, 10), (60, 2000))],
    ),
    "accuracies": Grid(
        "six rows of other accuracies",
        "90, 80, 75, 74, 65 and 55 %, 60 and 872 examples, seeds that vary by 3 points.",
        [
            _latent(
                f"{runs} runs, {examples} examples",
                [Row(runs, accuracy, 0.03) for accuracy in _ACCURACIES],
                examples,
            )
            for runs, examples in itertools.product((2, 3, 10), (60, 872))
        ],
    ),
    "unequal_runs": Grid(
        "six equal rows with 1, 1, 2, 3, 5 and 10 runs",
        "65 % each, 60, 872 and 2,000 examples, seeds that vary by 1, 3 and 8 points.",
        [
            _latent(
                f"{examples} examples, sd {sd}",
                [Row(runs, 0.65, sd / 100) for runs in (1, 1, 2, 3, 5, 10)],
                examples,
            )
            for examples, sd in itertools.product((60, 872, 2000), (1, 3, 8))
        ],
    ),
    "two_rows": Grid(
        "two equal rows",
        "65 % each, 240 and 2,000 examples, seeds that vary by 3 and 8 points: the "
        "smallest table, which learns the least.",
        [
            _latent(
                f"{runs} runs, {examples} examples, sd {sd}",
                [Row(runs, 0.65, sd / 100)] * 2,
                examples,
            )
            for runs, examples, sd in itertools.product((2, 3, 10), (240, 2000), (3, 8))
        ],
    ),
    "heterogeneous": Grid(
        "six equal rows whose seeds vary by 0.5, 1, 2, 3, 4 and 6 points",
        "65 % each, 240, 872 and 2,000 examples.",
        [
            _different(runs, examples, _HETEROGENEOUS, "0.5 to 6")
            for runs, examples in itertools.product((2, 3, 5, 10), (240, 872, 2000))
        ],
    ),
    "one_wild": Grid(
        "six equal rows, of one the seeds vary by 8 points, of the others by 1",
        "65 % each, 240, 872 and 2,000 examples. The hardest case: where its few runs happen to be "
        "near each other, nothing shows that the row is unlike the others.",
        [
            _different(runs, examples, _ONE_WILD, "one wild")
            for runs, examples in itertools.product((2, 3, 5, 10), (240, 872, 2000))
        ],
    ),
    "collapse": Grid(
        "six equal rows, a fifth of all runs collapses",
        "65 % each but for runs that answer one class, which are distinguished from the others; "
        "240 and 872 examples, seeds that vary by 3 points.",
        [
            _latent(
                f"{runs} runs, {examples} examples",
                [Row(runs, 0.65, 0.03, collapse=0.2)] * 6,
                examples,
            )
            for runs, examples in itertools.product((3, 5, 10), (240, 872))
        ],
    ),
    "heavy": Grid(
        "six equal rows, a fifth of the examples is very easy or very hard",
        "65 % each, 240 and 872 examples, seeds that vary by 3 points.",
        [
            _equal(runs, examples, 3, heavy=True)
            for runs, examples in itertools.product((2, 3, 10), (240, 872))
        ],
    ),
    "groups": Grid(
        "six equal rows, examples of 20, 60 and 200 groups",
        "65 % each, 872 examples, seeds that vary by 1 point; 0.1 or 0.5 of what makes an example "
        "hard or easy is that of its group (the analysis of variance takes them for independent).",
        [
            _latent(
                f"{groups} groups, {share} of an example's",
                [Row(3, 0.65, 0.01)] * 6,
                872,
                groups=groups,
                of_groups=share,
            )
            for groups, share in itertools.product((20, 60, 200), (0.1, 0.5))
        ],
    ),
    "pretrainings": Grid(
        "four equal rows, two of them pretrained 2, 3 or 5 times",
        "65 % each, 872 examples, seeds that vary by 1 point; two rows start from 2, 3 or 5 "
        "pretrainings in turn, which vary by 0, 1 and 3 points.",
        [_pretrained(number, sd) for number, sd in itertools.product((2, 3, 5), (0, 1, 3))],
    ),
    "one_pretraining": Grid(
        "the same with one pretraining, about these weights",
        "the truth is that of the one pretrained model; 6 runs.",
        [_pretrained(1, sd, this_one=True) for sd in (0, 1, 3)],
    ),
    "taken_for_all": Grid(
        "the same with one pretraining, taken for all",
        "the truth is that of new pretrainings, of which one says nothing: what a footnote warns "
        "of.",
        [_pretrained(1, sd) for sd in (0, 1, 3)],
    ),
    "real": Grid(
        "the study's runs, redrawn",
        "runs and examples drawn with replacement from results/study/study/sst2, 240 and "
        "872 examples; the accuracies differ, so that a wrong claim is a wrong order.",
        [
            Setting(
                f"{runs} runs, {examples} examples",
                [runs],
                examples,
                {"source": STUDY.name},
                redrawn(runs, examples),
            )
            for runs, examples in itertools.product((2, 3, 5, 10), (240, 872))
        ],
    ),
}
"""Name -> grid; a record each."""
