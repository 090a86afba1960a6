"""The checks against models that have one defect each, and against models that have none.

A mutant is a copy of the custom GPT's files with lines at the end that replace a part of it, so
that a process elsewhere that loads its folder gets the defect, too.
"""

import gc
import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from hfbench.checks import CHECKS, Check, find_checked_model, run_check
from hfbench.cli.app import app
from hfbench.errors import UserError
from hfbench.execution.compare import compare
from hfbench.models import CustomGPTConfig, CustomGPTForCausalLM, custom_gpt
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.load import load_recipe

SOURCE = Path(custom_gpt.__file__).parent
REGISTER = """
from .configuration_custom_gpt import CustomGPTConfig
from .modeling_custom_gpt import *
from .modeling_custom_gpt import CustomGPTForCausalLM, CustomGPTForSequenceClassification
CustomGPTConfig.register_for_auto_class()
CustomGPTForCausalLM.register_for_auto_class("AutoModelForCausalLM")
CustomGPTForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
"""
# another name than the one that hfbench registers, under which its own code would be loaded
OWN_TYPE = '\nCustomGPTConfig.model_type = "own_gpt"\n'

FORWARD = "(self, input_ids=None, attention_mask=None, labels=None, **kwargs)"

# name -> (code at the end of the model's file, names of the checks that find it)
MUTANTS = {
    # What sees the future in one piece cannot see it token by token: both checks have to fail.
    "wrong causal mask": (
        """
def create_causal_mask(inputs_embeds, attention_mask=None, past_key_values=None, **kwargs):
    num_past = 0 if past_key_values is None else past_key_values.get_seq_length()
    rows, tokens = inputs_embeds.shape[:2]
    seen = torch.ones(rows, 1, tokens, num_past + tokens, dtype=torch.bool)
    if attention_mask is not None:
        seen = seen & attention_mask[:, None, None].bool()
    return torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
""",
        {"future", "cache"},
    ),
    "pooling on padding": (
        "def pool_last_real_token(hidden_states, attention_mask): return hidden_states[:, -1]",
        {"padding"},
    ),
    "positions that ignore padding": (
        """
_count_positions = count_positions
def count_positions(inputs_embeds, attention_mask, num_past):
    return _count_positions(inputs_embeds, None, num_past)
""",
        {"padding, other side"},
    ),
    "cache off by one": (
        """
_count_positions = count_positions
def count_positions(inputs_embeds, attention_mask, num_past):
    return _count_positions(inputs_embeds, attention_mask, num_past) + int(num_past > 0)
""",
        {"cache"},
    ),
    "scaled init lost": (
        "CustomGPTPreTrainedModel._init_weights = PreTrainedModel._init_weights",
        {"scaled initialisation"},
    ),
    "head frozen": (
        """
_init = CustomGPTForSequenceClassification.__init__
def _frozen(self, config):
    _init(self, config)
    self.score.requires_grad_(False)
CustomGPTForSequenceClassification.__init__ = _frozen
""",
        {"every parameter learns"},
    ),
    "body detached from the head": (
        """
_pool = pool_last_real_token
def pool_last_real_token(hidden_states, attention_mask):
    return _pool(hidden_states, attention_mask).detach()
""",
        {"every parameter learns"},
    ),
    "loss of the piece, not of the step": (
        f"""
_forward = CustomGPTForCausalLM.forward
def forward{FORWARD}:
    kwargs.pop("num_items_in_batch", None)
    return _forward(self, input_ids, attention_mask, labels=labels, **kwargs)
CustomGPTForCausalLM.forward = forward
""",
        {"fairness"},
    ),
    # hfbench's Trainer takes the loss of a classifier from its logits, so that fairness holds.
    "sum of losses, not their mean": (
        f"""
_forward = CustomGPTForSequenceClassification.forward
def forward{FORWARD}:
    outputs = _forward(self, input_ids, attention_mask, labels=labels, **kwargs)
    if labels is not None:
        outputs.loss = outputs.loss * (labels >= 0).sum()
    return outputs
CustomGPTForSequenceClassification.forward = forward
""",
        {"labels"},
    ),
    "labels of -100 counted": (
        f"""
_forward = CustomGPTForCausalLM.forward
def forward{FORWARD}:
    labels = None if labels is None else labels.clamp(min=0)
    return _forward(self, input_ids, attention_mask, labels=labels, **kwargs)
CustomGPTForCausalLM.forward = forward
""",
        {"labels"},
    ),
    "dropout in evaluation": (
        """
def _forward(self, hidden_states):
    hidden_states = self.c_proj(self.act(self.c_fc(hidden_states)))
    return nn.functional.dropout(hidden_states, self.dropout.p)
CustomGPTMLP.forward = _forward
""",
        {"determinism"},
    ),
    "bare parameter not initialised": (
        """
_init = CustomGPTMLP.__init__
_forward = CustomGPTMLP.forward
def _with_gain(self, config):
    _init(self, config)
    self.gain = nn.Parameter(torch.full((config.n_embd,), 1e4))  # as torch.empty may
CustomGPTMLP.__init__ = _with_gain
CustomGPTMLP.forward = lambda self, states: _forward(self, states) * (1 + self.gain)
""",
        {"initialisation"},
    ),
    "tied weights broken": (
        "CustomGPTForCausalLM._tied_weights_keys = {}",
        {"tied weights"},
    ),
    "eager attention without scale": (
        """
_eager = eager_attention_forward
def eager_attention_forward(*args, scaling, **kwargs):
    return _eager(*args, scaling=1.0, **kwargs)
""",
        {"attention"},
    ),
    "one position too few": (
        """
_init = CustomGPTModel.__init__
def _short(self, config):
    _init(self, config)
    self.wpe = nn.Embedding(config.n_positions - 1, config.n_embd)
CustomGPTModel.__init__ = _short
""",
        {"truncation"},
    ),
    "pickle beside the weights": (
        """
_save = CustomGPTPreTrainedModel.save_pretrained
def save_pretrained(self, folder, **kwargs):
    _save(self, folder, **kwargs)
    torch.save({}, f"{folder}/extra.bin")
CustomGPTPreTrainedModel.save_pretrained = save_pretrained
""",
        {"no pickle"},
    ),
    "EOS taken for padding": (
        f"""
_forward = CustomGPTForSequenceClassification.forward
def forward{FORWARD}:
    if attention_mask is not None:
        attention_mask = attention_mask * (input_ids != self.config.eos_token_id)
    return _forward(self, input_ids, attention_mask, labels=labels, **kwargs)
CustomGPTForSequenceClassification.forward = forward
""",
        {"eos"},
    ),
    # Rows that see each other train otherwise in other batches: both checks have to fail.
    "rows that see each other": (
        """
_forward = CustomGPTMLP.forward
CustomGPTMLP.forward = lambda self, states: _forward(self, states - 0.5 * states.mean(0))
""",
        {"company", "fairness"},
    ),
    "checkpointing that cuts gradients": (
        """
_forward = CustomGPTBlock.forward
def forward(self, hidden_states, **kwargs):
    if self.gradient_checkpointing:
        hidden_states = hidden_states.detach()
    return _forward(self, hidden_states, **kwargs)
CustomGPTBlock.forward = forward
""",
        {"activation checkpointing"},
    ),
}


