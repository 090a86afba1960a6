"""A Hub of one's own, for the client of this process and for those of others."""

import json

import pytest
import torch
from support.hub_fixtures import TOKEN, faults, hub, reach  # noqa: F401 - fixtures
from transformers import GPT2Config, GPT2ForSequenceClassification

from hfbench.execution.compare import compare
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.load import load_recipe


@pytest.fixture(autouse=True)
def _drawn_quickly(quick_figures):
    """How a published report looks is not asked here."""


@pytest.fixture(scope="session")
def results(tmp_path_factory, rows):
    """A comparison whose weights were kept: a custom GPT, a checkpoint in a local folder, a floor.

    The recipe names the folder and the data by absolute paths, as many do.
    """
    folder = tmp_path_factory.mktemp("private")
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    tokenizer = train_tokenizer([row["text"] for row in rows], 300)
    tokenizer.model_max_length = 32
    tokenizer.save_pretrained(folder / "base")
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 32}
    torch.manual_seed(0)
    GPT2ForSequenceClassification(
        GPT2Config(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **shape)
    ).save_pretrained(folder / "base")
    recipe = {
        "name": "tiny",
        "task": {"data_files": {"train": str(folder / "train.jsonl")}, "validation_size": 0.25},
        "tokenizer": {"train_on": "task", "vocab_size": 300},
        "models": [
            {"name": "mine", "preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}},
            {"name": "tuned", "model_name_or_path": str(folder / "base")},
            {"name": "floor", "control": "majority"},
        ],
        "seeds": [0, 1],
        "optimizer": "study",
        "training_arguments": {"per_device_train_batch_size": 16, "num_train_epochs": 2},
        "save_models": True,
    }
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    outcome = compare(load_recipe(path), folder / "results")
    assert not outcome.failed
    return outcome.folder
