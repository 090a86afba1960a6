"""Whole processes with models that people use: one command, or a script for each cell."""

import json
import math
import re
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from speed.measure import Measured, Run
from speed.processes import SCRIPT, run_python
from speed.work import Inputs, Work, prepare, save_checkpoint

_BATCH, _EVAL_BATCH, _RATE = 32, 120, 2e-5
_VALIDATION = 872  # sentences of SST-2's validation split


@dataclass(frozen=True)
class RealComparison:
    """Checkpoints x seeds, in bf16, on texts as long as SST-2's, evaluated after each epoch."""

    models: tuple[str, ...]
    """Names of `work.ENCODERS`."""
    texts: int
    epochs: float
    seeds: int
    scripts: int
    """So many of the scripts are run, and their time is scaled; at least one of each model."""
    repetitions: int
    """Of the command."""

    def measure(self, folder: Path) -> Measured:
        """The command, the scripts, and the command again as often as it is repeated."""
        inputs = {name: _inputs(name, self.texts, folder / name) for name in self.models}
        recipe = _write_recipe(folder, inputs, self.epochs, self.seeds)
        cells = [(name, seed) for seed in range(self.seeds) for name in self.models]
        measured = cells[: max(self.scripts, len(self.models))]
        runs = [_compare(recipe, folder / "0")]
        stock = self._scripts(measured, inputs, folder)
        runs += [_compare(recipe, folder / f"{n}") for n in range(1, self.repetitions)]
        scaled = f", {len(measured)} measured and scaled" if len(measured) < len(cells) else ""
        name = f"{len(cells)} stock scripts{scaled}" if len(cells) > 1 else "stock script"
        return Measured(
            unit="run",
            settings={
                "models": list(self.models),
                "texts": self.texts,
                "validation": _VALIDATION,
                "seeds": self.seeds,
                "epochs": self.epochs,
                "cells": len(cells),
                "scripts_measured": len(measured),
                "batch": _BATCH,
                "learning_rate": _RATE,
                "bf16": True,
            },
            sides={"hfbench compare": runs, name: [stock]},
            warm_up_runs=0,
        )

    def _scripts(
        self, cells: list[tuple[str, int]], inputs: dict[str, Inputs], folder: Path
    ) -> Run:
        seconds: dict[str, list[float]] = {name: [] for name in self.models}
        accuracies = []
        for name, seed in cells:
            files = inputs[name]
            command = [str(SCRIPT), str(files.checkpoint), "--train", str(files.train)]
            command += ["--validation", str(files.validation), "--output", str(folder / "script")]
            command += ["--seed", str(seed), "--epochs", str(self.epochs), "--bf16"]
            command += ["--batch", str(_BATCH), "--learning-rate", str(_RATE)]
            taken, shown = run_python(command)
            print(f"  script {name} {seed}: {taken:.1f} s", flush=True)
            seconds[name].append(taken)
            accuracies.append(float(re.findall(r"^accuracy (\S+)", shown, re.M)[-1]))
        total = sum(self.seeds * sum(taken) / len(taken) for taken in seconds.values())
        return Run(total, total, details={"scripts": seconds, "accuracies": accuracies})


@dataclass(frozen=True)
class SeedsTogether:
    """A checkpoint with one seed, and with several side by side; as `RealComparison`."""

    model: str
    texts: int
    seeds: int
    repetitions: int

    def measure(self, folder: Path) -> Measured:
        """In turns, an epoch each."""
        inputs = {self.model: _inputs(self.model, self.texts, folder / self.model)}
        sides: dict[str, list[Run]] = {"1 seed": [], f"{self.seeds} seeds": []}
        for turn in range(self.repetitions):
            for name, seeds in zip(sides, (1, self.seeds), strict=True):
                results = folder / f"{seeds}-{turn}"
                sides[name].append(_compare(_write_recipe(folder, inputs, 1, seeds), results))
        return Measured(
            unit="run",
            settings={
                "model": self.model,
                "texts": self.texts,
                "steps": math.ceil(self.texts / _BATCH),
                "batch": _BATCH,
                "bf16": True,
            },
            sides=sides,
            warm_up_runs=0,
        )


def _inputs(preset: str, texts: int, folder: Path) -> Inputs:
    folder.mkdir()
    work = Work(
        kind="classifier",
        preset=preset,
        corpus="reviews",
        texts=texts,
        validation_reviews=_VALIDATION,
        batch=_BATCH,
        steps=1,
        warm_up=0,
    )
    inputs = prepare(work, folder)
    save_checkpoint(work, inputs)
    return inputs


def _write_recipe(folder: Path, inputs: dict[str, Inputs], epochs: float, seeds: int) -> Path:
    first = next(iter(inputs.values()))  # texts are the same for all
    recipe = {
        "name": "real",
        "task": {
            "data_files": {"train": str(first.train), "validation": str(first.validation)},
            "validation_split": "validation",
        },
        "models": [
            {"name": name, "model_name_or_path": str(files.checkpoint)}
            for name, files in inputs.items()
        ],
        "seeds": list(range(seeds)),
        "training_arguments": {
            "num_train_epochs": epochs,
            "per_device_train_batch_size": _BATCH,
            "per_device_eval_batch_size": _EVAL_BATCH,
            "learning_rate": _RATE,
            "eval_strategy": "epoch",
            "bf16": True,
        },
    }
    path = folder / "real.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    return path


def _compare(recipe: Path, results: Path) -> Run:
    command = ["-m", "hfbench", "compare", str(recipe), "--results-dir", str(results)]
    began = time.time()
    seconds, _ = run_python(command)
    records = results / "real" / "records"
    found = [json.loads(path.read_text("utf-8")) for path in sorted(records.glob("*.json"))]
    starts = [datetime.fromisoformat(record["started"]).timestamp() for record in found]
    details = {
        "starts": [start - began for start in starts],
        "train_seconds": [record["training"]["train_seconds"] for record in found],
        "cell_seconds": [record["cell_seconds"] for record in found],
        "accuracies": [record["metrics"]["validation"]["accuracy"] for record in found],
    }
    print(f"  hfbench compare: {seconds:.1f} s", flush=True)
    return Run(seconds, seconds, details=details)
