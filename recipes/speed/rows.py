"""The rows of each suite."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from speed.generation import Generating
from speed.measure import Measured
from speed.processes import Comparison, StartUp
from speed.real import RealComparison, SeedsTogether
from speed.scaling import ONE, Scaling, SpreadComparison, Way
from speed.training import (
    CLASSIFIER,
    COMPILED,
    ENCODER,
    ENCODER_MAX_LENGTH,
    LANGUAGE_MODEL,
    MAX_LENGTH,
    PLAIN_GPT,
    Training,
)
from speed.work import SST2_TRAIN, Work

BOOK = 4950  # sentences of the study's larger corpus, 1 % of them for the evaluation
NOVELS = 20_000  # sentences


class Row(Protocol):
    """What can be measured."""

    def measure(self, folder: Path) -> Measured:
        """Measure; ``folder`` is empty, and gone afterwards."""


@dataclass(frozen=True)
class Options:
    """What the command line says; None: as the row is made for."""

    repetitions: int | None = None
    steps: int | None = None
    epochs: int = 50
    seeds: int | None = None
    scripts: int | None = None
    gpus: tuple[int, ...] = ()


def rows(suite: str, options: Options) -> dict[str, Row]:
    """The rows of a suite by name."""
    return {name: make(options) for name, make in _SUITES[suite].items()}


def _training(work: Work, sides: dict, repetitions: int) -> Callable[[Options], Row]:
    return lambda options: Training(
        work.with_steps(options.steps),
        sides,
        options.repetitions or repetitions,
    )


def _generating(preset: str) -> Callable[[Options], Row]:
    return lambda options: Generating(preset, options.steps or 200, options.repetitions or 9)


def _comparison(options: Options) -> Row:
    return Comparison(options.epochs, options.seeds or 5, options.scripts)


def _real(
    models: tuple[str, ...], texts: int, epochs: int, seeds: int, repetitions: int
) -> Callable:
    return lambda options: RealComparison(
        models,
        texts,
        epochs,
        options.seeds or seeds,
        options.scripts or len(models),
        options.repetitions or repetitions,
    )


def _seeds(model: str, texts: int, seeds: int) -> Callable[[Options], Row]:
    return lambda options: SeedsTogether(
        model, texts, options.seeds or seeds, options.repetitions or 2
    )


def _scaling(work: Work, config: str, alone: Way = ONE) -> Callable[[Options], Row]:
    return lambda options: Scaling(
        work.with_steps(options.steps), config, options.gpus, alone=alone
    )


def _scaled_epoch(preset: str) -> Callable[[Options], Row]:
    work = Work(
        kind="classifier",
        preset=preset,
        corpus="reviews",
        texts=SST2_TRAIN,
        batch=128,
        steps=200,
        warm_up=30,
        dropout=0.0,
        # at 2e-5 roundings of float32, too, are large after 150 steps: the loss comes near 0
        learning_rate=5e-6,
        bf16=True,
        logging_steps=10,
        loss_steps=200,
    )
    return lambda options: Scaling(
        work.with_steps(options.steps),
        "multi_gpu",
        options.gpus,
        epoch=options.steps is None,
        losses_in_float32=True,
    )


def _spread_comparison(options: Options) -> Row:
    return SpreadComparison(
        options.epochs, options.seeds or 20, options.repetitions or 1, options.gpus
    )


def _start_up(options: Options) -> Row:
    return StartUp(options.repetitions or 5)


def _language_model(**values: object) -> Work:
    work = {"kind": "language model", "preset": "gpt-nano", "corpus": "book", "train_share": 0.99}
    return Work(**{**work, **values})


def _classifier(preset: str, **values: object) -> Work:
    return Work(kind="classifier", preset=preset, corpus="reviews", batch=16, **values)


def _encoder(preset: str, sides: dict, repetitions: int, **values: object) -> Callable:
    """Fine-tuning of a model that people use, on texts as long as SST-2's."""
    texts = {"corpus": "reviews", "texts": 10_000, "learning_rate": 2e-5, **values}
    work = Work(kind="classifier", preset=preset, **texts)
    return lambda options: Training(
        work.with_steps(options.steps),
        sides,
        options.repetitions or repetitions,
        others_steps=min(work.steps, options.steps or 36),
    )


_GPT2_124M = _language_model(
    preset="gpt2",
    texts=2 * NOVELS,  # enough for many steps of an epoch also on several GPUs
    block_size=1024,
    batch=32,
    steps=200,  # with fewer, the one checkpoint would weigh more than in any real training
    warm_up=20,
    tied=True,
    dropout=0.0,
    bf16=True,
    compiled=True,
    save_checkpoint=True,
    logging_steps=10,
)
_SCALED_124M = replace(
    _GPT2_124M,
    warm_up=30,
    save_checkpoint=False,
    learning_rate=1.5e-4,  # at 5e-4 without a warm-up the loss leaps at times, on one GPU as on two
    loss_steps=200,
)
_SCALED_XL = replace(_SCALED_124M, preset="gpt2-xl", batch=16, steps=40)