@pytest.fixture(scope="module", autouse=True)
def small_garbage():
    """The Trainer collects garbage as it starts; without torch's objects it is done four times as
    fast."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def write_package(tmp_path, monkeypatch, request):
    """A function that writes a copy of the custom GPT and gives the name of its config class."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which the current directory is added
    monkeypatch.chdir(tmp_path)
    name = "own_" + "".join(c for c in request.node.name if c.isalnum())

    def write(model_code="", config_code="", init=REGISTER):
        folder = tmp_path / name
        shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "__init__.py").write_text(init, encoding="utf-8")
        # a process that loads two codes with one configuration keeps the first: make them differ
        config_code = f"{OWN_TYPE}{config_code}\n# {name}"
        for file, code in (("configuration", config_code), ("modeling", model_code)):
            path = folder / f"{file}_custom_gpt.py"
            path.write_text(f"{path.read_text('utf-8')}\n\n{code}\n", encoding="utf-8")
        importlib.invalidate_caches()
        return f"{name}:CustomGPTConfig"

    yield write
    for module in [module for module in sys.modules if module.split(".")[0] == name]:
        del sys.modules[module]


def failures(model, *, elsewhere=True, **options):
    """Names of the checks that fail -> their notes; ``elsewhere`` starts processes, 15 s."""
    checked = find_checked_model(model, **options)
    return {
        check.name: verdict.note
        for check in CHECKS
        if elsewhere or check.name not in ("loads elsewhere", "two processes")
        for verdict in run_check(check, checked)
        if verdict.status == "FAIL"
    }


