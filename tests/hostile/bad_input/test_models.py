"""Checkpoints as they are left by broken downloads, hasty conversions and other libraries.

Names of models that cannot be had and fields that do not exist are in `tests/models/test_load.py`,
what would run code in `tests/security`; here is what is wrong with a folder's files.
"""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, MambaConfig, ViTConfig

from hfbench.errors import UserError
from hfbench.models.load import load_classifier
from hfbench.models.prepare import check_head, prepare_model
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.model import Model

TEXTS = ["the cat sat on the mat", "a dog and a cat"]
ROWS = 270  # of the embedding, as many as the tokenizer's entries


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A GPT-2 as on the Hub: a language model without a pad token and without a classifier."""
    folder = tmp_path_factory.mktemp("gpt2") / "model"
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=ROWS, n_embd=8, n_layer=1, n_head=2, n_positions=32)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer = train_tokenizer(TEXTS, ROWS)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(good, tmp_path):
    """A copy to be spoilt."""
    return shutil.copytree(good, tmp_path / "model")


def prepare(**entry):
    return prepare_model(Model.model_validate({"name": "m", **entry}), lambda source: TEXTS)


def load(folder, **entry):
    return load_classifier(prepare(model_name_or_path=str(folder), **entry), ["no", "yes"], 0)


def mistake(folder, **entry):
    with pytest.raises(UserError) as error:
        load(folder, **entry)
    return str(error.value).replace(str(folder), "DIR")


def classify(model, tokenizer):
    with torch.no_grad():
        return model(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "models.m: the configuration of DIR cannot be loaded: Unrecognized model in DIR."),
        (b"{", "DIR/config.json' is not a valid JSON file."),
        (b"\xff\xfe\0", "DIR/config.json' is not a valid JSON file."),
        (b"[1]", "models.m: the tokenizer of DIR cannot be loaded: "),
        (b"[1]", "argument after ** must be a mapping, not list"),
        ({"model_type": "nonesuch"}, "model type `nonesuch` but Transformers does not recognize"),
        ({"model_type": None}, "models.m: the configuration of DIR cannot be loaded: "),
        ({"n_layer": "three"}, "Validation error for field 'n_layer': TypeError: Field 'n_layer'"),
        (
            {"n_embd": 9},
            "models.m: the weights of DIR cannot be loaded: `embed_dim` must be divisible by "
            "num_heads (got `embed_dim`: 9 and `num_heads`: 2).",
        ),
        ({"n_embd": -8}, "models.m: the weights of DIR cannot be loaded: Trying to create tensor"),
        (
            {"n_positions": 64},
            "models.m: transformer.wpe.weight has the shape (32, 8) in the checkpoint, but the "
            "configuration asks for (64, 8)",
        ),
        (
            {"vocab_size": 300},
            "models.m: transformer.wte.weight has the shape (270, 8) in the checkpoint, but the "
            "configuration asks for (300, 8)",
        ),
        (
            {"n_layer": 2},
            "models.m: the checkpoint has no transformer.h.1.attn.c_attn.bias, nor 11 other "
            "weights of the body that the configuration describes; they would be random",
        ),
    ],
)
def test_a_bad_configuration_is_named(folder, content, message):
    path = folder / "config.json"
    if content is None:
        path.unlink()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **content}))
    assert message in mistake(folder)


def cut(content):
    return content[:-100]


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("model.safetensors", None, "Error no file named model.safetensors, or pytorch_model.bin"),
        ("model.safetensors", cut, "Error while deserializing header: incomplete metadata, file"),
        ("model.safetensors", lambda _: b"", "Error while deserializing header: header too small"),
        (
            "model.safetensors",
            lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
            "Error while deserializing header: header too large",
        ),
        ("pytorch_model.bin", cut, ""),
        ("pytorch_model.bin", lambda _: b"", "EOFError"),
        ("pytorch_model.bin", lambda _: b"<html>404</html>", "its weights are a pickle that asks"),
    ],
)
def test_bad_weights_are_named(folder, name, change, reason):
    weights = folder / "model.safetensors"
    if name.endswith(".bin"):
        torch.save(load_file(weights), folder / name)
        weights.unlink()
    content = (folder / name).read_bytes()
    (folder / name).unlink()
    if change:
        (folder / name).write_bytes(change(content))
    assert mistake(folder).startswith(f"models.m: the weights of DIR cannot be loaded: {reason}")


def test_a_shard_that_is_missing_is_named(folder):
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"transformer.wte.weight": "model-1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert mistake(folder) == (
        "models.m: the weights of DIR cannot be loaded: No such file or directory: "
        "DIR/model-1.safetensors"
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"something.else": torch.zeros(3)},
            "models.m: the checkpoint has no transformer.h.0.attn.c_attn.bias, nor 15 other "
            "weights of the body that the configuration describes; they would be random",
        ),
        (
            {"transformer.h.0.mlp.c_fc.weight": torch.zeros(3, 3)},
            "models.m: transformer.h.0.mlp.c_fc.weight has the shape (3, 3) in the checkpoint, but "
            "the configuration asks for (8, 32)",
        ),
    ],
)
def test_weights_of_another_model_do_not_pass_for_pretrained_ones(folder, weights, message):
    path = folder / "model.safetensors"
    kept = {} if "something.else" in weights else load_file(path)
    save_file({**kept, **weights}, path, metadata={"format": "pt"})
    assert mistake(folder) == message
    load(folder, random_init=True)  # which takes none of them


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", b"{", "models.m: the tokenizer of DIR cannot be loaded: Expecting prop"),
        ("tokenizer.json", b"{}", "models.m: the tokenizer of DIR cannot be loaded: KeyError 'add"),
        ("tokenizer_config.json", b"{", "models.m: the tokenizer of DIR cannot be loaded: Expecti"),
    ],
)
def test_a_bad_tokenizer_is_named(folder, name, content, message):
    (folder / name).write_bytes(content)
    assert mistake(folder).startswith(message)


def test_a_folder_without_a_tokenizer_is_named_and_may_be_given_one(folder, good):
    for path in folder.glob("tokenizer*"):
        path.unlink()
    assert mistake(folder) == (
        "models.m: there is no tokenizer (tokenizer.json, or vocab.json and merges.txt, or "
        "vocab.txt); give models.m.tokenizer, or the recipe one"
    )
    load(folder, tokenizer={"name_or_path": str(good)})


def test_an_empty_folder_is_named(tmp_path):
    assert mistake(tmp_path).startswith("models.m: the tokenizer of DIR cannot be loaded: Couldn't")


def test_a_file_in_the_place_of_a_folder_is_named(folder):
    assert mistake(folder / "config.json") == (
        "models.m.model_name_or_path: 'DIR' is a file; its folder is wanted"
    )


@pytest.mark.parametrize("name", ["../model", "/no/where", "a/b/c", "..\\x", "~/x", "hf://a/b"])
def test_what_is_neither_a_folder_nor_a_name_on_the_hub_is_named(name):
    message = f"{name!r} is no folder here, and no name on the Hub, which is user/name"
    assert mistake(name).replace("DIR", name) == f"models.m.model_name_or_path: {message}"
    with pytest.raises(UserError) as error:
        prepare(preset="gpt-nano", tokenizer={"name_or_path": name})
    assert str(error.value) == f"models.m.tokenizer: {message}"


def test_the_tokenizer_of_another_model_is_named(folder):
    other = train_tokenizer([f"entirely other words, number {i}" for i in range(300)], 400)
    other.save_pretrained(folder)
    assert mistake(folder) == (
        "models.m: the tokenizer of DIR gives numbers up to 399, but its embedding has 270 rows; "
        "it belongs to another model"
    )


def test_tokens_that_were_added_get_rows_of_their_own(folder):
    tokenizer = train_tokenizer(TEXTS, ROWS)
    tokenizer.add_tokens(["the cat"])
    tokenizer.save_pretrained(folder)
    prepared = prepare(model_name_or_path=str(folder))
    model = load_classifier(prepared, ["no", "yes"], 0)
    assert ROWS in prepared.tokenizer(TEXTS[0])["input_ids"]
    assert classify(model, prepared.tokenizer).shape == (2, 2)


def test_every_number_that_a_tokenizer_gives_has_a_row(folder):
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    values["model"]["vocab"]["m"] = 900  # more than there are entries; "mat" is made of it
    path.write_text(json.dumps(values))
    small = {"n_layer": 1, "n_positions": 32}
    prepared = prepare(preset="gpt-nano", config=small, tokenizer={"name_or_path": str(folder)})
    model = load_classifier(prepared, ["no", "yes"], 0)
    assert 900 in prepared.tokenizer("m")["input_ids"]
    with torch.no_grad():
        assert model(**prepared.tokenizer("m", return_tensors="pt")).logits.shape == (1, 2)


def test_a_checkpoint_without_head_and_pad_token_and_one_with_tensors_in_a_pickle_work(folder):
    prepared = prepare(model_name_or_path=str(folder))
    expected = classify(load_classifier(prepared, ["no", "yes"], 0), prepared.tokenizer)
    weights = folder / "model.safetensors"
    torch.save(load_file(weights), folder / "pytorch_model.bin")
    weights.unlink()
    found = classify(load_classifier(prepared, ["no", "yes"], 0), prepared.tokenizer)
    assert torch.equal(found, expected)


def test_custom_code_is_named_with_what_permits_it(folder):
    config = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit")
    assert mistake(folder) == (
        "models.m: DIR comes with custom code, which would be run here; read it first, then permit "
        "it by trust_remote_code: true"
    )


SCRATCH = {"model_type": "gpt2", "tokenizer": {"train_on": "task"}}


@pytest.mark.parametrize(
    ("entry", "kind", "message"),
    [
        (
            {"model_type": "mamba", **{"tokenizer": {"train_on": "task"}}},
            "classifier",
            ": transformers has no classifier of texts for MambaConfig (mamba)",
        ),
        (
            {"model_type": "distilbert", "tokenizer": {"train_on": "task"}},
            "language model",
            ": transformers has no language model for DistilBertConfig (distilbert)",
        ),
        (
            {**SCRATCH, "config": {"n_embd": 10, "n_head": 3}},
            "language model",
            ".config: GPT2Config (gpt2) cannot be built: ValueError: `embed_dim` must be divisible "
            "by num_heads (got `embed_dim`: 10 and `num_heads`: 3).",
        ),
        (
            {**SCRATCH, "model_type": "t5", "config": {"d_kv": -8}},
            "classifier",
            ".config: T5Config (t5) cannot be built: RuntimeError: Trying to create tensor with ",
        ),
        (
            {**SCRATCH, "model_type": "prophetnet", "config": {"hidden_size": 10}},
            "language model",
            ".config: ProphetNetConfig (prophetnet) cannot be built: AssertionError",
        ),
        (
            {**SCRATCH, "config": {"activation_function": "no"}},
            "classifier",
            ".config: GPT2Config (gpt2) cannot be built: KeyError: 'no'",
        ),
        (
            {"preset": "gpt-nano", "tokenizer": {"train_on": "task"},
             "config": {"activation_function": "no"}},
            "classifier",
            ".config: CustomGPTConfig (gpt-nano) cannot be built: KeyError: 'no'",
        ),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_built_is_known_before_anything_runs(entry, kind, message):
    with pytest.raises(UserError) as error:
        check_head(prepare(**entry), kind)
    assert str(error.value).startswith(f"models.m{message}")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"config": {"n_layer": -1}}, ".n_layer: -1 must be at least 1"),
        ({"config": {"n_layer": 0}}, ".n_layer: 0 must be at least 1"),
        ({"config": {"num_hidden_layers": -1}}, ".num_hidden_layers: -1 must be at least 1"),
        ({"config": {"n_head": -2}}, ".n_head: -2 must be at least 1"),
        ({"config": {"n_positions": 0}}, ".n_positions: 0 must be at least 1"),
        ({"config": {"n_inner": 0}}, ".n_inner: 0 must be at least 1"),
        ({"config": {"initializer_range": -0.1}}, ".initializer_range: -0.1 must be at least 0"),
        ({"config": {"layer_norm_epsilon": -1.0}}, ".layer_norm_epsilon: -1.0 must be at least 0"),
        ({"model_type": "distilbert", "config": {"n_layers": -1}}, ".n_layers: -1 must be at lea"),
        (
            {"model_type": "mistral", "config": {"num_attention_heads": 6, "hidden_size": 48}},
            ": num_attention_heads (6) must be a multiple of num_key_value_heads (8)",
        ),
        (
            {"config": {"n_layer": 1.5}},
            ": GPT2Config (gpt2) cannot be built: TypeError: Field 'n_layer' expected int, got fl",
        ),
        (
            {"preset": "gpt-nano", "model_type": None, "config": {"n_head": 7}},
            ": CustomGPTConfig (gpt-nano) cannot be built: ValueError: n_embd (48) must be a "
            "multiple of n_head (7)",
        ),
        (
            {"preset": "gpt-nano", "model_type": None, "config": {"initializer_range": -1.0}},
            ".initializer_range: -1.0 must be at least 0",
        ),
    ],
)
def test_a_configuration_that_no_model_can_have_is_named(entry, message):
    with pytest.raises(UserError) as error:
        prepare(**{**SCRATCH, **entry})
    assert str(error.value).startswith(f"models.m.config{message}")


def test_a_size_is_named_also_where_a_checkpoint_brings_the_others(folder):
    message = mistake(folder, random_init=True, config={"n_head": -1})
    assert message == "models.m.config.n_head: -1 must be at least 1"


def test_models_of_the_least_sizes_pass(folder):
    config = {"n_layer": 1, "n_head": 1, "n_embd": 1, "n_positions": 1, "n_inner": 1}
    check_head(prepare(**SCRATCH, config={**config, "initializer_range": 0.0}), "classifier")
    heads = {"num_attention_heads": 6, "hidden_size": 48, "num_key_value_heads": 2}
    grouped = prepare(**{**SCRATCH, "model_type": "mistral"}, config=heads)
    check_head(grouped, "classifier")


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"model_type": "gpt2", "config": {"n_layer": -1}},
            "models.m.config.n_layer: -1 must be at least 1",
        ),
        (
            {"model_type": "gpt2", "config": {"n_embd": 10, "n_head": 3}},
            "models.m.config: GPT2Config (gpt2) cannot be built: ValueError: `embed_dim` must be",
        ),
        ({"preset": "gpt-nano", "config": {"n_layer": 0}}, "config: n_layer: 0 must be at least 1"),
        (
            {"preset": "gpt-nano", "config": {"n_head": 7}},
            "models.m.config: CustomGPTConfig (gpt-nano) cannot be built: ValueError: n_embd (48) ",
        ),
    ],
)
def test_an_impossible_configuration_is_one_message_before_any_cell_runs(
    entry, message, options, tmp_path, write_recipe, command
):
    models = [{"name": "floor", "control": "majority"}, {"name": "m", **entry}]
    results = tmp_path / "results"
    recipe = write_recipe(models=models)
    code, error = command("compare", recipe, "--results-dir", results, *options)
    assert code == 2
    assert message in error
    assert "Traceback" not in error
    assert not results.exists()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"preset": "gpt-nano", "lora": {"target_modules": ["c_atn"]}},
            "models.m.lora.target_modules: CustomGPTForSequenceClassification has no linear layer",
        ),
        (
            {"model_type": "gpt2", "config": {"n_embd": 10, "n_head": 3}, "lora": {}},
            "models.m.config: GPT2Config (gpt2) cannot be built: ValueError: `embed_dim` must be",
        ),
    ],
)
def test_lora_that_does_not_fit_is_known_before_the_pretraining_runs(
    entry, message, tmp_path, write_recipe, command
):
    pytest.importorskip("peft")
    pretrain = {"corpus": {"builtin": "pets", "first": 200}}
    recipe = write_recipe(models=[{"name": "m", **entry, "pretrain": pretrain}])
    code, error = command("compare", recipe, "--results-dir", tmp_path / "results")
    assert code == 2
    assert message in error
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("config", [MambaConfig, ViTConfig])
def test_a_checkpoint_of_another_kind_is_known_before_anything_runs(folder, config):
    config().save_pretrained(folder)
    with pytest.raises(UserError) as error:
        check_head(prepare(model_name_or_path=str(folder)), "classifier")
    message = f"transformers has no classifier of texts for {config.__name__} ({folder})"
    assert str(error.value) == f"models.m: {message}"


def test_a_model_that_can_be_built_passes(folder):
    for kind in ("classifier", "language model"):
        check_head(prepare(model_name_or_path=str(folder)), kind)
        check_head(prepare(preset="gpt-nano", tokenizer={"train_on": "task"}), kind)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: (path / "config.json").write_text("{"), "is not a valid JSON file"),
        (shutil.rmtree, "is no folder here, and no name on the Hub"),
    ],
)
def test_on_the_command_line_it_is_one_message_and_exit_code_2(
    folder, write_recipe, command, spoil, message
):
    spoil(folder)
    recipe = write_recipe(models=[{"name": "m", "model_name_or_path": str(folder)}])
    code, error = command("compare", recipe)
    assert code == 2
    assert message in error
    assert "Traceback" not in error


def test_weights_that_cannot_be_read_fail_their_cell_and_not_the_others(
    folder, tmp_path, write_recipe, command
):
    weights = folder / "model.safetensors"
    weights.write_bytes(cut(weights.read_bytes()))
    models = [
        {"name": "m", "model_name_or_path": str(folder)},
        {"name": "floor", "control": "majority"},
    ]
    results = tmp_path / "results"
    recipe = write_recipe(models=models, seeds=[0])
    code, error = command("compare", recipe, "--results-dir", results)
    records = results / "tiny" / "records"
    failure = json.loads((records / "m--seed0.json").read_text())["failure"]
    assert failure["message"].startswith(f"models.m: the weights of {folder} cannot be loaded: ")
    assert "incomplete metadata" in failure["message"]
    assert json.loads((records / "floor.json").read_text())["status"] == "finished"
    assert code == 1
    assert "Traceback" not in error
