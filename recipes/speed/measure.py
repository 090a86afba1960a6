"""The clock of a run, and several sides run in turns."""

import contextlib
import gc
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from hfbench.system.environment import peak_memory, reset_peak_memory
from speed.records import CHECKPOINT_INTERVAL


def device() -> torch.device:
    """Where all sides run."""
    if torch.accelerator.is_available():
        return torch.accelerator.current_accelerator()
    return torch.device("cpu")


@dataclass(frozen=True)
class Run:
    """A side, once."""

    seconds: float
    """Of what the row compares: a step after the warm-up, a token, a process."""
    total_seconds: float
    """From reading the data to the end."""
    train_seconds: float | None = None
    """Of all steps, those of the warm-up included."""
    peak_memory_bytes: int | None = None
    """While it trained."""
    peak_memory_of: str | None = None
    """As in hfbench's records."""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """Whether the sides compute the same."""

    passed: bool
    summary: str
    """For the table."""
    details: dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """All of a row."""

    unit: str
    """What ``seconds`` are of: ``step``, ``token`` or ``run``."""
    settings: dict[str, Any]
    sides: dict[str, list[Run]]
    """The first is the one that the others are compared with."""
    warm_up_runs: int
    """Of each side, at the beginning."""
    tokens: float | None = None
    """Of a step, padding apart."""
    flops: float | None = None
    """Operations of a step, see `hfbench.models.flops`."""
    check: Check | None = None

    def to_dict(self) -> dict[str, Any]:
        """For the record."""
        return asdict(self)


class Clock(TrainerCallback):
    """Times training from the end of the warm-up on; the Trainer calls it, or a loop does.

    Before each reading it waits for the device. Memory is that of the training.
    """

    def __init__(self, warm_up: int) -> None:
        """``warm_up``: the steps before the clock starts."""
        self.warm_up = warm_up
        self.steps = 0
        self.checkpoint_seconds: list[float] = []
        self._began = self._warm = self._ended = 0.0
        self._saving: float | None = None
        self.peak: tuple[int, str] | None = None

    def begin(self) -> None:
        """Before the first step."""
        self.steps = 0
        self.checkpoint_seconds = []
        reset_peak_memory(device())
        self._began = self._warm = _now()

    def step(self) -> None:
        """After a step."""
        self.steps += 1
        if self.steps == self.warm_up:
            self._warm = _now()

    def end(self) -> None:
        """After the last step."""
        self._ended = _now()
        self.peak = peak_memory(device())

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Of the Trainer."""
        self.begin()

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Of the Trainer; a checkpoint of the last step is finished, its hashes included."""
        if self._saving is not None:
            self.checkpoint_seconds.append(_now() - self._saving)
            self._saving = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Of the Trainer; a checkpoint is written after this."""
        self.step()
        if control.should_save:
            self._saving = _now()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """Of the Trainer."""
        self.end()

    @property
    def step_seconds(self) -> float:
        """Of a step after the warm-up; a checkpoint, if one was written then, is spread."""
        saving = sum(self.checkpoint_seconds)
        steps = self.steps - self.warm_up
        seconds = (self._ended - self._warm - saving) / steps
        if self.checkpoint_seconds:
            seconds += statistics.mean(self.checkpoint_seconds) / CHECKPOINT_INTERVAL
        return seconds

    @property
    def train_seconds(self) -> float:
        """Of all steps."""
        return self._ended - self._began


class Laps(TrainerCallback):
    """Seconds of a step in each lap of so many steps, from the end of the warm-up on.

    After each lap it waits for the device.
    """

    def __init__(self, warm_up: int, lap: int) -> None:
        self.warm_up, self.lap = warm_up, lap
        self.seconds: list[float] = []
        self._last = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Of the Trainer."""
        steps = state.global_step - self.warm_up
        if steps < 0 or steps % self.lap:
            return
        now = _now()
        if steps:
            self.seconds.append((now - self._last) / self.lap)
        self._last = now


def timed(side: Callable[[Clock], dict[str, Any] | None], warm_up: int) -> Run:
    """Train once; what ``side`` returns are the details."""
    _free_memory()
    clock = Clock(warm_up)
    start = time.perf_counter()
    with quiet():
        details = side(clock)
    total = _now() - start
    assert clock.peak is not None
    peak, peak_of = clock.peak
    details = {"steps": clock.steps, **(details or {})}
    if clock.checkpoint_seconds:
        details["checkpoint_seconds"] = clock.checkpoint_seconds
    return Run(clock.step_seconds, total, clock.train_seconds, peak, peak_of, details)


def in_turns(sides: dict[str, Callable[[], Run]], rounds: int) -> dict[str, list[Run]]:
    """Each side so many times, one after the other in each round."""
    _wake_device()
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            run = side()
            runs[name].append(run)
            seconds = f"{run.seconds:.4g} s, {run.total_seconds:.1f} s in all"
            print(f"  {number} {name}: {seconds}", flush=True)
    return runs


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What the sides print and warn of would stand between the measurements."""
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nothing,
        contextlib.redirect_stdout(nothing),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def _now() -> float:
    if device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _wake_device() -> None:
    """What a process does once, at the first product, would be counted against the first side."""
    matrix = torch.ones(16, 16, device=device(), requires_grad=True)
    (matrix @ matrix).sum().backward()
    _now()


def _free_memory() -> None:
    """What the side before left; a Trainer and its model hold each other."""
    gc.collect()
    if device().type == "cuda":
        torch.cuda.empty_cache()