def test_a_healthy_model_of_ones_own_passes_every_check(write_package):
    run = CliRunner().invoke(app, ["check", write_package()])
    assert run.exit_code == 0, run.output
    lines = run.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    for check in CHECKS:
        assert sum(line.startswith(f"ok       {check.name} ") for line in lines) == 1
    assert lines[-1] == f"{len(CHECKS)} checks: {len(CHECKS)} ok, 0 FAIL, 0 skipped"


@pytest.mark.parametrize("name", MUTANTS)
def test_a_defect_is_found_by_the_check_that_is_meant_for_it(write_package, name):
    code, expected = MUTANTS[name]
    assert failures(write_package(code), elsewhere=False).keys() == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_no_such_defect_keeps_a_saved_model_from_loading(write_package, name):
    code, expected = MUTANTS[name]
    # what is not fair to pieces of a batch is not fair to processes
    unfair = {"two processes"} if "fairness" in expected else set()
    assert failures(write_package(code)).keys() == expected | unfair


def test_a_model_that_is_saved_without_its_code_is_found(write_package):
    model = write_package(init="from .configuration_custom_gpt import CustomGPTConfig")
    assert failures(model, elsewhere=False) == {}
    (check,) = (check for check in CHECKS if check.name == "loads elsewhere")
    (verdict,) = run_check(check, find_checked_model(model))
    assert verdict.status == "FAIL"
    assert "file named configuration_custom_gpt.py" in verdict.note
    assert "register_for_auto_class" in verdict.note


def test_a_configuration_that_changes_when_it_is_copied_is_found(write_package):
    code = """
_post_init = CustomGPTConfig.__post_init__
def _again(self, **kwargs):
    _post_init(self, **kwargs)
    self.bos_token_id += 1
CustomGPTConfig.__post_init__ = _again
"""
    found = failures(write_package(config_code=code), elsewhere=False)
    assert found.keys() == {"config round trip"}
    assert "bos_token_id" in found["config round trip"]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # positions of both are counted from the left, whatever the mask says; hfbench pads right
        ("GPT2Config", {"padding, other side"}),
        ("BertConfig", {"padding, other side"}),
        ("LlamaConfig", set()),  # rotary: only distances count
    ],
)
def test_models_of_transformers_fail_for_a_known_reason(config, expected):
    found = failures(f"transformers:{config}", elsewhere=False)
    assert found.keys() == expected
    if expected:
        assert "hfbench is not affected" in found["padding, other side"]


def test_an_encoder_is_not_asked_what_only_a_language_model_has():
    checked = find_checked_model("transformers:BertConfig")
    assert checked.heads == ["classifier"]
    (future,) = (check for check in CHECKS if check.name == "future")
    (verdict,) = run_check(future, checked)
    assert (verdict.status, verdict.note) == ("skipped", "an encoder (is_decoder is False)")


