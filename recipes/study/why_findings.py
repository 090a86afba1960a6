"""What why.yaml shows, for the study's page."""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from cells import in_cell, least_and_most, pooled

from hfbench import load_comparison
from hfbench.errors import UserError
from hfbench.evidence import markdown
from hfbench.evidence.compared import Pair, Standing
from hfbench.evidence.comparison import Comparison
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.overall import Overall, compare_tasks
from hfbench.records.schema import ClassificationRecord
from hfbench.records.store import ResultsFolder

FITTED = 0.01
"""Nats: below it the training examples are known by heart."""


class Why:
    """The nano GPT from scratch, pretrained, and with parts of both, on two tasks of two sizes."""

    def __init__(self, folder: Path) -> None:
        """Read nothing yet; ``folder`` holds the tasks of why.yaml, and norms.json of why.py."""
        self.folder = folder

    @cached_property
    def comparisons(self) -> dict[str, Comparison]:
        """Task -> what its records show."""
        tasks = ResultsFolder(self.folder).tasks
        return {task.path.name: load_comparison(task.path) for task in tasks}

    @cached_property
    def standings(self) -> dict[tuple[str, int], Standing]:
        """Task and training examples -> models."""
        return {
            (task, size): standing
            for task, comparison in self.comparisons.items()
            for size, standing in comparison.curve.items()
        }

    @cached_property
    def norms(self) -> dict[str, Any]:
        """What why.py wrote of the word embeddings at the start: norms, words and width."""
        found = json.loads((self.folder / "norms.json").read_text("utf-8"))
        assert isinstance(found, dict)  # as why.py writes it
        return found

    @cached_property
    def overall(self) -> Overall:
        """What the tasks show together, of the most training examples."""
        return compare_tasks(self.comparisons, self.folder.name)

    @property
    def seeds(self) -> int:
        """Runs of each row."""
        return max(len(model.seeds) for one in self.standings.values() for model in one.finished)

    @property
    def steps(self) -> str:
        """Of each training."""
        return f"{self._record.training.steps:,}"

    @property
    def rate(self) -> float:
        """By which every row is trained."""
        return float(self._record.training.arguments["learning_rate"])

    @property
    def fitted(self) -> float:
        """Nats, of `fitted_table`."""
        return FITTED

    def of_fewest(self, first: str, second: str, task: str) -> str:
        """What is shown of two rows on a task, with the fewest training examples."""
        fewest = min(size for _, size in self.standings)
        return in_cell(self._pair(self.standings[task, fewest], first, second).difference)

    def over_both(self, first: str, second: str) -> str:
        """What is shown of them over the tasks, with the most."""
        if pair := pooled(self.overall, first, second):
            return in_cell(pair.these)
        raise UserError(f"{self.folder}: {first!r} and {second!r} are not compared")

    def norm(self, mix: str) -> str:
        """Mean of the words that the pretraining has made long, and what a step moves at most.

        A step of AdamW changes each of a word's numbers by about the rate.
        """
        mean = self.norms["mean_norm"][mix]
        moved = self.rate * self.norms["width"] ** 0.5 / mean
        return f"{mean:.3f}, of which a step moves up to {100 * moved:.1f} %"

    def table(self, questions: Sequence[tuple[str, str, str]]) -> str:
        """A line for each question, a column for each task and size, and one over both tasks.

        Args:
            questions: what is asked in words, and the two rows; all that why.yaml asks.

        Raises:
            UserError: if the recipe asks another question, or one of these has no answer.
        """
        lines = [
            [words, f"{first} minus {second}"]
            + [
                in_cell(self._pair(one, first, second).difference)
                for one in self.standings.values()
            ]
            + [self.over_both(first, second)]
            for words, first, second in questions
        ]
        told = {(first, second) for _, first, second in questions}
        for (task, _), standing in self.standings.items():
            for pair in standing.questions:
                if (names := (pair.first.name, pair.second.name)) not in told:
                    raise UserError(
                        f"{self.folder / task}: not on the page: {' minus '.join(names)}"
                    )
        most = max(size for _, size in self.standings)
        header = ["what is asked", "rows", *self._titles(), f"over both, {most:,}"]
        return markdown.table(header, lines)

    def fitted_table(self, names: Sequence[str]) -> str:
        """After how many epochs the training loss of each model was first below `FITTED`."""
        lines = [
            [name, *(_fitted(_of_name(one.finished, name)) for one in self.standings.values())]
            for name in names
        ]
        return markdown.table(["model", *self._titles()], lines)

    @property
    def _record(self) -> ClassificationRecord:
        standing = next(iter(self.standings.values()))
        return _of_name(standing.finished, "none").trained[0]

    def _titles(self) -> list[str]:
        return [f"{task}, {size:,}" for task, size in self.standings]

    def _pair(self, standing: Standing, first: str, second: str) -> Pair:
        for pair in standing.questions:
            if (pair.first.name, pair.second.name) == (first, second):
                return pair
        raise UserError(f"{self.folder}: {first!r} and {second!r} are not compared")


def _fitted(model: ModelRuns) -> str:
    """``11-14``; ``11-14 (9 of 10)`` where the other runs never were; ``never``."""
    found = [
        next((point["epoch"] for point in record.curves["train"] if point["loss"] < FITTED), None)
        for record in model.trained
    ]
    epochs = [epoch for epoch in found if epoch is not None]
    if not epochs:
        return "never"
    some = f" ({len(epochs)} of {len(found)})" if len(epochs) < len(found) else ""
    return f"{least_and_most(epochs, '.0f')}{some}"


def _of_name(models: Sequence[ModelRuns], name: str) -> ModelRuns:
    for model in models:
        if model.name == name:
            return model
    raise UserError(f"no finished run of {name!r}")
