"""What the recipes of the study show, in the words and tables of its page.

What has not run yet stands as "not run yet" where its number belongs.
"""

import csv
from collections.abc import Callable, Sequence
from functools import cached_property, wraps
from pathlib import Path

from cells import NOT_RUN, ends, in_cell, least_and_most, pooled
from why_findings import Why

from hfbench import load_comparison, load_records
from hfbench.errors import UserError
from hfbench.evidence import markdown
from hfbench.evidence.compared import Pair
from hfbench.evidence.comparison import Comparison
from hfbench.evidence.families import families_of, family_of
from hfbench.evidence.findings import Findings
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.overall import Overall, load_overall
from hfbench.evidence.overall_findings import OverallFindings
from hfbench.evidence.overall_table import matrix
from hfbench.evidence.power import (
    measure_discordance,
    needed_examples,
    needed_range,
    needed_seeds,
)
from hfbench.evidence.rows import MAIN, build_rows, text_table
from hfbench.evidence.words import decimal, enumerate_names
from hfbench.records.damage import find_folders
from hfbench.records.schema import PretrainingRecord, TrainedRecord
from hfbench.records.store import ResultsFolder

FOLDERS = ("study", "study_as_it_was", "study_as_it_was_240", "study_sizes", "study_why")
FILES = ("study_why/norms.json", *(f"generations/{n}/generation.csv" for n in ("pets", "coins")))

LOST_BY_CHOICE = " †"
"""After a difference that is shown, and would not be if settings were chosen anew as well."""


class NotRunError(UserError):
    """A row of a recipe that the page tells of has no result yet."""


def or_not_run(text: Callable[..., str]) -> Callable[..., str]:
    """A method's text, or `NOT_RUN` where a result that it tells of is missing."""

    @wraps(text)
    def told(*args: object, **kwargs: object) -> str:
        try:
            return text(*args, **kwargs)
        except NotRunError:
            return NOT_RUN

    return told


