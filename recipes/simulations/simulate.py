"""How often the statistics of a table are right, on simulated tables of which the truth is known.

    nice python recipes/simulations/simulate.py results/simulations

writes a record for each grid (`grids.py` names them all) and README.md, a table made from the
records; with --table it makes the table again. A record holds each setting of its grid, what was
found, and the seed; the same command gives the same numbers.
"""

import argparse
import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from grids import GRIDS, Draw, Setting
from two_way_anova import Answers, accuracy_interval, difference_of_answers

from hfbench.cli.script import exit_on_user_error
from hfbench.evidence import markdown
from hfbench.evidence.judge import Judgement, judge
from hfbench.evidence.stats import ALPHA, holm
from hfbench.system.files import atomic, make_folder

TABLES = 500
SEED = 0


@dataclass(frozen=True)
class Found:
    """What the tables of a setting gave; shares are fractions in [0, 1], widths too."""

    any_wrong_claim: float
    """Tables in which rows are distinguished that are equal, or in the wrong order."""
    best_left_out: float
    """Tables whose set for the best lacks the best (any of those that are equally good)."""
    difference_covered: float
    """95 % intervals of a difference that hold it, over all pairs."""
    difference_covered_worst: float
    """The same, of the pair where it is least."""
    accuracy_covered: float
    accuracy_covered_worst: float
    difference_width: float
    """Mean width of the intervals of differences."""
    anova_any_wrong_claim: float
    """What the two-way analysis of variance gives, each row by itself."""
    anova_difference_covered: float
    anova_accuracy_covered: float
    anova_difference_width: float


def simulate(setting: Setting, tables: int = TABLES, seed: int = SEED) -> Found:
    """Draw and judge so many tables of one setting."""
    rng = np.random.default_rng([seed, *setting.name.encode()])
    found = [_judge_one(setting.draw(rng)) for _ in range(tables)]
    means = {key: np.mean([one[key] for one in found], axis=0) for key in found[0]}
    values: dict[str, float] = {}
    for key, value in means.items():
        values[key] = float(np.mean(value))
        if key in ("difference_covered", "accuracy_covered"):
            values[f"{key}_worst"] = float(np.min(value))
    return Found(**values)


def _judge_one(draw: Draw) -> dict[str, Any]:
    names = [f"row {number:02}" for number in range(len(draw.truth))]
    truth = dict(zip(names, draw.truth, strict=True))
    judged = judge(
        dict(zip(names, draw.right, strict=True)),
        controls=[
            name for name, is_control in zip(names, draw.controls, strict=True) if is_control
        ],
        collapsed=dict(zip(names, draw.collapsed, strict=True)),
        clusters=draw.clusters,
        pretrainings={
            name: started
            for name, started in zip(names, draw.pretrainings or [None] * len(names), strict=True)
            if started is not None
        },
    )
    pairs = [(truth[p.first] - truth[p.second], p) for p in judged.pairs]
    best = max(truth.values())
    rows = sorted(judged.rows, key=lambda row: row.name)
    return {
        "any_wrong_claim": any(p.differ and true * p.mean <= 0 for true, p in pairs),
        "best_left_out": not any(truth[name] == best for name in judged.best),
        "difference_covered": _in_order(
            names, {(p.first, p.second): p.low <= true <= p.high for true, p in pairs}
        ),
        "accuracy_covered": [row.low <= truth[row.name] <= row.high for row in rows],
        "difference_width": np.mean([p.high - p.low for p in judged.pairs]),
        **_by_anova(judged, truth),
    }


def _in_order(names: list[str], values: dict[tuple[str, str], bool]) -> list[bool]:
    """By pair of names, whichever came out as the better."""
    pairs = itertools.combinations(names, 2)
    return [values[pair] if pair in values else values[pair[::-1]] for pair in pairs]


def _by_anova(judged: Judgement, truth: dict[str, float]) -> dict[str, float]:
    assert judged.table is not None
    # of several pretrainings their means: a nested analysis of variance
    rows = {row.name: row.draws for row in judged.table.rows}
    answers = {name: Answers.of(right) for name, right in rows.items()}
    pairs = [
        (truth[one] - truth[other], difference_of_answers(answers[one], answers[other]))
        for one, other in itertools.combinations(rows, 2)
    ]
    adjusted = holm([found.p_value for _, found in pairs])
    intervals = {name: accuracy_interval(right) for name, right in rows.items()}
    return {
        "anova_any_wrong_claim": any(
            p < ALPHA and true * found.mean <= 0
            for p, (true, found) in zip(adjusted, pairs, strict=True)
        ),
        "anova_difference_covered": np.mean([f.low <= true <= f.high for true, f in pairs]),
        "anova_accuracy_covered": np.mean(
            [low <= truth[name] <= high for name, (low, high) in intervals.items()]
        ),
        "anova_difference_width": np.mean([found.high - found.low for _, found in pairs]),
    }  # fmt: skip


