"""Runs a recipe again and again while one call of the file system fails; see `test_faults`.

Arguments: the preloaded library, the recipe, a folder, and trials as JSON: [[call, errno, again]].
Prints the number of calls of an undisturbed run, then for each trial how the disturbed run ended.
"""

import ctypes
import io
import json
import shutil
import sys
from pathlib import Path

from rich.console import Console

from hfbench.errors import StorageError
from hfbench.execution.compare import compare
from hfbench.recipe.load import load_recipe
from hfbench.records.predictions import load_predictions
from hfbench.records.record_file import load_record
from hfbench.records.schema import ComparedRecord
from hfbench.training.checkpoints import _damaged_files, _is_finished

library, recipe, folder, trials = sys.argv[1:]
faults = ctypes.CDLL(library)


def run(results, call, error, again):
    """How it ended."""
    faults.faults_arm(str(results).encode(), call, error, again)
    try:
        outcome = compare(load_recipe(recipe), results, console=Console(file=io.StringIO()))
    except StorageError as stopped:
        return str(stopped)
    finally:
        faults.faults_arm(b"", 0, 0, 0)
    return "; ".join(f"failed: {r.failure.type}: {r.failure.message}" for r in outcome.failed)


def results_of(results):
    found = {}
    for path in sorted((results / "tiny" / "records").glob("*.json")):
        record = load_record(path)
        assert record.status == "finished", path
        logits = []
        if isinstance(record, ComparedRecord):
            predictions = load_predictions(record, results / "tiny", "validation")
            logits = predictions["logits"].tolist()
        found[path.stem] = (record.curves, record.metrics, record.saved_weights, logits)
    for path in sorted((results / "tiny" / "models").rglob("*.safetensors")):
        found[str(path.relative_to(results))] = path.read_bytes()
    return found


def assert_whole(results):
    for path in (results / "tiny").glob("records/*.json"):
        record = load_record(path)
        if isinstance(record, ComparedRecord):
            load_predictions(record, results / "tiny", "validation")
    for checkpoint in (results / "tiny").glob("runs/*/checkpoint-*"):
        assert not _is_finished(checkpoint) or not _damaged_files(checkpoint), checkpoint


whole = Path(folder) / "whole"
assert run(whole, 0, 0, 0) == ""
expected = results_of(whole)
faults.faults_arm(str(whole).encode(), 0, 0, 0)
shutil.rmtree(whole)
assert run(whole, 0, 0, 0) == ""  # now nothing is done that is done once in a process
faults.faults_arm(str(whole).encode(), 0, 0, 0)
again = Path(folder) / "counted"
faults.faults_arm(str(again).encode(), 0, 0, 0)
compare(load_recipe(recipe), again, console=Console(file=io.StringIO()))
print(json.dumps(faults.faults_count()))
for number, trial in enumerate(json.loads(trials)):
    results = Path(folder) / f"trial-{number}"
    ended = run(results, *trial)
    assert_whole(results)
    assert run(results, 0, 0, 0) == "", trial
    assert results_of(results) == expected, trial
    print(json.dumps([trial, ended]), flush=True)
    shutil.rmtree(results)
