"""How often one seed and few test examples would have put two models in the wrong order.

    python recipes/study/wrong_order.py results/study/study_05_sst2 --examples 120 240

prints, for each two models of the results that can be told apart, the probability that a study with
one run of each, compared on so many examples drawn from the test, would have found the better one
worse, or both equal. Better is the one with the higher mean accuracy over all runs and examples.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import hypergeom

from hfbench.cli.script import exit_on_user_error
from hfbench.errors import UserError
from hfbench.evidence import markdown
from hfbench.evidence.comparison import Comparison, load_comparison


@dataclass(frozen=True)
class Verdicts:
    """What small studies of two models would find; probabilities that add up to 1."""

    right: float
    equal: float
    wrong: float


def small_studies(better: np.ndarray, worse: np.ndarray, examples: int) -> Verdicts:
    """Exact, for every pair of runs and every subset of the examples.

    Args:
        better: whether each answer is right, shape (runs, all examples).
        worse: of the other model, to the same examples; the number of its runs may differ.
        examples: how many of them a small study has; drawn without replacement.

    Raises:
        UserError: if there are not so many examples.
    """
    total = better.shape[1]
    if not 1 <= examples <= total:
        raise UserError(f"--examples {examples}: the test has {total:,}")
    found = np.zeros(3)
    for one, other in itertools.product(better, worse):
        only_one, only_other = int((one & ~other).sum()), int((~one & other).sum())
        found += _of_runs(only_one, only_other, total, examples)
    right, equal, wrong = (found / (len(better) * len(worse))).tolist()
    return Verdicts(right, equal, wrong)


def _of_runs(only_one: int, only_other: int, total: int, examples: int) -> np.ndarray:
    """Shape (3,): probability that the one has more right answers, as many, or fewer.

    Only examples count to which just one of the two is right. How many of those are drawn is
    hypergeometric; and of these, given their number, how many the one has right is so, too.
    """
    differing = only_one + only_other
    if not differing:
        return np.array([0.0, 1.0, 0.0])
    drawn = np.arange(min(differing, examples) + 1)
    share = hypergeom.pmf(drawn, total, differing, examples)
    fewer = hypergeom.cdf((drawn - 1) // 2, differing, only_one, drawn)
    at_most_half = hypergeom.cdf(drawn // 2, differing, only_one, drawn)
    return share @ np.stack([1 - at_most_half, at_most_half - fewer, fewer], axis=1)


def as_table(comparison: Comparison, examples: list[int], models: Sequence[str] = ()) -> str:
    """In Markdown: a row for each pair (of ``models``, if given), percentages for each number."""
    header = ["better", "worse", "difference, points"]
    for number in examples:
        header += [f"wrong order, {number} examples, %", f"equal, {number} examples, %"]
    rows = []
    for pair in comparison.pairs:
        if not pair.differ or (models and not {pair.first.name, pair.second.name} <= {*models}):
            continue
        better, worse = pair.first, pair.second
        row = [better.name, worse.name, f"{100 * (better.accuracy - worse.accuracy):.1f}"]
        for number in examples:
            found = small_studies(better.correct, worse.correct, number)
            row += [f"{100 * found.wrong:.1f}", f"{100 * found.equal:.1f}"]
        rows.append(row)
    return markdown.table(header, rows)


def main() -> None:
    """Print the table of a results folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="a folder with records/")
    parser.add_argument("--examples", type=int, nargs="+", default=[120, 240])
    args = parser.parse_args()
    with exit_on_user_error():
        print(as_table(load_comparison(args.results), args.examples))


if __name__ == "__main__":
    main()