_REAL_MODELS = ("minilm", "distilbert", "bert-base", "gpt2")

_SUITES: dict[str, dict[str, Callable[[Options], Row]]] = {
    "cpu": {
        "lm-small-corpus": _training(
            _language_model(corpus="pets", train_share=0.8, batch=4, steps=100, warm_up=5),
            LANGUAGE_MODEL,
            repetitions=5,
        ),
        "lm-larger-corpus": _training(
            _language_model(texts=BOOK, batch=16, steps=20, warm_up=2),
            LANGUAGE_MODEL,
            repetitions=5,
        ),
        "finetune-gpt-nano": _training(
            _classifier("gpt-nano", steps=200, warm_up=5), CLASSIFIER, repetitions=5
        ),
        "finetune-tiny-gpt2": _training(
            _classifier("tiny-gpt2", steps=200, warm_up=5), CLASSIFIER, repetitions=5
        ),
        "finetune-tiny-gpt2-max-length": _training(
            _classifier("tiny-gpt2", steps=6, warm_up=1), MAX_LENGTH, repetitions=3
        ),
        "finetune-minilm": _encoder("minilm", ENCODER, 3, batch=16, steps=24, warm_up=4),
        "finetune-distilbert": _encoder("distilbert", ENCODER, 3, batch=16, steps=24, warm_up=4),
        "comparison": _comparison,
        "start-up": _start_up,
    },
    "gpu": {
        "lm-16x64": _training(
            _language_model(texts=BOOK, block_size=64, batch=16, steps=300, warm_up=60),
            LANGUAGE_MODEL,
            repetitions=3,
        ),
        "lm-16x64-bf16": _training(
            _language_model(texts=BOOK, block_size=64, batch=16, steps=300, warm_up=60, bf16=True),
            LANGUAGE_MODEL,
            repetitions=3,
        ),
        "lm-16x64-compiled": _training(
            _language_model(
                texts=BOOK, block_size=64, batch=16, steps=300, warm_up=60, compiled=True
            ),
            COMPILED,
            repetitions=3,
        ),
        "lm-256x64": _training(
            _language_model(
                texts=NOVELS, block_size=64, batch=256, steps=100, warm_up=20, bf16=True
            ),
            {**LANGUAGE_MODEL, **PLAIN_GPT},
            repetitions=3,
        ),
        "finetune-gpt-nano": _training(
            _classifier("gpt-nano", steps=600, warm_up=300), CLASSIFIER, repetitions=3
        ),
        "finetune-tiny-gpt2": _training(
            _classifier("tiny-gpt2", steps=600, warm_up=300), CLASSIFIER, repetitions=3
        ),
        **{
            f"finetune-{preset}": _encoder(
                preset,
                ENCODER_MAX_LENGTH,
                2,
                batch=32,
                steps=400,
                warm_up=200,
                bf16=True,
                # a new GPT-2 leaves its first losses far behind at 2e-5, and roundings with them
                learning_rate=5e-6 if preset == "gpt2" else 2e-5,
            )
            for preset in ("minilm", "distilbert", "bert-base", "gpt2", "modernbert-base")
        },
        # the first run finds files that nobody has read since the machine started
        "epoch-sst2-bert-base": _real(("bert-base",), SST2_TRAIN, epochs=1, seeds=1, repetitions=3),
        "comparison-real": _real(_REAL_MODELS, 10_000, epochs=3, seeds=5, repetitions=1),
        "seeds-distilbert": _seeds("distilbert", 600 * 32, seeds=5),
        "lm-124m": _training(_GPT2_124M, COMPILED, repetitions=2),
        "generate-gpt-nano": _generating("gpt-nano"),
        "generate-124m": _generating("gpt2"),
        "comparison": _comparison,
    },
    "gpus": {
        "lm-124m-ddp": _scaling(_SCALED_124M, "multi_gpu"),
        "lm-124m-fsdp2": _scaling(_SCALED_124M, "fsdp2"),
        # one GPU by the same way: where the model is one graph, compiling it takes minutes
        "lm-xl-fsdp2": _scaling(_SCALED_XL, "fsdp2", alone=Way(1, "fsdp2")),
        "finetune-bert-base-ddp": _scaled_epoch("bert-base"),
        "finetune-modernbert-base-ddp": _scaled_epoch("modernbert-base"),
        "comparison": _spread_comparison,
    },
}
