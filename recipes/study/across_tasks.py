"""One table across tasks: accuracies, and the average rank of each model with its uncertainty.

    python recipes/study/across_tasks.py results/study/study_05_sst2 \
      results/study/study_09_rotten_tomatoes results/study/study_10_trec

prints a row for each model that all of the results have. Ranks are among these models; 1 is best.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from hfbench.cli.script import exit_on_user_error
from hfbench.errors import UserError
from hfbench.evidence import markdown
from hfbench.evidence.comparison import Comparison, load_comparison

REPETITIONS = 10_000
SEED = 0

Correct = Mapping[str, np.ndarray]
"""Model -> whether each answer of one task is right, shape (runs, examples)."""


@dataclass(frozen=True)
class AverageRank:
    """Over the tasks, with a 95 % interval."""

    mean: float
    low: float
    high: float


def average_ranks(tasks: Sequence[Correct]) -> dict[str, AverageRank]:
    """Model -> average rank; the best has the lowest, and equal ones share theirs.

    The interval is a bootstrap's: in each of `REPETITIONS`, examples of each task and runs of each
    model are drawn with replacement, the same examples for all models. The tasks stay: of what the
    ranks would be on others, it says nothing.

    Raises:
        UserError: if no two models are in all tasks.
    """
    models = [name for name in tasks[0] if all(name in task for task in tasks)]
    if len(models) < 2:
        raise UserError("there are no two models that all of the results have")
    found = np.mean([_ranks(_accuracies(task, models)) for task in tasks], axis=0)
    generators = np.random.default_rng(SEED).spawn(len(tasks))
    drawn = np.mean(
        [
            _ranks(_resampled(task, models, rng))
            for task, rng in zip(tasks, generators, strict=True)
        ],
        axis=0,
    )  # (repetitions, models)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return {
        name: AverageRank(*map(float, (found[i], low[i], high[i]))) for i, name in enumerate(models)
    }


def _accuracies(task: Correct, models: Sequence[str]) -> np.ndarray:
    return np.array([task[name].mean() for name in models])


def _resampled(task: Correct, models: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """Accuracies, shape (repetitions, models)."""
    examples = task[models[0]].shape[1]
    of_examples = _weights(examples, rng)
    columns = []
    for name in models:
        of_runs = _weights(len(task[name]), rng)
        columns.append((of_runs @ task[name] * of_examples).sum(1))
    return np.stack(columns, axis=1)


def _weights(number: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of so many is drawn, as a share, shape (repetitions, number)."""
    return rng.multinomial(number, [1 / number] * number, size=REPETITIONS) / number


def _ranks(accuracies: np.ndarray) -> np.ndarray:
    # rounded: sums in another order must not make two equal ones differ
    return rankdata(-accuracies.round(12), axis=-1)


def as_table(comparisons: Sequence[Comparison]) -> str:
    """In Markdown, the best on average first: accuracies and their intervals in %."""
    tasks = [{m.name: m for m in comparison.finished} for comparison in comparisons]
    ranks = average_ranks([{name: model.correct for name, model in task.items()} for task in tasks])
    sources = [comparison.task.source if comparison.task else "" for comparison in comparisons]
    rows = []
    for name, rank in sorted(ranks.items(), key=lambda item: (item[1].mean, item[0])):
        row = [name]
        for task in tasks:
            low, high = task[name].interval
            row.append(f"{100 * task[name].value:.1f} ({100 * low:.1f}-{100 * high:.1f})")
        rows.append([*row, f"{rank.mean:.2f} ({rank.low:.2f}-{rank.high:.2f})"])
    return markdown.table(["model", *sources, "average rank"], rows)


def main() -> None:
    """Print the table of several results folders."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+", help="folders with records/")
    args = parser.parse_args()
    with exit_on_user_error():
        print(as_table([load_comparison(folder) for folder in args.results]))


if __name__ == "__main__":
    main()