def write_record(folder: Path, grid: str, tables: int) -> None:
    """Simulate a grid and keep what was found."""
    settings = []
    for setting in GRIDS[grid].settings:
        found = asdict(simulate(setting, tables)).items()
        settings.append({**setting.describe(), "found": {k: round(v, 5) for k, v in found}})
    record = {
        "grid": grid,
        "tables": tables,
        "seed": SEED,
        "settings": settings,
    }
    with atomic(folder / f"{grid}.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_records(folder: Path) -> Iterator[dict[str, Any]]:
    """Those of all grids, in the order of `GRIDS`."""
    for grid in GRIDS:
        yield json.loads((folder / f"{grid}.json").read_text("utf-8"))


def as_table(folder: Path) -> str:
    """A line for each grid and number of runs; shares in %, ranges over the grid's settings."""
    header = [
        "grid", "runs", "settings", "tables of each", "any wrong claim", "best left out",
        "a difference is covered",
        "worst pair", "an accuracy is covered", "width, points", "by ANOVA: any wrong claim",
        "width",
    ]  # fmt: skip
    rows = []
    for record in read_records(folder):
        by_runs: dict[str, list[dict[str, float]]] = {}
        for setting in record["settings"]:
            by_runs.setdefault(setting["runs"], []).append(setting["found"])
        for runs, found in by_runs.items():
            cells = [
                _range(found, key)
                for key in (
                    "any_wrong_claim", "best_left_out", "difference_covered",
                    "difference_covered_worst", "accuracy_covered", "difference_width",
                    "anova_any_wrong_claim", "anova_difference_width",
                )
            ]  # fmt: skip
            of_each = str(record["tables"])
            rows.append([GRIDS[record["grid"]].title, runs, str(len(found)), of_each, *cells])
    return markdown.table(header, rows)


def as_claims(folder: Path) -> str:
    """What the README says of error rates, in Markdown: ranges over the settings that it names."""
    settings = {record["grid"]: record["settings"] for record in read_records(folder)}

    def found(*grids: str, runs: tuple[str, ...]) -> list[dict[str, float]]:
        return [s["found"] for grid in grids for s in settings[grid] if s["runs"] in runs]

    several = ("2", "3", "5", "10")
    equal = found("equal", runs=several)
    one_run = [s["found"] for s in settings["equal"] if s["runs"] == "1" and max(s["seed_sd"]) < 8]
    apart = found("heterogeneous", "one_wild", runs=several)
    pretrained, grouped = found("pretrainings", runs=("5", "6")), found("groups", runs=several)
    for_all = [s["found"] for s in settings["taken_for_all"]]
    rows = [
        [
            "any wrong claim in a table of six equal models, 2 to 10 seeds, 60 to 2,000 examples, "
            "seeds that vary by 1 to 8 points",
            f"{_range(equal, 'any_wrong_claim')} % of tables "
            f"(each row by itself: {_range(equal, 'anova_any_wrong_claim')} %)",
        ],
        [
            "95 % intervals of a difference, the same",
            f"cover in {_range(equal, 'difference_covered')} %",
        ],
        [
            "95 % intervals of an accuracy, the same",
            f"cover in {_range(equal, 'accuracy_covered')} %",
        ],
        [
            "the pair that is covered least where one row's seeds vary 8 or 12 times as much as "
            "another's",
            f"{_range(apart, 'difference_covered_worst')} %",
        ],
        [
            "95 % intervals of a difference of rows that start from 2, 3 or 5 pretrainings, which "
            "vary by 0 to 3 points",
            f"cover in {_range(pretrained, 'difference_covered')} % (from one pretraining, taken "
            f"for all: {_range(for_all, 'difference_covered')} %)",
        ],
        [
            "95 % intervals of a difference over 872 examples of 20, 60 and 200 groups",
            f"cover in {_range(grouped, 'difference_covered')} % (as if they were independent: "
            f"{_range(grouped, 'anova_difference_covered')} %)",
        ],
        [
            "any wrong claim, one seed, seeds that vary by 1 to 3 points, as is assumed",
            f"{_range(one_run, 'any_wrong_claim')} % of tables",
        ],
    ]
    return markdown.table(["simulated", "found"], rows)


def _range(found: list[dict[str, float]], key: str) -> str:
    values = [100 * one[key] for one in found]
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return low if low == high else f"{low} to {high}"


def as_page(folder: Path) -> str:
    """README.md of the records."""
    records = list(read_records(folder))
    lines = [
        "# Simulated tables",
        "<!-- rendered from the records by recipes/simulations/simulate.py; do not edit -->",
        "Tables of which the truth is known; percentages, from the least to the most of a grid's "
        "settings. Of 300 tables a share of 5 % is known to 2.5 points, either way. "
        "[How sure](../../docs/how-sure.md) names their marks, and what falls short.",
        as_table(folder),
        *(f"**{GRIDS[record['grid']].title}**: {GRIDS[record['grid']].text}" for record in records),
    ]
    return markdown.fill("\n\n".join(lines))


def main() -> None:
    """Simulate, and write the records and their table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="where the records go")
    parser.add_argument("--grids", nargs="+", choices=GRIDS, default=list(GRIDS))
    parser.add_argument("--tables", type=int, default=TABLES, help="of each setting")
    parser.add_argument("--table", action="store_true", help="only make the table again")
    args = parser.parse_args()
    with exit_on_user_error():
        make_folder(args.results)
        for grid in [] if args.table else args.grids:
            write_record(args.results, grid, args.tables)
        with atomic(args.results / "README.md") as temporary:
            temporary.write_text(as_page(args.results), encoding="utf-8")


if __name__ == "__main__":
    main()