class Study:
    """The numbers of the study in words; what stands in brackets is a 95 % interval."""

    def __init__(self, results: Path) -> None:
        """Read nothing yet; ``results`` holds a folder for each recipe."""
        self.results = results
        self._loaded: dict[str, Comparison] = {}

    def has(self, name: str) -> bool:
        """Whether this file or folder is there."""
        return (self.results / name).exists()

    def is_complete(self, name: str) -> bool:
        """Whether all of a recipe's rows have their runs."""
        return not any(Path(place).is_relative_to(name) for place in self.lacking)

    @cached_property
    def lacking(self) -> dict[str, str]:
        """Folder or file in which something has not run -> what; empty where it is all of it."""
        found = {name: "" for name in (*FOLDERS, *FILES) if not self.has(name)}
        for name in FOLDERS:
            if self.has(name):
                for place, comparison in self._comparisons(name).items():
                    if rows := ", ".join(_waiting(comparison)):
                        found[place] = rows
        return found

    def lacking_table(self) -> str:
        """A line for all places that lack the same."""
        places: dict[str, list[str]] = {}
        for place, rows in self.lacking.items():
            places.setdefault(rows, []).append(place)
        lines = [[enumerate_names(at), rows or "all of it"] for rows, at in places.items()]
        return markdown.table(["where", "what"], lines)

    def _comparisons(self, name: str) -> dict[str, Comparison]:
        """Folder -> what a recipe's records show, on each of its tasks."""
        if name not in ("study", "study_why"):
            return {name: self._comparison(name)}
        tasks = self.of_tasks if name == "study" else self.why.comparisons
        return {f"{name}/{task}": found for task, found in tasks.items()}

    def _comparison(self, name: str) -> Comparison:
        """Of a recipe with one task; loaded once."""
        if name not in self._loaded:
            self._loaded[name] = load_comparison(self.results / name)
        return self._loaded[name]

    @cached_property
    def why(self) -> Why:
        """The results of why.yaml."""
        return Why(self.results / "study_why")

    @cached_property
    def overall(self) -> Overall:
        """The tasks of study.yaml, and what they show together."""
        folder = ResultsFolder(self.results / "study")
        return load_overall([task.path for task in folder.tasks], folder.name)

    @cached_property
    def of_tasks(self) -> dict[str, Comparison]:
        """Of study.yaml, in its order."""
        return {task.name: task.comparison for task in self.overall.tasks}

    @cached_property
    def main(self) -> Comparison:
        """On SST-2."""
        return self.of_tasks["sst2"]

    @property
    def trials(self) -> int:
        """By which settings of each row were chosen."""
        tune = self.main.asked[-1].tune
        assert tune is not None  # study.yaml has it
        return int(tune["trials"])

    @property
    def seeds(self) -> int:
        """Runs of each row in which something is random."""
        return len(self.main.asked[-1].seeds)

    @property
    def examples(self) -> int:
        """Of SST-2 that are answered."""
        return self.main.finished[0].correct.shape[1]

    @property
    def pretrainings(self) -> str:
        """Of each pretrained row."""
        found = {len({*model.pretrainings}) for model in self.main.finished if model.pretrainings}
        return enumerate_names([str(number) for number in sorted(found)])

    @property
    def number_of_questions(self) -> int:
        """On each task, those that wait for results included."""
        return len(self.main.questions) + len(self.main.waiting)

    def answer(self) -> str:
        """To which row is best over the tasks."""
        return markdown.escape(" ".join(OverallFindings.of(self.overall).answer))

    def best_of_families(self) -> str:
        """Of the rows with a result on each task those with the highest mean, one a family."""
        rows = [row for row in self.overall.rows if row.mean]
        models = {model.name: model for model in self.main.finished}
        cells = {line[0]: line[1:] for line in matrix(self.overall, intervals=True).rows}
        lines = []
        for family in families_of(models[row.model] for row in rows):
            best = next(row for row in rows if family_of(models[row.model]) is family)
            assert best.mean is not None
            ends = f"{decimal(best.mean.low)}-{decimal(best.mean.high)}"
            size = models[best.model].finished[0].model_facts.parameters
            lines.append(
                [best.model, family.title, *cells[best.model],
                 f"{decimal(best.mean.value)} ({ends})", f"{size:,}"]
            )  # fmt: skip
        lines.sort(key=lambda line: [row.model for row in rows].index(line[0]))
        return markdown.table(["model", "family", *self.of_tasks, "mean", "parameters"], lines)

    def questions_table(self) -> str:
        """A line for each question, a column for each task, one over all and one for the level."""
        lines = []
        for pair in self.main.questions:
            names = pair.first.name, pair.second.name
            found = [self.question(*names, task) for task in self.of_tasks]
            found.append(self.over_all(*names))
            lines.append([" minus ".join(names), *found, _level(pair)])
        header = ["question", *self.of_tasks, f"over the {len(self.of_tasks)}", "level"]
        return markdown.table(header, lines)

    def left_out(self) -> str:
        """Of which rows some runs collapsed, and are in no mean; of which all did."""
        some, alone = [], []
        for task, comparison in self.of_tasks.items():
            for model in comparison.finished:
                if model.collapsed.all() and len(model.collapsed):
                    alone.append(f"{model.name} on {task}")
                elif model.collapsed.any():
                    counts = f"{model.collapsed.sum()} of {len(model.finished)}"
                    some.append(f"{model.name} on {task} ({counts})")
        told = [
            ("Runs that gave one answer to all examples are in no mean, and new seeds are such as "
             "do not", some),
            ("Rows of which every run did so", alone),
        ]  # fmt: skip
        return " ".join(
            f"{what}: {markdown.escape(enumerate_names(rows))}." for what, rows in told if rows
        )

    @or_not_run
    def question(self, first: str, second: str, task: str) -> str:
        """What is shown of two models, as in the table.

        Marked where it would not be shown if settings had been chosen anew.
        """
        comparison = self.of_tasks[task]
        pair = _pair(comparison, first, second)
        assert comparison.tuning is not None  # study.yaml has it
        lost = comparison.tuning.loses_by_choice(pair)
        return in_cell(pair.difference) + LOST_BY_CHOICE * lost

    @or_not_run
    def over_all(self, first: str, second: str) -> str:
        """As `question`, over the tasks."""
        if pair := pooled(self.overall, first, second):
            return in_cell(pair.these) + LOST_BY_CHOICE * self.overall.loses_by_choice(pair)
        raise NotRunError(f"{first} or {second} has not run on each task")

    @or_not_run
    def untuned(self, first: str, second: str) -> str:
        """As `question`, at the study's settings and with all its examples."""
        return in_cell(_pair(self._comparison("study_sizes"), first, second).difference)

    @or_not_run
    def accuracy(self, model: str, *, tuned: bool) -> str:
        """On SST-2: ``64.2 % (61.6 to 66.6)``, ``tuned`` or at the study's settings."""
        found = _of_name(self.main if tuned else self._comparison("study_sizes"), model)
        return f"{decimal(found.value)} % ({ends(*found.interval)})"

    @or_not_run
    def size(self, model: str) -> str:
        """``102,720 parameters, of which 156 are not in embeddings``."""
        facts = _of_name(self.main, model).finished[0].model_facts
        assert facts.parameters is not None  # a network has some
        assert facts.embedding_parameters is not None
        others = facts.parameters - facts.embedding_parameters
        return f"{facts.parameters:,} parameters, of which {others:,} are not in embeddings"

    @or_not_run
    def padding(self, ending: str = "") -> str:
        """As `question`, of the classifier that reads padding and the right one."""
        return in_cell(_pair(self.as_it_was(ending), "reads-padding", "study-gpt").difference)

    def as_it_was(self, ending: str = "") -> Comparison:
        """The study's models at its settings; ``_240``: with so many held out."""
        if not self.has(name := f"study_as_it_was{ending}"):
            raise NotRunError(f"{self.results}: {name} has not run yet")
        return self._comparison(name)

    @or_not_run
    def held_out(self, model: str, ending: str = "") -> str:
        """The least and the most accurate run on validation: ``60.0 to 71.7 %``."""
        runs = _of_name(self.as_it_was(ending), model).finished
        found = [run.metrics["validation"]["accuracy"] for run in runs]
        return f"{decimal(min(found))} to {decimal(max(found))} %"

    @or_not_run
    def collapsed(self, model: str) -> str:
        """How many runs on SST-2 collapsed to one answer: ``7 of 10``."""
        runs = _of_name(self.main, model)
        return f"{runs.collapsed.sum()} of {len(runs.finished)}"

    @or_not_run
    def overlap(self, model: str) -> str:
        """How many test examples of SST-2 occur in the corpus of a model: ``1 of 872``."""
        overlap = _of_name(self.main, model).trained[0].corpus_overlap
        assert overlap is not None  # it was pretrained here
        count = overlap[self.main.finished[0].finished[0].task.evaluation_split]
        return f"{count.exact + count.near:,} of {count.examples:,}"

    def needs_table(self, pairs: Sequence[tuple[str, str]]) -> str:
        """By how many examples or runs a difference on SST-2 is shown, over its interval."""
        lines = []
        for first, second in pairs:
            try:
                pair = _pair(self.main, first, second)
            except NotRunError:
                lines.append([f"{first} minus {second}", *[NOT_RUN] * 3])
                continue
            found = pair.difference
            by_examples, by_runs = _needed(pair, self.examples)
            shown = f"{decimal(found.mean, '+.1f')} ({ends(found.low, found.high)})"
            lines.append([f"{first} minus {second}", shown, _range(by_examples), _range(by_runs)])
        header = ["difference", "points", "sentences, one run of each", "runs of each"]
        return markdown.table(header, lines)

    def wrong_order_table(self, examples: Sequence[int]) -> str:
        """How often a new study of one run each has the other model ahead, by its examples."""
        table = self.main.table
        assert table is not None  # all rows answered the same examples
        lines = []
        for pair in self.main.questions:
            names = [pair.first.name, pair.second.name]
            ahead, behind = names if pair.difference.mean >= 0 else names[::-1]
            chances = [table.chance(behind, ahead, number) for number in examples]
            lines.append(
                [f"{behind} ahead of {ahead}"]
                + [f"{100 * c.probability:.0f} % ({100 * c.low:.0f} to {100 * c.high:.0f})"
                   for c in chances]
            )  # fmt: skip
        return markdown.table(
            ["another order", *(f"{number} sentences" for number in examples)], lines
        )

    def table(self, task: str) -> str:
        """The accuracies of a task, as `hfbench table` shows them."""
        table = text_table(build_rows(Findings.of(self.of_tasks[task])), MAIN, {})
        return markdown.table(table.header, table.rows)

    def pretrainings_table(self, pairs: Sequence[tuple[str, str]]) -> str:
        """How good language models are, and what they are as classifiers, over the tasks.

        Held-out losses are of validation, at the ends of the pretrainings and at any time; the last
        column is the difference to the second of a pair, which has new weights.
        """
        over = f"minus from scratch, over the {len(self.of_tasks)}"
        return markdown.table(
            ["model", "steps", "training loss", "held-out loss", "its lowest", over],
            [[name, *self._losses(name), self.over_all(name, scratch)] for name, scratch in pairs],
        )

    def _losses(self, name: str) -> list[str]:
        """Steps, training loss, held-out loss and the lowest of it, each from least to most."""
        try:
            records = self._pretrained(name)
        except NotRunError:
            return [NOT_RUN] * 4
        held_out = [[point["loss"] for point in r.curves["validation"]] for r in records]
        return [
            least_and_most([r.training.steps for r in records], ",.0f"),
            self.training_loss(name),
            least_and_most([r.metrics["validation"]["loss"] for r in records]),
            least_and_most([min(losses) for losses in held_out]),
        ]

    @or_not_run
    def training_loss(self, model: str, first: bool = False) -> str:
        """Of its pretrainings, as last logged or as first."""
        found = [r.curves["train"][0 if first else -1]["loss"] for r in self._pretrained(model)]
        return least_and_most(found)

    @or_not_run
    def next_tokens(self, corpus: str, prompt: str, temperature: float = 1.0) -> str:
        """What `generations` expect after a prompt: ``can 0.516, hold 0.331``.

        At another temperature than 1, the shares are of the listed tokens alone: p^(1/temperature)
        divided by the sum. The others, which are less probable than these, would take a little.

        Raises:
            UserError: if nothing was generated after ``prompt``.
        """
        path = self.results / "generations" / corpus / "generation.csv"
        if not path.is_file():
            raise NotRunError(f"{path} is not there yet")
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

    def ran(self) -> str:
        """How many models were trained, on what, and for how long."""
        folders = find_folders(self.results)
        records = [record for folder in folders for record in load_records(folder.path)]
        trained = [r for r in records if isinstance(r, TrainedRecord) and not r.adopted_from]
        hours = sum(record.cell_seconds for record in trained) / 3600
        devices = enumerate_names(sorted({record.training.device for record in trained}))
        return (
            f"{len(trained):,} trainings on {devices}, {hours:.1f} hours in sum, many side by side"
        )

    def _pretrained(self, model: str) -> list[PretrainingRecord]:
        records = load_records(self.results / "study" / "sst2")
        found = [r for r in records if isinstance(r, PretrainingRecord) and r.model == model]
        if not found:
            _of_name(self.main, model)  # raises where there is no such row, or it has not run
            raise UserError(f"{self.results}: no finished pretraining of {model!r}")
        return found


