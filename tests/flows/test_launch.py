import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hfbench.models import CustomGPTForCausalLM
from hfbench.records.record_file import load_record
from hfbench.records.store import ResultsFolder
from hfbench.system.hashes import hash_tensors

ROOT = Path(__file__).parents[2]
MODEL = {"n_layer": 1, "n_positions": 32, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}


def launch(launcher, script, path, results, code=0):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [str(ROOT / "recipes" / script), "--config", str(path)]
    command = [sys.executable, "-m", *launcher, *arguments, "--results-dir", str(results)]
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert run.returncode == code, run.stderr[-3000:]
    records = sorted((results / "tiny" / "records").glob("*.json"))
    return {path.stem: json.loads(path.read_text()) for path in records}, run.stdout


@pytest.fixture
def recipe(write_recipe):
    # dropout is off: processes draw masks of their own; 72 examples are no multiple of 16
    pretrain = {
        "corpus": {"builtin": "pets"},
        "training_arguments": {"max_steps": 3, "per_device_train_batch_size": 8},
    }
    mine = {"name": "mine", "preset": "gpt-nano", "config": MODEL, "pretrain": pretrain}
    task = {
        "data_files": {"train": "train.jsonl", "test": "train.jsonl"},
        "validation_size": 0.25,
        "test_split": "test",
    }
    models = [mine, {"name": "floor", "control": "majority"}]
    return write_recipe(task=task, models=models, seeds=[0], selection="best_accuracy")


@pytest.mark.slow  # a step by step comparison of two processes is in tests/training/test_trainer.py
def test_two_processes_give_the_numbers_of_one(recipe, tmp_path):
    one, _ = launch(["accelerate.commands.launch", "--num_processes=1", "--cpu"],
                    "compare.py", recipe, tmp_path / "one")  # fmt: skip
    torchrun = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    two, said = launch(torchrun, "compare.py", recipe, tmp_path / "two")
    assert list(one) == list(two) == ["floor", "mine--seed0", "pretrain--mine"]
    assert said.count("mine--seed0: test accuracy") == 1  # only the first process talks
    assert one["mine--seed0"]["training"]["selected_step"] < 10  # not merely the last
    for stem in ("mine--seed0", "pretrain--mine"):
        alone, together = one[stem], two[stem]
        assert (alone["training"]["world_size"], together["training"]["world_size"]) == (1, 2)
        assert together["training"]["arguments"]["per_device_train_batch_size"] == (
            alone["training"]["arguments"]["per_device_train_batch_size"] // 2
        )
        for name in ("batch", "steps", "selected_step", "examples_seen", "tokens_seen", "flops"):
            assert alone["training"][name] == together["training"][name], name
        for split, metrics in alone["metrics"].items():
            assert together["metrics"][split] == pytest.approx(metrics, abs=1e-5, rel=1e-5)
        for part, points in alone["curves"].items():
            for mine, other in zip(points, together["curves"][part], strict=True):
                assert other == pytest.approx(mine, abs=1e-4, rel=1e-4)


@pytest.mark.slow
def test_the_pretraining_script_only_pretrains(recipe, tmp_path):
    records, _ = launch(["accelerate.commands.launch", "--num_processes=1", "--cpu"],
                        "pretrain.py", recipe, tmp_path)  # fmt: skip
    assert list(records) == ["pretrain--mine"]


# who writes a checkpoint, and who goes on: how, and in how many processes
WAYS = {
    "one": ("whole", 1),
    "DDP": ("whole", 2),
    "FSDP": ("sharded", 2),
    "FSDP, one": ("sharded", 1),
}


