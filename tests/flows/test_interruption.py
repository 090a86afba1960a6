"""SIGINT and SIGTERM: what is under way is saved or left, soon, and the same command goes on."""

import json
import os
import signal
import time

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerControl, TrainerState

from hfbench.records.record_file import load_record
from hfbench.records.store import load_records
from hfbench.system.interruption import (
    STOPPING,
    Interrupted,
    interruptible,
    note_signal,
    until_saved,
)
from hfbench.training.limits import TimeLimit
from hfbench.training.stopping import SaveBeforeLeaving

SMALL = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32, "resid_pdrop": 0.3}}
STEPS = 200
PRETRAIN = {
    "corpus": {"builtin": "pets"},
    # evaluations and logs, so that curves would show what a resumption forgets; no checkpoint
    "training_arguments": {"max_steps": STEPS, "per_device_train_batch_size": 8, "eval_steps": 50,
                           "logging_steps": 7, "learning_rate": 1e-3},
}  # fmt: skip
ENDLESS = {"max_steps": 1_000_000, "eval_strategy": "no", "logging_steps": 1000}


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


def interrupt(process, number):
    """Seconds until it has ended."""
    os.kill(process.pid, number)
    start = time.monotonic()
    process.join(30)
    return time.monotonic() - start


@pytest.fixture
def long_cell(write_recipe):
    long = {"name": "long", **SMALL, "training_arguments": ENDLESS}
    models = [{"name": "floor", "control": "majority"}, long, {**long, "name": "longer"}]
    return write_recipe(models=models, seeds=[0])


@pytest.mark.parametrize(
    ("number", "jobs"),
    [
        (signal.SIGINT, 1),
        (signal.SIGTERM, 1),
        # with workers also in test_workers.py, in this process
        pytest.param(signal.SIGINT, 2, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 2, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 2, marks=pytest.mark.slow),
    ],
)
def test_a_comparison_leaves_at_once_and_says_how_to_go_on(
    long_cell, tmp_path, start_hfbench, number, jobs
):
    process = start_hfbench("compare", long_cell, "--results-dir", tmp_path, "--jobs", jobs)
    wait_until((tmp_path / "tiny" / "locks" / "long--seed0.lock").exists)
    wait_until((tmp_path / "tiny" / "records" / "floor.json").exists)
    time.sleep(0.3)
    assert interrupt(process, number) < 20  # on a machine with other work; alone it is 1 to 3
    said = start_hfbench.output.read_text()
    assert process.exitcode == 128 + number, said
    name = signal.Signals(number).name
    assert f"stopped by {name}: what is finished is kept, and the same command goes on" in said
    assert "Traceback" not in said
    assert [record.stem for record in load_records(tmp_path / "tiny")] == ["floor"]


def test_an_interrupted_pretraining_saves_and_ends_as_an_undisturbed_one(
    write_recipe, tmp_path, start_hfbench
):
    path = write_recipe(models=[{"name": "mine", **SMALL, "pretrain": PRETRAIN}])
    command = ["pretrain", path, "--results-dir"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    start_hfbench(*command, whole).join(120)
    process = start_hfbench(*command, stopped)
    run = stopped / "tiny" / "runs" / "pretrain--mine"
    wait_until((run / "cell.txt").exists)
    time.sleep(0.1)
    interrupt(process, signal.SIGTERM)
    said = start_hfbench.output.read_text()
    assert process.exitcode == 128 + signal.SIGTERM, said
    (checkpoint,) = run.glob("checkpoint-*")
    step = json.loads((checkpoint / "trainer_state.json").read_text())["global_step"]
    assert 0 < step < STEPS
    assert not (stopped / "tiny" / "records").exists()
    process = start_hfbench(*command, stopped)
    process.join(120)
    said = start_hfbench.output.read_text()
    assert process.exitcode == 0, said
    assert f"resumes from its checkpoint of step {step}\n" in said
    records = [load_record(f / "tiny/records/pretrain--mine.json") for f in (whole, stopped)]
    assert records[0].curves == records[1].curves
    assert records[0].metrics == records[1].metrics
    weights = [load_file(f / "tiny/models/pretrain--mine/model.safetensors")
               for f in (whole, stopped)]  # fmt: skip
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not run.exists()


def train(during):
    """A pretraining whose steps are ``during``, and which can be interrupted."""
    with interruptible(signal.SIGTERM), until_saved():
        during()


def test_a_second_signal_ends_the_process_where_the_first_is_waited_for(monkeypatch):
    ends, control, state = [], TrainerControl(), TrainerState()
    monkeypatch.setattr("os._exit", ends.append)

    def during():
        SaveBeforeLeaving().on_step_end(None, state, control)
        assert not control.should_save
        os.kill(os.getpid(), signal.SIGTERM)
        SaveBeforeLeaving().on_step_end(None, state, control)
        assert (control.should_save, control.should_training_stop, ends) == (True, True, [])
        os.kill(os.getpid(), signal.SIGTERM)
        assert ends == [128 + signal.SIGTERM]

    with pytest.raises(Interrupted, match="SIGTERM"):
        train(during)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_signal_whose_exception_was_lost_ends_the_training_after_its_step():
    """Python drops what is raised in a finalizer or in a callback of another library."""
    step = (None, TrainerState(), TrainerControl())
    with interruptible(signal.SIGTERM):
        TimeLimit(None).on_step_end(*step)
        note_signal(signal.SIGTERM)
        with pytest.raises(Interrupted, match="SIGTERM"):
            TimeLimit(None).on_step_end(*step)


def test_a_launcher_may_send_more_than_one_signal(monkeypatch):
    ends = []
    monkeypatch.setattr("os._exit", ends.append)

    def run():
        with interruptible(signal.SIGTERM, second_ends=False), until_saved():
            for _ in range(3):
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="SIGTERM"):
        run()
    assert ends == []


def test_no_cell_is_begun_after_one_that_failed_while_a_signal_waited():
    def during():
        os.kill(os.getpid(), signal.SIGTERM)
        raise ValueError("the training failed")

    with pytest.raises(Interrupted):
        train(during)


def test_an_evaluation_is_not_waited_for():
    def during():
        os.kill(os.getpid(), signal.SIGTERM)
        SaveBeforeLeaving().on_prediction_step(None, None, TrainerControl())
        pytest.fail("it went on")

    with pytest.raises(Interrupted):
        train(during)


def test_a_signal_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible(*STOPPING):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with pytest.raises(Interrupted, match="SIGHUP"), interruptible(*STOPPING):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
