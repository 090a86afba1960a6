"""Whole processes: a comparison against a script for each of its cells, and starting up."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import hfbench
from hfbench.records.record_file import as_json, load_record
from speed.measure import Measured, Run, in_turns
from speed.work import Inputs, Work, prepare

MODELS = ("gpt-nano", "tiny-gpt2")
_BATCH = 16
SCRIPT = Path(__file__).with_name("stock_script.py")
_IMPORTS = "import torch, transformers; from transformers import Trainer"
_TABLE_MODELS, _TABLE_SEEDS = 20, 5  # of 100 records


@dataclass(frozen=True)
class Comparison:
    """{gpt-nano from scratch, tiny-gpt2} x seeds: one command, or one script after the other."""

    epochs: int
    seeds: int
    scripts: int | None
    """So many of the scripts are run, and their time is scaled; None: all."""

    def measure(self, folder: Path) -> Measured:
        """One command before the scripts and one after them."""
        inputs = {name: _inputs(name, folder / name) for name in MODELS}
        recipe = folder / "comparison.yaml"
        values = _comparison_recipe(inputs, self.epochs, self.seeds)
        recipe.write_text(json.dumps(values), encoding="utf-8")
        cells = [(name, seed) for seed in range(self.seeds) for name in MODELS]
        # less than one of each model cannot be scaled
        measured = cells[: max(self.scripts or len(cells), len(MODELS))]
        scaled = f", {len(measured)} measured and scaled" if len(measured) < len(cells) else ""
        runs = [self._compare(recipe, folder / "before")]
        stock = self._scripts(measured, inputs, folder)
        runs.append(self._compare(recipe, folder / "after"))
        return Measured(
            unit="run",
            settings={
                "models": list(MODELS),
                "seeds": self.seeds,
                "epochs": self.epochs,
                "cells": len(cells),
                "scripts_measured": len(measured),
                "scripts_scaled": bool(scaled),
                "batch": _BATCH,
            },
            sides={"hfbench compare": runs, f"{len(cells)} stock scripts{scaled}": [stock]},
            warm_up_runs=0,
        )

    def _compare(self, recipe: Path, results: Path) -> Run:
        command = ["-m", "hfbench", "compare", str(recipe), "--results-dir", str(results)]
        seconds, _ = run_python(command)
        records = results / "comparison" / "records"
        found = [json.loads(path.read_text("utf-8")) for path in sorted(records.glob("*.json"))]
        training = [record["training"]["train_seconds"] for record in found]
        accuracies = [record["metrics"]["validation"]["accuracy"] for record in found]
        details = {"train_seconds": training, "accuracies": accuracies}
        print(f"  hfbench compare: {seconds:.1f} s")
        return Run(seconds, seconds, details=details)

    def _scripts(
        self, cells: list[tuple[str, int]], inputs: dict[str, Inputs], folder: Path
    ) -> Run:
        seconds: dict[str, list[float]] = {name: [] for name in MODELS}
        accuracies = []
        for name, seed in cells:
            files = inputs[name]
            command = [str(SCRIPT), str(files.checkpoint), "--train", str(files.train)]
            command += ["--validation", str(files.validation), "--output", str(folder / "script")]
            command += ["--seed", str(seed), "--epochs", str(self.epochs)]
            command += ["--from-scratch"] if name == "gpt-nano" else []
            taken, shown = run_python(command)
            print(f"  script {name} {seed}: {taken:.1f} s")
            seconds[name].append(taken)
            accuracies.append(float(re.findall(r"^accuracy (\S+)", shown, re.M)[-1]))
        total = sum(self.seeds * sum(taken) / len(taken) for taken in seconds.values())
        return Run(total, total, details={"scripts": seconds, "accuracies": accuracies})


def comparison_recipe(folder: Path, epochs: int, seeds: int) -> dict[str, Any]:
    """{gpt-nano from scratch, tiny-gpt2} x seeds, with what it needs in ``folder``."""
    return _comparison_recipe(
        {name: _inputs(name, folder / name) for name in MODELS}, epochs, seeds
    )


def _comparison_recipe(inputs: dict[str, Inputs], epochs: int, seeds: int) -> dict[str, Any]:
    nano = inputs["gpt-nano"]
    return {
        "name": "comparison",
        "task": {
            "data_files": {"train": str(nano.train), "validation": str(nano.validation)},
            "validation_split": "validation",
        },
        "tokenizer": {"name_or_path": str(nano.tokenizer)},
        "models": [
            {"name": "gpt-nano", "preset": "gpt-nano"},
            {"name": "tiny-gpt2", "model_name_or_path": str(inputs["tiny-gpt2"].checkpoint)},
        ],
        "seeds": list(range(seeds)),
        "optimizer": "study",
        "training_arguments": {
            "num_train_epochs": epochs,
            "per_device_train_batch_size": _BATCH,
            "per_device_eval_batch_size": 120,
        },
    }


@dataclass(frozen=True)
class StartUp:
    """What a verb needs before it does anything, and what the libraries need by themselves."""

    repetitions: int

    def measure(self, folder: Path) -> Measured:
        """In turns, the first time with cold files."""
        inputs = _inputs("gpt-nano", folder / "inputs")
        recipe = folder / "first.yaml"
        recipe.write_text(json.dumps(_first_step_recipe(inputs)), encoding="utf-8")
        results = folder / "results"
        run_python(["-m", "hfbench", "compare", str(recipe), "--results-dir", str(folder)])
        _multiply_record(folder / "first" / "records", results / "records")
        number = _TABLE_MODELS * _TABLE_SEEDS
        sides = {
            "import torch, transformers, Trainer": lambda: _process(["-c", _IMPORTS]),
            "hfbench compare to its first step": lambda: _to_first_step(recipe, inputs.scratch()),
            "hfbench --help": lambda: _process(["-m", "hfbench", "--help"]),
            f"hfbench table, {number} records": lambda: _process(
                ["-m", "hfbench", "table", str(results)]
            ),
        }
        runs = in_turns(sides, 1 + self.repetitions)
        return Measured("run", {"repetitions": self.repetitions}, runs, warm_up_runs=1)


def _inputs(preset: str, folder: Path) -> Inputs:
    folder.mkdir()
    fine_tuning = Work(
        kind="classifier", preset=preset, corpus="reviews", batch=_BATCH, steps=1, warm_up=0
    )
    return prepare(fine_tuning, folder)


def _first_step_recipe(inputs: Inputs) -> dict[str, Any]:
    return {
        "name": "first",
        "task": {
            "data_files": {"train": str(inputs.train), "validation": str(inputs.validation)},
            "validation_split": "validation",
        },
        "tokenizer": {"name_or_path": str(inputs.tokenizer)},
        "models": [{"name": "gpt", "preset": "gpt-nano"}],
        "optimizer": "study",
        "training_arguments": {
            "max_steps": 1,
            "per_device_train_batch_size": _BATCH,
            "per_device_eval_batch_size": 120,
            "eval_strategy": "no",
        },
    }


def _to_first_step(recipe: Path, results: Path) -> Run:
    """Until the only step is taken and its weights are evaluated; the table comes after that."""
    began = time.time()
    command = ["-m", "hfbench", "compare", str(recipe), "--results-dir", str(results)]
    total, _ = run_python(command)
    (path,) = (results / "first" / "records").glob("*.json")
    record = json.loads(path.read_text("utf-8"))
    cell_began = datetime.fromisoformat(record["started"]).timestamp()
    seconds = cell_began + record["cell_seconds"] - began
    return Run(seconds, total)


def _multiply_record(source: Path, destination: Path) -> None:
    """The one record of ``source`` under the names of many models and seeds."""
    destination.mkdir(parents=True)
    (path,) = source.glob("*.json")
    record = load_record(path)
    predictions = path.with_suffix(".parquet").read_bytes()
    for model in (f"model-{number}" for number in range(_TABLE_MODELS)):
        for seed in range(_TABLE_SEEDS):
            stem = f"{model}--seed{seed}"
            own = {"model": model, "seed": seed, "predictions": f"{stem}.parquet"}
            copy = as_json(record.model_copy(update=own))
            (destination / f"{stem}.json").write_text(copy, encoding="utf-8")
            (destination / f"{stem}.parquet").write_bytes(predictions)


def _process(arguments: list[str]) -> Run:
    seconds, _ = run_python(arguments)
    return Run(seconds, seconds)


def run_python(arguments: list[str], variables: dict[str, str] | None = None) -> tuple[float, str]:
    """Seconds of a fresh process, and what it prints; ``variables`` are of its environment.

    Raises:
        RuntimeError: if it fails.
    """
    checkout = str(Path(hfbench.__file__).parents[1])
    paths = [checkout, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, **(variables or {}), "PYTHONPATH": os.pathsep.join(paths)}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments[:3])} failed: {done.stderr[-6000:]}")
    return seconds, done.stdout
