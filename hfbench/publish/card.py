"""Records -> what is written beside a model or results on the Hub: cards and evaluation results."""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from huggingface_hub import (
    DatasetCardData,
    EvalResult,
    EvalResultEntry,
    ModelCardData,
    SpaceCardData,
    eval_result_entries_to_yaml,
)
from huggingface_hub.utils import yaml_dump
from jinja2 import Environment, StrictUndefined

import hfbench
from hfbench.calibration import calibration
from hfbench.comparison import Comparison, ModelRuns
from hfbench.findings import (
    answer,
    describe_data,
    describe_pretraining,
    enumerate_names,
    footnotes,
    notes,
    one_class,
    percent,
)
from hfbench.publish.bundle import Choice
from hfbench.record import ModelFacts, Record, TaskData, TrainingFacts
from hfbench.stats import accuracy_interval
from hfbench.table import ACCURACY, build_rows, markdown_table, table_cells

_TAGS = ["hfbench"]
_BROKEN = "> [!CAUTION]\n> **Broken.**"


@dataclass(frozen=True)
class Subject:
    """The published run among the others of its comparison."""

    comparison: Comparison
    model: ModelRuns
    choice: Choice
    repo_id: str
    licence: str | None
    """As the Hub names it, e.g. ``apache-2.0``; None: whoever publishes has not said."""
    brings_code: bool
    """Whether it loads by code of its own."""

    @property
    def record(self) -> Record:
        """Of the run."""
        return self.choice.record

    @property
    def task(self) -> TaskData:
        """The data of the run."""
        assert self.record.task is not None
        return self.record.task

    @property
    def training(self) -> TrainingFacts:
        """How the run trained."""
        assert self.record.training is not None
        return self.record.training

    @property
    def facts(self) -> ModelFacts:
        """What it trained."""
        assert self.record.model_facts is not None
        return self.record.model_facts

    @property
    def entry(self) -> dict[str, Any]:
        """The model's entry in the recipe."""
        return self.record.settings["models"][0]

    @property
    def correct(self) -> np.ndarray:
        """Whether each answer of this run is right, shape (1, examples)."""
        number = [record.stem for record in self.model.finished].index(self.record.stem)
        return self.model.correct[number : number + 1]

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


def render_model_card(subject: Subject) -> str:
    """README.md of a model's repo: YAML for the Hub, Markdown for people."""
    training, record = subject.training, subject.record
    return _render(
        "model_card.md.j2",
        metadata=_model_metadata(subject).to_yaml(),
        subject=subject,
        record=record,
        training=training,
        facts=subject.facts,
        task=subject.task,
        what_it_is=_what_it_is(subject),
        warnings=_warnings(subject),
        this_run=_this_run(subject),
        place=_place(subject),
        data=describe_data(subject.comparison),
        pretraining=[
            describe_pretraining(r)
            for r in subject.comparison.pretraining
            if r.model == subject.model.name
        ],
        optimizer=_optimizer(training),
        limits=_limits(subject),
        recipe=yaml_dump({"name": record.recipe, **record.settings}).rstrip(),
        **_standing(subject.comparison),
    )


def render_results_card(comparison: Comparison, repo_id: str, licence: str | None) -> str:
    """README.md of a results' repo: it names the tables that `load_dataset` opens."""
    configs = [
        {"config_name": name, "data_files": [{"split": "results", "path": f"data/{name}.parquet"}]}
        for name in ("predictions", "runs")
    ]
    data = DatasetCardData(
        license=licence,
        tags=_TAGS,
        task_categories=["text-classification"],
        pretty_name=f"hfbench results: {comparison.recipe}",
        configs=configs,
    )
    return _render(
        "results_card.md.j2",
        metadata=data.to_yaml(),
        comparison=comparison,
        repo_id=repo_id,
        data=describe_data(comparison),
        pretraining=[describe_pretraining(record) for record in comparison.pretraining],
        **_standing(comparison),
    )


def render_space_card(repo_id: str) -> str:
    """README.md of a static Space that shows a report; its YAML is the Space's configuration."""
    name = repo_id.split("/")[1]
    page: dict[str, Any] = {"sdk": "static", "app_file": "index.html"}
    data = SpaceCardData(title=name, **page, tags=_TAGS, datasets=[repo_id])
    return f"---\n{data.to_yaml()}\n---\n\nThe report of the results in {repo_id}.\n"


