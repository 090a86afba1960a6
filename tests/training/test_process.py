"""What one cell sets in the whole process is not there for the others."""

import os

import pytest
import torch
from transformers import training_args

from hfbench.execution.compare import compare  # sets a variable of its own as it is imported
from hfbench.models.custom_gpt.modeling_custom_gpt import CustomGPTModel
from hfbench.recipe.load import load_recipe
from hfbench.system.terminal import Console

SMALL = {"n_layer": 1, "n_positions": 32}


def global_settings():
    algorithms = torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    return algorithms, *cudnn, torch.backends.fp32_precision


@pytest.fixture
def seen(write_recipe, tmp_path, monkeypatch):
    """A function that trains twice with arguments, then twice without: what was set meanwhile."""
    # as on a GPU; on a CPU the setting is there and has no effect
    monkeypatch.setattr(training_args, "is_torch_tf32_available", lambda: True)
    found, forward = [], CustomGPTModel.forward

    def watched(self, *args, **kwargs):
        if self.training:
            found.append((self.config.n_embd, global_settings()))
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(CustomGPTModel, "forward", watched)

    def run(arguments):
        models = [
            {"name": "with", "config": {**SMALL, "n_embd": 12}, "training_arguments": arguments},
            {"name": "without", "config": {**SMALL, "n_embd": 24}},
        ]
        models = [{"preset": "gpt-nano", **model} for model in models]
        path = write_recipe(models=models, training_arguments={"max_steps": 1})
        outcome = compare(load_recipe(path), tmp_path / "results", console=Console(quiet=True))
        assert not outcome.failed
        return found

    return run


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ({"tf32": True}, (False, False, False, "tf32")),
        ({"tf32": False}, (False, False, False, "ieee")),
        ({"full_determinism": True}, (True, True, False, "none")),
    ],
)
def test_what_one_cell_sets_is_there_each_time_it_runs_and_for_no_other(seen, arguments, settings):
    before, environment = global_settings(), dict(os.environ)
    assert seen(arguments) == [(12, settings)] * 2 + [(24, before)] * 2
    assert global_settings() == before
    assert dict(os.environ) == environment
