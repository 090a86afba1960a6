"""The disk fills, fails or is read-only, at any call: nothing is half-written, and it goes on."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"
pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the library replaces Linux's calls"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc makes the library"),
]
SMALL = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_embd": 12, "n_positions": 32}}
PRETRAIN = {
    "corpus": {"builtin": "pets", "first": 40},
    "training_arguments": {"max_steps": 4, "per_device_train_batch_size": 4,
                           "save_strategy": "steps", "save_steps": 2},
}  # fmt: skip
SHORT_WRITE = -1
KINDS = [(errno.ENOSPC, 1), (errno.EIO, 0), (errno.EROFS, 1), (SHORT_WRITE, 0)]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("faults") / "faults.so"
    source = SUPPORT / "faults.c"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", path, source, "-ldl"], check=True)
    return path


@pytest.fixture
def disturb(library, write_recipe, tmp_path):
    """A function that makes trials, and gives the calls of a run and how each trial ended."""
    model = {"name": "pre", **SMALL, "pretrain": PRETRAIN}
    recipe = write_recipe(models=[model], seeds=[0], training_arguments={"max_steps": 2})

    def run(trials):
        command = [sys.executable, str(SUPPORT / "run_faults.py"), str(library), str(recipe)]
        done = subprocess.run(
            [*command, str(tmp_path), json.dumps(trials)],
            env={**os.environ, "LD_PRELOAD": str(library)}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        calls, *ended = map(json.loads, done.stdout.splitlines())
        assert [trial for trial, _ in ended] == [list(trial) for trial in trials]
        return calls, ended

    return run


def assert_said(ended):
    for (call, error, _), message in ended:
        text = os.strerror(errno.ENOSPC if error == SHORT_WRITE else error)
        # a checkpoint that cannot be written fails the cell; the libraries have their own words
        is_said = "cannot be written" in message or "failed: " in message
        assert is_said, (call, error, message)
        if "cannot be written" in message:
            assert text in message, (call, error, message)


@pytest.mark.slow  # a process that imports all; cli/test_storage.py asks what is said by default
def test_the_disk_fails_in_a_few_places(disturb):
    trials = [(3, *KINDS[0]), (100, *KINDS[3])]
    calls, ended = disturb(trials)
    assert calls > 100
    assert_said(ended)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=["full", "input/output error", "read-only", "short"])
def test_the_disk_fails_at_every_call(disturb, kind):
    calls, _ = disturb([])
    _, ended = disturb([(call, *kind) for call in range(1, calls + 1)])
    assert len(ended) > 100
