"""What a new study would find: one run of each model, on new examples of this kind.

    python recipes/study/new_studies.py results/study/study_05_sst2 --examples 120 240

prints, for each question of the results' recipe, how often the first model would come out ahead,
with a 95 % interval: of new runs and new examples, not of those that were drawn here.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from hfbench.cli.script import exit_on_user_error
from hfbench.evidence import markdown
from hfbench.evidence.comparison import Comparison, load_comparison
from hfbench.evidence.crossed import Table
from hfbench.evidence.judge import judge


def table_of(comparison: Comparison) -> Table:
    """The answers of all models that finished, with what they say of the seeds."""
    models = comparison.finished
    table = judge(
        {model.name: model.correct for model in models},
        controls=[model.name for model in models if model.seeds == [None]],
        collapsed={model.name: model.collapsed.tolist() for model in models},
    ).table
    assert table is not None  # there is a model with a result
    return table


def beats(table: Table, first: str, second: str, examples: int) -> str:
    """How often a new run of the first is ahead; a tie counts half: ``96 % (91 to 99)``."""
    found = table.chance(first, second, examples)
    return f"{100 * found.probability:.0f} % ({100 * found.low:.0f} to {100 * found.high:.0f})"


def one_run(table: Table, model: str, examples: int) -> tuple[float, float]:
    """Between which accuracies a new run lies on so many new examples, 95 % of the time.

    What is not known of the model's mean counts as well as the new run's seed and examples.
    """
    row = table.number[model]
    mean, seeds = float(table.means[row]), table.seeds
    known = table.example_covariance[row, row] + table.seed_variances()[row]
    variances = known + seeds.variances + mean * (1 - mean) / examples
    weights = seeds.probabilities[row]
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        inside = 1 - 2 * weights @ ndtr(-middle / np.sqrt(variances))
        low, high = (middle, high) if inside < 0.95 else (low, middle)
    return max(mean - high, 0.0), min(mean + high, 1.0)


def as_table(comparison: Comparison, examples: list[int]) -> str:
    """In Markdown: a row for each question, a column for each number of examples."""
    table = table_of(comparison)
    header = ["first", "second", *(f"first ahead, {number} examples" for number in examples)]
    rows = [
        [first, second, *(beats(table, first, second, number) for number in examples)]
        for pair in comparison.questions
        for first, second in [(pair.first.name, pair.second.name)]
    ]
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
