"""What no method can do with so few runs: marks that cannot all be met, however one estimates.

    python recipes/simulations/bounds.py results/simulations

writes bounds.json, from which docs/how-sure.md has its numbers.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from grids import Row, latent
from scipy.optimize import minimize
from scipy.special import gammaln, stdtrit
from scipy.stats import chi, norm

from hfbench.cli.script import exit_on_user_error
from hfbench.evidence.judge import judge
from hfbench.evidence.stats import ALPHA
from hfbench.system.files import atomic

WILD = 8.0
"""By how much more the seeds of the one row vary than those of the others."""


def least_width(runs: int, of_wild: float, of_usual: float) -> float:
    """The least mean width of intervals of a usual row's mean over seeds, in widths of Student's.

    An interval is centred at the mean of the runs, and its half-width is any function of how much
    they differ. It is to cover with probability ``of_usual`` where seeds vary by 1, and with
    ``of_wild`` where they vary by `WILD`; that these are the two possibilities is known, but not
    of which kind the row is. The examples add nothing. The bound is that of Lagrange's dual, so
    that no such function is narrower.
    """
    differ = np.exp(np.linspace(-8, np.log(40), 1500))
    weights = np.gradient(differ)
    usual, wild = (
        chi.pdf(differ * np.sqrt(runs - 1) / sd, runs - 1) * np.sqrt(runs - 1) / sd
        for sd in (1.0, WILD)
    )
    halves = np.concatenate([[0.0], np.exp(np.linspace(-3, np.log(60), 500))])
    covers_usual, covers_wild = (
        2 * norm.cdf(halves * np.sqrt(runs) / sd) - 1 for sd in (1.0, WILD)
    )

    def dual(logs: np.ndarray) -> float:
        price_wild, price_usual = np.exp(logs)
        cost = usual[:, None] * (halves - price_usual * covers_usual)
        cost = cost - price_wild * wild[:, None] * covers_wild
        least = cost.min(axis=1) @ weights
        return float(least + price_wild * of_wild + price_usual * of_usual)

    found = -minimize(lambda logs: -dual(logs), [1.0, 1.0], method="Nelder-Mead").fun
    mean_sd = np.sqrt(2 / (runs - 1)) * np.exp(gammaln(runs / 2) - gammaln((runs - 1) / 2))
    return found / (stdtrit(runs - 1, 1 - ALPHA / 2) * mean_sd / np.sqrt(runs))


def known_seeds_width(examples: int, sd: float, tables: int = 100) -> float:
    """Mean width of a difference's interval where it is known how much seeds matter, 2 runs each.

    In points, of rows as those of the grid "equal"; nothing that has to learn it can be narrower
    and cover as often.
    """
    rng, found = np.random.default_rng(0), []
    draw = latent([Row(2, 0.65, sd / 100)] * 6, examples)
    for _ in range(tables):
        right = draw(rng).right
        table = judge({f"row {n}": one for n, one in enumerate(right)}).table
        assert table is not None
        of_examples = table.variance_of_examples("row 0", "row 1")
        found.append(2 * norm.ppf(1 - ALPHA / 2) * np.sqrt(of_examples + (sd / 100) ** 2))
    return 100 * float(np.mean(found))


def describe(folder: Path) -> dict[str, dict[str, float]]:
    """The bounds beside what the records of the folder found."""
    equal = json.loads((folder / "equal.json").read_text("utf-8"))["settings"]
    of_anova = {
        setting["examples"]: 100 * setting["found"]["anova_difference_width"]
        for setting in equal
        if setting["runs"] == "2" and setting["seed_sd"][0] == 1
    }
    return {
        "least_width_in_students": {
            f"{runs} runs, wild row in {100 * of_wild:g} %": round(
                least_width(runs, of_wild, 0.935), 2
            )
            for runs in (2, 3)
            for of_wild in (0.85, 0.9, 0.935)
        },
        "known_seeds_in_anovas": {
            f"{examples} examples": round(known_seeds_width(examples, 1) / width, 2)
            for examples, width in of_anova.items()
        },
    }


def main() -> None:
    """Write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, help="the folder of the records")
    args = parser.parse_args()
    with exit_on_user_error():
        text = json.dumps(describe(args.results), indent=1) + "\n"
        with atomic(args.results / "bounds.json") as temporary:
            temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
