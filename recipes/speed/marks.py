"""What was asked of the speed, and whether the records meet it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from speed.findings import PEAK_FLOPS, Row
from speed.records import duration, record_path

RECORDS = Path(__file__).parents[2] / "results" / "speed"
"""Those that are committed, of which the page tells."""
PAGE = Path(__file__).parents[2] / "docs" / "speed.md"
BEGIN = (
    "<!-- to the end: rendered by `python recipes/benchmark_speed.py --findings`; do not edit -->"
)


@dataclass(frozen=True)
class Mark:
    """A number of a row, and what it should be at most, or at least."""

    what: str
    suite: str
    row: str
    number: Callable[[Row], float | None]
    """None: it was not measured."""
    show: Callable[[float], str]
    asked: float
    is_most: bool = False
    """Whether it should be no more than that, and not no less."""

    def cells(self, out: Path) -> list[str]:
        """Of the table: what, asked, measured, whether that is met."""
        asked = f"at {'most' if self.is_most else 'least'} {self.show(self.asked)}"
        measured = None
        if record_path(self.suite, self.row, out).exists():
            measured = self.number(Row(self.suite, self.row, out))
        if measured is None:
            return [self.what, asked, "not measured", ""]
        met = measured <= self.asked if self.is_most else measured >= self.asked
        return [self.what, asked, self.show(measured), "met" if met else "**not met**"]


def _seconds(row: Row, side: str) -> float:
    return row.seconds(side)


def _of_first(row: Row, side: str) -> float:
    return row.seconds(side) / row.first


def _of_stock(row: Row) -> float:
    return row.first / row.seconds("Trainer")


def _pace(row: Row, gpus: int) -> float | None:
    """Of one GPU's, each of so many has."""
    side = row.several.get(gpus)
    return row.first / (gpus * row.seconds(side)) if side else None


def _utilisation(row: Row, gpus: int) -> float:
    """What each of so many GPUs reaches of `PEAK_FLOPS`, by the model alone."""
    rate: float = row.record["flops"] / (gpus * row.seconds(row.several[gpus]))
    return rate / PEAK_FLOPS


def _tokens(row: Row, side: str) -> float:
    return float(row.record["tokens"] / row.seconds(side))


def _times(factor: float) -> str:
    return f"{factor:.2f} times"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _tokens_a_second(number: float) -> str:
    return f"{number:,.0f} tokens/s"


def _fine_tuning() -> Iterator[Mark]:
    for name, title, milliseconds in (
        ("minilm", "MiniLM's shape", 2.6),
        ("distilbert", "DistilBERT", 3.6),
        ("bert-base", "BERT base", 6.5),
        ("gpt2", "GPT-2 124M", 6.5),
        ("modernbert-base", "ModernBERT base", 9.5),
    ):
        row = f"finetune-{name}"
        step = partial(_seconds, side="hfbench")
        yield Mark(
            f"H200: a step of {title}",
            "gpu",
            row,
            step,
            duration,
            asked=milliseconds / 1e3,
            is_most=True,
        )
        stock = partial(_of_first, side="Trainer")
        yield Mark(f"H200: the Trainer's step of {title}", "gpu", row, stock, _times, asked=7)


def _scaled() -> Iterator[Mark]:
    for gpus, share in ((4, 0.93), (8, 0.9)):
        what = f"{gpus} H200: each one's pace, GPT-2 124M by DDP"
        pace = partial(_pace, gpus=gpus)
        yield Mark(what, "gpus", "lm-124m-ddp", pace, _percent, asked=share)
    for gpus in (2, 4, 8):
        what = f"{gpus} H200: each one's pace, a comparison of 40 cells"
        yield Mark(what, "gpus", "comparison", partial(_pace, gpus=gpus), _percent, asked=0.85)


MARKS = (
    Mark(
        "two CPU cores: a step of MiniLM's shape, of the Trainer's",
        "cpu", "finetune-minilm", _of_stock, _percent, asked=0.6, is_most=True,
    ),
    Mark(
        "two CPU cores: a step of DistilBERT, of the Trainer's",
        "cpu", "finetune-distilbert", _of_stock, _percent, asked=0.6, is_most=True,
    ),
    Mark(
        "two CPU cores: the first step, of the imports' time",
        "cpu", "start-up", partial(_of_first, side="hfbench compare to its first step"),
        _times, asked=1.1, is_most=True,
    ),
    *_fine_tuning(),
    Mark(
        "H200: an epoch of BERT base on SST-2, the whole process",
        "gpu", "epoch-sst2-bert-base", partial(_seconds, side="hfbench compare"), duration,
        asked=25, is_most=True,
    ),
    Mark(
        "H200: 20 stock scripts, of the comparison of their 20 cells",
        "gpu", "comparison-real",
        partial(_of_first, side="20 stock scripts, 4 measured and scaled"), _times, asked=7,
    ),
    Mark(
        "H200: five seeds of DistilBERT, of one seed",
        "gpu", "seeds-distilbert", partial(_of_first, side="5 seeds"), _times,
        asked=2, is_most=True,
    ),
    Mark(
        "H200: GPT-2 124M from scratch",
        "gpu", "lm-124m", partial(_tokens, side="hfbench"), _tokens_a_second, asked=520_000,
    ),
    Mark(
        "2 H200: gpt2-xl by FSDP2, of 775 TFLOP/s",
        "gpus", "lm-xl-fsdp2", partial(_utilisation, gpus=2), _percent, asked=0.45,
    ),
    *_scaled(),
)  # fmt: skip


def table(out: Path) -> str:
    """Each mark in a line."""
    lines = [["", "asked", "measured", ""], ["---"] * 4, *(mark.cells(out) for mark in MARKS)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def page() -> str:
    """docs/speed.md, which ends with the table."""
    text, _, _ = PAGE.read_text("utf-8").partition(BEGIN)
    return f"{text}{BEGIN}\n\n{table(RECORDS)}"
