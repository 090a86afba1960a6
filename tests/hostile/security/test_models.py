"""Nothing in a file that comes from elsewhere is run: not in weights, configurations or data.

Each planted file would create a canary. That it would is shown first, by reading it without care;
then hfbench reads it, and there is no canary.
"""

import json
import pickle
import runpy
import shutil
import time

import pytest
import torch
from jinja2 import Environment
from transformers import GPT2Config, GPT2ForSequenceClassification

from hfbench.checks import find_checked_model
from hfbench.errors import UserError
from hfbench.generation.generate import load_language_model
from hfbench.models.convert import convert
from hfbench.models.load import load_classifier
from hfbench.models.prepare import prepare_model
from hfbench.models.tokenizer import load_tokenizer, train_tokenizer
from hfbench.recipe.model import Model, Tokenizer


@pytest.fixture(scope="session")
def plain_checkpoint(tmp_path_factory):
    """A tiny GPT-2 with a tokenizer, as it is saved."""
    folder = tmp_path_factory.mktemp("plain") / "model"
    tokenizer = train_tokenizer(["the film was good and the meal was bad"] * 4, 270)
    tokenizer.model_max_length = 32
    tokenizer.save_pretrained(folder)
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos")}
    shape = {"n_layer": 1, "n_head": 2, "n_embd": 8, "n_positions": 32}
    config = GPT2Config(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **ids, **shape
    )
    GPT2ForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture
def checkpoint(plain_checkpoint, tmp_path):
    """A copy to plant in."""
    return shutil.copytree(plain_checkpoint, tmp_path / "model")


def change_json(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}), "utf-8")


def load(folder, **entry):
    entry = Model.model_validate({"name": "m", "model_name_or_path": str(folder), **entry})
    return load_classifier(prepare_model(entry, lambda source: ["a text"]), ["no", "yes"], 0)


ROUTES = {
    "compare": load,
    "generate": lambda folder: load_language_model(str(folder)),
    "check": lambda folder: find_checked_model(str(folder)).load("classifier"),
    "convert": lambda folder: convert(str(folder), folder.parent / "converted"),
}

WRITERS = {
    "a bare pickle": lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2)),
    "torch's format": torch.save,
    "torch's old format": lambda value, path: torch.save(
        value, path, _use_new_zipfile_serialization=False
    ),
}


@pytest.mark.parametrize("function", ["exec", "os.system"])
@pytest.mark.parametrize("among_tensors", [False, True])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_planted_bin_is_refused_and_not_run(
    checkpoint, canary, payloads, writer, among_tensors, function, sings
):
    (checkpoint / "model.safetensors").unlink()
    planted = checkpoint / "pytorch_model.bin"
    payload = payloads[function]
    value = {"transformer.wte.weight": torch.zeros(2), "x": payload} if among_tensors else payload
    WRITERS[writer](value, planted)
    careless = pickle.loads if writer == "a bare pickle" else torch.load
    options = {} if writer == "a bare pickle" else {"weights_only": False}
    source = planted.read_bytes() if writer == "a bare pickle" else planted
    sings(careless, source, **options)
    with pytest.raises(UserError, match="a pickle that asks for more than tensors"):
        load(checkpoint)
    assert not canary.exists()


@pytest.mark.parametrize("route", ["generate", "check", "convert"])
def test_a_planted_bin_is_not_run_by_any_verb(checkpoint, canary, payload, route):
    (checkpoint / "model.safetensors").unlink()
    torch.save({"x": payload}, checkpoint / "pytorch_model.bin")
    with pytest.raises(UserError, match="a pickle that asks for more than tensors"):
        ROUTES[route](checkpoint)
    assert not canary.exists()


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "training_args.bin", "optimizer.pt", "vocab.pkl", "adapter.bin"]
)
def test_a_pickle_beside_safetensors_is_not_read(checkpoint, canary, payload, name):
    torch.save(payload, checkpoint / name)
    for route in ROUTES.values():
        route(checkpoint)
    assert not canary.exists()


def test_a_bin_of_tensors_still_loads(checkpoint):
    expected = load(checkpoint).state_dict()
    (checkpoint / "model.safetensors").unlink()
    torch.save(expected, checkpoint / "pytorch_model.bin")
    found = load(checkpoint).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


CODE = """
from transformers import GPT2Config, GPT2ForSequenceClassification, PreTrainedTokenizerFast
{code}
class EvilConfig(GPT2Config):
    model_type = "evil"
class EvilModel(GPT2ForSequenceClassification):
    config_class = EvilConfig
class EvilTokenizer(PreTrainedTokenizerFast):
    pass
"""


@pytest.mark.parametrize("known_type", [False, True])
@pytest.mark.parametrize("route", ROUTES)
def test_code_beside_a_model_is_not_run_without_permission(
    checkpoint, canary, code, route, known_type, sings
):
    (checkpoint / "evil.py").write_text(CODE.format(code=code), "utf-8")
    sings(runpy.run_path, str(checkpoint / "evil.py"))
    classes = {"AutoConfig": "evil.EvilConfig"}
    for auto in ("AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification"):
        classes[auto] = "evil.EvilModel"
    change_json(checkpoint / "config.json", auto_map=classes)
    tokenizer = ["evil.EvilTokenizer", "evil.EvilTokenizer"]
    change_json(checkpoint / "tokenizer_config.json", auto_map={"AutoTokenizer": tokenizer})
    if not known_type:
        change_json(checkpoint / "config.json", model_type="evil")
        with pytest.raises(UserError, match=r"custom code|evil"):
            ROUTES[route](checkpoint)
    else:  # transformers' own class is taken
        ROUTES[route](checkpoint)
    assert not canary.exists()


