"""Records -> what is written beside a model or results on the Hub: cards and evaluation results."""

import html
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

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

from hfbench.evidence import markdown
from hfbench.evidence.findings import Findings, describe_pretraining
from hfbench.evidence.rows import MAIN, build_rows, text_table
from hfbench.evidence.table import file_stem
from hfbench.evidence.words import percent
from hfbench.metrics.registry import Metric, ProblemType
from hfbench.publish.published_run import (
    PublishedRun,
    is_published_split,
    limits,
    optimizer,
    place,
    split_name,
    this_run,
    warnings,
    what_it_is,
)
from hfbench.version import __version__

_TAGS = ["hfbench"]
_TASK_NAMES: dict[ProblemType, str] = {
    "single_label_classification": "Text classification",
    "multi_label_classification": "Multi-label text classification",
    "regression": "Text regression",
}
"""Of evaluation results; the Hub has one type for all of them."""
_BROKEN = "> [!CAUTION]\n> **Broken.**"


def render_model_card(run: PublishedRun) -> str:
    """README.md of a model's repo: YAML for the Hub, Markdown for people."""
    training, record = run.training, run.record
    started = record.settings["models"][0].get("pretrain", {}).get("seeds")
    return _render(
        "model_card.md.j2",
        metadata=_model_metadata(run).to_yaml(),
        run=run,
        record=record,
        training=training,
        facts=run.facts,
        task=run.task,
        what_it_is=what_it_is(run),
        warnings=warnings(run),
        this_run=this_run(run),
        place=place(run),
        data=run.findings.data,
        pretraining=[
            describe_pretraining(r)
            for r in run.comparison.pretraining
            if r.model == run.model.name and (r.seed is None or [r.seed] == started)
        ],
        optimizer=optimizer(training),
        limits=limits(run),
        recipe=yaml_dump({"name": record.recipe.replace("/", "-"), **record.settings}).rstrip(),
        **_standing(run.findings),
    )


def render_results_card(findings: Findings, repo_id: str, licence: str | None) -> str:
    """README.md of a results' repo: it names the tables that `load_dataset` opens."""
    recipe = findings.comparison.recipe
    configs = [
        {"config_name": name, "data_files": [{"split": "results", "path": f"data/{name}.parquet"}]}
        for name in ("predictions", "runs")
    ]
    data = DatasetCardData(
        license=licence,
        tags=_TAGS,
        task_categories=["text-classification"],
        pretty_name=f"hfbench results: {recipe}",
        configs=configs,
    )
    return _render(
        "results_card.md.j2",
        metadata=data.to_yaml(),
        recipe=recipe,
        repo_id=repo_id,
        tables=file_stem(findings.comparison.metric.name),
        data=findings.data,
        pretraining=findings.pretraining,
        **_standing(findings),
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


def eval_results_yaml(run: PublishedRun) -> str | None:
    """The Hub's newer file of evaluation results; None unless the data set is of the Hub."""
    task = run.record.settings["task"]
    dataset = task.get("dataset_name")
    if not dataset:
        return None
    # A part of the train split is not the benchmark: no task of its leaderboard has this name.
    config = task.get("dataset_config") or "default"
    entry = EvalResultEntry(
        dataset_id=dataset,
        task_id=config if is_published_split(run.record) else f"{config}-{_slug(run)}",
        value=run.value,
        dataset_revision=run.task.revision,
        date=run.record.started,
        notes=this_run(run),
    )
    return yaml_dump(eval_result_entries_to_yaml([entry]))


def mark_broken(card: str, reason: str) -> str:
    """The card with a warning above its text: what it describes did not pass its proof."""
    head, separator, body = card.partition("\n---\n")
    note = (
        f"{_BROKEN} After it was uploaded, this model did not pass its proof: {reason}. Do not use "
        "it.\n"
    )
    return f"{head}{separator}\n{note}{body}"


def _render(template: str, **values: Any) -> str:
    # what comes from data must mean nothing; our own sentences may hold Markdown, but no HTML
    environment = Environment(
        autoescape=False, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["plain"] = markdown.escape
    environment.filters["prose"] = lambda text: html.escape(str(text), quote=False)
    environment.filters["percent"] = percent
    environment.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)
    source = (files("hfbench.publish") / "templates" / template).read_text("utf-8")
    text = environment.from_string(source).render(version=__version__, **values)
    return text.rstrip() + "\n"


def _standing(findings: Findings) -> dict[str, Any]:
    """What every card says of the comparison."""
    table = text_table(build_rows(findings), MAIN, findings.footnotes)
    return {
        "answer": " ".join(findings.answer),
        "table": markdown.table(table.header, table.rows),
        "notes": findings.all_notes,
    }


def _model_metadata(run: PublishedRun) -> ModelCardData:
    task = run.record.settings["task"]
    relation: dict[str, Any] = {"base_model_relation": "finetune"} if run.base_model else {}
    return ModelCardData(
        license=run.licence,
        library_name="transformers",
        pipeline_tag="text-classification",
        tags=[*_TAGS, *(["lora"] if "lora" in run.entry else [])],
        base_model=run.base_model,
        datasets=[task["dataset_name"]] if task.get("dataset_name") else None,
        metrics=list(dict.fromkeys(metric.type_on_hub for metric in _metrics(run))),
        model_name=run.repo_id.split("/")[1],
        eval_results=_eval_results(run),
        **relation,
    )


def _eval_results(run: PublishedRun) -> list[EvalResult]:
    """Every measure of the run, and the mean over the seeds of the first, each with its n."""
    record, task, model = run.record, run.task, run.model
    settings = record.settings["task"]
    common = {
        "task_type": "text-classification",
        "task_name": _TASK_NAMES[task.problem_type],
        "dataset_type": settings.get("dataset_name") or "other",
        "dataset_name": task.source,
        "dataset_config": settings.get("dataset_config"),
        "dataset_split": split_name(record),
        "dataset_revision": task.revision,
    }
    own: dict[str, Any] = {"n": len(model.labels), "seed": record.seed}
    of_its_own = {"ci95": _bounds(run.interval), "seed_chosen": run.choice.reason}
    results = [
        EvalResult(
            **common,
            metric_type=metric.type_on_hub,
            metric_name=metric.label,
            metric_value=_rounded(run.scores[metric.name]),
            metric_args={**own, **(of_its_own if metric.name == run.metric.name else {})},
        )
        for metric in _metrics(run)
        if metric.name in run.scores
    ]
    if len(model.finished) > 1:
        mean = {"n": own["n"], "seeds": model.seeds, "ci95": _bounds(model.interval)}
        results.append(
            EvalResult(
                **common,
                metric_type=run.metric.type_on_hub,
                metric_name=f"{run.metric.label}, mean of {len(model.finished)} seeds",
                metric_value=_rounded(model.value),
                metric_args=mean,
            )
        )
    return results


def _metrics(run: PublishedRun) -> list[Metric]:
    """Those of the comparison, first that by which models are ranked."""
    return [run.metric, *run.comparison.columns]


def _bounds(interval: Sequence[float]) -> list[float]:
    return [_rounded(bound) for bound in interval]


def _rounded(value: float) -> float:
    """To six digits, of whatever size a measure is."""
    return float(f"{value:.6g}")


def _slug(run: PublishedRun) -> str:
    return re.sub("[./]", "-", run.record.recipe).lower()
