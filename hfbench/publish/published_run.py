"""The run that is published among the others of its comparison, and what is to be said of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hfbench.evidence.compared import ComparedModels, ModelRuns
from hfbench.evidence.data_notes import KEPT, describe_cut
from hfbench.evidence.findings import Findings
from hfbench.evidence.footnotes import collapse
from hfbench.evidence.stats import wilson_interval
from hfbench.evidence.words import enumerate_names, list_labels, percent
from hfbench.publish.bundle import Choice
from hfbench.records.schema import ClassificationRecord, ModelFacts, TaskData, TrainingFacts


@dataclass(frozen=True)
class PublishedRun:
    """The published run among the others of its comparison."""

    findings: Findings
    model: ModelRuns
    choice: Choice
    repo_id: str
    licence: str | None
    """As the Hub names it, e.g. ``apache-2.0``; None: whoever publishes has not said."""
    brings_code: bool
    """Whether it loads by code of its own."""

    @property
    def comparison(self) -> ComparedModels:
        """In which it is a row."""
        return self.findings.comparison

    @property
    def record(self) -> ClassificationRecord:
        """Of the run."""
        return self.choice.record

    @property
    def task(self) -> TaskData:
        """The data of the run."""
        return self.record.task

    @property
    def training(self) -> TrainingFacts:
        """How the run trained."""
        return self.record.training

    @property
    def facts(self) -> ModelFacts:
        """What it trained."""
        return self.record.model_facts

    @property
    def entry(self) -> dict[str, Any]:
        """The model's entry in the recipe."""
        return self.record.settings["models"][0]

    @property
    def correct(self) -> np.ndarray:
        """Whether each answer of this run is right, shape (1, examples)."""
        return self.model.correct[self._number : self._number + 1]

    @property
    def scores(self) -> dict[str, float]:
        """Metric -> value, of this run."""
        return self.model.scores[self._number].values

    @property
    def _number(self) -> int:
        """Of the run, among those of its model."""
        return [record.stem for record in self.model.finished].index(self.record.stem)

    @property
    def base_model(self) -> str | None:
        """The checkpoint of the Hub whose weights it started from."""
        name = self.entry.get("model_name_or_path")
        is_hub_id = bool(name) and self.facts.revision is not None
        return name if is_hub_id and not self.entry.get("random_init") else None

    @property
    def chosen_on_evaluation(self) -> bool:
        """Whether the seed was picked by the very examples that the table reports."""
        picked = len(self.model.finished) > 1 and "highest accuracy" in self.choice.reason
        return picked and self.task.evaluation_split == "validation"


def is_published_split(record: ClassificationRecord) -> bool:
    """Whether the evaluation examples are a whole split of the data set as it was published."""
    task = record.settings["task"]
    return bool(task.get("test_split") or task.get("validation_split"))


def split_name(record: ClassificationRecord) -> str:
    """The split of the data set that the evaluation examples are from."""
    task = record.settings["task"]
    return task.get("test_split") or task.get("validation_split") or task["train_split"]


def _architecture(entry: dict[str, Any]) -> str:
    """What a model without a checkpoint is called in the recipe."""
    return next(entry[key] for key in ("preset", "model_type", "model") if key in entry)


def what_it_is(run: PublishedRun) -> str:
    entry, facts = run.entry, run.facts
    labels = list_labels([f'"{label}"' for label in run.task.labels])
    task = f"It classifies texts like those of {run.task.source} as {labels}."
    size = f"{facts.parameters:,} parameters"
    name = entry.get("model_name_or_path")
    if lora := entry.get("lora"):
        start = (
            f"`{name or _architecture(entry)}` fine-tuned with LoRA (rank {lora['r']}); the "
            f"adapters are merged into its {size}, so that it loads without PEFT."
        )
    elif entry.get("random_init"):
        start = (
            f"The architecture and tokenizer of `{name}` with new random weights ({size}), trained "
            f"from scratch: nothing of that checkpoint's weights is in it."
        )
    elif name:
        start = f"`{name}`, fine-tuned ({size})."
    else:
        kind = f"the size {entry['preset']} of hfbench's custom GPT" if "preset" in entry else ""
        kind = kind or f"the architecture {_architecture(entry)}"
        how = "pretrained on other text, then fine-tuned"
        how = how if "pretrain" in entry else "trained from scratch, without any pretraining"
        start = f"A `{facts.class_name}` ({kind}; {size}), {how}."
    return f"{start} {task}"