def _waiting(comparison: Comparison) -> list[str]:
    """Rows without a result of which the recipe asks, and those that lack seeds."""
    ran = {model.name: model for model in comparison.finished}
    waiting = [name for pair in comparison.waiting for name in pair if name not in ran]
    seeds = len(comparison.asked[-1].seeds)
    some = [
        f"{name} ({len(model.finished)} of {seeds} runs)"
        for name, model in ran.items()
        if model.seeds != [None] and len(model.finished) + len(model.failed) < seeds
    ]
    return [*dict.fromkeys(waiting), *some]


def _of_name(comparison: Comparison, name: str) -> ModelRuns:
    """A row with a result.

    Raises:
        NotRunError: if it has none yet.
        UserError: if nothing is asked of it.
    """
    for model in comparison.finished:
        if model.name == name:
            return model
    if any(name in pair for pair in comparison.waiting):
        raise NotRunError(f"{comparison.recipe}: {name} has not run yet")
    raise UserError(f"{comparison.recipe}: no finished run of {name!r}")


def _pair(comparison: Comparison, first: str, second: str) -> Pair:
    """A question of the recipe.

    Raises:
        NotRunError: if it waits for a result.
        UserError: if the recipe does not ask it.
    """
    for pair in comparison.questions:
        if (pair.first.name, pair.second.name) == (first, second):
            return pair
    if (first, second) in comparison.waiting:
        raise NotRunError(f"{comparison.recipe}: {first} minus {second} waits for results")
    raise UserError(f"{comparison.recipe}: {first!r} and {second!r} are not compared")


