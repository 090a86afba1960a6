"""What the records of all suites say together, in words: what was measured is read from them."""

import statistics
from pathlib import Path

from speed.records import (
    CHECKPOINT_INTERVAL,
    duration,
    load_record,
    median_memory,
    timed_runs,
)

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
        return duration(self._seconds(side))

    def times(self, side: str) -> str:
        """How many times as long ``side`` takes as the first: ``8.93``."""
        return f"{self._seconds(side) / self._first:#.3g}".rstrip(".")

    def tokens(self, side: str) -> str:
        """Tokens a second: ``2,994,120``."""
        return f"{self.record['tokens'] / self._seconds(side):,.0f}"

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

    def pace(self, side: str, gpus: int) -> str:
        """What each of several GPUs does of what one does alone, the first side: ``95 %``."""
        return f"{100 * self._first / (gpus * self._seconds(side)):.0f} %"

    @property
    def _first(self) -> float:
        return self._seconds(next(iter(self.timed)))

    def _seconds(self, side: str) -> float:
        return statistics.median(run["seconds"] for run in self.timed[side])


def _checkpoint_seconds(run: dict) -> float:
    return statistics.mean(run["details"]["checkpoint_seconds"])


def write_findings(out: Path) -> Path:
    """Render the template to ``<out>/README.md``; for errors see `Row`."""
    path = out / "README.md"
    path.write_text(render(out), encoding="utf-8")
    return path


def render(out: Path) -> str:
    """The text; in the template, ``row("gpu", "lm-16x64")`` is a `Row`."""
    from jinja2 import Environment, StrictUndefined

    from hfbench.evidence import markdown

    template = Environment(undefined=StrictUndefined).from_string(TEMPLATE.read_text("utf-8"))
    return markdown.fill(template.render(row=lambda suite, name: Row(suite, name, out)))
