"""By what name and in which group a tracker sees each run."""

import json
import os

import transformers.integrations.integration_utils as integrations
from transformers import TrainerCallback

from hfbench import compare, load_recipe
from hfbench.system.launch import shards_models
from hfbench.system.terminal import Console
from hfbench.training.trackers import RunLabels, tracked


def test_runs_are_named_by_model_and_seed_and_grouped_by_recipe(
    write_recipe, tmp_path, monkeypatch
):
    seen = []

    class Tracker(TrainerCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            names = ("WANDB_RUN_GROUP", "TENSORBOARD_LOGGING_DIR", "MLFLOW_EXPERIMENT_NAME")
            seen.append((args.run_name, args.project, *(os.environ.get(name) for name in names)))
            assert json.loads(os.environ["MLFLOW_TAGS"])["model"] == "mine"

    monkeypatch.setitem(integrations.INTEGRATION_TO_CALLBACK, "tensorboard", Tracker)
    for module in (integrations, "hfbench.training.arguments"):
        name = "get_available_reporting_integrations"
        if isinstance(module, str):
            monkeypatch.setattr(f"{module}.{name}", lambda: ["tensorboard"])
        else:
            monkeypatch.setattr(module, name, lambda: ["tensorboard"])
    arguments = {"max_steps": 2, "report_to": "tensorboard"}
    recipe = load_recipe(write_recipe(training_arguments=arguments))
    compare(recipe, tmp_path / "results", console=Console(quiet=True))
    folder = tmp_path / "results" / "tiny" / "tensorboard"
    assert seen == [
        (f"mine--seed{seed}", "tiny", "tiny/mine", str(folder / f"mine--seed{seed}"), "tiny")
        for seed in (0, 1)
    ]
    assert "WANDB_RUN_GROUP" not in os.environ


def test_what_somebody_has_set_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "/logs")
    labels = RunLabels("r", "m", "m--seed0", 0, tmp_path)
    with tracked(labels):
        assert os.environ["WANDB_PROJECT"] == "mine"
        assert os.environ["TENSORBOARD_LOGGING_DIR"] == "/logs/r/m--seed0"
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == "/logs"
    given = {"report_to": "wandb", "run_name": "night"}
    assert labels.arguments(given)["run_name"] == "night-m--seed0"
    assert labels.arguments({"max_steps": 3}) == {}


def test_what_a_training_leaves_in_the_environment_goes_with_it(tmp_path, monkeypatch):
    """As accelerate does where one cell asks for FSDP: the next would be sharded, too."""
    monkeypatch.delenv("ACCELERATE_USE_FSDP", raising=False)
    with tracked(RunLabels("r", "m", "m--seed0", 0, tmp_path)):
        os.environ["ACCELERATE_USE_FSDP"] = "true"
        assert shards_models()
    assert not shards_models()
