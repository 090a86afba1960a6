"""How often what is said of folds is right: real learners on data of which the truth is known.

    nice python recipes/simulations/cross_validation.py results/simulations

writes cross_validation.json, a record of each setting, and cross_validation.md, a table made from
it; with --table it makes the table again.

Two models are the same learner on different features that tell as much of the label, so that they
are equally good over all training sets, and seldom on one. Data are drawn anew for each table. The
truth is the accuracy over new data after training on other sets of the size that a fold leaves.
"""

import argparse
import json
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.tree import ExtraTreeClassifier

from hfbench.cli.script import exit_on_user_error
from hfbench.evidence import crossed, markdown
from hfbench.evidence import folds as evidence
from hfbench.evidence.judge import judge
from hfbench.system.files import atomic

TABLES = 200
SEED = 0
_TRUTH = (200, 4_000)
"""Training sets, and new examples for each, over which the truth is the mean."""
_FEATURES = 10
_WEIGHTS = 0.4 * np.linspace(1, 0.2, _FEATURES)

Learner = Callable[[int], Any]
"""Of a seed: what has ``fit`` and ``predict``."""

LEARNERS: dict[str, tuple[Learner, bool]] = {
    "logistic regression": (lambda seed: LogisticRegression(max_iter=50), False),
    "nearest neighbour": (lambda seed: KNeighborsClassifier(1), False),
    "random tree": (lambda seed: ExtraTreeClassifier(max_depth=6, random_state=seed), True),
    "three epochs of SGD": (
        lambda seed: SGDClassifier(loss="log_loss", max_iter=3, random_state=seed),
        True,
    ),
    "small network": (
        lambda seed: MLPClassifier(
            (8,), max_iter=15, learning_rate_init=0.05, batch_size=16, random_state=seed
        ),
        True,
    ),
}
"""Name -> how it is made, and whether its seed matters."""

FACTORS = ("none", "hfbench", "Nadeau and Bengio")
"""What the variance over examples is multiplied by: 1, `evidence.folds.INFLATION`, 1 + k/(k-1)."""


@dataclass(frozen=True)
class Setting:
    """Tables of one kind."""

    learner: str
    examples: int
    folds: int
    repeats: int = 1
    seeds: int = 3
    """Of a learner whose seed matters."""


_FIRST = [(200, 5, 1), (800, 5, 1)]
"""Examples, folds and repeats."""
_MORE = [(200, 10, 1), (200, 2, 1), (200, 5, 2)]
_SIZES = {
    "logistic regression": [*_FIRST, *_MORE],
    "random tree": [*_FIRST, *_MORE],
    "small network": _FIRST[:1],  # which takes long
}
SETTINGS = [
    Setting(learner, *sizes) for learner in LEARNERS for sizes in _SIZES.get(learner, _FIRST)
]