def test_a_check_that_crashes_is_a_failure_with_its_reason():
    crash = Check("crash", "", lambda checked, head: 1 / 0, ("classifier",))
    (verdict,) = run_check(crash, find_checked_model("transformers:BertConfig"))
    assert (verdict.status, verdict.value) == ("FAIL", None)
    assert verdict.note == "ZeroDivisionError: division by zero"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny custom GPT as a user saves it."""
    path = tmp_path_factory.mktemp("saved")
    tokenizer = train_tokenizer(["a good film"], 260)
    sizes = {"n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 32}
    config = CustomGPTConfig(**sizes, vocab_size=len(tokenizer), eos_token_id=0, bos_token_id=0)
    CustomGPTForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.mark.slow
def test_a_failure_is_exit_code_1_with_what_to_do(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "training_args.bin").write_bytes(b"")
    run = CliRunner().invoke(app, ["check", str(tmp_path / "copy"), "--json"])
    report = json.loads(run.stdout)
    assert run.exit_code == 1
    assert report["failed"] == ["no pickle"]
    (entry,) = (entry for entry in report["checks"] if entry["status"] == "FAIL")
    assert entry["value"] == 1
    assert "training_args.bin can run code when loaded" in entry["note"]
    assert {entry["check"] for entry in report["checks"]} == {check.name for check in CHECKS}


def test_code_in_a_folder_is_run_only_if_it_is_trusted(write_package, tmp_path):
    find_checked_model(write_package()).new("classifier").save_pretrained(tmp_path / "saved")
    with pytest.raises(UserError, match="trust_remote_code"):
        find_checked_model(str(tmp_path / "saved"))
    found = failures(str(tmp_path / "saved"), elsewhere=False, trust_remote_code=True)
    assert found == {}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nobody/nothing", "nobody/nothing cannot be loaded"),
        ("no_such_package.here:Config", "no_such_package.here cannot be imported"),
        ("transformers:NoConfig", "transformers has no configuration class 'NoConfig'"),
        ("transformers:GPT2Model", "has no configuration class 'GPT2Model'"),
        ("transformers:ViTConfig", "nothing to check: no AutoModelForSequenceClassification"),
        ("transformers:T5Config", "transformers:T5Config: encoders with a decoder"),
    ],
)
def test_what_cannot_be_checked_is_a_users_mistake(model, message):
    with pytest.raises(UserError) as error:
        find_checked_model(model)
    assert message in str(error.value)
    assert "models.checked" not in str(error.value)


@pytest.fixture
def compare_own(write_package, write_recipe, tmp_path):
    """A function that compares a copy of the custom GPT, and gives the records."""

    def compare_copy(model_code, **keys):
        folder = tmp_path / "own"
        checked = find_checked_model(write_package(model_code))
        checked.new("classifier").save_pretrained(folder)
        checked.prepared.tokenizer.save_pretrained(folder)
        own = {"name": "own", "model_name_or_path": str(folder), "trust_remote_code": True}
        own |= keys
        recipe = load_recipe(write_recipe(models=[own], seeds=[0]))
        return compare(recipe, tmp_path / "results", console=Console(quiet=True)).ran

    return compare_copy


def test_a_comparison_refuses_an_unfair_architecture_before_it_runs(compare_own, tmp_path):
    code, _ = MUTANTS["pooling on padding"]
    with pytest.raises(UserError, match=r"models\.own: the check 'padding' fails: padding on the"):
        compare_own(code)
    assert not (tmp_path / "results").exists()


def test_a_comparison_takes_an_unfair_one_where_the_recipe_says_so(compare_own):
    code, _ = MUTANTS["pooling on padding"]
    ran = compare_own(code, unfair=True)
    assert [record.status for record in ran] == ["finished"]


def test_a_comparison_takes_a_healthy_architecture(compare_own):
    (record,) = compare_own("")
    assert record.status == "finished"