@pytest.fixture
def pretrain(write_recipe, tmp_path):
    """A function that pretrains in one of `WAYS`; until after a checkpoint, if a step is given."""
    arguments = {
        "max_steps": 12,
        "per_device_train_batch_size": 8,
        "logging_steps": 3,
        "eval_strategy": "steps",
        "eval_steps": 6,
        "save_strategy": "steps",
        "save_steps": 5,
    }
    # a shared weight: else rows of the embedding rest, and only where nothing is sharded
    config = {**MODEL, "tie_word_embeddings": True}
    block = {"corpus": {"builtin": "pets"}, "training_arguments": arguments}
    mine = {"name": "mine", "preset": "gpt-nano", "config": config, "pretrain": block}
    recipe = write_recipe(models=[mine])

    def run(way, results, step=0, *overrides):
        kind, processes = WAYS[way]
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *(
                "--nproc_per_node",
                str(processes),
                str(ROOT / "tests" / "support" / "run_launched.py"),
            ),
            *(kind, str(step), "--config", str(recipe), "--results-dir", str(tmp_path / results)),
            *overrides,
        ]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
        assert (done.returncode == 0) == (step == 0), done.stderr[-3000:]
        return tmp_path / results / "tiny", done.stdout

    return run


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_processes_of_a_launcher_save_at_a_step_of_all_before_they_leave(
    write_recipe, tmp_path, number
):
    arguments = {"max_steps": 3000, "per_device_train_batch_size": 8, "save_strategy": "steps"}
    arguments |= {"save_steps": 100_000, "eval_strategy": "no", "logging_steps": 1000}
    block = {"corpus": {"builtin": "pets"}, "training_arguments": arguments}
    mine = {"name": "mine", "preset": "gpt-nano", "config": MODEL, "pretrain": block}
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"),
        *(str(ROOT / "recipes" / "pretrain.py"), "--config", str(write_recipe(models=[mine]))),
        *("--results-dir", str(tmp_path / "results")),
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as running:
        runs = tmp_path / "results" / "tiny" / "runs"
        while not runs.exists():
            time.sleep(0.1)
        time.sleep(5)  # some steps
        running.send_signal(number)
        assert running.wait(60) != 0
    (checkpoint,) = runs.glob("*/checkpoint-*")
    step = int(checkpoint.name.partition("-")[2])
    assert 0 < step < 3000
    assert step % 10 == 0


@pytest.mark.slow
def test_processes_of_a_launcher_end_a_cell_that_takes_too_long_together(write_recipe, tmp_path):
    endless = {"max_steps": 1_000_000, "eval_strategy": "no", "logging_steps": 1000}
    mine = {"name": "mine", "preset": "gpt-nano", "config": MODEL, "training_arguments": endless}
    models = [mine, {"name": "floor", "control": "majority"}]
    path = write_recipe(models=models, seeds=[0], max_cell_seconds=2)
    torchrun = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    records, _ = launch(torchrun, "compare.py", path, tmp_path, code=1)
    failure = records["mine--seed0"]["failure"]
    assert (failure["type"], failure["step"] % 10) == ("TimeLimitError", 0)
    assert records["floor"]["status"] == "finished"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["all", "second"])
def test_processes_of_a_launcher_pass_a_smaller_batch_together_or_end(
    write_recipe, tmp_path, where
):
    steps = {"max_steps": 4, "per_device_train_batch_size": 8}
    mine = {"name": "mine", "preset": "gpt-nano", "config": MODEL, "training_arguments": steps}
    path = write_recipe(models=[mine], seeds=[0])
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"),
        *(str(ROOT / "tests" / "support" / "run_small_memory.py"), where, "--config", str(path)),
        *("--results-dir", str(tmp_path)),
    ]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    records = [*(tmp_path / "tiny" / "records").glob("*.json")]
    if where == "all":
        assert done.returncode == 0, done.stderr[-3000:]
        assert "out of memory: once more with 2 of 4 examples at a time" in done.stdout
        training = json.loads(records[0].read_text())["training"]
        assert (training["batch"], training["steps"]) == (8, 4)
    else:
        assert done.returncode != 0
        assert "out of memory in one process of several" in done.stderr
        assert not [*(tmp_path / "tiny" / "records").glob("*.parquet")]