def draw(examples: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features of both models, shape (examples, 2 * features), and labels."""
    features = rng.normal(size=(examples, 2 * _FEATURES))
    odds = features @ np.concatenate([_WEIGHTS, _WEIGHTS])
    return features, (rng.random(examples) < 1 / (1 + np.exp(-odds))).astype(int)


def true_accuracy(setting: Setting, rng: np.random.Generator) -> tuple[float, float]:
    """Over training sets of the size that folds leave: mean and standard deviation."""
    make, _ = LEARNERS[setting.learner]
    size = setting.examples - setting.examples // setting.folds
    found = []
    for number in range(_TRUTH[0]):
        train, labels = draw(size, rng)
        new, right = draw(_TRUTH[1], rng)
        model = make(number).fit(train[:, :_FEATURES], labels)
        found.append((model.predict(new[:, :_FEATURES]) == right).mean())
    return float(np.mean(found)), float(np.std(found))


def cross_validate(setting: Setting, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Model -> whether each answer is right, shape (runs, examples)."""
    make, is_random = LEARNERS[setting.learner]
    features, labels = draw(setting.examples, rng)
    right: dict[str, list[np.ndarray]] = {"first": [], "second": []}
    for _ in range(setting.repeats):
        seed = int(rng.integers(2**31))
        parts = StratifiedKFold(setting.folds, shuffle=True, random_state=seed)
        splits = list(parts.split(features, labels))
        for _ in range(setting.seeds if is_random else 1):
            for place, name in enumerate(right):
                own = features[:, place * _FEATURES : (place + 1) * _FEATURES]
                answers = np.zeros(setting.examples)
                for train, rest in splits:
                    model = make(int(rng.integers(2**31))).fit(own[train], labels[train])
                    answers[rest] = model.predict(own[rest]) == labels[rest]
                right[name].append(answers)
    return {name: np.array(runs) for name, runs in right.items()}


def factor(name: str, folds: int) -> float:
    """One of `FACTORS`, as a number."""
    if name == "Nadeau and Bengio":
        return 1 + folds / (folds - 1)
    return evidence.INFLATION if name == "hfbench" else 1.0


def simulate(setting: Setting, tables: int, seed: int = SEED) -> dict[str, Any]:
    """What intervals and tests do on so many tables.

    Returns:
        The truth, and for each of `FACTORS`: share of intervals of an accuracy that hold it
        (``covered``), share of tables that tell the models apart (``wrong``), and the mean width
        of an interval; fractions.
    """
    rng = np.random.default_rng([seed, SETTINGS.index(setting)])
    truth, sd = true_accuracy(setting, rng)
    covered, wrong, width = (dict.fromkeys(FACTORS, 0.0) for _ in range(3))
    means = []
    for _ in range(tables):
        right = cross_validate(setting, rng)
        means.append([runs.mean() for runs in right.values()])
        fixed = [name for name, runs in right.items() if len(runs) == 1]
        for name in FACTORS:
            with mock.patch.object(crossed, "inflation", lambda k, n=name: factor(n, k)):
                found = judge(right, controls=fixed, folds=setting.folds)
            for row in found.rows:
                covered[name] += (row.low <= truth <= row.high) / (2 * tables)
                width[name] += (row.high - row.low) / (2 * tables)
            wrong[name] += found.pairs[0].differ / tables
    seen = float(np.var(means, axis=0).mean())
    return {
        "truth": round(truth, 4),
        "sd_over_training_sets": round(sd, 4),
        "variance_to_binomial": round(seen / (truth * (1 - truth) / setting.examples), 2),
        **{
            name: {
                "covered": round(covered[name], 4),
                "wrong": round(wrong[name], 4),
                "width": round(width[name], 4),
            }
            for name in FACTORS
        },
    }


def write_record(folder: Path, tables: int) -> None:
    """Simulate all settings; the record is written after each, so that it may be stopped."""
    found = []
    for setting in SETTINGS:
        found.append({**vars(setting), "found": simulate(setting, tables)})
        record = {"tables": tables, "seed": SEED, "settings": found}
        with atomic(folder / "cross_validation.json") as temporary:
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def as_page(folder: Path) -> str:
    """The table, from the record."""
    record = json.loads((folder / "cross_validation.json").read_text("utf-8"))
    tables = record["tables"]
    off = 100 * 1.96 * math.sqrt(0.05 * 0.95 / tables)
    header = ["learner", "examples", "folds", "repeats", "variance"]
    header += [f"{what}, {name}" for what in ("covered", "wrong") for name in FACTORS]
    lines = [
        "# Simulated cross-validation",
        "<!-- rendered from cross_validation.json by recipes/simulations/cross_validation.py; do "
        "not edit -->",
        f"{tables} tables a row, of two equally good models on new data each. Percentages: how "
        "often a 95 % interval holds the true accuracy, and how often the two are distinguished, "
        "wrongly. *none* takes answers for independent, *hfbench* multiplies the variance over "
        f"examples by {evidence.INFLATION:g}, and *Nadeau and Bengio* by 1 + k / (k - 1) for k "
        "folds. *variance*: of the accuracy over tables, in units of that of as many independent "
        f"answers. A share of 5 % is known to {off:.0f} points, either way.",
        markdown.table(header, [_line(one) for one in record["settings"]]),
        _summary(record["settings"]),
    ]
    return "\n\n".join(lines) + "\n"


def _line(one: dict[str, Any]) -> list[str]:
    found = one["found"]
    shown = [one["learner"], str(one["examples"]), str(one["folds"]), str(one["repeats"])]
    shown.append(f"{found['variance_to_binomial']:.2f}")
    return shown + [
        f"{100 * found[name][what]:.1f}" for what in ("covered", "wrong") for name in FACTORS
    ]


def _summary(settings: Sequence[dict[str, Any]]) -> str:
    means = {
        name: [100 * np.mean([one["found"][name][what] for one in settings]) for what in
               ("covered", "wrong", "width")]
        for name in FACTORS
    }  # fmt: skip
    told = [
        f"{name}: {covered:.1f} % covered, {wrong:.1f} % wrong, {width:.1f} points wide"
        for name, (covered, wrong, width) in means.items()
    ]
    return f"Mean over all rows: {'; '.join(told)}."


def as_claims(folder: Path) -> str:
    """What docs/how-sure.md has of it."""
    record = json.loads((folder / "cross_validation.json").read_text("utf-8"))
    settings = record["settings"]
    rows = []
    for name in FACTORS:
        shown = [name]
        for what in ("covered", "wrong"):
            values = [100 * one["found"][name][what] for one in settings]
            shown.append(f"{min(values):.1f} to {max(values):.1f} %")
        rows.append([*shown, f"{100 * np.mean([s['found'][name]['width'] for s in settings]):.1f}"])
    header = ["factor", "an accuracy is covered", "equal models distinguished", "width, points"]
    return markdown.table(header, rows)


def main() -> None:
    """Write the record and its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("folder", type=Path, help="results/simulations")
    parser.add_argument("--tables", type=int, default=TABLES, help=f"default: {TABLES}")
    parser.add_argument("--table", action="store_true", help="only make the table again")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # that three epochs are not enough
    if not arguments.table:
        write_record(arguments.folder, arguments.tables)
    with atomic(arguments.folder / "cross_validation.md") as temporary:
        temporary.write_text(as_page(arguments.folder), encoding="utf-8")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
