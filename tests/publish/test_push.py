"""A model trained here, on the Hub and back: what goes up, its proof, and what refuses it."""

import json
import re
import shutil
import subprocess
import sys

import pytest
from safetensors.torch import load_file, save_file

from hfbench.errors import HubError, UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.table import as_csv
from hfbench.execution.compare import compare
from hfbench.publish.proof import NotTheModelError
from hfbench.publish.push import push_model, stage_model, verify_push
from hfbench.publish.results import push_results
from hfbench.recipe.load import load_recipe
from hfbench.records.record_file import load_record
from hfbench.system.stranger import run_stranger

TOKEN = "hf_PlantedTokenOfAda0123456789abcdef"
MODEL_FILES = {
    "README.md", "config.json", "configuration_custom_gpt.py", "loss_custom_gpt.py",
    "model.safetensors", "modeling_custom_gpt.py", "padding_custom_gpt.py", "record.json",
    "tokenizer.json", "tokenizer_config.json",
}  # fmt: skip


@pytest.fixture
def pushed(hub, results):
    """The custom GPT on the Hub, and what was said on the way."""
    said = []
    return push_model(results, "mine", "ada/nano", licence="mit", say=said.append), said


def test_a_pushed_model_is_proven_and_leaks_nothing(hub, results, pushed, tmp_path):
    push, said = pushed
    files = hub.files("ada/nano")
    assert set(files) == {*MODEL_FILES, ".gitattributes"}
    assert said[0] == "ada/nano: private (to be created)"
    assert "proven before the upload" in said[1]
    record = load_record(results / "records" / "mine--seed0.json")
    other = load_record(results / "records" / "mine--seed1.json")
    best = max(record, other, key=lambda r: (r.metrics["validation"]["accuracy"], -r.seed))
    assert push.proof in {record.probe.hash, other.probe.hash}
    assert record.probe.hash != other.probe.hash
    if record.metrics["validation"]["accuracy"] != other.metrics["validation"]["accuracy"]:
        assert push.proof == best.probe.hash
    card = files["README.md"].decode()
    assert push.proof in card
    assert "license: mit" in card
    auto_map = json.loads(files["config.json"])["auto_map"]
    assert set(auto_map) == {
        "AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification",
    }  # fmt: skip
    private = str(results.parents[1])
    for name, content in files.items():
        assert private.encode() not in content, name
        assert b"hf_Planted" not in content, name
    told = json.loads(files["record.json"])["settings"]
    assert told["task"]["data_files"] == {"train": "…/train.jsonl"}
    # the lines of its card run as they stand, where hfbench is not
    for number, lines in enumerate(re.findall(r"```python\n(.*?)```", card, re.S)):
        (tmp_path / str(number)).mkdir()
        run = run_stranger(lines, [], tmp_path / str(number), seconds=300, token=TOKEN)
        assert run.returncode == 0, run.stderr[-2000:]
        assert ("'score': " in run.stdout) == ("pipeline" in lines)
    # its proof can be repeated, by whoever lets its code run
    with pytest.raises(UserError, match="brings code of its own: read it"):
        verify_push("ada/nano")
    assert verify_push("ada/nano", trust_remote_code=True) == (push.commit.oid, push.proof)


@pytest.mark.slow
def test_a_model_of_transformers_needs_no_code(results, tmp_path):
    staged = stage_model(results, "tuned", tmp_path / "staged", "ada/tuned", seed="1")
    assert set(staged.sizes) == {name for name in MODEL_FILES if not name.endswith(".py")}
    card = (tmp_path / "staged" / "README.md").read_text("utf-8")
    assert "`…/base`, fine-tuned" in card
    assert "trust_remote_code" not in card.split("recipe.yaml")[0]
    assert "base_model" not in card  # a folder of this machine is no repo
    assert "Seed 1: accuracy" in card


def _copy(results, tmp_path):
    shutil.copytree(results, tmp_path / "copy")
    return tmp_path / "copy"


def test_other_weights_than_those_of_the_record_are_refused(results, tmp_path):
    copy = _copy(results, tmp_path)
    path = copy / "models" / "tuned--seed0" / "model.safetensors"
    weights = load_file(path)
    weights["transformer.wte.weight"][-1, 0] += 1  # no text of the probe has this token
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match="is not published: its weights are not, bit for bit"):
        stage_model(copy, "tuned", tmp_path / "staged", "ada/tuned", seed="0")


