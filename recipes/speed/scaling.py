"""One pretraining on more and more GPUs of a host, and one comparison on one and on all of them."""

import json
import math
import operator
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from hfbench import load_records
from speed.measure import Check, Measured, Run
from speed.processes import MODELS, comparison_recipe, run_python
from speed.scaled_script import FOUND
from speed.work import Inputs, Work, prepare

_SCRIPT = Path(__file__).with_name("scaled_script.py")
_CONFIGS = Path(__file__).parents[1] / "accelerate"
_LARGEST_DIFFERENCE = 1e-3  # of the losses of the same steps in nats

# of a record, what another run of the same may have otherwise
_TIMES = {"started", "cell_seconds", "fit_seconds", "use"}
_TRAINING_TIMES = {"train_seconds", "peak_memory_bytes"}


@dataclass(frozen=True)
class Way:
    """How many GPUs train together, and by what."""

    gpus: int
    config: str
    """Of `recipes/accelerate`."""

    @property
    def name(self) -> str:
        """For the table."""
        kind = {"one_gpu": "", "multi_gpu": ", DDP", "fsdp2": ", FSDP2"}[self.config]
        return f"{self.gpus} GPU{'s' if self.gpus > 1 else ''}{kind}"


ONE = Way(1, "one_gpu")


def several_gpus(asked: Sequence[int]) -> list[int]:
    """2, 4, ... of those that there are; of these, those that were asked for, if any were."""
    there_are = [2**power for power in range(1, len(_gpus()).bit_length())]
    return [number for number in there_are if not asked or number in asked]


@dataclass(frozen=True)
class Scaling:
    """Each GPU has a batch: how long a batch takes in all. And the losses with the same batches."""

    work: Work
    """Its batch is that of one GPU."""
    config: str
    """Of several processes."""
    numbers: Sequence[int] = ()
    """See `several_gpus`."""
    epoch: bool = False
    """Whether training is once on each text, and not as many steps as ``work`` says."""
    alone: Way = ONE
    """With which the others are compared."""
    losses_in_float32: bool = False
    """Whether losses are compared in float32, where the steps that are timed are in bf16.

    Of some training one GPU alone, asked twice, gives other losses in bf16.
    """

    def measure(self, folder: Path) -> Measured:
        """Each way once, a run for each lap of its steps after the warm-up; then the losses."""
        inputs = prepare(self.work, folder)
        several = [Way(number, self.config) for number in several_gpus(self.numbers)]
        ways = (self.alone, *several)
        found = {way: self._launch(self._work_of(way), inputs, way) for way in ways}
        whole = found[self.alone]
        return Measured(
            unit=f"batch of {self.work.batch}",
            settings={
                **asdict(self.work),
                "shape": self.work.shape,
                "epoch": self.epoch,
                "devices": {way.name: result["device"] for way, result in found.items()},
                "world_sizes": {way.name: result["world_size"] for way, result in found.items()},
                "commands": {way.name: result["command"] for way, result in found.items()},
            },
            sides={way.name: _runs(way, result) for way, result in found.items()},
            warm_up_runs=0,
            tokens=self.work.batch * whole["tokens"] / whole["examples"],
            flops=self.work.batch * whole["flops"] / whole["examples"],
            check=self._check(whole["losses"], several[-1], inputs),
        )

    def _work_of(self, way: Way) -> Work:
        """One GPU alone also trains as long as its losses are compared, if they are these."""
        batch, steps = self.work.batch * way.gpus, self.work.steps
        if self.epoch:
            steps = math.ceil(self.work.train_reviews / batch)
        if way == self.alone and not self.losses_in_float32:
            steps = max(steps, self.work.loss_steps)
        return replace(self.work, batch=batch, steps=steps)

    def _check(self, alone: list[float], way: Way, inputs: Inputs) -> Check:
        """The losses of one GPU against those of the most, with the same batches."""
        work = replace(self.work, steps=self.work.loss_steps)
        if self.losses_in_float32:
            work = replace(work, bf16=False)
            alone = self._launch(work, inputs, self.alone)["losses"]
        together = self._launch(work, inputs, way)["losses"]
        alone = alone[: len(together)]
        difference = max(abs(one - two) for one, two in zip(alone, together, strict=True))
        passed = difference <= _LARGEST_DIFFERENCE
        precision = ", float32" if self.losses_in_float32 else ""
        summary = f"{difference:.1e} in {work.steps} steps{precision}, {way.name}"
        return Check(
            passed=passed,
            summary=summary if passed else f"FAILED: {summary}",
            details={"losses": {self.alone.name: alone, way.name: together}},
        )

    def _launch(self, work: Work, inputs: Inputs, way: Way) -> dict[str, Any]:
        results = inputs.scratch()
        work_file = results / "work.json"
        work_file.write_text(json.dumps(asdict(work)), encoding="utf-8")
        config = _CONFIGS / f"{way.config}.yaml"
        launch = ["-m", "accelerate.commands.launch", "--config_file", str(config)]
        launch += ["--main_process_port", "0", "--num_processes", str(way.gpus), str(_SCRIPT)]
        devices = {"CUDA_VISIBLE_DEVICES": ",".join(_gpus()[: way.gpus])}
        run_python([*launch, str(work_file), str(inputs.folder), str(results)], devices)
        found = json.loads((results / FOUND).read_text("utf-8"))
        seconds = sum(found["laps"]) / len(found["laps"])
        print(f"  {way.name}, batch {work.batch}: {seconds:.4g} s a step", flush=True)
        return found


