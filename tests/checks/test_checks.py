"""The checks as people start them, and what only whole packages and folders show.

What single faults do is asked in `test_mutants.py`. An own model here is a copy of the custom GPT's
files, with lines at the end that replace a part of it, so that a process elsewhere that loads its
folder gets the fault, too.
"""

import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from hfbench.checks import CHECKS, Check, Examination, find_checked_model
from hfbench.checks.checked_model import HEADS
from hfbench.checks.outcome import Failed
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

POOLING_ON_PADDING = """
def pool_last_real_token(hidden_states, attention_mask): return hidden_states[:, -1]
"""


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


def find(name):
    """The check of this name."""
    return next(check for check in CHECKS if check.name == name)


def failures(model, **options):
    """Names of the checks that fail with no other's failure as the cause -> their notes."""
    examination = Examination(find_checked_model(model, **options), CHECKS)
    return {
        check.name: verdict.note
        for check in CHECKS
        if check.name not in ("loads elsewhere", "two processes")  # start processes, 15 s
        for verdict in examination.ask(check)
        if verdict.status == "FAIL" and not verdict.follows_from
    }


@pytest.mark.slow
def test_a_healthy_model_of_ones_own_passes_every_check(write_package):
    run = CliRunner().invoke(app, ["check", write_package()])
    assert run.exit_code == 0, run.output
    lines = run.stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    for check in CHECKS:
        assert sum(line.startswith(f"ok       {check.name} ") for line in lines) == 1
    assert lines[-1] == f"{len(CHECKS)} checks: {len(CHECKS)} ok, 0 FAIL, 0 note, 0 skipped"


def test_each_cause_stands_before_what_follows_from_it():
    names = [check.name for check in CHECKS]
    assert len({*names}) == len(names)
    for number, check in enumerate(CHECKS):
        assert {*check.follows_from} <= {*names[:number]}, check.name


def test_a_model_that_is_saved_without_its_code_is_found(write_package):
    model = write_package(init="from .configuration_custom_gpt import CustomGPTConfig")
    examination = Examination(find_checked_model(model), CHECKS)
    (verdict,) = examination.ask(find("loads elsewhere"))
    assert verdict.status == "FAIL"
    assert "file named configuration_custom_gpt.py" in verdict.note
    assert "register_for_auto_class" in verdict.note


def test_an_encoder_is_not_asked_what_only_a_language_model_has():
    checked = find_checked_model("transformers:BertConfig")
    assert checked.missing == {"language model": "not a causal one: it sees later tokens"}
    assert checked.family("classifier") == "encoder"
    assert Examination(checked, CHECKS).ask(find("future")) == []


def test_what_is_called_no_decoder_and_is_one_is_asked_as_one():
    checked = find_checked_model("transformers:GPTNeoXConfig")
    assert checked.config.is_decoder is False
    assert checked.family("language model") == "decoder"


def test_a_check_that_crashes_is_a_failure_with_its_reason_and_place():
    crash = Check("crash", "", lambda checked, head: 1 / 0, "unfair here", ("classifier",))
    checked = find_checked_model("transformers:BertConfig")
    (verdict,) = Examination(checked, [crash]).ask(crash)
    assert (verdict.status, verdict.value) == ("FAIL", None)
    assert verdict.note.startswith("ZeroDivisionError: division by zero (test_checks.py, line ")


def test_what_follows_from_a_failure_names_its_first_cause():
    def fail(checked, head):
        raise Failed(1.0, "why")

    first = Check("first", "", fail, "unfair here", ("language model",))
    second = Check("second", "", fail, "advice", HEADS, follows_from=("first",))
    third = Check(
        "third", "", fail, "broken on the Hub", HEADS, follows_from=("second",), once=True
    )
    fourth = Check("fourth", "", fail, "broken on the Hub", HEADS, follows_from=("third",))
    examination = Examination(
        find_checked_model("transformers:LlamaConfig"), [first, second, third, fourth]
    )
    # in another order than they stand in: causes are asked when they are needed
    found = {c.name: examination.ask(c) for c in (fourth, third, second, first)}
    assert [v.follows_from for v in found["first"]] == [None]
    assert [v.follows_from for v in found["second"]] == ["first", "first"]
    assert [v.status for v in found["second"]] == ["note", "note"]
    # advice explains no failure
    assert [v.follows_from for v in found["third"]] == [None]
    assert [v.follows_from for v in found["fourth"]] == ["third", "third"]


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
def test_a_failure_is_an_exit_code_by_its_level_with_what_to_do(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "training_args.bin").write_bytes(b"")
    run = CliRunner().invoke(app, ["check", str(tmp_path / "copy"), "--json"])
    report = json.loads(run.stdout)
    assert run.exit_code == 3
    assert report["failed"] == ["no pickle"]
    assert report["exit_code"] == 3
    (entry,) = (entry for entry in report["checks"] if entry["status"] == "FAIL")
    assert entry["value"] == 1
    assert "training_args.bin can run code when loaded" in entry["note"]
    assert {entry["check"] for entry in report["checks"]} == {check.name for check in CHECKS}
    assert report["families"] == {"classifier": "decoder", "language model": "decoder"}


def test_code_in_a_folder_is_run_only_if_it_is_trusted(write_package, tmp_path):
    find_checked_model(write_package()).new("classifier").save_pretrained(tmp_path / "saved")
    with pytest.raises(UserError, match="trust_remote_code"):
        find_checked_model(str(tmp_path / "saved"))
    found = failures(str(tmp_path / "saved"), trust_remote_code=True)
    assert found == {}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nobody/nothing", "nobody/nothing cannot be loaded"),
        ("no_such_package.here:Config", "no_such_package.here cannot be imported"),
        ("transformers:NoConfig", "transformers has no configuration class 'NoConfig'"),
        ("transformers:GPT2Model", "has no configuration class 'GPT2Model'"),
        ("transformers:ViTConfig", "nothing to check: no AutoModelForSequenceClassification"),
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
    with pytest.raises(UserError, match=r"models\.own: the check 'padding' fails: padding on the"):
        compare_own(POOLING_ON_PADDING)
    assert not (tmp_path / "results").exists()


def test_a_comparison_takes_an_unfair_one_where_the_recipe_says_so(compare_own):
    ran = compare_own(POOLING_ON_PADDING, unfair=True)
    assert [record.status for record in ran] == ["finished"]


def test_a_comparison_takes_a_healthy_architecture(compare_own):
    (record,) = compare_own("")
    assert record.status == "finished"