def test_code_beside_a_model_is_run_with_permission(checkpoint, canary, code):
    """The control of the test above: the permission is all that keeps the code from running."""
    (checkpoint / "evil.py").write_text(CODE.format(code=code), "utf-8")
    classes = {"AutoConfig": "evil.EvilConfig"}
    classes["AutoModelForSequenceClassification"] = "evil.EvilModel"
    change_json(checkpoint / "config.json", auto_map=classes, model_type="evil")
    load(checkpoint, trust_remote_code=True)
    assert canary.exists()


def test_generation_code_beside_a_model_is_not_run(checkpoint, canary, code):
    (checkpoint / "custom_generate").mkdir()
    (checkpoint / "custom_generate" / "generate.py").write_text(code, "utf-8")
    load_language_model(str(checkpoint))
    assert not canary.exists()


@pytest.mark.parametrize("route", ROUTES)
def test_a_chat_template_is_not_rendered(checkpoint, canary, route, sings):
    escape = f"{{{{ cycler.__init__.__globals__.os.system('touch {canary}') }}}}"
    (checkpoint / "chat_template.jinja").write_text(escape, "utf-8")
    sings(Environment().from_string(escape).render)
    ROUTES[route](checkpoint)
    assert not canary.exists()


def test_a_configuration_that_points_elsewhere_is_not_followed(
    checkpoint, tmp_path, payload, canary
):
    elsewhere = shutil.copytree(checkpoint, tmp_path / "elsewhere")
    (elsewhere / "model.safetensors").unlink()
    torch.save(payload, elsewhere / "pytorch_model.bin")
    expected = load(checkpoint).state_dict()
    place = str(elsewhere)
    change_json(
        checkpoint / "config.json", _name_or_path=place, base_model_name_or_path=place,
        name_or_path=place,
    )  # fmt: skip
    change_json(checkpoint / "tokenizer_config.json", name_or_path=place)
    found = load(checkpoint).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert not canary.exists()


@pytest.mark.parametrize("route", ROUTES)
def test_a_kernel_that_a_configuration_names_is_not_fetched(checkpoint, route, monkeypatch):
    """transformers would fetch it, a library of the Hub, and load it into this process."""
    from transformers.integrations import hub_kernels

    def fetch(*args, **kwargs):
        raise AssertionError(f"asked for the kernel {args}")

    monkeypatch.setattr(hub_kernels, "get_kernel", fetch)
    monkeypatch.setattr("transformers.modeling_utils.lazy_import_flash_attention", fetch)
    change_json(checkpoint / "config.json", attn_implementation="kernels-community/flash-attn")
    ROUTES[route](checkpoint)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("missing", [[], ["model.safetensors"], ["config.json"]])
def test_an_adapter_does_not_bring_another_model(
    checkpoint, tmp_path, canary, payload, missing, route
):
    elsewhere = shutil.copytree(checkpoint, tmp_path / "elsewhere")
    values = {"peft_type": "LORA", "task_type": "SEQ_CLS", "r": 2, "lora_alpha": 2}
    values |= {"target_modules": ["c_attn"], "base_model_name_or_path": str(elsewhere)}
    (checkpoint / "adapter_config.json").write_text(json.dumps(values), "utf-8")
    torch.save(payload, checkpoint / "adapter_model.bin")
    for name in missing:
        (checkpoint / name).unlink()
    with pytest.raises(UserError, match="holds an adapter"):
        ROUTES[route](checkpoint)
    assert not canary.exists()


def test_a_tokenizer_that_is_nested_without_end_is_a_message(checkpoint):
    path = checkpoint / "tokenizer.json"
    text = path.read_text("utf-8").rstrip().removesuffix("}")
    path.write_text(f'{text}, "x": {"[" * 100_000}{"]" * 100_000}}}', "utf-8")
    with pytest.raises(UserError, match=r"the tokenizer of .* cannot be loaded: .*recursion"):
        load(checkpoint)


@pytest.mark.parametrize("where", ["pre_tokenizer", "normalizer"])
def test_a_pattern_that_backtracks_without_end_is_given_up(checkpoint, where):
    """A plain search would try 2 ** 60 ways, which takes years."""
    pattern = {"Regex": "(a+)+$"}
    rule = {
        "pre_tokenizer": {
            "type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False,
        },
        "normalizer": {"type": "Replace", "pattern": pattern, "content": "b"},
    }[where]  # fmt: skip
    change_json(checkpoint / "tokenizer.json", **{where: rule})
    tokenizer = load_tokenizer(Tokenizer(name_or_path=str(checkpoint)), lambda source: [], "t")
    start = time.monotonic()
    assert tokenizer("a" * 60 + "!")["input_ids"]
    assert time.monotonic() - start < 20
