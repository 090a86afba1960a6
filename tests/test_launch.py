import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODEL = {"n_layer": 1, "n_positions": 32, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}


def launch(launcher, script, path, results):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [str(ROOT / "recipes" / script), "--config", str(path)]
    command = [sys.executable, "-m", *launcher, *arguments, "--results-dir", str(results)]
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-3000:]
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
