"""The run that is published among the others of its comparison, and what is to be said of it."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import ndtri

from hfbench.evidence.compared import ComparedModels
from hfbench.evidence.data_notes import KEPT, describe_cut
from hfbench.evidence.findings import Findings
from hfbench.evidence.footnotes import collapse
from hfbench.evidence.model_runs import ModelRuns
from hfbench.evidence.stats import wilson_interval
from hfbench.evidence.words import enumerate_names, list_labels, percent
from hfbench.metrics.registry import Metric
from hfbench.publish.bundle import Choice
from hfbench.records.data import TaskData
from hfbench.records.schema import ClassificationRecord, ModelFacts, TrainingFacts


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
        """Whether each answer of this run is right, shape (1, examples); of no regression."""
        return self.model.correct[self._number : self._number + 1]

    @property
    def metric(self) -> Metric:
        """By which models are ranked."""
        return self.model.metric

    @property
    def value(self) -> float:
        """Of this run, by that measure."""
        return self.scores[self.metric.name]

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of that, over examples: Wilson's of a share of right answers."""
        examples = len(self.model.labels)
        if self.metric.name == "accuracy":
            return wilson_interval(self.value, examples)
        of_examples = self.model.pseudo_values[self._number]
        half = float(ndtri(0.975)) * of_examples.std(ddof=1) / math.sqrt(examples)
        low, high = self.metric.bounds
        return max(self.value - half, low), min(self.value + half, high)

    @cached_property
    def scores(self) -> dict[str, float]:
        """Metric -> value, of this run, of all measures of the comparison."""
        return self.model.scores_with(self.comparison.columns)[self._number].values

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
        picked = len(self.model.finished) > 1 and "validation examples" in self.choice.reason
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
    task = {
        "single_label_classification": f"It classifies texts like those of {run.task.source} as "
        f"{labels}.",
        "multi_label_classification": f"It gives texts like those of {run.task.source} any number "
        f"of the labels {labels}.",
        "regression": f"It predicts the number {labels} of texts like those of {run.task.source}.",
    }[run.task.problem_type]
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
    if floor.chance is not None and not floor.above_chance:
        lines.append(
            f"It is not shown to be better than guessing ({percent(floor.chance)}): do not rely on "
            "its answers."
        )
    if floor.is_same:
        lines.append(f"It gives the same answer to every text ({always}).")
    elif not floor.above_majority:
        lines.append(f"It is not shown to be better than {always}.")
    if (lost := collapse(run.model)) and not floor.is_same:
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
        f"cannot be distinguished from {enumerate_names(alike)}" if alike else "",
    ]
    found = enumerate_names([part for part in parts if part])
    place = f"By mean {run.metric.label} over its seeds {name} is number {rank} of {len(finished)}"
    return f"{place}: it {found}." if found else f"{place}."


def this_run(run: PublishedRun) -> str:
    """How good the published weights are, in a sentence or two; also for the Hub's notes."""
    n = len(run.model.labels)
    split, model = run.task.evaluation_split, run.model
    what = f"{split} examples"
    if not is_published_split(run.record):
        what += f", held out of the {split_name(run.record)} split"
    of = f"{int(run.correct.sum())} of {n}" if run.metric.name == "accuracy" else f"{n}"
    text = (
        f"Seed {run.record.seed}: {run.metric.label} {_shown(run.value, run.metric)} ({of} {what}; "
        f"95 % interval {_range(run.interval, run.metric)})"
    )
    if len(model.finished) == 1:
        return f"{text}; one seed only"
    text += (
        f"; mean of {len(model.finished)} seeds {_shown(model.value, run.metric)} (95 % interval, "
        f"over examples and seeds, {_range(model.interval, run.metric)})"
    )
    if run.chosen_on_evaluation:
        text += "; the seed was chosen on these examples, so that its own figure is too high"
    return text


def _shown(value: float, metric: Metric) -> str:
    return percent(value) if metric.is_percentage else metric.text(value)


def _range(interval: tuple[float, float], metric: Metric) -> str:
    low, high = interval
    if metric.is_percentage:
        return f"{100 * low:.1f}-{100 * high:.1f}"
    return f"{metric.text(low)} to {metric.text(high)}"


def optimizer(training: TrainingFacts) -> str:
    arguments = training.arguments
    return (
        f"{arguments['optim']}, learning rate {arguments['learning_rate']:g} "
        f"({arguments['lr_scheduler_type']}), betas {arguments['adam_beta1']:g} and "
        f"{arguments['adam_beta2']:g}, weight decay {arguments['weight_decay']:g}"
        + (" on matrices that are not embeddings" if training.optimizer == "study" else "")
        + f", gradient norm clipped at {arguments['max_grad_norm']:g}"
    )


def _limits_of_answers(run: PublishedRun) -> list[str]:
    """What it answers, and how a program makes a decision of it."""
    task, thresholds = run.task, run.record.thresholds
    if task.problem_type == "regression":
        target = task.splits["train"].target
        assert target is not None
        return [
            f"Its numbers have no limits; those that it was trained on were from {target.low:.4g} "
            f'to {target.high:.4g}. Ask the pipeline with `function_to_apply="none"`.'
        ]
    if task.problem_type == "multi_label_classification":
        names, lines = task.labels, [
            f"A text may get any number of the labels {list_labels(task.labels)}, none as well: "
            "ask the pipeline with `top_k=None`, and take those of a probability above "
            f"{'their threshold' if thresholds else '0.5'}."
        ]  # fmt: skip
    else:
        names = task.labels[1:]
        lines = [
            f"Every text gets one of the labels {list_labels(task.labels)}, also where none fits."
        ]
    if thresholds:
        pairs = zip(names, thresholds, strict=True)
        lines.append(
            "The figures are those of labels that are given from these probabilities on, which "
            "were chosen on the validation examples: "
            f"{', '.join(f'{name} {threshold:.3f}' for name, threshold in pairs)}. The pipeline "
            "does not know them."
        )
    return lines


def limits(run: PublishedRun) -> list[str]:
    """What is not known of it, or known to be bad."""
    model, training, task = run.model, run.training, run.task
    lines = [
        f"Evaluated on {len(model.labels):,} {task.evaluation_split} examples of {task.source} and "
        "nothing else: about other texts, languages or times nothing is known, and nothing was "
        "examined of biases.",
        *_limits_of_answers(run),
    ]
    if "ece" in run.scores:
        lines.append(
            f"Its probabilities are off by {percent(run.scores['ece'])} on average (expected "
            "calibration error over 10 bins)."
        )
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