@dataclass(frozen=True)
class SpreadComparison:
    """{gpt-nano from scratch, tiny-gpt2} x seeds by one command, on 1, 2, 4, ... GPUs."""

    epochs: int
    seeds: int
    repetitions: int
    numbers: Sequence[int] = ()
    """See `several_gpus`."""

    def measure(self, folder: Path) -> Measured:
        """In turns; and whether they leave the same records, apart from times."""
        recipe = folder / "comparison.yaml"
        values = comparison_recipe(folder, self.epochs, self.seeds)
        recipe.write_text(json.dumps(values), encoding="utf-8")
        numbers = (1, *several_gpus(self.numbers))
        sides: dict[str, list[Run]] = {_on(number): [] for number in numbers}
        records = []
        for turn in range(self.repetitions):
            for number in numbers:
                results = folder / f"{number}-{turn}"
                run = _compare(recipe, results, _gpus()[:number])
                print(f"  {_on(number)}: {run.seconds:.1f} s", flush=True)
                sides[_on(number)].append(run)
                records.append(_timeless(results / "comparison"))
        same = [sum(map(operator.eq, records[0], other)) for other in records[1:]]
        passed = all(number == len(records[0]) for number in same)
        summary = f"{min(same)} of {len(records[0])} records the same, apart from times"
        return Measured(
            unit="run",
            settings={
                "models": list(MODELS),
                "epochs": self.epochs,
                "seeds": self.seeds,
                "cells": len(records[0]),
            },
            sides=sides,
            warm_up_runs=0,
            check=Check(
                passed=passed,
                summary=summary if passed else f"FAILED: {summary}",
                details={"same_records": same},
            ),
        )


def _compare(recipe: Path, results: Path, gpus: list[str]) -> Run:
    """One command; the details say when its cells began, and what they took."""
    began = time.time()
    command = ["-m", "hfbench", "compare", str(recipe), "--results-dir", str(results)]
    seconds, _ = run_python(command, {"CUDA_VISIBLE_DEVICES": ",".join(gpus)})
    records = load_records(results / "comparison")
    starts = [datetime.fromisoformat(record.started).timestamp() - began for record in records]
    details = {
        "starts": starts,
        "cell_seconds": [record.cell_seconds for record in records],
        "train_seconds": [record.training.train_seconds for record in records],
        "devices": sorted({record.training.device for record in records}),
        "command": records[0].environment["command"],
    }
    return Run(seconds, seconds, details=details)


def _gpus() -> list[str]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else list(map(str, range(torch.cuda.device_count())))


def _on(number: int) -> str:
    return f"hfbench compare, {number} GPU{'s' if number > 1 else ''}"


def _runs(way: Way, found: dict[str, Any]) -> list[Run]:
    """A run for each lap; the first tells of the whole."""
    whole = Run(**found["run"])
    return [replace(whole, seconds=seconds / way.gpus) for seconds in found["laps"]]


def _timeless(results: Path) -> list[dict[str, Any]]:
    """All of the records, but for times and the environment, whose command names the folder."""
    kept = []
    for record in load_records(results):
        values = record.model_dump(exclude={*_TIMES, "environment"})
        values["training"] = {
            name: value for name, value in values["training"].items() if name not in _TRAINING_TIMES
        }
        predictions = results / "records" / values["predictions"]
        kept.append({**values, "predictions": predictions.read_bytes()})
    return kept
