"""What cannot be written ends in one line and exit code 1, whichever verb would have written it."""

import os
import shutil
import subprocess
import sys
import tempfile

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from hfbench.models.tokenizer import train_tokenizer

FLOOR = {"name": "floor", "control": "majority"}
FULL = "/dev/full"


@pytest.fixture(scope="module")
def made(write_record, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "tiny"
    for seed in (0, 1):
        write_record(folder, "right", seed, [True, True, True, False])
        write_record(folder, "wrong", seed, [False, True, False, False])
    return folder


@pytest.fixture
def results(made, tmp_path):
    """A copy, in which things may stand in the way."""
    return shutil.copytree(made, tmp_path / "tiny")


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = train_tokenizer(["the dog and a cat"] * 3, 270)
    ids = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": None}
    config = GPT2Config(**ids, n_layer=1, n_head=1, n_embd=8, n_positions=16)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def refused(ended, path, reason):
    """Whether all that a verb said is one line, which names the path and the reason."""
    code, _, error = ended
    lines = error.splitlines()
    assert (code, len(lines)) == (1, 1), ended
    assert lines[0].startswith("error: ")
    assert "cannot be written" in lines[0]
    assert str(path) in lines[0]
    return reason in lines[0]


@pytest.mark.parametrize("place", ["", "tiny", "tiny/records", "tiny/locks"])
def test_a_comparison_where_a_file_is_in_the_place_of_a_folder(place, write_recipe, tmp_path, call):
    recipe, results = write_recipe(models=[FLOOR]), tmp_path / "results"
    (results / place).parent.mkdir(parents=True, exist_ok=True)
    (results / place).write_text("a file")
    ended = call("compare", recipe, "--results-dir", results, "--jobs", 1)
    assert refused(ended, results / place, "File exists") or "Not a directory" in ended[2]
    (results / place).unlink()
    assert call("compare", recipe, "--results-dir", results)[0] == 0


def test_a_comparison_whose_table_cannot_be_written(write_recipe, tmp_path, call):
    arguments = ["compare", write_recipe(models=[FLOOR]), "--results-dir", tmp_path / "results"]
    in_the_way = tmp_path / "results" / "tiny" / "README.md"
    in_the_way.mkdir(parents=True)
    assert refused(call(*arguments), in_the_way, "Is a directory")
    in_the_way.rmdir()
    assert "1 was finished before" in call(*arguments)[1]


def test_a_comparison_whose_weights_cannot_be_written(write_recipe, tmp_path, call):
    results = tmp_path / "results"
    arguments = ["compare", write_recipe(save_models=True), "--results-dir", results, "--jobs", 1]
    (results / "tiny").mkdir(parents=True)
    (results / "tiny" / "models").write_text("a file")
    ended = call(*arguments)
    assert refused(ended, results / "tiny" / "models" / "mine--seed0", "Not a directory")


def test_a_pretraining_in_a_file(write_recipe, tmp_path, call):
    model = {"name": "mine", "preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
    pretrain = {"corpus": {"builtin": "pets", "first": 200}}
    recipe = write_recipe(models=[{**model, "pretrain": pretrain}])
    (tmp_path / "results").write_text("a file")
    ended = call("pretrain", recipe, "--results-dir", tmp_path / "results")
    assert refused(ended, tmp_path / "results", "Not a directory")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write it")
def test_a_comparison_in_a_folder_that_is_read_only(write_recipe, tmp_path, call):
    (tmp_path / "results").mkdir(mode=0o500)
    recipe = write_recipe(models=[FLOOR])
    ended = call("compare", recipe, "--results-dir", tmp_path / "results")
    assert refused(ended, tmp_path / "results", "Permission denied")


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        ("table", "README.md"), ("table", "accuracy.csv"), ("table", "accuracy.tex"),
        ("report --plots", "report.html"), ("report --plots", "plots/accuracy.svg"),
    ],
)  # fmt: skip
def test_what_is_made_from_records_where_a_folder_has_its_name(verb, name, results, call):
    (results / name).mkdir(parents=True)
    assert refused(call(*verb.split(), results), results / name, "Is a directory")


def test_figures_where_a_file_has_the_folders_name(results, call):
    (results / "plots").write_text("a file")
    assert refused(call("report", results, "--plots"), results / "plots", "File exists")


@pytest.mark.parametrize(
    ("verb", "place"),
    [
        (["push", "right", "--repo-id", "ada/m"], "push/ada--m"),
        (["push", "--repo-id", "ada/m"], "push/datasets--ada--m"),
    ],
)
def test_what_is_to_be_published(verb, place, results, call):
    (results / "push").write_text("a file")
    name, *rest = verb
    assert refused(call(name, results, *rest, "--dry-run"), results / place, "Not a directory")


def test_generations(language_model, tmp_path, call):
    arguments = ["generate", language_model, "--prompt", "the", "--max-new-tokens", "2", "--output"]
    (tmp_path / "out").write_text("a file")
    assert refused(call(*arguments, tmp_path / "out"), tmp_path / "out", "File exists")
    (tmp_path / "folder" / "generation.csv").mkdir(parents=True)
    ended = call(*arguments, tmp_path / "folder")
    assert refused(ended, tmp_path / "folder" / "generation.csv", "Is a directory")


def test_a_conversion(language_model, tmp_path, call):
    (tmp_path / "out").write_text("a file")
    ended = call("convert", language_model, tmp_path / "out" / "model")
    assert refused(ended, tmp_path / "out" / "model", "Not a directory")


def test_a_verification_without_a_place_for_temporary_files(results, tmp_path, monkeypatch, call):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    code, _, error = call("verify", results)
    assert (code, len(error.splitlines())) == (1, 1)
    assert str(tmp_path / "nowhere") in error


@pytest.mark.skipif(not os.path.exists(FULL), reason=f"there is no {FULL} here")  # noqa: PTH110
def test_a_full_disk_below_standard_output():
    with open(FULL, "w") as full:  # noqa: PTH123
        command = [sys.executable, "-m", "hfbench", "list"]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=100)
    assert run.returncode == 1
    assert run.stderr == "error: [Errno 28] No space left on device\n"


def test_what_cannot_be_read_is_a_users_mistake(tmp_path, call):
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "records").write_text("a file")
    for verb in ("table", "report", "verify"):
        for name in ("nowhere", "file", "folder"):
            code, _, error = call(verb, tmp_path / name)
            assert (code, len(error.splitlines())) == (2, 1)
            assert f"{tmp_path / name}: no records here" in error