def _needed(
    pair: Pair, examples: int
) -> tuple[tuple[int | None, int | None], tuple[int | None, int | None]]:
    """Examples for one run of each, and runs of each on ``examples``: the fewest and the most."""
    discordance = measure_discordance([(pair.first.counted, pair.second.counted)])
    if discordance is None:  # they never differ
        return (None, None), (None, None)
    low, high = pair.difference.low, pair.difference.high
    return (
        needed_range(low, high, lambda d: needed_examples(d, 1, discordance, rows=None)),
        needed_range(low, high, lambda d: needed_seeds(d, examples, discordance, rows=None)),
    )


def _level(pair: Pair) -> str:
    """Over what it generalises beside new examples: ``new seeds, new pretrainings``."""
    levels = ["new seeds"]
    for model in (pair.first, pair.second):
        entry = model.finished[0].settings["models"][0]
        if model.pretrainings:
            several = len({*model.pretrainings}) > 1
            levels.append("new pretrainings" if several else "this pretraining")
        elif entry.get("model_name_or_path") and not entry.get("random_init"):
            levels.append("these weights")
    return ", ".join(dict.fromkeys(levels))


def _range(numbers: tuple[int | None, int | None]) -> str:
    fewest, most = numbers
    if fewest is None:
        return "no number"
    return f"{fewest:,} to {most:,}" if most is not None else f"at least {fewest:,}, if any number"
