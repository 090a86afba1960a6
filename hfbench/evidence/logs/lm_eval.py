"""Logs of lm-evaluation-harness: ``samples_<task>_<time>.jsonl`` and ``results_<time>.json``.

A line of samples is one example with one filter of the answers: ``doc_id``, ``doc_hash``,
``target_hash``, ``prompt_hash``, ``filter``, ``metrics`` (their names) and each metric's value. The
results beside it say which model it was, and the tasks' versions and shots. Both are as
``lm_eval/loggers/evaluation_tracker.py`` of EleutherAI/lm-evaluation-harness writes them (0.4.x).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hfbench.errors import UserError
from hfbench.evidence.logs.logged import MOST_BYTES, LoggedRun, files_below, number, parse, text_of

_NAME = re.compile(r"samples_(?P<task>.+?)(_(?P<time>\d{4}-\d\d-\d\dT[\d.-]+))?\.jsonl")
_OTHER_KEYS = {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter",
               "metrics", "doc_hash", "prompt_hash", "target_hash"}  # fmt: skip
_MODEL_ARGUMENTS = ("pretrained", "peft", "model", "path", "engine")
_CLOSE = 1e-6


def samples_files(place: Path) -> list[Path]:
    """The files of samples in a folder, or the one that is given."""
    files = [place] if place.is_file() else files_below(place, (".jsonl",))
    return [path for path in files if _NAME.fullmatch(path.name)]


def read_lm_eval(path: Path) -> list[LoggedRun]:
    """The run of a file of samples, with what the results beside it say.

    Raises:
        UserError: if it cannot be read, or its mean is not the one that the results have.
    """
    name = _NAME.fullmatch(path.name)
    assert name is not None  # see `samples_files`
    results = _results(path, name["time"])
    task = name["task"]
    scores: dict[str, dict[str, float]] = {}
    contents: dict[str, str] = {}
    prompts: dict[str, str] = {}
    for where, sample in _samples(path):
        doc = text_of(sample, "doc_id")
        if doc is None:
            raise UserError(f"{where}: no doc_id")
        content = (text_of(sample, "doc_hash") or "") + (text_of(sample, "target_hash") or "")
        if contents.setdefault(doc, content) != content:
            raise UserError(f"{where}: doc_id {doc} stands for two examples")
        if prompt := text_of(sample, "prompt_hash"):
            prompts[doc] = prompt
        for metric, value in _metrics(sample).items():
            if doc in scores.setdefault(metric, {}):
                raise UserError(f"{where}: doc_id {doc} is there twice with {metric}")
            scores[metric][doc] = value
    whole = {metric: found for metric, found in scores.items() if len(found) == len(contents)}
    if not whole:
        raise UserError(f"{path}: no metric has a number for each of {len(contents):,} examples")
    _refuse_other_means(whole, results, task, path)
    versions = {
        "version of the task": text_of(results, "versions", task),
        "shots": text_of(results, "n-shot", task),
    }
    better = results.get("higher_is_better", {})
    of_task = better.get(task, {}) if isinstance(better, dict) else {}
    lower = {m for m in whole if isinstance(of_task, dict) and of_task.get(_plain(m)) is False}
    return [
        LoggedRun(
            model=_model(results) or path.parent.name,
            task=task,
            scores=whole,
            contents=contents,
            prompts=prompts,
            facts={key: value for key, value in versions.items() if value is not None},
            lower_is_better=lower,
            source=str(path),
        )
    ]


def _samples(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MOST_BYTES + 1):
            number += 1
            where = f"{path}: line {number}"
            if not line.strip():
                continue
            sample = parse(line, where)
            if not isinstance(sample, dict):
                raise UserError(f"{where}: no sample, which is an object")
            yield where, sample


def _metrics(sample: dict[str, Any]) -> dict[str, float]:
    """Metric -> value, of those that are numbers: others are no mean over examples."""
    names = sample.get("metrics")
    if not isinstance(names, list):  # of versions before it was said
        names = [name for name in sample if name not in _OTHER_KEYS]
    of = text_of(sample, "filter") or "none"
    values = {str(name): number(sample.get(str(name))) for name in names}
    suffix = "" if of == "none" else f",{of}"
    return {f"{name}{suffix}": value for name, value in values.items() if value is not None}


def _plain(metric: str) -> str:
    return metric.partition(",")[0]


def _results(path: Path, time: str | None) -> dict[str, Any]:
    """What the run wrote beside its samples; nothing where that is missing."""
    wanted = f"_{time}.json" if time else "results.json"
    for beside in files_below(path.parent, (wanted,)):
        if beside.parent == path.parent and beside.stat().st_size <= MOST_BYTES:
            found = parse(beside.read_bytes(), str(beside))
            if isinstance(found, dict) and isinstance(found.get("results"), dict):
                return found
    return {}


def _model(results: dict[str, Any]) -> str | None:
    if name := text_of(results, "model_name"):
        return name
    given = text_of(results, "config", "model_args") or ""
    arguments = dict(part.split("=", 1) for part in given.split(",") if "=" in part)
    named = [arguments[key] for key in _MODEL_ARGUMENTS if arguments.get(key)]
    return named[0] if named else text_of(results, "config", "model")


def _refuse_other_means(
    scores: dict[str, dict[str, float]], results: dict[str, Any], task: str, path: Path
) -> None:
    """Statistics of means say nothing of a metric that is another function of its examples.

    Raises:
        UserError: if no metric is the mean of its examples; others are left out.
    """
    of_tasks = results.get("results", {})
    said = of_tasks.get(task, {}) if isinstance(of_tasks, dict) else {}
    others = {}
    for metric, values in scores.items():
        name = metric if "," in metric else f"{metric},none"
        expected = number(said.get(name)) if isinstance(said, dict) else None
        mean = sum(values.values()) / len(values)
        if expected is not None and abs(mean - expected) > _CLOSE * max(1.0, abs(expected)):
            others[metric] = f"{metric} is {expected:g} in the results, its examples' mean {mean:g}"
    for metric in others:
        del scores[metric]
    if not scores:
        raise UserError(f"{path}: {'; '.join(others.values())}")