def render_checkpoint_card(
    repo_id: str, source: str, step: int, max_steps: int, log: list[dict[str, Any]]
) -> str:
    """README.md of a language model whose checkpoints are published while it trains.

    Args:
        repo_id: where.
        source: model and corpus in words.
        step: optimizer step of the checkpoint.
        max_steps: of the training.
        log: the Trainer's ``log_history``.
    """
    names = {"training loss": "loss", "validation loss": "eval_loss"}
    found = {name: [e[key] for e in log if key in e] for name, key in names.items()}
    data = ModelCardData(library_name="transformers", pipeline_tag="text-generation", tags=_TAGS)
    return _render(
        "checkpoint_card.md.j2",
        metadata=data.to_yaml(),
        repo_id=repo_id,
        source=source,
        step=step,
        max_steps=max_steps,
        losses={name: values[-1] for name, values in found.items() if values},
    )


def eval_results_yaml(subject: Subject) -> str | None:
    """The Hub's newer file of evaluation results; None unless the data set is of the Hub."""
    task = subject.record.settings["task"]
    dataset = task.get("dataset_name")
    if not dataset:
        return None
    # A part of the train split is not the benchmark: no task of its leaderboard has this name.
    config = task.get("dataset_config") or "default"
    entry = EvalResultEntry(
        dataset_id=dataset,
        task_id=config if is_published_split(subject.record) else f"{config}-{_slug(subject)}",
        value=subject.record.metrics[subject.task.evaluation_split]["accuracy"],
        dataset_revision=subject.task.revision,
        date=subject.record.started,
        notes=_this_run(subject),
    )
    return yaml_dump(eval_result_entries_to_yaml([entry]))


def is_published_split(record: Record) -> bool:
    """Whether the evaluation examples are a whole split of the data set as it was published."""
    task = record.settings["task"]
    return bool(task.get("test_split") or task.get("validation_split"))


def mark_broken(card: str, reason: str) -> str:
    """The card with a warning above its text: what it describes did not pass its proof."""
    head, separator, body = card.partition("\n---\n")
    note = (
        f"{_BROKEN} After it was uploaded, this model did not pass its proof: {reason}. Do not use "
        "it.\n"
    )
    return f"{head}{separator}\n{note}{body}"


def _render(template: str, **values: Any) -> str:
    # It is Markdown, in which HTML counts: what comes from data must not become any.
    environment = Environment(
        autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = lambda text: html.escape(str(text), quote=False)
    environment.filters["percent"] = percent
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)
    source = (files("hfbench") / "templates" / template).read_text("utf-8")
    text = environment.from_string(source).render(version=hfbench.__version__, **values)
    return text.rstrip() + "\n"


def _standing(comparison: Comparison) -> dict[str, Any]:
    """What every card says of the comparison."""
    marks = footnotes(comparison)
    return {
        "answer": " ".join(answer(comparison)),
        "table": markdown_table(table_cells(build_rows(comparison), ACCURACY, marks)),
        "notes": [*marks.values(), *notes(comparison)],
    }


def _model_metadata(subject: Subject) -> ModelCardData:
    task = subject.record.settings["task"]
    relation: dict[str, Any] = {"base_model_relation": "finetune"} if subject.base_model else {}
    return ModelCardData(
        license=subject.licence,
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=[*_TAGS, *(["lora"] if "lora" in subject.entry else [])],
        base_model=subject.base_model,
        datasets=[task["dataset_name"]] if task.get("dataset_name") else None,
        metrics=["accuracy", "f1"],
        model_name=subject.repo_id.split("/")[1],
        eval_results=_eval_results(subject),
        **relation,
    )


def _eval_results(subject: Subject) -> list[EvalResult]:
    """Accuracy and macro F1 of the run and the mean accuracy over the seeds, each with its n."""
    record, task, model = subject.record, subject.task, subject.model
    settings = record.settings["task"]
    metrics, n = record.metrics[task.evaluation_split], int(subject.correct.size)
    common = {
        "task_type": "text-classification",
        "task_name": "Text classification",
        "dataset_type": settings.get("dataset_name") or "other",
        "dataset_name": task.source,
        "dataset_config": settings.get("dataset_config"),
        "dataset_split": _split_name(record),
        "dataset_revision": task.revision,
    }
    own = {
        "n": n,
        "ci95": _rounded(accuracy_interval(subject.correct)),
        "seed": record.seed,
        "seed_chosen": subject.choice.reason,
    }
    results = [
        EvalResult(
            **common,
            metric_type="accuracy",
            metric_name="accuracy",
            metric_value=metrics["accuracy"],
            metric_args=own,
        ),
        EvalResult(
            **common,
            metric_type="f1",
            metric_name="macro F1",
            metric_value=round(metrics["f1_macro"], 6),
            metric_args={"average": "macro", "n": n, "seed": record.seed},
        ),
    ]
    if len(model.finished) > 1:
        mean = {"n": n, "seeds": model.seeds, "ci95": _rounded(model.interval)}
        results.append(
            EvalResult(
                **common,
                metric_type="accuracy",
                metric_name=f"accuracy, mean of {len(model.finished)} seeds",
                metric_value=round(model.accuracy, 6),
                metric_args=mean,
            )
        )
    return results