def test_a_missing_code_file_or_a_planted_token_is_refused_before_anything(hub, results, tmp_path):
    copy = _copy(results, tmp_path)
    config = copy / "models" / "tuned--seed0" / "config.json"
    token = "hf_" + "SomebodysToken0123456789"
    config.write_text(config.read_text("utf-8").replace('"gpt2"', f'"gpt2", "note": "{token}"'))
    with pytest.raises(UserError, match=r"config.json: a Hugging Face token") as refusal:
        push_model(copy, "tuned", "ada/tuned", seed="0")
    assert token not in str(refusal.value)
    for seed in (0, 1):
        (copy / "models" / f"mine--seed{seed}" / "configuration_custom_gpt.py").unlink()
    with pytest.raises(UserError, match=r"configuration_custom_gpt.py: the model's code is not co"):
        push_model(copy, "mine", "ada/mine")
    assert not hub.repos


def test_code_that_is_not_hfbenchs_is_run_with_permission_only(results, tmp_path):
    copy, canary = _copy(results, tmp_path), tmp_path / "canary"
    with (copy / "models" / "mine--seed0" / "modeling_custom_gpt.py").open("a") as file:
        file.write(f"\nopen({str(canary)!r}, 'w').close()\n")
    with pytest.raises(UserError, match=r"not hfbench's \(modeling_\w+\.py\).* read it, then"):
        stage_model(copy, "mine", tmp_path / "staged", "ada/mine", seed="0")
    assert not canary.exists()
    with pytest.raises(UserError, match="the path"):  # the canary's is in the code
        stage_model(copy, "mine", tmp_path / "2", "ada/mine", seed="0", trust_remote_code=True)


def test_weights_that_were_not_kept_are_a_clear_error(tmp_path, write_record):
    write_record(tmp_path, "m", 0, [True] * 4)
    (tmp_path / "models").mkdir()
    with pytest.raises(UserError, match="the weights were not kept; run `hfbench compare RECIPE"):
        stage_model(tmp_path, "m", tmp_path / "staged", "ada/m")


@pytest.mark.slow
def test_what_the_hub_changes_is_marked_as_broken(hub, results, faults):
    # the bytes that arrive are not those that were sent: one is flipped on the way to the stranger
    fault = faults.Fault("GET", r"/resolve/.*model\.safetensors", "corrupt", times=9)
    hub.faults.append(fault)
    with pytest.raises(HubError, match=r"did not pass its proof: .*Its card says so now"):
        push_model(results, "tuned", "ada/tuned")
    assert "> **Broken.** After it was uploaded" in hub.files("ada/tuned")["README.md"].decode()
    fault.times = 0
    # pushed again it is whole
    push_model(results, "tuned", "ada/tuned")
    assert "Broken" not in hub.files("ada/tuned")["README.md"].decode()


@pytest.mark.slow
def test_a_model_that_somebody_changed_is_not_proven_any_more(hub, results):
    push_model(results, "tuned", "ada/tuned")
    config = json.loads(hub.files("ada/tuned")["config.json"])
    changed = json.dumps({**config, "layer_norm_epsilon": 0.1}).encode()
    first = hub.history("ada/tuned")[0].sha
    hub.commit("ada/tuned", {"config.json": changed})
    with pytest.raises(NotTheModelError, match="gives other logits"):
        verify_push("ada/tuned")
    assert verify_push("ada/tuned", first)[0] == first


@pytest.mark.parametrize(
    ("private", "gated", "licence", "message"),
    [
        (True, False, None, "the base model lab/base is private: publish it with --private"),
        (False, True, None, "the base model lab/base is gated: publish it with --private, or name"),
        (False, True, "mit", None),
        (False, False, None, None),
    ],
)
def test_a_closed_base_model_does_not_become_public_by_an_oversight(
    hub, tmp_path, write_record, private, gated, licence, message
):
    from hfbench.publish.push import _refuse_closed_base
    from hfbench.publish.repos import look_at

    hub.add_repo("lab/base", {"config.json": b"{}"}, private=private, gated=gated)
    record = write_record(tmp_path, "m", 0, [True] * 4)
    facts = record.model_facts.model_copy(update={"revision": "e" * 40})
    settings = {"models": [{"name": "m", "model_name_or_path": "lab/base"}]}
    record = record.model_copy(update={"settings": settings, "model_facts": facts})
    _refuse_closed_base(record, look_at("ada/m", "model", private=True), licence)
    public = look_at("ada/m", "model", private=False)
    if message is None:
        _refuse_closed_base(record, public, licence)
    else:
        with pytest.raises(UserError, match=message):
            _refuse_closed_base(record, public, licence)