def warnings(run: PublishedRun) -> list[str]:
    """What a reader must know before anything else."""
    floor, lines = run.comparison.floors[run.model.name], []
    always = f'always answering "{floor.label}"'
    if not floor.above_chance:
        lines.append(
            f"It is not shown to be better than guessing ({percent(floor.chance)}): do not rely on "
            "its answers."
        )
    if floor.majority is None:
        lines.append(f"It gives the same answer to every text ({always}).")
    elif not floor.above_majority:
        lines.append(f"It is not shown to be better than {always}.")
    if (lost := collapse(run.model)) and floor.majority is not None:
        lines.append(f"{lost}.")
    return lines


def place(run: PublishedRun) -> str:
    """Where the model stands among the others of the table."""
    name, finished = run.model.name, run.comparison.finished
    rank = [model.name for model in finished].index(name) + 1
    worse, better, alike = [], [], []
    for pair in run.comparison.pairs:
        if name not in (pair.first.name, pair.second.name):
            continue
        if not pair.differ:
            other = pair.second if pair.first.name == name else pair.first
            alike.append(other.name)
        elif pair.first.name == name:
            worse.append(pair.second.name)
        else:
            better.append(pair.first.name)
    parts = [
        f"is beaten by {enumerate_names(better)}" if better else "",
        f"beats {enumerate_names(worse)}" if worse else "",
        f"cannot be told from {enumerate_names(alike)}" if alike else "",
    ]
    found = enumerate_names([part for part in parts if part])
    place = f"By mean accuracy over its seeds {name} is number {rank} of {len(finished)}"
    return f"{place}: it {found}." if found else f"{place}."


def this_run(run: PublishedRun) -> str:
    """The accuracy of the published weights, in a sentence or two; also for the Hub's notes."""
    right, n = int(run.correct.sum()), int(run.correct.size)
    low, high = wilson_interval(right / n, n)
    split, model = run.task.evaluation_split, run.model
    what = f"{split} examples"
    if not is_published_split(run.record):
        what += f", held out of the {split_name(run.record)} split"
    text = (
        f"Seed {run.record.seed}: accuracy {percent(right / n)} ({right} of {n} {what}; 95 % "
        f"interval {100 * low:.1f}-{100 * high:.1f})"
    )
    if len(model.finished) == 1:
        return f"{text}; one seed only"
    low, high = model.interval
    text += (
        f"; mean of {len(model.finished)} seeds {percent(model.value)} (95 % interval, over "
        f"examples and seeds, {100 * low:.1f}-{100 * high:.1f})"
    )
    if run.chosen_on_evaluation:
        text += "; the seed was chosen on these examples, so that its own figure is too high"
    return text


def optimizer(training: TrainingFacts) -> str:
    arguments = training.arguments
    return (
        f"{arguments['optim']}, learning rate {arguments['learning_rate']:g} "
        f"({arguments['lr_scheduler_type']}), betas {arguments['adam_beta1']:g} and "
        f"{arguments['adam_beta2']:g}, weight decay {arguments['weight_decay']:g}"
        + (" on matrices that are not embeddings" if training.optimizer == "study" else "")
        + f", gradient norm clipped at {arguments['max_grad_norm']:g}"
    )


def limits(run: PublishedRun) -> list[str]:
    """What is not known of it, or known to be bad."""
    model, training, task = run.model, run.training, run.task
    lines = [
        f"Evaluated on {len(model.labels):,} {task.evaluation_split} examples of {task.source} and "
        "nothing else: about other texts, languages or times nothing is known, and nothing was "
        "examined of biases.",
        f"Every text gets one of the labels {list_labels(task.labels)}, also where none fits.",
        f"Its probabilities are off by {percent(run.scores['ece'])} on average (expected "
        "calibration error over 10 bins).",
    ]
    if run.chosen_on_evaluation:
        lines.append(
            "The seed was chosen on the examples that the table reports: expect the mean over the "
            "seeds and not this run's figure."
        )
    if len(model.finished) == 1:
        lines.append("One seed only: how much the result depends on it is not known.")
    sizes = {name: split.examples for name, split in task.splits.items()}
    if cut := describe_cut(training.tokens, sizes, run.facts.max_length):
        kept = run.record.settings["task"].get("truncation", "head")
        lines.append(f"{cut}; of every longer text it has read {KEPT[kept]} only.")
    return lines
