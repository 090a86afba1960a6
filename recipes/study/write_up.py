"""Write the study's findings: every number and table in them is read from the records.

    python recipes/study/write_up.py results/study

renders findings.md.jinja, beside this script, to README.md in the folder that holds the results of
the study's recipes. In the template, `study` is a `Study`.
"""

import argparse
import csv
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from new_studies import as_table as table_of_new_studies
from new_studies import beats, one_run, table_of

from hfbench import load_records
from hfbench.cli.script import exit_on_user_error
from hfbench.errors import UserError
from hfbench.evidence import markdown
from hfbench.evidence.compared import Pair
from hfbench.evidence.comparison import Comparison, load_comparison
from hfbench.evidence.crossed import Table
from hfbench.evidence.difference import Difference
from hfbench.evidence.findings import Findings
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.overall import compare_tasks
from hfbench.evidence.overall_table import matrix
from hfbench.evidence.power import Discordance, needed_examples, needed_range
from hfbench.evidence.rows import MAIN, build_rows, text_table
from hfbench.evidence.words import decimal, enumerate_names
from hfbench.records.schema import PretrainingRecord, TrainedRecord
from hfbench.system.files import atomic

TEMPLATE = Path(__file__).with_name("findings.md.jinja")


class Study:
    """The numbers of the study in words, from the folders of its recipes.

    A step is a recipe's name without ``study_``. Accuracies are percentages of the test examples,
    differences points of a percentage; what stands in brackets is a 95 % interval.
    """

    def __init__(self, results: Path) -> None:
        """Read nothing yet; ``results`` holds a folder for each step."""
        self.results = results
        self.comparison = cache(self._load)

    def _load(self, step: str) -> Comparison:
        return load_comparison(self.results / f"study_{step}")

    def accuracy(self, model: str, step: str = "05_sst2") -> str:
        """``68.2 % (66.0 to 70.3)``."""
        runs = self.model(model, step)
        low, high = runs.interval
        return f"{100 * runs.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"

    def place(self, percent: float, model: str, step: str = "05_sst2") -> str:
        """Where an accuracy is: ``lies in``, ``lies above`` or ``lies below`` our interval."""
        low, high = self.model(model, step).interval
        if low <= percent / 100 <= high:
            return "lies in"
        return "lies above" if percent / 100 > high else "lies below"

    def small_study(self, model: str, examples: int, step: str = "05_sst2") -> str:
        """What a new run gives on so many new examples, 95 % of the time: ``53 to 69 %``."""
        table = self._table(step)
        low, high = one_run(table, model, examples)
        return f"{100 * low:.0f} to {100 * high:.0f} %"

    def single_runs(self, model: str, step: str = "05_sst2", split: str = "validation") -> str:
        """The least and the most accurate run: ``60.0 to 71.7 %``."""
        found = [100 * run.metrics[split]["accuracy"] for run in self.model(model, step).finished]
        return f"{min(found):.1f} to {max(found):.1f} %"

    def difference(self, first: str, second: str, step: str = "05_sst2") -> str:
        """Of ``first`` minus ``second``: ``+3.1 points (-0.2 to 6.4)``.

        The interval is that of all questions of the step together.
        """
        found = self.paired(first, second, step)
        low, high = decimal(found.family_low), decimal(found.family_high)
        return f"{decimal(found.mean, '+.1f')} points ({low} to {high})"

    def relation(self, first: str, second: str, step: str = "05_sst2") -> str:
        """``is better than``, ``is worse than`` or ``cannot be distinguished from``, if asked."""
        if not self._pair(first, second, step).differ:
            return "cannot be distinguished from"
        return f"is {'better' if self.paired(first, second, step).mean > 0 else 'worse'} than"

    def beats(self, first: str, second: str, examples: int, step: str = "05_sst2") -> str:
        """How often one new run of each has the first ahead: ``96 % (91 to 99)``."""
        self._pair(first, second, step)
        return beats(self._table(step), first, second, examples)

    def needed_examples(self, first: str, second: str, step: str = "05_sst2") -> str:
        """By which one run of each shows their difference, 80 % power: ``210 to 910 examples``.

        Over the interval of the difference; how much seeds matter counts as known.
        """
        table, found = self._table(step), self.paired(first, second, step)
        seeds = sum(table.seeds.sd(table.number[name]) ** 2 for name in (first, second))
        # of one run, all that varies with the example is one part
        of_examples = table.variance_of_single_runs(first, second)
        discordance = Discordance(of_examples + found.mean**2 + seeds, 1.0, seeds**0.5)
        fewest, most = needed_range(
            found.low, found.high, lambda d: needed_examples(d, 1, discordance, rows=None)
        )
        if fewest is None:
            return "no number of examples does, since seeds vary too much"
        if most is None:
            return f"{fewest:,} examples or more, or none do"
        return f"{fewest:,} to {most:,} examples"

    def collapsed_runs(self, model: str, step: str = "05_sst2") -> str:
        """How many runs collapsed to one answer: ``7 of 10``."""
        runs = self.model(model, step)
        return f"{runs.collapsed.sum()} of {len(runs.finished)}"

    def overlap(self, model: str, step: str = "05_sst2") -> str:
        """How many test examples occur in the corpus that it was pretrained on: ``1 of 872``.

        Raises:
            UserError: if that was not counted.
        """
        trained = self.model(model, step).trained
        if not (trained and trained[0].corpus_overlap):
            raise UserError(f"{self.results}: {step} has no overlap of {model!r} with a corpus")
        count = trained[0].corpus_overlap[trained[0].task.evaluation_split]
        return f"{count.exact + count.near:,} of {count.examples:,}"

    def validation_loss(self, step: str, model: str) -> str:
        """Of a language model at the end of its training, nats a token: ``5.62``.

        Raises:
            UserError: if the step has no such pretraining that is finished.
        """
        return f"{self._pretraining(step, model).metrics['validation']['loss']:.2f}"

    def lowest_validation_loss(self, step: str, model: str) -> str:
        """The least of a language model's evaluations: ``5.43 (step 60,000)``; see above."""
        curve = self._pretraining(step, model).curves["validation"]
        best = min(curve, key=lambda point: point["loss"])
        return f"{best['loss']:.2f} (step {best['step']:,.0f})"

    def training_loss(self, step: str, model: str, first: bool = False) -> str:
        """Of a language model, as last logged or as first; see above."""
        point = self._pretraining(step, model).curves["train"][0 if first else -1]
        return f"{point['loss']:.2f}"

    def _pretraining(self, step: str, model: str) -> PretrainingRecord:
        for record in load_records(self.results / f"study_{step}"):
            if isinstance(record, PretrainingRecord) and record.model == model:
                return record
        raise UserError(f"{self.results}: {step} has no finished pretraining of {model!r}")

    def ran(self) -> str:
        """How many models were trained, on what, and within which time."""
        folders = sorted(path for path in self.results.glob("study_*") if path.is_dir())
        records = [record for folder in folders for record in load_records(folder)]
        trained = [r for r in records if isinstance(r, TrainedRecord) and not r.adopted_from]
        starts = [datetime.fromisoformat(record.started) for record in trained]
        ends = [
            start + timedelta(seconds=record.cell_seconds)
            for start, record in zip(starts, trained, strict=True)
        ]
        minutes = (max(ends) - min(starts)).total_seconds() / 60
        devices = enumerate_names(sorted({record.training.device for record in trained}))
        return f"{len(trained):,} trainings on {devices}, within {minutes:.0f} minutes"

    def next_tokens(self, step: str, prompt: str, temperature: float = 1.0) -> str:
        """What the step's `generations` expect after a prompt: ``can 0.516, hold 0.331``.

        At another temperature than 1, the shares are of the listed tokens alone: p^(1/temperature)
        divided by the sum. The others, which are less probable than these, would take a little.

        Raises:
            UserError: if nothing was generated after ``prompt``.
        """
        path = self.results / f"study_{step}" / "generations" / "generation.csv"
        with path.open(encoding="utf-8", newline="") as file:
            lines = [
                line
                for line in csv.DictReader(file)
                if line["prompt"] == prompt and line["position"] == "1" and line["rank"]
            ]
        if not lines:
            raise UserError(f"{path}: nothing after the prompt {prompt!r}")
        shares = [float(line["probability"]) ** (1 / temperature) for line in lines]
        total = 1.0 if temperature == 1 else sum(shares)
        return ", ".join(
            f"{line['token'].strip()} {share / total:.3f}"
            for line, share in zip(lines, shares, strict=True)
        )

    def table(self, step: str) -> str:
        """The accuracies of a step, as `hfbench table` shows them."""
        table = text_table(build_rows(Findings.of(self.comparison(step))), MAIN, {})
        return markdown.table(table.header, table.rows)

    def table_of_new_studies(self, step: str, examples: list[int]) -> str:
        """See new_studies.py."""
        return table_of_new_studies(self.comparison(step), examples)

    def table_across_tasks(self, steps: list[str]) -> str:
        """Accuracies, their mean and the average ranks of the models that all steps have, in %."""
        overall = compare_tasks({step: self.comparison(step) for step in steps}, "the study")
        sources = [task.comparison.task.source for task in overall.tasks if task.comparison.task]
        of_tasks = {row[0]: row[1:] for row in matrix(overall, intervals=True).rows}
        rows = []
        for row in overall.rows:
            if row.mean and row.rank:
                mean = [100 * value for value in (row.mean.value, row.mean.low, row.mean.high)]
                rank = f"{row.rank.value:.2f} ({row.rank.low:.2f}-{row.rank.high:.2f})"
                shown = f"{mean[0]:.1f} ({mean[1]:.1f}-{mean[2]:.1f})"
                rows.append([row.model, *of_tasks[row.model], shown, rank])
        return markdown.table(["model", *sources, "mean", "average rank"], rows)

    def _table(self, step: str) -> Table:
        """The answers of all of its models."""
        return table_of(self.comparison(step))

    def model(self, name: str, step: str) -> ModelRuns:
        """The runs of a model.

        Raises:
            UserError: if none of it is finished.
        """
        for model in self.comparison(step).finished:
            if model.name == name:
                return model
        raise UserError(f"{self.results}: {step} has no finished run of {name!r}")

    def paired(self, first: str, second: str, step: str) -> Difference:
        """The accuracy of ``first`` minus that of ``second``; for errors see `_pair`."""
        pair = self._pair(first, second, step)
        return pair.difference if pair.first.name == first else -pair.difference

    def _pair(self, first: str, second: str, step: str) -> Pair:
        """The two models, in either order.

        Raises:
            UserError: if the step's recipe does not ask for it.
        """
        for pair in self.comparison(step).questions:
            if {pair.first.name, pair.second.name} == {first, second}:
                return pair
        raise UserError(f"{self.results}: {step} does not ask about {first!r} and {second!r}")


def render(template: str, results: Path) -> str:
    """The findings as Markdown; a name that the template does not know is an error."""
    environment = Environment(undefined=StrictUndefined)
    return markdown.fill(environment.from_string(template).render(study=Study(results)))


def main() -> None:
    """Write the findings beside the results that they tell of."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="the folder with a folder for each recipe")
    args = parser.parse_args()
    with exit_on_user_error():
        path = args.results / "README.md"
        text = render(TEMPLATE.read_text("utf-8"), args.results)
        with atomic(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(f"Findings in {path}")


if __name__ == "__main__":
    main()