@pytest.mark.slow
def test_a_pushed_model_is_compared_by_id_and_revision(hub, results, tmp_path, write_recipe):
    staged = stage_model(results, "mine", tmp_path / "staged", "ada/nano", seed="0")
    sha = hub.add_repo("ada/nano", {n: (staged.folder / n).read_bytes() for n in staged.sizes})
    entry = {"name": "again", "model_name_or_path": "ada/nano", "revision": sha}
    models = [{**entry, "trust_remote_code": True}, {"name": "floor", "control": "majority"}]
    recipe = load_recipe(write_recipe(models=models, seeds=[0]))
    outcome = compare(recipe, tmp_path / "results")
    record = next(r for r in outcome.ran if r.model == "again")
    assert record.status == "finished"
    assert record.model_facts.revision == sha
    # it starts from what it had learnt, not anew
    before = load_record(results / "records" / "mine--seed0.json").curves["train"]
    assert record.curves["train"][0]["loss"] < before[0]["loss"]


OPEN = """
import json, sys
from datasets import load_dataset
names = ("predictions", "runs")
found = {n: load_dataset("ada/results", n, split="results").to_list() for n in names}
json.dump(found, open(sys.argv[1], "w"))
"""


def test_pushed_results_open_and_rebuild_their_table(hub, results, tmp_path, faults):
    said = []
    data, space = push_results(results, "ada/results", space=True, say=said.append)
    files = hub.files("ada/results", "dataset")
    assert (data.commit.url, space.commit.url) == (
        f"{hub.endpoint}/datasets/ada/results", f"{hub.endpoint}/spaces/ada/results",
    )  # fmt: skip
    assert files["accuracy.csv"].decode() == as_csv(Findings.of(load_comparison(results))).replace(
        str(results.parents[1]) + "/", "…/"
    )
    page = hub.files("ada/results", "space")
    assert page["index.html"] == files["report.html"]
    for name, content in [*files.items(), *page.items()]:
        assert str(results.parents[1]).encode() not in content, name
        assert b"hf_Planted" not in content, name
    env = faults.client_env(hub, TOKEN, tmp_path / "home")
    out = tmp_path / "found.json"
    run = subprocess.run(
        [sys.executable, "-c", OPEN, str(out)], env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(out.read_text())
    assert len(found["predictions"]) == 5 * 24
    assert {(row["model"], row["seed"]) for row in found["runs"]} == {
        ("mine", 0), ("mine", 1), ("tuned", 0), ("tuned", 1), ("floor", None),
    }  # fmt: skip
    right = [r for r in found["predictions"] if (r["model"], r["seed"]) == ("mine", 0)]
    accuracy = sum(r["label"] == r["logits"].index(max(r["logits"])) for r in right) / len(right)
    (row,) = [r for r in found["runs"] if (r["model"], r["seed"]) == ("mine", 0)]
    assert accuracy == pytest.approx(row["accuracy"])
    assert "text" not in found["predictions"][0]


def test_the_table_of_results_on_the_hub_is_told_from_a_changed_one(hub, results, capsys):
    from rich.console import Console

    from hfbench.cli.publish import print_remote_table
    from hfbench.evidence.rows import MAIN

    push_results(results, "ada/results")
    print_remote_table("hf://datasets/ada/results", MAIN, Console())
    assert (
        "table.md, accuracy.csv, accuracy.tex there are those of its records, byte for byte."
        in (" ".join(capsys.readouterr().out.split()))
    )
    table = hub.files("ada/results", "dataset")["accuracy.csv"]
    first = hub.history("ada/results", "dataset")[0].sha
    hub.commit("ada/results", {"accuracy.csv": table.replace(b"0.", b"1.", 1)}, "dataset")
    with pytest.raises(HubError, match=r"accuracy.csv there are not those of its records"):
        print_remote_table("hf://datasets/ada/results", MAIN, Console())
    print_remote_table(f"hf://datasets/ada/results@{first}", MAIN, Console())
    for address, message in [
        ("hf://ada/results", "write it as hf://datasets/user/name"),
        ("hf://datasets/ada", "write it as user/name"),
        ("hf://datasets/ada/none", "not on"),
        ("hf://datasets/ada/results@nowhere", "no such revision"),
    ]:
        with pytest.raises(UserError, match=message):
            print_remote_table(address, MAIN, Console())
