"""What comes from the Hub is what its commit speaks of, or it is refused with the true reason."""

import pytest
from transformers import GPT2Config, GPT2ForSequenceClassification

from hfbench.errors import UserError
from hfbench.generation.generate import load_language_model
from hfbench.models.load import load_classifier
from hfbench.models.prepare import prepare_model
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.model import Model


@pytest.fixture
def model(hub, tmp_path):
    """A tiny GPT-2 on the Hub."""
    folder = tmp_path / "model"
    tokenizer = train_tokenizer(["the film was good and the meal was bad"] * 4, 270)
    tokenizer.save_pretrained(folder)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos")}
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 32}
    config = GPT2Config(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **ids, **shape
    )
    GPT2ForSequenceClassification(config).save_pretrained(folder)
    hub.add_repo("ada/model", {file.name: file.read_bytes() for file in folder.iterdir()})
    return Model.model_validate({"name": "m", "model_name_or_path": "ada/model"})


def load(model):
    return load_classifier(prepare_model(model, lambda source: ["a text"]), ["no", "yes"], 0)


def test_other_bytes_under_a_right_name_are_noticed(hub, faults, model):
    """One byte of the weights, whose size the client would find right."""
    hub.faults.append(faults.Fault("GET", "/model.safetensors", "corrupt"))
    with pytest.raises(UserError, match=r"models\.m: model\.safetensors of ada/model was damaged"):
        load(model)
    with pytest.raises(UserError, match="damaged"):  # it lies in the cache
        load(model)
    with pytest.raises(UserError, match="damaged"):
        load_language_model("ada/model")


def test_weights_as_the_hub_knows_them_are_loaded(model):
    assert load(model).num_labels == 2


@pytest.mark.parametrize(("location", "reason"), [
    ("/ada/model/resolve/main/model.safetensors", "redirects"),
    ("file:///etc/passwd", "protocol"),
])  # fmt: skip
def test_a_redirect_to_nowhere_is_the_reason_that_is_told(hub, faults, model, location, reason):
    """transformers says that there is no such model."""
    away = faults.Refusal(302, "", headers={"Location": location})
    hub.faults.append(faults.Fault("GET", "/model.safetensors", away, times=99))
    with pytest.raises(UserError, match=rf"models\.m: the weights of ada/model.*{reason}"):
        load(model)
