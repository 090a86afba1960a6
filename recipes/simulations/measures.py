"""How often the intervals of each measure are right, on simulated tables of which the truth is
known.

    nice python recipes/simulations/measures.py results/simulations

writes measures.json, a record of each measure in each setting, and measures.md, a table made from
it; with --table it makes the table again.

Models are simulated as outputs: a score of each example that is made of its label, of what makes it
easy or hard for every model, of what does so for this model, of the seed, and of noise. The truth
is the measure of the model over two million examples and hundreds of seeds.
"""

import argparse
import itertools
import json
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hfbench.cli.script import exit_on_user_error
from hfbench.evidence import markdown
from hfbench.evidence.judge import judge
from hfbench.metrics.registry import Metric, ProblemType, find_metric
from hfbench.system.files import atomic

TABLES = 60
SEED = 0
_TRUTH = (400, 5_000)
"""Seeds, and examples of each, of which the truth is the mean."""
_TRUTH_OF_ECE = (10_000, 60, 40_000)
"""Of this one, which is higher with fewer examples: seeds with as many as a table has; and for how
much higher that is than of the model, seeds and examples."""
CLASSES = ["a", "b", "c"]
SHARES = (0.6, 0.3, 0.1)
"""Of the classes; multi-label: of the examples that have each label."""

MEASURES: dict[ProblemType, tuple[str, ...]] = {
    "single_label_classification": (
        "accuracy", "balanced_accuracy", "f1_macro", "f1_weighted", "f1:c", "precision:c",
        "recall:c", "mcc", "kappa", "auroc", "average_precision", "nll", "brier", "ece",
    ),
    "multi_label_classification": (
        "subset_accuracy", "hamming_loss", "f1_micro", "f1_macro", "f1_weighted", "f1_samples",
        "lrap", "auroc", "average_precision", "nll", "brier",
    ),
    "regression": ("rmse", "mae", "pearson", "spearman", "r2"),
}  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """Tables of one size."""

    kind: ProblemType
    runs: int
    examples: int
    sd: float
    """Of the accuracy (multi-label: subset accuracy) over seeds, in points, about; it moves all of
    a run's scores."""


SETTINGS = [
    Setting(kind, runs, examples, sd)
    for kind in MEASURES
    for runs, examples, sd in [
        *itertools.product((1, 3, 10), (60, 240, 872), (3.0,)),
        *itertools.product((3,), (240,), (0.0, 8.0)),
    ]
]
STRENGTHS = (1.6, 1.6, 2.4, 2.4)
"""By how much the label moves the scores, of each model: two pairs of equals."""


def draw_labels(kind: ProblemType, examples: int, rng: np.random.Generator) -> np.ndarray:
    """Labels of so many examples."""
    if kind == "regression":
        return rng.standard_normal(examples)
    if kind == "multi_label_classification":
        return (rng.random((examples, len(SHARES))) < SHARES).astype(np.int64)
    return rng.choice(len(SHARES), size=examples, p=SHARES)


