"""A cell is known by content: renamed it is the same, changed in one bit or row it is another."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import hfbench
from hfbench.data.builtin.sentiment import splits
from hfbench.execution.identity import code_hashes
from hfbench.execution.inputs import Inputs
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.cells import plan_comparison, plan_pretraining
from hfbench.recipe.load import load_recipe
from hfbench.records.identity import differences

SMALL = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
CORPUS = [text + "." for text, _ in splits()["train"][:40]]


@pytest.fixture
def checkpoint(tmp_path, rows):
    """A language model in a folder."""
    folder = tmp_path / "gpt2"
    tokenizer = train_tokenizer([row["text"] for row in rows], 300)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=8, n_layer=1, n_head=2, n_positions=32)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def identities(write_recipe, checkpoint, tmp_path):
    """A function that gives what decides the cells of a recipe, by their names."""
    (tmp_path / "corpus.txt").write_text("\n".join(CORPUS), encoding="utf-8")
    pretrain = {"corpus": {"text_file": "corpus.txt", "cut": "rows"}}

    def identify(**changes):
        models = [
            {"name": "mine", **SMALL},
            {"name": "tuned", "model_name_or_path": str(checkpoint)},
            {"name": "pre", **SMALL, "pretrain": pretrain},
            {"name": "floor", "control": "majority"},
        ]
        recipe = load_recipe(write_recipe(**{"models": models, "seeds": [0], **changes}))
        cells = plan_pretraining(recipe) + plan_comparison(recipe)
        bench = Inputs(recipe, cells)
        return {cell.stem: bench.identity(cell) for cell in cells}

    return identify


def changed(before, after):
    """Cell -> the keys that differ."""
    return {
        name: [line.partition(":")[0] for line in differences(before[name], after[name])]
        for name in before
        if before[name] != after[name]
    }


def edit_rows(path, edit):
    lines = path.read_text().splitlines()
    path.write_text("\n".join(edit(lines)))


def test_the_same_is_the_same_and_json_keeps_it(identities):
    found = identities()
    assert found == identities()
    assert json.loads(json.dumps(found)) == found


def test_one_row_of_the_data_is_noticed_by_every_cell_of_the_task(identities, tmp_path):
    before = identities()
    edit_rows(tmp_path / "train.jsonl", lambda lines: [lines[0].replace(" indeed", ""), *lines[1:]])
    found = changed(before, identities())
    assert found.keys() == before.keys() - {"pretrain--pre"}
    for keys in found.values():
        assert [key for key in keys if key.startswith("task.")] in (["task.train"],
                                                                   ["task.validation"])  # fmt: skip


def test_one_bit_of_the_weights_is_noticed(identities, checkpoint):
    before = identities()
    path = checkpoint / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert changed(before, identities()) == {"tuned--seed0": ["model.weights"]}


def test_the_tokenizer_of_a_checkpoint_is_part_of_it(identities, checkpoint):
    before = identities()
    path = checkpoint / "tokenizer.json"
    values = json.loads(path.read_text())
    del values["model"]["merges"][-1]
    path.write_text(json.dumps(values))
    assert changed(before, identities()) == {"tuned--seed0": ["tokenizer"]}


def test_one_sentence_of_the_corpus_is_noticed_by_the_pretraining_and_what_starts_from_it(
    identities, tmp_path
):
    before = identities()
    edit_rows(tmp_path / "corpus.txt", lambda lines: ["Another.", *lines[1:]])
    assert changed(before, identities()) == {
        "pretrain--pre": ["corpus.train"],
        "pre--seed0": ["pretraining.corpus.train"],
    }


def test_an_argument_is_noticed_by_the_models_that_have_it(identities):
    before = identities()
    arguments = {"per_device_train_batch_size": 16, "num_train_epochs": 2, "learning_rate": 1e-3}
    found = changed(before, identities(training_arguments=arguments))
    key = ["training.arguments.learning_rate"]
    assert found == {"mine--seed0": key, "tuned--seed0": key, "pre--seed0": key}


def test_seeds_sizes_and_the_selection_differ(identities):
    before = identities()
    two = identities(seeds=[0, 1])
    assert changed({"x": two["mine--seed0"]}, {"x": two["mine--seed1"]}) == {"x": ["seed"]}
    sizes = identities(train_sizes=[10, 20])
    ten, twenty = sizes["mine--n10--seed0"], sizes["mine--n20--seed0"]
    assert changed({"x": ten}, {"x": twenty}) == {"x": ["task.train"]}
    # a subset of all is the split
    assert identities(train_sizes=[72])["mine--n72--seed0"] == before["mine--seed0"]


def test_names_of_recipe_models_files_and_folders_are_no_part(identities, checkpoint, tmp_path):
    before = identities()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(checkpoint, elsewhere / "moved")
    shutil.move(tmp_path / "corpus.txt", elsewhere / "book.txt")
    pretrain = {"corpus": {"text_file": "elsewhere/book.txt", "cut": "rows"}}
    shutil.copy(tmp_path / "train.jsonl", elsewhere / "data.jsonl")
    after = identities(
        name="another",
        task={"data_files": {"train": "elsewhere/data.jsonl"},
              "validation_size": 24},
        models=[
            {"name": "yours", **SMALL},
            {"name": "moved", "model_name_or_path": str(elsewhere / "moved")},
            {"name": "later", **SMALL, "pretrain": pretrain},
            {"name": "least", "control": "majority"},
        ],
    )  # fmt: skip
    assert [*after.values()] == [*before.values()]


def test_code_and_libraries_are_those_that_the_cell_uses(identities, monkeypatch):
    before = identities()
    assert before["floor"]["libraries"].keys() == {"numpy", "scikit-learn", "scipy"}
    assert {"torch", "transformers"} <= before["mine--seed0"]["libraries"].keys()
    monkeypatch.setattr(
        "hfbench.execution.identity._version", lambda name: "9" if name == "torch" else "1"
    )
    after = identities()
    assert "libraries.torch" in changed(before, after)["mine--seed0"]
    assert "libraries.torch" not in changed(before, after)["floor"]


# Modules that are loaded with a cell and have no part in its numbers, or make what is hashed.
LOOK_ON = {
    "atomic", "calibration", "comparison", "contradictions", "determinism", "digest",
    "environment", "errors", "experiment", "fairness", "findings", "finished", "flops",
    "fork_server", "identity", "interruption", "jobs", "limits", "locks", "markdown", "plan",
    "predictions", "probe", "progress", "quiet", "ray_engine", "recipe", "recipe_arguments",
    "recipe_types", "record", "redaction", "source_fields", "stats", "stranger", "table",
    "workbench", "workers", "models/sizes",
}  # fmt: skip
MAKE_WHAT_IS_HASHED = {
    "data/arrow_file", "data/contamination", "data/corpus", "data/hub", "data/pets",
    "data/sentiment", "data/subset", "data/task", "data/texts",
}  # fmt: skip


def test_every_module_that_a_cell_loads_is_hashed_or_known_to_have_no_part():
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, hfbench.execution.compare, hfbench.metrics.evaluate_metric\n"
         "print([m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'hfbench'])"],
        env=os.environ, capture_output=True, text=True, check=True,
    )  # fmt: skip
    package = Path(hfbench.__file__).parent
    paths = json.loads(loaded.stdout.replace("'", '"'))
    names = {Path(path).relative_to(package).as_posix() for path in paths}
    others = {name.removesuffix(".py") for name in names - code_hashes().keys()}
    others = {n for n in others if not n.startswith(("check/", "publish/", "_"))}
    assert {n for n in others if not n.endswith("__init__")} == LOOK_ON | MAKE_WHAT_IS_HASHED
