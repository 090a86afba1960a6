"""How often a row is called good enough that is not, on simulated tables.

    nice python recipes/simulations/decisions.py results/simulations

writes decisions.json: for each setting the share of tables in which any row is called "not worse
than the best by the margin or more" that is worse by the margin (`false`), in which the cheapest of
those that are called so is one (`chosen_false`), and in which a row that is as good as the best,
and not the first in the table, is called so (`power`). The rows that are worse are so by just the
margin, the least favourable case, and are the cheapest.
"""

import argparse
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from grids import Row, latent

from hfbench.cli.script import exit_on_user_error
from hfbench.evidence import markdown
from hfbench.evidence.judge import judge
from hfbench.evidence.shortfall import shortfalls
from hfbench.system.files import atomic, make_folder

TABLES = 400
_ROUNDING = 1e-9  # a row that is worse by the margin is, whatever the last bit of its accuracy


@dataclass(frozen=True)
class Setting:
    """Tables with rows that are as good as the best, and rows that are worse by the margin."""

    good: int
    bad: int
    runs: int
    examples: int
    seed_sd: float
    """Points of accuracy."""
    margin: float
    """Points of accuracy."""

    @property
    def rows(self) -> list[Row]:
        """The good ones first."""
        sd, best = self.seed_sd / 100, 0.8
        good = [Row(self.runs, best, sd)] * self.good
        return good + [Row(self.runs, best - self.margin / 100, sd)] * self.bad


GRID = [
    Setting(good, bad, runs, examples, sd, margin)
    for (good, bad), runs, examples, sd, margin in itertools.product(
        ((1, 1), (1, 5), (3, 3), (2, 10)), (2, 5), (240, 2000), (1, 3), (1, 3)
    )
]


def simulate(setting: Setting, tables: int, seed: int = 0) -> dict[str, float]:
    """Shares of tables: ``false``, ``chosen_false`` and ``power``."""
    rng = np.random.default_rng([seed, *repr(setting).encode()])
    draw, margin = latent(setting.rows, setting.examples), setting.margin / 100
    counts = dict.fromkeys(("false", "chosen_false", "power"), 0)
    for _ in range(tables):
        drawn = draw(rng)
        names = [f"row {number:02}" for number in range(len(drawn.truth))]
        table = judge(dict(zip(names, drawn.right, strict=True))).table
        assert table is not None
        found = shortfalls(table)
        enough = [found[name].bound < margin for name in names]
        is_bad = [max(drawn.truth) - one >= margin - _ROUNDING for one in drawn.truth]
        counts["false"] += any(e and b for e, b in zip(enough, is_bad, strict=True))
        cheapest = [b for e, b in reversed(list(zip(enough, is_bad, strict=True))) if e][:1]
        counts["chosen_false"] += cheapest == [True]
        counts["power"] += any(enough[1 : setting.good])
    return {key: round(count / tables, 5) for key, count in counts.items()}


def as_claims(folder: Path) -> str:
    """What docs/decisions.md says of error rates, in Markdown: ranges over the grid's settings."""
    record = json.loads((folder / "decisions.json").read_text("utf-8"))
    found = [one["found"] for one in record["settings"]]

    def shares(key: str) -> str:
        values = [100 * one[key] for one in found]
        return f"{min(values):.1f} to {max(values):.1f} % of tables (mean {np.mean(values):.1f} %)"

    what = (
        f"{len(found)} settings, {record['tables']} tables of each: 2 to 12 rows, 2 and 5 seeds, "
        "240 and 2,000 examples, seeds that vary by 1 and 3 points, margins of 1 and 3 points; up "
        "to ten rows are worse by just the margin"
    )
    rows = [
        ["any row that is worse by the margin is called good enough", shares("false")],
        ["the row that is taken is one, where those are the cheapest", shares("chosen_false")],
    ]
    return f"Simulated ({what}):\n\n{markdown.table(['mistake', 'found'], rows)}"


def main() -> None:
    """Simulate the grid, and write its record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="where the record goes")
    parser.add_argument("--tables", type=int, default=TABLES, help="of each setting")
    args = parser.parse_args()
    with exit_on_user_error():
        make_folder(args.results)
        settings = [{**vars(one), "found": simulate(one, args.tables)} for one in GRID]
        with atomic(args.results / "decisions.json") as temporary:
            record = {"grid": "decisions", "tables": args.tables, "settings": settings}
            temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
