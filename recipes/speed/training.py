"""A row of training: the sides in turns, and the check of their losses."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from speed import bare_loop, hfbench_side, stock_trainer
from speed.losses import check_losses
from speed.measure import Clock, Measured, Run, in_turns, timed
from speed.work import (
    BETAS,
    MAX_GRAD_NORM,
    WEIGHT_DECAY,
    Inputs,
    Work,
    prepare,
)

Side = Callable[[Work, Inputs, Clock], Any]

HFBENCH: dict[str, Side] = {"hfbench": hfbench_side.train}
LANGUAGE_MODEL: dict[str, Side] = {
    **HFBENCH,
    "GPT2LMHeadModel, Trainer": stock_trainer.train_language_model,
    "GPT2LMHeadModel, bare loop": bare_loop.train_language_model,
}
PLAIN_GPT: dict[str, Side] = {"plain GPT compiled, bare loop": bare_loop.train_plain_gpt}
COMPILED: dict[str, Side] = {
    **HFBENCH,
    "GPT2LMHeadModel compiled, Trainer": stock_trainer.train_language_model,
    **PLAIN_GPT,
}
CLASSIFIER: dict[str, Side] = {
    **HFBENCH,
    "GPT2ForSequenceClassification, Trainer": stock_trainer.train_classifier,
    "GPT2ForSequenceClassification, bare loop": bare_loop.train_classifier,
}
ENCODER: dict[str, Side] = {**HFBENCH, "Trainer": stock_trainer.train_classifier}
ENCODER_MAX_LENGTH: dict[str, Side] = {
    **ENCODER,
    "Trainer, padding=max_length": stock_trainer.train_classifier_on_max_length,
}
MAX_LENGTH: dict[str, Side] = {
    **HFBENCH,
    "GPT2ForSequenceClassification, Trainer, padding=max_length": (
        stock_trainer.train_classifier_on_max_length
    ),
}


@dataclass(frozen=True)
class Training:
    """A row: the same work by each side."""

    work: Work
    sides: dict[str, Side]
    repetitions: int
    others_steps: int | None = None
    """Of all sides but the first, a third of them to warm up; None: as many as it has."""

    def measure(self, folder: Path) -> Measured:
        """One round to warm up, ``repetitions`` rounds, and then the losses.

        The losses come last, for what they compile would make hfbench's first run faster.
        """
        work = self.work
        inputs = prepare(work, folder)
        sides = {
            name: self._side(side, work if side is hfbench_side.train else self._others, inputs)
            for name, side in self.sides.items()
        }
        settings = {
            **asdict(work),
            "shape": work.shape,
            "repetitions": self.repetitions,
            "others_steps": self.others_steps or work.steps,
            "optimizer": {
                "learning_rate": work.learning_rate,
                "betas": BETAS,
                "weight_decay": WEIGHT_DECAY,
                "max_grad_norm": MAX_GRAD_NORM,
                "name": "adamw_torch_fused",
            },
        }
        runs = in_turns(sides, 1 + self.repetitions)
        check = check_losses(work, inputs)
        print(f"  losses: {check.summary}", flush=True)
        tokens = work.batch * _tokens_of_an_example(work, inputs)
        return Measured("step", settings, runs, warm_up_runs=1, tokens=tokens, check=check)

    @property
    def _others(self) -> Work:
        if self.others_steps is None:
            return self.work
        return replace(self.work, steps=self.others_steps, warm_up=self.others_steps // 3)

    @staticmethod
    def _side(side: Side, work: Work, inputs: Inputs) -> Callable[[], Run]:
        return partial(timed, partial(side, work, inputs), work.warm_up)


def _tokens_of_an_example(work: Work, inputs: Inputs) -> float:
    if work.kind == "classifier":
        return mean(len(ids) for ids, _ in bare_loop.classifier_rows(inputs))
    return mean(len(ids) for ids in bare_loop.language_model_rows(work, inputs))