def _split_name(record: Record) -> str:
    """The split of the data set that the evaluation examples are from."""
    task = record.settings["task"]
    return task.get("test_split") or task.get("validation_split") or task["train_split"]


def _what_it_is(subject: Subject) -> str:
    entry, facts = subject.entry, subject.facts
    labels = ", ".join(f'"{label}"' for label in subject.task.labels)
    task = f"It classifies texts like those of {subject.task.source} as {labels}."
    size = f"{facts.parameters:,} parameters"
    name = entry.get("model_name_or_path")
    if lora := entry.get("lora"):
        start = (
            f"`{name or entry.get('preset')}` fine-tuned with LoRA (rank {lora['r']}); the "
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
        kind = kind or f"the architecture {entry['model_type']}"
        how = "pretrained on other text, then fine-tuned"
        how = how if "pretrain" in entry else "trained from scratch, without any pretraining"
        start = f"A `{facts.class_name}` ({kind}; {size}), {how}."
    return f"{start} {task}"


def _warnings(subject: Subject) -> list[str]:
    """What a reader must know before anything else."""
    floor, lines = subject.comparison.floors[subject.model.name], []
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
    if (same := one_class(subject.model)) and floor.majority is not None:
        lines.append(f"{same}.")
    return lines


def _place(subject: Subject) -> str:
    """Where the model stands among the others of the table."""
    name, finished = subject.model.name, subject.comparison.finished
    rank = [model.name for model in finished].index(name) + 1
    worse, better, alike = [], [], []
    for pair in subject.comparison.pairs:
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


def _this_run(subject: Subject) -> str:
    """The accuracy of the published weights, in a sentence or two; also for the Hub's notes."""
    right, n = int(subject.correct.sum()), int(subject.correct.size)
    low, high = accuracy_interval(subject.correct)
    split, model = subject.task.evaluation_split, subject.model
    what = f"{split} examples"
    if not is_published_split(subject.record):
        what += f", held out of the {_split_name(subject.record)} split"
    text = (
        f"Seed {subject.record.seed}: accuracy {percent(right / n)} ({right} of {n} {what}; 95 % "
        f"interval {100 * low:.1f}-{100 * high:.1f})"
    )
    if len(model.finished) == 1:
        return f"{text}; one seed only"
    low, high = model.interval
    text += (
        f"; mean of {len(model.finished)} seeds {percent(model.accuracy)} (95 % interval, over "
        f"examples and seeds, {100 * low:.1f}-{100 * high:.1f})"
    )
    if subject.chosen_on_evaluation:
        text += "; the seed was chosen on these examples, so that its own figure is too high"
    return text


def _optimizer(training: TrainingFacts) -> str:
    arguments = training.arguments
    return (
        f"{arguments['optim']}, learning rate {arguments['learning_rate']:g} "
        f"({arguments['lr_scheduler_type']}), betas {arguments['adam_beta1']:g} and "
        f"{arguments['adam_beta2']:g}, weight decay {arguments['weight_decay']:g}"
        + (" on matrices that are not embeddings" if training.optimizer == "study" else "")
        + f", gradient norm clipped at {arguments['max_grad_norm']:g}"
    )


def _limits(subject: Subject) -> list[str]:
    """What is not known of it, or known to be bad."""
    model, training, task = subject.model, subject.training, subject.task
    number = [record.stem for record in model.finished].index(subject.record.stem)
    score = calibration(model.logits[number], model.labels)
    lines = [
        f"Evaluated on {len(model.labels):,} {task.evaluation_split} examples of {task.source} and "
        "nothing else: about other texts, languages or times nothing is known, and nothing was "
        "examined of biases.",
        f"Every text gets one of the labels {', '.join(task.labels)}, also where none fits.",
        f"Its probabilities are off by {percent(score.ece)} on average (expected calibration error "
        "over 10 bins).",
    ]
    if subject.chosen_on_evaluation:
        lines.append(
            "The seed was chosen on the examples that the table reports: expect the mean over the "
            "seeds and not this run's figure."
        )
    if len(model.finished) == 1:
        lines.append("One seed only: how much the result depends on it is not known.")
    if cut := training.tokens["train"].truncated_examples:
        lines.append(
            f"{cut:,} training texts were cut at {subject.facts.max_length} tokens; so is every "
            "longer one."
        )
    return lines


def _rounded(interval: Sequence[float]) -> list[float]:
    return [round(float(bound), 4) for bound in interval]


def _slug(subject: Subject) -> str:
    return subject.record.recipe.replace(".", "-").lower()
