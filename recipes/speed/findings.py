"""What the records of all suites say together, in words: what was measured is read from them."""

import re
import statistics
from pathlib import Path

from speed.records import (
    CHECKPOINT_INTERVAL,
    duration,
    load_record,
    median_memory,
    record_path,
    timed_runs,
)

PEAK_FLOPS = 775e12
"""Operations a second that a large product in bf16 reaches on an H200."""

TEMPLATE = Path(__file__).with_name("findings.md.jinja")


class Row:
    """The numbers of a row as a text needs them; a side goes by its name in the record."""

    def __init__(self, suite: str, name: str, out: Path) -> None:
        """Read the record.

        Raises:
            FileNotFoundError: if there is none.
        """
        self.record = load_record(suite, name, out)
        self.timed = timed_runs(self.record)

    def median(self, side: str) -> str:
        """Of what is timed, a step for example: ``1.73 ms``."""
        return duration(self.seconds(side))

    def times(self, side: str) -> str:
        """How many times as long ``side`` takes as the first: ``8.93``."""
        return f"{self.seconds(side) / self.first:#.3g}".rstrip(".")

    def tokens(self, side: str) -> str:
        """Tokens a second: ``2,994,120``."""
        return f"{self.record['tokens'] / self.seconds(side):,.0f}"

    def checkpoint(self, side: str) -> str:
        """What writing one takes: ``1.27 s``."""
        return duration(statistics.median(map(_checkpoint_seconds, self.timed[side])))

    def tokens_without_checkpoints(self, side: str) -> str:
        """Tokens a second, had none been written."""
        seconds = statistics.median(
            run["seconds"] - _checkpoint_seconds(run) / CHECKPOINT_INTERVAL
            for run in self.timed[side]
        )
        return f"{self.record['tokens'] / seconds:,.0f}"

    def memory(self, side: str) -> str:
        """The peak, in MiB: ``17,954``."""
        return median_memory(self.timed[side])

    @property
    def several(self) -> dict[int, str]:
        """Number of GPUs -> side, of those on more than one."""
        found = {int(re.findall(r"(\d+) GPU", side)[0]): side for side in self.timed}
        return {number: side for number, side in found.items() if number > 1}

    def paces(self, *, fastest: bool = False) -> str:
        """What each of several does of what one does alone: ``95 % on 2, 93 % on 4``.

        One alone is the first side. By medians or, if ``fastest``, by the least of its runs.
        """
        of = min if fastest else statistics.median
        seconds = {side: of(run["seconds"] for run in runs) for side, runs in self.timed.items()}
        alone = next(iter(seconds.values()))
        return ", ".join(
            f"{_share(alone / (number * seconds[side]))} on {number}"
            for number, side in self.several.items()
        )

    def start(self, side: str) -> str:
        """When the first cell of a comparison begins, its first run: ``12.3 s``."""
        return duration(self._start(side))

    def pace_of_cells(self, alone: str, side: str, gpus: int) -> str:
        """As `paces`, of the time since the first cell began."""
        one, several = (self.seconds(name) - self._start(name) for name in (alone, side))
        return _share(one / (gpus * several))

    def utilisation(self, side: str, gpus: int) -> str:
        """What each of so many GPUs reaches of `PEAK_FLOPS`, by the model alone: ``48 %``."""
        rate = self.record["flops"] / (gpus * self.seconds(side))
        return _share(rate / PEAK_FLOPS)

    def training(self, side: str) -> str:
        """What all steps of the first run take: ``41.2 s``."""
        return duration(self.timed[side][0]["train_seconds"])

    @property
    def first(self) -> float:
        """The first side's seconds."""
        return self.seconds(next(iter(self.timed)))

    def seconds(self, side: str) -> float:
        """The median of what is timed."""
        return statistics.median(run["seconds"] for run in self.timed[side])

    def _start(self, side: str) -> float:
        return min(self.timed[side][0]["details"]["starts"])


def _share(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _checkpoint_seconds(run: dict) -> float:
    return statistics.mean(run["details"]["checkpoint_seconds"])


def write_findings(out: Path) -> Path:
    """Render the template to ``<out>/README.md``; for errors see `Row`."""
    path = out / "README.md"
    path.write_text(render(out), encoding="utf-8")
    return path


def render(out: Path) -> str:
    """The text; in the template, ``row("gpu", "lm-16x64")`` is a `Row`.

    ``is_measured`` says of the same arguments whether there is one.
    """
    from jinja2 import Environment, StrictUndefined

    from hfbench.evidence import markdown

    template = Environment(undefined=StrictUndefined).from_string(TEMPLATE.read_text("utf-8"))
    text = template.render(
        row=lambda suite, name: Row(suite, name, out),
        is_measured=lambda suite, name: record_path(suite, name, out).exists(),
    )
    return markdown.fill(text)