def assert_alike(first, second):
    """Two pretrainings came to the same, but for the order in which numbers were added."""
    records = [load_record(path / "records" / "pretrain--mine.json") for path in (first, second)]
    weights = [
        load_file(path / "models" / "pretrain--mine" / "model.safetensors")
        for path in (first, second)
    ]
    assert records[0].model_facts.class_name == records[1].model_facts.class_name
    for split, points in records[0].curves.items():
        for one, other in zip(points, records[1].curves[split], strict=True):
            assert other == pytest.approx(one, abs=1e-4, rel=1e-4)
    assert list(weights[0]) == list(weights[1])
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_sharded_model_trains_as_one_that_is_whole(pretrain):
    sharded, _ = pretrain("FSDP", "sharded")
    assert_alike(pretrain("one", "whole")[0], sharded)
    record = load_record(sharded / "records" / "pretrain--mine.json")
    assert record.training.world_size == 2
    assert record.training.device.startswith("2 x ")
    assert record.environment["command"] == (
        "python -m torch.distributed.run --standalone --nproc_per_node 2 "
        "run_launched.py sharded 0 --config tiny.yaml --results-dir sharded"
    )
    assert record.model_facts.final_weights == hash_tensors(
        CustomGPTForCausalLM.from_pretrained(sharded / "models" / "pretrain--mine").state_dict()
    )


@pytest.mark.slow
def test_a_sharded_model_leaves_no_trace_for_the_next(write_recipe, tmp_path, timeless):
    """Which is trained to the bit as without the first, in an environment that is as it was."""
    arguments = {"max_steps": 4, "per_device_train_batch_size": 8}
    block = {"corpus": {"builtin": "pets"}, "training_arguments": arguments}
    second = {"name": "second", "preset": "gpt-nano", "pretrain": block}
    second["config"] = {"n_layer": 1, "n_positions": 32}  # with dropout
    first = {**second, "name": "first", "config": MODEL}
    found = []
    for models in ([second], [first, second]):
        results = tmp_path / str(len(models))
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc_per_node", "2", str(ROOT / "tests" / "support" / "run_launched.py")),
            *("sharded", "0"),
            *("--config", str(write_recipe(models=models)), "--results-dir", str(results)),
        ]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "environment changed: []\n" in done.stdout
        folder = ResultsFolder(results / "tiny")
        record = timeless(folder.record("pretrain--second"))
        weights = (folder.weights("pretrain--second") / "model.safetensors").read_bytes()
        found.append((record, weights))
    assert found[0][0]["training"]["steps"] == 4
    assert found[1] == found[0]


@pytest.mark.slow
def test_a_sharded_model_computes_in_bf16_what_a_whole_one_does(pretrain):
    bf16 = "models.mine.pretrain.training_arguments.bf16=true"
    whole, _ = pretrain("one", "whole", 0, bf16)
    sharded, _ = pretrain("FSDP", "sharded", 0, bf16)
    losses = [
        [p["loss"] for p in load_record(path / "records" / "pretrain--mine.json").curves["train"]]
        for path in (whole, sharded)
    ]
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("writer", "reader"),
    [("DDP", "one"), ("one", "DDP"), ("FSDP", "one"), ("one", "FSDP"), ("FSDP", "DDP"),
     ("DDP", "FSDP"), ("FSDP", "FSDP"), ("FSDP", "FSDP, one")],
)  # fmt: skip
def test_a_checkpoint_goes_on_in_other_processes(pretrain, writer, reader):
    undisturbed, _ = pretrain("one", "undisturbed")
    stopped, _ = pretrain(writer, "stopped", step=5)
    checkpoint = next(stopped.glob("runs/*/checkpoint-5"))
    assert not list(checkpoint.rglob("pytorch_model*"))  # weights are safetensors
    _, said = pretrain(reader, "stopped")
    wrote, go_on = WAYS[writer][1], WAYS[reader][1]
    number = f"{wrote} process{'es' if wrote > 1 else ''}"
    others = "" if wrote == go_on else f", which {number} wrote"
    assert f"pretrain--mine: resumes from its checkpoint of step 5{others}\n" in said
    assert_alike(undisturbed, stopped)
