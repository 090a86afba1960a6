"""A row's record, and the table that is made from records alone."""

import json
import math
import os
import statistics
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1

# A run of a minute cannot hold the checkpoints of a day in proportion: the time of the one that it
# wrote is spread over so many steps.
CHECKPOINT_INTERVAL = 1000

_HEADER = (
    "row",
    "side",
    "median",
    "least to most (runs)",
    "median / first side's",
    "tokens/s",
    "first run: training",
    "first run: in all",
    "peak memory, MiB",
    "difference of losses: first step; largest",
)
_COUNTED_MEMORY = ("device allocations", "the process during the run")  # of a run, not of all


def save_record(suite: str, name: str, measured: dict[str, Any], device: str, out: Path) -> Path:
    """Write ``<out>/<suite>/<name>.json``, whole or not at all."""
    from hfbench.system.environment import environment_stamp

    record = {
        "schema_version": SCHEMA_VERSION,
        "suite": suite,
        "row": name,
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": device,
        "environment": environment_stamp(),
        **measured,
    }
    path = record_path(suite, name, out)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def load_record(suite: str, name: str, out: Path) -> dict[str, Any]:
    """What `save_record` wrote."""
    return json.loads(record_path(suite, name, out).read_text("utf-8"))


def record_path(suite: str, name: str, out: Path) -> Path:
    """Where a row's record is."""
    return out / suite / f"{name}.json"


def write_table(suite: str, names: list[str], out: Path) -> Path:
    """Write ``<out>/<suite>.md`` from the records of the rows ``names`` that there are."""
    measured = [name for name in names if record_path(suite, name, out).exists()]
    records = [load_record(suite, name, out) for name in measured]
    path = out / f"{suite}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(table(suite, records), encoding="utf-8")
    return path


def table(suite: str, records: list[dict[str, Any]]) -> str:
    """Markdown: a header with what it was measured on, a line for each side."""
    lines = [f"# Speed: {suite}", "", *(f"- {line}" for line in _machines(records)), ""]
    lines += [_line(_HEADER), _line(["---"] * 2 + ["---:"] * 7 + ["---"])]
    lines += [_line(cells) for record in records for cells in _cells(record)]
    return "\n".join(lines) + "\n"


def _machines(records: list[dict[str, Any]]) -> list[str]:
    """Each combination of machine and versions, and its rows where there are several."""
    rows: dict[str, list[str]] = {}
    for record in records:
        stamp = record["environment"]
        packages = stamp["packages"]
        versions = ", ".join(f"{name} {packages[name]}" for name in ("torch", "transformers"))
        commit = (stamp["commit"] or "no commit")[:12]
        changed = " with changes" if stamp["uncommitted_changes"] else ""
        machine = f"{record['device']}, {stamp['cpu_count']} CPU cores"
        text = f"{machine}; Python {stamp['python']}, {versions}; hfbench {commit}{changed}"
        rows.setdefault(text, []).append(record["row"])
    if len(rows) < 2:
        return list(rows)
    return [f"{text}: {', '.join(names)}" for text, names in rows.items()]


def _cells(record: dict[str, Any]) -> list[list[str]]:
    sides, unit, timed = record["sides"], record["unit"], timed_runs(record)
    seconds = {name: [run["seconds"] for run in runs] for name, runs in timed.items()}
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    reference = next(iter(medians))
    lines = []
    for name, runs in sides.items():
        first, median = runs[0], medians[name]
        least, most = (duration(value(seconds[name])) for value in (min, max))
        check = record["check"] if name == reference else None
        lines.append(
            [
                record["row"],
                name,
                duration(median) + (f" a {unit}" if unit != "run" else ""),
                f"{least} to {most} ({len(seconds[name])})",
                f"{median / medians[reference]:.2f}",
                f"{record['tokens'] / median:,.0f}" if record["tokens"] else "",
                duration(first["train_seconds"]) if first["train_seconds"] else "",
                duration(first["total_seconds"]) if record["warm_up_runs"] else "",
                median_memory(timed[name]),
                check["summary"] if check else "",
            ]
        )
    return lines


def timed_runs(record: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Side -> its runs without those that warm up; all of them where there are no others."""
    warm_up = record["warm_up_runs"]
    return {name: runs[warm_up:] or runs for name, runs in record["sides"].items()}


def duration(seconds: float) -> str:
    """Three digits, in seconds or milliseconds."""
    number, unit = (seconds, "s") if seconds >= 1 else (1000 * seconds, "ms")
    decimals = max(0, 2 - math.floor(math.log10(number)))
    return f"{number:.{decimals}f} {unit}"


def median_memory(runs: list[dict[str, Any]]) -> str:
    """The peak in MiB; empty where it is not that of a run."""
    found = [run["peak_memory_bytes"] for run in runs if run["peak_memory_of"] in _COUNTED_MEMORY]
    return f"{statistics.median(found) / 2**20:,.0f}" if found else ""


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
