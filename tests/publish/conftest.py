"""A Hub of one's own, for the client of this process and for those of others."""

import json

import huggingface_hub
import pytest
import torch
from support import hub_stand_in as stand_in
from transformers import GPT2Config, GPT2ForSequenceClassification

from hfbench.execution.compare import compare
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.load import load_recipe

TOKEN = "hf_" + "PlantedTokenOfAda0123456789abcdef"
TOKENS = {
    TOKEN: stand_in.Account("ada", orgs=("lab",)),
    "hf_readOnly000000000000": stand_in.Account("ada", role="read"),
    "hf_tokenOfBob00000000000": stand_in.Account("bob"),
}


@pytest.fixture
def reach(monkeypatch, tmp_path):
    """A function that points the client, here and in processes started from here, to a Hub."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf_home"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    constants = huggingface_hub.constants  # read from the environment when it was imported
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf_home" / "hub"))

    def point(endpoint):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        monkeypatch.setattr(huggingface_hub.hf_api.api, "endpoint", endpoint)  # made when imported
        template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        huggingface_hub.close_session()

    yield point
    huggingface_hub.close_session()


@pytest.fixture
def hub(reach):
    """The stand-in, in reach, with an account for each kind of token."""
    with stand_in.HubStandIn(TOKENS) as running:
        reach(running.endpoint)
        yield running


@pytest.fixture
def faults():
    """What the stand-in can do wrong: `Fault`, `Refusal`, `HubStandIn`, and a rate limit."""
    stand_in.limit = lambda seconds: stand_in.Refusal(
        429, "Too many requests", headers={"Retry-After": str(seconds)}
    )
    return stand_in


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
