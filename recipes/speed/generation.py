"""Greedy continuation with a key-value cache, with and without the table of probabilities."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GPT2LMHeadModel, PreTrainedModel

from hfbench.generation.generate import generate, load_language_model
from hfbench.models.convert import convert_model
from hfbench.system.environment import peak_memory, reset_peak_memory
from speed import texts
from speed.measure import Check, Measured, Run, device, in_turns
from speed.work import Work

_PROMPT = "He and I"
_TOP = 6


@dataclass(frozen=True)
class Generating:
    """The same weights as a custom GPT and as a GPT-2 write the same tokens."""

    preset: str
    new_tokens: int
    repetitions: int

    def measure(self, folder: Path) -> Measured:
        """In turns; the first time compiles."""
        custom_model, tokenizer = self._custom_model(folder)
        stock = GPT2LMHeadModel.from_pretrained(folder / "gpt2").to(device()).eval()
        written: dict[str, list[int]] = {}

        def side(name: str, write: Callable[[], list[int]]) -> Callable[[], Run]:
            def run() -> Run:
                written[name], taken = self._timed(write)
                return taken

            return run

        sides = {
            "hfbench.generate, no table": lambda: self._hfbench(custom_model, tokenizer, top=1),
            f"hfbench.generate, top {_TOP}": lambda: self._hfbench(custom_model, tokenizer, _TOP),
            "GPT2LMHeadModel.generate, static cache": lambda: self._stock(stock, tokenizer),
        }
        runs = in_turns(
            {name: side(name, write) for name, write in sides.items()}, 1 + self.repetitions
        )
        return Measured(
            unit="token",
            settings={
                "preset": self.preset,
                "new_tokens": self.new_tokens,
                "top": _TOP,
                "prompts": 1,
                "repetitions": self.repetitions,
            },
            sides=runs,
            warm_up_runs=1,
            tokens=1,
            check=self._check(written),
        )

    def _custom_model(self, folder: Path) -> tuple[PreTrainedModel, Any]:
        """Random weights, once as a GPT-2 and once as a custom GPT; EOS ends nothing."""
        shape = Work(
            kind="language model", preset=self.preset, corpus="pets", batch=1, steps=1, warm_up=0
        )
        torch.manual_seed(0)
        gpt2 = GPT2LMHeadModel(shape.gpt2_config())
        gpt2.generation_config.eos_token_id = None
        gpt2.save_pretrained(folder / "gpt2")
        convert_model(gpt2).save_pretrained(folder / "custom")
        texts.save_tokenizer(folder / "tokenizer")
        texts.save_tokenizer(folder / "custom")
        model, tokenizer = load_language_model(str(folder / "custom"))
        return model.eval(), tokenizer

    def _hfbench(self, model: PreTrainedModel, tokenizer: Any, top: int) -> list[int]:
        """The least that it tells is the probability of the chosen token, which is the top 1."""
        (generation,) = generate(
            model, tokenizer, [_PROMPT], max_new_tokens=self.new_tokens, top=top
        )
        return [step.chosen.token_id for step in generation.steps]

    def _stock(self, model: PreTrainedModel, tokenizer: Any) -> list[int]:
        prompt = tokenizer(_PROMPT, return_tensors="pt").to(device())
        output = model.generate(
            **prompt,
            max_new_tokens=self.new_tokens,
            do_sample=False,
            cache_implementation="static",  # on a GPU the library compiles the model then
        )
        return output[0, prompt["input_ids"].shape[1] :].tolist()

    def _timed(self, write: Callable[[], list[int]]) -> tuple[list[int], Run]:
        reset_peak_memory(device())
        start = time.perf_counter()
        tokens = write()  # as numbers, for which the device has been waited for
        seconds = time.perf_counter() - start
        peak, peak_of = peak_memory(device())
        return tokens, Run(
            seconds / self.new_tokens, seconds, peak_memory_bytes=peak, peak_memory_of=peak_of
        )

    def _check(self, written: dict[str, list[int]]) -> Check:
        first, *others = written.values()
        passed = len(first) == self.new_tokens and all(other == first for other in others)
        summary = "same tokens" if passed else "FAILED: other tokens"
        return Check(passed, summary, written)
