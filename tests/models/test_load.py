import json

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from hfbench.errors import UserError
from hfbench.models.facts import count_parameters, describe_config, hash_weights
from hfbench.models.load import load_causal_lm, load_classifier
from hfbench.models.prepare import prepare_model
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.model import Model

TEXTS = ["the cat sat on the mat", "a dog and a cat"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A GPT-2 folder as on the Hub: no pad token, embeddings for its vocabulary alone."""
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = train_tokenizer(TEXTS, 270)
    tokenizer.pad_token = None
    torch.manual_seed(123)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=8, n_layer=1, n_head=2, n_positions=32)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def prepare(**entry):
    entry = Model.model_validate({"name": "m", **entry})
    return prepare_model(entry, lambda source: TEXTS)


def preset(**entry):
    return prepare(
        preset="gpt-nano",
        tokenizer={"train_on": "task", "vocab_size": 300},
        **{"config": {"n_layer": 1, "n_positions": 32}, **entry},
    )


def test_a_preset_fits_its_tokenizer_and_its_labels():
    prepared = preset()
    model = load_classifier(prepared, ["x", "y", "z"], init_seed=0)
    assert type(model).__name__ == "CustomGPTForSequenceClassification"
    assert model.config.vocab_size == len(prepared.tokenizer)
    assert model.config.id2label == {0: "x", 1: "y", 2: "z"}
    assert prepared.max_length == 32
    assert model.score.out_features == 3


def test_new_weights_are_those_of_the_seed():
    weights = [load_classifier(preset(), ["x", "y"], seed).score.weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_pad_token_is_new_so_that_a_real_end_of_text_counts(checkpoint):
    prepared = prepare(model_name_or_path=str(checkpoint))
    tokenizer = prepared.tokenizer
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    model = load_classifier(prepared, ["x", "y"], init_seed=0).eval()

    def logits(*texts):
        return model(**tokenizer(list(texts), padding=True, return_tensors="pt")).logits[0]

    with torch.no_grad():
        plain, ended = logits("the cat"), logits("the cat<|endoftext|>")
        assert not torch.allclose(plain, ended, atol=1e-5)
        beside = logits("the cat<|endoftext|>", "a dog and a cat and the mat on the cat")
        assert torch.allclose(ended, beside, atol=1e-6)


def test_a_checkpoint_keeps_its_weights_and_its_twin_does_not(checkpoint):
    original = GPT2LMHeadModel.from_pretrained(checkpoint).transformer.wpe.weight
    kept = load_classifier(prepare(model_name_or_path=str(checkpoint)), ["x", "y"], 0)
    twin = prepare(model_name_or_path=str(checkpoint), random_init=True)
    twins = [load_classifier(twin, ["x", "y"], seed) for seed in (0, 1)]
    assert torch.equal(kept.transformer.wpe.weight, original)
    assert not torch.equal(twins[0].transformer.wpe.weight, original)
    assert not torch.equal(twins[0].transformer.wpe.weight, twins[1].transformer.wpe.weight)
    assert count_parameters(kept) == count_parameters(twins[0])


def test_half_precision_checkpoints_are_trained_in_float32(checkpoint, tmp_path):
    GPT2LMHeadModel.from_pretrained(checkpoint).half().save_pretrained(tmp_path)
    train_tokenizer(TEXTS, 270).save_pretrained(tmp_path)
    model = load_classifier(prepare(model_name_or_path=str(tmp_path)), ["x", "y"], 0)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_a_language_model_continues_as_classifier(tmp_path):
    prepared = preset()
    language_model = load_causal_lm(prepared, init_seed=3)
    language_model.save_pretrained(tmp_path)
    model = load_classifier(prepared, ["x", "y"], init_seed=0, pretrained=tmp_path)
    assert torch.equal(model.transformer.wte.weight, language_model.transformer.wte.weight)


def test_any_architecture_can_start_from_scratch():
    prepared = prepare(
        model_type="gpt2",
        config={"n_layer": 2, "n_head": 2, "n_embd": 2, "n_positions": 32},
        tokenizer={"train_on": "task", "vocab_size": 300},
    )
    model = load_classifier(prepared, ["x", "y"], 0)
    total, embeddings = count_parameters(model)
    vocabulary = len(prepared.tokenizer)
    assert embeddings == 2 * (vocabulary + 32)
    # SPEC: of tiny-gpt2's parameters 152 are not embeddings; the head has two weights a label
    assert total - embeddings == 152 + 4


def test_every_classifier_tells_the_trainer_that_its_loss_is_not_scaled(checkpoint):
    for prepared in (preset(), prepare(model_name_or_path=str(checkpoint))):
        assert load_classifier(prepared, ["x", "y"], 0).accepts_loss_kwargs is False


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"model_name_or_path": "nobody/nothing"}, "models.m.model_name_or_path: nobody/nothing"),
        ({"model_type": "gpt22", "tokenizer": {"train_on": "task"}}, "the configuration of gpt22"),
        (
            {"preset": "gpt-nano", "tokenizer": {"train_on": "task"}, "config": {"n_embd": 50}},
            "n_embd (50) must be a multiple of n_head (3)",
        ),
        ({"preset": "gpt-nano", "tokenizer": {"name_or_path": "no/no"}}, "models.m.tokenizer"),
    ],
)
def test_a_model_that_cannot_be_had_is_named(entry, message):
    with pytest.raises(UserError) as error:
        prepare(**entry)
    assert message in str(error.value)


def test_a_misspelt_field_is_said_where_the_class_takes_any(checkpoint):
    note = "config: GPT2Config has no field 'n_lyer'; did you mean 'n_layer'?; nothing reads it"
    scratch = {"model_type": "gpt2", "tokenizer": {"train_on": "task"}}
    for entry in ({"model_name_or_path": str(checkpoint)}, scratch):
        assert prepare(**entry, config={"n_lyer": 1}).notes == (note,)


def test_a_field_that_an_architecture_reads_and_does_not_declare_is_none_of_a_mistake():
    for model_type, field in {
        "t5": "decoder_start_token_id",
        "deberta-v2": "position_buckets",
    }.items():
        prepared = prepare(model_type=model_type, config={field: 7}, tokenizer={"train_on": "task"})
        assert prepared.notes == ()
        assert getattr(prepared.config, field) == 7


def test_code_that_comes_with_a_checkpoint_is_not_run_unless_allowed(tmp_path):
    planted = tmp_path / "ran"
    (tmp_path / "evil.py").write_text(f"open({str(planted)!r}, 'w')\nclass C: pass\n")
    config = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C", "AutoModel": "evil.C"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    train_tokenizer(TEXTS, 270).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="trust_remote_code"):
        prepare(model_name_or_path=str(tmp_path))
    assert not planted.exists()


def test_a_pickled_checkpoint_that_is_more_than_tensors_is_refused(checkpoint, tmp_path):
    planted = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return open, (str(planted), "w")

    train_tokenizer(TEXTS, 270).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    torch.save({"transformer.wte.weight": Evil()}, tmp_path / "pytorch_model.bin")
    prepared = prepare(model_name_or_path=str(tmp_path))
    with pytest.raises(Exception, match=r"(?i)weights_only|pickle"):
        load_classifier(prepared, ["x", "y"], 0)
    assert not planted.exists()


def test_the_hash_of_local_weights_follows_their_bytes(checkpoint, tmp_path):
    assert hash_weights(None) is None
    assert hash_weights("nobody/nothing") is None
    (tmp_path / "model.safetensors").write_bytes((checkpoint / "model.safetensors").read_bytes())
    assert hash_weights(str(tmp_path)) == hash_weights(str(checkpoint))
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    assert hash_weights(str(tmp_path)) != hash_weights(str(checkpoint))


def test_a_described_configuration_names_no_folder(checkpoint):
    described = describe_config(prepare(model_name_or_path=str(checkpoint)).config)
    assert described["n_embd"] == 8
    assert str(checkpoint) not in json.dumps(described)


def test_a_model_for_texts_of_any_length_takes_what_its_tokenizer_does():
    entry = Model.model_validate(
        {"name": "m", "model_type": "xlnet", "config": {"d_model": 8, "n_layer": 1, "n_head": 2},
         "tokenizer": {"train_on": "task"}}
    )  # fmt: skip
    prepared = prepare_model(entry, lambda _: ["a b c"])
    assert prepared.config.max_position_embeddings == -1
    assert prepared.max_length == prepared.tokenizer.model_max_length > 0
