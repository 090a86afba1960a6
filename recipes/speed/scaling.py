"""One pretraining on more and more GPUs of a host, and one comparison on one and on all of them."""

import json
import operator
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hfbench import load_records
from speed.measure import Check, Measured, Run
from speed.processes import comparison_recipe, run_python
from speed.scaled_script import FOUND
from speed.work import Inputs, Work, prepare

_SCRIPT = Path(__file__).with_name("scaled_script.py")
_CONFIGS = Path(__file__).parents[1] / "accelerate"
_LARGEST_DIFFERENCE = 1e-3  # of the losses of the same steps in nats

# of a record, what another run of the same may have otherwise
_TIMES = {"started", "cell_seconds", "fit_seconds"}
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


def ways(config: str) -> list[Way]:
    """One GPU, and 2, 4, ... of those that there are."""
    powers = range(1, torch.cuda.device_count().bit_length())
    return [ONE, *(Way(2**power, config) for power in powers)]


@dataclass(frozen=True)
class Scaling:
    """Each GPU has a batch: how long a batch takes in all. And the losses with the same batches."""

    work: Work
    """Its batch is that of one GPU."""
    config: str
    """Of several processes."""

    def measure(self, folder: Path) -> Measured:
        """Each way once, a run for each lap of its steps after the warm-up; then the losses."""
        inputs = prepare(self.work, folder)
        found = {way: self._launch(self._work_of(way), inputs, way) for way in ways(self.config)}
        sides = {way.name: _runs(way, result) for way, result in found.items()}
        return Measured(
            unit=f"batch of {self.work.batch}",
            settings={
                **asdict(self.work),
                "shape": self.work.shape,
                "devices": {way.name: result["device"] for way, result in found.items()},
                "commands": {way.name: result["command"] for way, result in found.items()},
            },
            sides=sides,
            warm_up_runs=0,
            tokens=self.work.batch * (self.work.block_size or 0),
            check=self._check(found[ONE]["losses"], inputs),
        )

    def _work_of(self, way: Way) -> Work:
        return replace(self.work, batch=self.work.batch * way.gpus)

    def _check(self, alone: list[float], inputs: Inputs) -> Check:
        """The losses of one GPU against those of two, with the same batches."""
        pair = Way(2, self.config)
        together = self._launch(self.work, inputs, pair)["losses"]
        difference = max(abs(one - two) for one, two in zip(alone, together, strict=True))
        return Check(
            passed=difference <= _LARGEST_DIFFERENCE,
            summary=f"{difference:.1e} in {self.work.steps} steps",
            details={"losses": {ONE.name: alone, pair.name: together}},
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
    """{gpt-nano from scratch, tiny-gpt2} x seeds by one command, on one GPU and on all."""

    epochs: int
    seeds: int

    def measure(self, folder: Path) -> Measured:
        """Twice each, in turns; and whether they leave the same records, apart from times."""
        recipe = folder / "comparison.yaml"
        values = comparison_recipe(folder, self.epochs, self.seeds)
        recipe.write_text(json.dumps(values), encoding="utf-8")
        numbers = (1, len(_gpus()))
        sides: dict[str, list[Run]] = {_on(number): [] for number in numbers}
        records = []
        for turn in range(2):
            for number in numbers:
                results = folder / f"{number}-{turn}"
                command = ["compare", str(recipe), "--results-dir", str(results)]
                devices = {"CUDA_VISIBLE_DEVICES": ",".join(_gpus()[:number])}
                seconds, _ = run_python(["-m", "hfbench", *command], devices)
                print(f"  {_on(number)}: {seconds:.1f} s", flush=True)
                sides[_on(number)].append(Run(seconds, seconds))
                records.append(_timeless(results / "comparison"))
        same = [sum(map(operator.eq, records[0], other)) for other in records[1:]]
        return Measured(
            unit="run",
            settings={"epochs": self.epochs, "seeds": self.seeds, "cells": len(records[0])},
            sides=sides,
            warm_up_runs=0,
            check=Check(
                passed=all(number == len(records[0]) for number in same),
                summary=f"{min(same)} of {len(records[0])} records the same, apart from times",
                details={"same_records": same},
            ),
        )


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
