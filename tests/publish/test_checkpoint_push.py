"""A pretraining that publishes its checkpoints, as the Trainer would, but only what loads them."""

import json
import time

import pytest

from hfbench import pretrain
from hfbench.errors import UserError
from hfbench.execution.identity import cell_id_of
from hfbench.execution.inputs import Inputs
from hfbench.recipe.cells import plan_pretraining
from hfbench.recipe.load import load_recipe

PUSH = {"push_to_hub": True, "hub_model_id": "ada/lm"}
SAVE = {"save_strategy": "steps", "save_steps": 2}


def pretraining(write_recipe, **arguments):
    pretrain = {
        "corpus": {"builtin": "pets"},
        "training_arguments": {"max_steps": 5, "per_device_train_batch_size": 4, **arguments},
    }
    model = {
        "name": "lm", "preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32},
        "tokenizer": {"train_on": "corpus", "vocab_size": 260}, "pretrain": pretrain,
    }  # fmt: skip
    return load_recipe(write_recipe(models=[model], task=None, tokenizer=None))


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


def test_each_save_is_published_and_nothing_but_the_model(hub, write_recipe, tmp_path):
    recipe = pretraining(write_recipe, **PUSH, **SAVE, hub_always_push=True)
    outcome = pretrain(recipe, tmp_path / "results")
    assert (outcome.failed, outcome.unpublished) == ([], [])
    titles = [commit.title for commit in hub.history("ada/lm")]
    assert titles == ["Step 5", "Step 4", "Step 2", "initial commit"]
    assert set(hub.files("ada/lm")) == {
        ".gitattributes", "README.md", "config.json", "configuration_custom_gpt.py",
        "generation_config.json", "loss_custom_gpt.py", "model.safetensors",
        "modeling_custom_gpt.py", "padding_custom_gpt.py", "tokenizer.json",
        "tokenizer_config.json",
    }  # fmt: skip
    kept = outcome.folder / "models" / "pretrain--lm"
    assert hub.files("ada/lm")["model.safetensors"] == (kept / "model.safetensors").read_bytes()
    card = hub.files("ada/lm")["README.md"].decode()
    assert "after 5 of 5 optimizer steps" in card
    assert "gpt-nano, pretrained on pets" in card
    assert hub.repos["model", "ada/lm"].private
    # where it goes has no part in what it is: the same cell, and nothing of it in the record
    recipe = pretraining(write_recipe, **SAVE)
    (plain,) = plan_pretraining(recipe)
    assert cell_id_of(plain, Inputs(recipe, [plain])) == outcome.ran[0].cell_id
    assert "ada/lm" not in outcome.ran[0].model_dump_json()


def test_a_hub_that_fails_does_not_stop_a_training(hub, write_recipe, tmp_path, faults, capsys):
    refusal = faults.Refusal(503, "Maintenance")
    hub.faults.append(faults.Fault("POST", "/commit/", refusal, times=2))
    recipe = pretraining(write_recipe, **PUSH, **SAVE, hub_always_push=True)
    outcome = pretrain(recipe, tmp_path / "results")
    assert (outcome.failed, outcome.unpublished) == ([], [])
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("a checkpoint was not published: ada/lm: the Hub has a problem") == 2
    assert [commit.title for commit in hub.history("ada/lm")] == ["Step 5", "initial commit"]


def test_a_finished_model_that_is_not_published_is_said_and_kept(
    hub, write_recipe, tmp_path, faults
):
    hub.faults.append(faults.Fault("POST", "/commit/", faults.Refusal(503, "Maintenance")))
    recipe = pretraining(write_recipe, **PUSH, **SAVE, hub_strategy="end")
    outcome = pretrain(recipe, tmp_path / "results")
    assert [commit.title for commit in hub.history("ada/lm")] == ["initial commit"]
    assert outcome.failed == []
    (problem,) = outcome.unpublished
    assert "the finished model was not published: ada/lm: the Hub has a problem" in problem
    kept = outcome.folder / "models" / "pretrain--lm"
    assert f"hf upload ada/lm {kept}`" in problem
    assert (kept / "model.safetensors").exists()


def test_a_secret_in_a_checkpoint_stays_here(hub, write_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "pretrained on pets")  # what the card says
    recipe = pretraining(write_recipe, **PUSH, **SAVE)
    outcome = pretrain(recipe, tmp_path / "results")
    (problem,) = outcome.unpublished
    assert "README.md: the value of the environment variable MY_API_KEY" in problem
    assert "hf upload" not in problem  # which would go round the search
    assert ("model", "ada/lm") not in hub.repos


def test_who_may_not_publish_is_told_before_training(hub, write_recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_readOnly000000000000")
    with pytest.raises(UserError, match="your token may only read"):
        pretrain(pretraining(write_recipe, **PUSH, **SAVE), tmp_path / "r")
    assert [path.name for path in (tmp_path / "r").rglob("*.*")] == ["hfbench.log"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"push_to_hub": True, **SAVE}, "push_to_hub needs hub_model_id: user/name"),
        ({"hub_model_id": "ada/lm"}, "hub_model_id goes with push_to_hub: true"),
        ({**PUSH}, "push_to_hub publishes at each save: give save_strategy: steps"),
        ({**PUSH, **SAVE, "hub_strategy": "checkpoint"}, "must be 'every_save' or 'end'"),
        ({**PUSH, **SAVE, "hub_token": "hf_x"}, "a token never belongs into a file"),
        ({**PUSH, **SAVE, "hub_always_push": "yes"}, "'yes' is not of type bool"),
    ],
)
def test_what_makes_no_sense_is_a_clear_error(write_recipe, arguments, message):
    with pytest.raises(UserError) as error:
        pretraining(write_recipe, **arguments)
    assert message in str(error.value)
    assert "models[0].pretrain.training_arguments" in str(error.value)


def test_a_classifier_is_published_when_it_has_been_compared(write_recipe):
    path = write_recipe(training_arguments=json.loads(json.dumps(PUSH)))
    with pytest.raises(UserError, match=r"publish a classifier with `hfbench push`"):
        load_recipe(path)
