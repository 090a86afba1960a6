"""Which classifiers of transformers, small, are replayed from CUDA graphs; why the others are not.

    python -m recipes.sweep.replays results/speed

Each is trained for some steps on one GPU, in processes side by side. Writes ``replays.json``
and the page ``replays.md`` of it.
"""

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
import transformers

from hfbench import Recipe, compare
from hfbench.records.schema import ClassificationRecord
from hfbench.records.store import load_records
from hfbench.system.quiet import quiet_libraries
from recipes.sweep.sweep import TYPES, make_recipe, write_texts

_PROCESSES = 12
_TRAINING = {"max_steps": 40, "per_device_train_batch_size": 8}


def outcomes(types: list[str], folder: Path) -> list[dict[str, Any]]:
    """What became of each, in one process."""
    write_texts(folder)
    values = make_recipe("classifier", types, folder).model_dump(mode="json", exclude_unset=True)
    values |= {"training_arguments": _TRAINING, "save_models": False}
    outcome = compare(Recipe.from_values(values, folder), folder)
    return [_describe(record) for record in load_records(outcome.folder)]


def _describe(record: Any) -> dict[str, Any]:
    if not isinstance(record, ClassificationRecord):
        message = " ".join(record.failure.message.split())
        return {"type": record.model, "outcome": "failed", "reason": message[:200]}
    facts = record.training
    return {
        "type": record.model,
        "outcome": "replayed" if facts.cuda_graphs else "plain",
        "reason": facts.replay_refusal,
    }


def write_page(content: dict[str, Any]) -> str:
    """The table of ``replays.json``."""
    rows = content["outcomes"]
    replayed = [row["type"] for row in rows if row["outcome"] == "replayed"]
    lines = [
        "# Which models are replayed",
        "",
        "<!-- written by `python -m recipes.sweep.replays results/speed`; do not edit -->",
        "",
        f"Of {len(rows)} classifier types of transformers {content['transformers']}, small, on "
        f"{content['device']} with torch {content['torch']}, {len(replayed)} were replayed from "
        "CUDA graphs with the loss and the gradients of plain passes. The others, and why:",
        "",
        "| type | outcome | reason |",
        "| --- | --- | --- |",
    ]
    for row in rows:
        if row["outcome"] != "replayed":
            reason = (row["reason"] or "").replace("|", "/")
            lines.append(f"| {row['type']} | {row['outcome']} | {reason} |")
    return "\n".join([*lines, "", f"Replayed: {', '.join(replayed)}.", ""])


def main() -> None:
    """Run all types, or as a process of its own those that are named."""
    quiet_libraries()
    out, *types = sys.argv[1:]
    if types:
        with tempfile.TemporaryDirectory() as folder:
            Path(out).write_text(json.dumps(outcomes(types, Path(folder))), encoding="utf-8")
        return
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(_PROCESSES) as pool:
        shares = [TYPES["classifier"][n::_PROCESSES] for n in range(_PROCESSES)]
        parts = [Path(folder) / f"{n}.json" for n in range(_PROCESSES)]
        list(pool.map(_run_share, shares, parts))
        found = [row for part in parts if part.exists() for row in json.loads(part.read_text())]
    told = {row["type"] for row in found}
    found += [
        {"type": name, "outcome": "failed", "reason": "its process ended"}
        for name in TYPES["classifier"]
        if name not in told
    ]
    content = {
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(),
        "outcomes": sorted(found, key=lambda row: row["type"]),
    }
    text = json.dumps(content, indent=1) + "\n"
    (Path(out) / "replays.json").write_text(text, encoding="utf-8")
    (Path(out) / "replays.md").write_text(write_page(content), encoding="utf-8")


def _run_share(types: list[str], part: Path) -> None:
    command = [sys.executable, "-m", "recipes.sweep.replays", str(part), *types]
    subprocess.run(command, check=False)


if __name__ == "__main__":
    main()