def draw_outputs(
    labels: np.ndarray, strength: float, runs: int, sd: float, common: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Outputs of a model, shape (runs, examples, outputs); ``common``: of every model alike."""
    aims = labels[:, None]
    if labels.dtype.kind == "i":
        aims = np.eye(len(SHARES))[labels] if labels.ndim == 1 else labels - 0.5
    shape = aims.shape
    own = rng.standard_normal(shape)
    # of a normal variable, a point of accuracy is 0.025 standard deviations or so; of three labels
    # that must all be right it is less
    sd = 0.65 * sd if labels.ndim == 2 else sd
    moved = strength * np.exp(0.03 * sd * rng.standard_normal((runs, 1, 1)))
    tilt = 0.02 * sd * rng.standard_normal((runs, 1, shape[1]))
    noise = 0.6 * common + 0.6 * own + 0.5 * rng.standard_normal((runs, *shape))
    return (moved * aims + tilt + noise).astype(np.float32)


def truth(setting: Setting, name: str, strength: float) -> float:
    """The mean over seeds of the measure of very many examples; of ECE of as many as a table has.

    What is binned is measured of the sample: ECE of few examples is higher than that of the model
    (Roelofs et al. 2022), and so is what it estimates.
    """
    seeds, examples = _TRUTH
    if name == "ece":
        seeds, examples = _TRUTH_OF_ECE[0], setting.examples
    return _mean(setting.kind, name, strength, setting.sd, seeds, examples)


def excess_of_ece(setting: Setting) -> float:
    """By how much ECE of so many examples is above that of the model, the mean over models."""
    return float(
        np.mean(
            [
                truth(setting, "ece", strength)
                - _mean(setting.kind, "ece", strength, setting.sd, *_TRUTH_OF_ECE[1:])
                for strength in STRENGTHS
            ]
        )
    )


@cache
def _mean(
    kind: ProblemType, name: str, strength: float, sd: float, seeds: int, examples: int
) -> float:
    rng = np.random.default_rng([SEED, int(10 * strength), int(10 * sd)])
    metric, values = _metric(kind, name), []
    for _ in range(seeds):
        labels = draw_labels(kind, examples, rng)
        common = rng.standard_normal((examples, 1 if kind == "regression" else len(SHARES)))
        outputs = draw_outputs(labels, strength, 1, sd, common, rng)
        values.append(metric.compute(outputs[0], labels))
    return float(np.mean(values))


def _metric(kind: ProblemType, name: str) -> Metric:
    return find_metric(name, kind, CLASSES, "measure")


def simulate(setting: Setting, tables: int, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure -> shares of the intervals that hold the truth, over so many tables."""
    kind = setting.kind
    names = names or MEASURES[kind]
    rng = np.random.default_rng([SEED, setting.runs, setting.examples, int(10 * setting.sd)])
    hits: dict[str, list[list[Any]]] = {name: [] for name in names}
    for _ in range(tables):
        labels = draw_labels(kind, setting.examples, rng)
        while labels.dtype.kind == "i" and (
            len(np.unique(labels)) < 3 if labels.ndim == 1 else not labels.any(0).all()
        ):
            labels = draw_labels(kind, setting.examples, rng)
        width = 1 if kind == "regression" else len(SHARES)
        common = rng.standard_normal((setting.examples, width))
        outputs = [
            draw_outputs(labels, strength, setting.runs, setting.sd, common, rng)
            for strength in STRENGTHS
        ]
        for name in names:
            hits[name].append(_judge_one(setting, name, outputs, labels))
    shares = {
        name: dict(
            zip(
                ("covered", "difference_covered", "wrong", "width"),
                np.round(np.mean(np.array(found, dtype=float), axis=0), 4).tolist(),
                strict=True,
            )
        )
        for name, found in hits.items()
    }
    if "ece" in shares:
        shares["ece"]["above_model"] = round(excess_of_ece(setting), 4)
    return shares


def _judge_one(
    setting: Setting, name: str, outputs: Sequence[np.ndarray], labels: np.ndarray
) -> list[float]:
    metric = _metric(setting.kind, name)
    true = [truth(setting, name, strength) for strength in STRENGTHS]
    judged = judge(
        {
            str(number): np.stack([metric.pseudo_values(run, labels) for run in runs])
            for number, runs in enumerate(outputs)
        },
        bounds=metric.bounds,
        weight=metric.weight and metric.weight(labels),
    )
    differences = [true[int(p.first)] - true[int(p.second)] for p in judged.pairs]
    return [
        np.mean([row.low <= true[int(row.name)] <= row.high for row in judged.rows]),
        np.mean([p.low <= d <= p.high for p, d in zip(judged.pairs, differences, strict=True)]),
        any(p.differ and d * p.mean <= 0 for p, d in zip(judged.pairs, differences, strict=True)),
        np.mean([row.high - row.low for row in judged.rows]),
    ]


def write_record(folder: Path, tables: int) -> None:
    """Simulate every setting and keep what was found."""
    with ProcessPoolExecutor() as pool:
        found = pool.map(simulate, SETTINGS, itertools.repeat(tables))
        settings = [
            {**vars(setting), "found": one} for setting, one in zip(SETTINGS, found, strict=True)
        ]
    record = {"grid": "measures", "tables": tables, "seed": SEED, "settings": settings}
    with atomic(folder / "measures.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def as_page(folder: Path) -> str:
    """measures.md, from the record."""
    record = json.loads((folder / "measures.json").read_text(encoding="utf-8"))
    lines = [
        "# Simulated measures",
        "<!-- rendered from measures.json by recipes/simulations/measures.py; do not edit -->",
        "How often 95 % intervals hold the truth, in percent: from the least to the most of the "
        f"settings, each of {record['tables']} tables of four models, two of them equal and two. "
        "The rarest of three classes (labels) has a tenth of the examples. A share of 95 % is "
        f"known to about {_error(record['tables']):.0f} points, either way. Wrong: tables with a "
        "wrong claim.",
        "With one run of each model how much seeds matter is assumed. Right and wrong answers are "
        "compared under that assumption; of all other measures nothing is claimed, and where seeds "
        "matter more (here for NLL, Brier, RMSE, MAE and R2) intervals are too narrow.",
    ]
    for kind, is_single in itertools.product(MEASURES, (False, True)):
        settings = [
            one
            for one in record["settings"]
            if one["kind"] == kind and (one["runs"] == 1) == is_single
        ]
        sizes = sorted({one["examples"] for one in settings})
        runs = sorted({one["runs"] for one in settings})
        header = ["measure", *(f"n {n}" for n in sizes), *(f"difference, n {n}" for n in sizes)]
        rows = []
        for name in MEASURES[kind] if settings else ():
            found = {n: [s["found"][name] for s in settings if s["examples"] == n] for n in sizes}
            wrong = [one["found"][name]["wrong"] for one in settings]
            rows.append(
                [
                    name,
                    *(_range(found[n], "covered") for n in sizes),
                    *(_range(found[n], "difference_covered") for n in sizes),
                    f"{100 * np.mean(wrong):.1f}",
                ]
            )
        if rows:
            lines += [
                f"## {kind.replace('_', ' ')}, {'one run' if is_single else 'several runs'}",
                f"{len(settings)} settings: {', '.join(map(str, runs))} runs; seeds that vary by "
                f"{', '.join(f'{sd:g}' for sd in sorted({one['sd'] for one in settings}))} points.",
                markdown.table([*header, "wrong"], rows),
            ]
        if rows and "ece" in MEASURES[kind] and not is_single:
            lines.append(
                "The ECE that is to be held is that of as many examples. It is above that of the "
                f"model by up to {_above_model(settings, sizes)}."
            )
    return markdown.fill("\n\n".join(lines))


def _above_model(settings: Sequence[dict[str, Any]], sizes: Sequence[int]) -> str:
    """``0.05 with 60 examples, 0.02 with 240``."""
    most = [
        max(one["found"]["ece"]["above_model"] for one in settings if one["examples"] == size)
        for size in sizes
    ]
    told = [f"{value:.3f} with {size}" for value, size in zip(most, sizes, strict=True)]
    return f"{told[0]} examples, {', '.join(told[1:])}"


def _error(tables: int) -> float:
    """Two standard errors of a share of 95 % in points, where two rows a table are independent."""
    return 200 * math.sqrt(0.95 * 0.05 / (2 * tables))


def _range(found: Sequence[dict[str, float]], key: str) -> str:
    values = [100 * one[key] for one in found]
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low} to {high}"


def main() -> None:
    """Write the record and its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("folder", type=Path, help="results/simulations")
    parser.add_argument("--tables", type=int, default=TABLES, help=f"default: {TABLES}")
    parser.add_argument("--table", action="store_true", help="only make the table again")
    arguments = parser.parse_args()
    if not arguments.table:
        write_record(arguments.folder, arguments.tables)
    with atomic(arguments.folder / "measures.md") as temporary:
        temporary.write_text(as_page(arguments.folder), encoding="utf-8")


if __name__ == "__main__":
    with exit_on_user_error():
        main()
