"""A cell is known by content: renamed it is the same, changed in one bit or row it is another."""

import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import GPT2Config, GPT2LMHeadModel

import hfbench
from hfbench.data.builtin.sentiment import splits
from hfbench.execution.compare import compare
from hfbench.execution.identity import VERSIONS, identify
from hfbench.execution.inputs import Inputs
from hfbench.models.controls import CONTROLS
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.arguments import OBSERVING_ARGUMENTS, OWNED_ARGUMENTS
from hfbench.recipe.cells import plan_comparison, plan_pretraining
from hfbench.recipe.fields import training_arguments_fields
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
def plan(write_recipe, checkpoint, tmp_path):
    """A function that gives the cells of a recipe, and what they share."""
    (tmp_path / "corpus.txt").write_text("\n".join(CORPUS), encoding="utf-8")
    pretrain = {"corpus": {"text_file": "corpus.txt", "cut": "rows"}}

    def plan_cells(**changes):
        models = [
            {"name": "mine", **SMALL},
            {"name": "tuned", "model_name_or_path": str(checkpoint)},
            {"name": "pre", **SMALL, "pretrain": pretrain},
            {"name": "floor", "control": "majority"},
            {"name": "words", "control": "tfidf-logreg"},
        ]
        recipe = load_recipe(write_recipe(**{"models": models, "seeds": [0], **changes}))
        cells = plan_pretraining(recipe) + plan_comparison(recipe)
        return cells, Inputs(recipe, cells)

    return plan_cells


@pytest.fixture
def identities(plan):
    """A function that gives what decides the cells of a recipe, by their names."""

    def identify_cells(**changes):
        cells, inputs = plan(**changes)
        return {cell.stem: identify(cell, inputs) for cell in cells}

    return identify_cells


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


def test_how_texts_are_cut_is_noticed_by_every_classifier(identities):
    before = identities()
    task = {"data_files": {"train": "train.jsonl"}, "validation_size": 0.25}
    assert changed(before, identities(task={**task, "truncation": "head"})) == {}
    for truncation in ("tail", "head_tail"):
        after = identities(task={**task, "truncation": truncation})
        classifiers = ("mine--seed0", "tuned--seed0", "pre--seed0")
        assert changed(before, after) == {name: ["training.truncation"] for name in classifiers}


def test_a_tokenizer_that_would_cut_the_beginning_is_noticed(identities, checkpoint):
    before = identities()
    config = checkpoint / "tokenizer_config.json"
    values = json.loads(config.read_text()) | {"truncation_side": "left"}
    config.write_text(json.dumps(values))
    found = changed(before, identities())
    assert found == {"tuned--seed0": ["tokenizer", "training.truncation"]}


def test_names_of_data_are_no_part_of_what_they_are(identities):
    task = {"data_files": {"train": "train.jsonl"}, "validation_size": 0.25}
    assert changed(identities(), identities(task={**task, "title": "Films"})) == {}


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
            {"name": "terms", "control": "tfidf-logreg"},
        ],
    )  # fmt: skip
    assert [*after.values()] == [*before.values()]


def test_libraries_are_those_that_the_cell_uses(identities, monkeypatch):
    before = identities()
    assert before["floor"]["libraries"].keys() == {"numpy", "scikit-learn", "scipy"}
    assert {"torch", "transformers"} <= before["mine--seed0"]["libraries"].keys()
    monkeypatch.setattr(
        "hfbench.execution.identity._version", lambda name: "9" if name == "torch" else "1"
    )
    after = identities()
    assert "libraries.torch" in changed(before, after)["mine--seed0"]
    assert "libraries.torch" not in changed(before, after)["floor"]


CUSTOM_GPTS = {"mine--seed0", "pre--seed0", "pretrain--pre"}
NETWORKS = {*CUSTOM_GPTS, "tuned--seed0"}
ABOUT = {
    "data": NETWORKS,
    "metrics": {*NETWORKS, "floor", "words"},
    "models": NETWORKS,
    "models.custom_gpt": CUSTOM_GPTS,
    "training": NETWORKS,
}


def test_the_cells_of_every_concept_are_known():
    assert VERSIONS.keys() == {*ABOUT, *UNTRAINED, "models.lora"}


UNTRAINED = {"probe": "probe", "prompt": "prompt", "estimator": "estimator", "data.answers": "file"}


@pytest.mark.parametrize(("concept", "model"), UNTRAINED.items())
def test_a_raised_version_is_noticed_by_rows_that_are_not_trained(
    identities, monkeypatch, checkpoint, tmp_path, rows, concept, model
):
    source = {"model_name_or_path": str(checkpoint)}
    answers = [json.dumps({"text": r["text"], "prediction": r["label"]}) for r in rows]
    (tmp_path / "answers.jsonl").write_text("\n".join(sorted({*answers})))
    words = {"no": " bad", "yes": " good"}
    models = [
        {"name": "probe", **source, "probe": "linear"},
        {"name": "prompt", **source, "prompt": {"template": "{text} is", "labels": words}},
        {"name": "estimator", "estimator": "golden.estimator:make"},
        {"name": "file", "predictions": "answers.jsonl"},
    ]
    before = identities(models=models)
    monkeypatch.setitem(VERSIONS, concept, VERSIONS[concept] + 1)
    assert changed(before, identities(models=models)) == {model: [f"code.{concept}"]}


@pytest.mark.parametrize("concept", ABOUT)
def test_a_raised_version_is_noticed_by_the_cells_that_it_is_about(
    identities, monkeypatch, concept
):
    before = identities()
    monkeypatch.setitem(VERSIONS, concept, VERSIONS[concept] + 1)
    assert changed(before, identities()) == {stem: [f"code.{concept}"] for stem in ABOUT[concept]}


@pytest.mark.parametrize(("name", "stem"), [("majority", "floor"), ("tfidf-logreg", "words")])
def test_a_raised_version_of_a_control_is_noticed_by_its_cells(identities, monkeypatch, name, stem):
    before = identities()
    monkeypatch.setattr(CONTROLS[name], "version", CONTROLS[name].version + 1)
    assert changed(before, identities()) == {stem: [f"code.control.{name}"]}


@pytest.mark.skipif(find_spec("peft") is None, reason="PEFT is not installed")
def test_a_raised_version_of_adapters_is_noticed_by_cells_that_have_them(
    identities, monkeypatch, checkpoint
):
    source = {"model_name_or_path": str(checkpoint)}
    lora = {"r": 2, "target_modules": ["c_attn"]}
    models = [{"name": "tuned", **source}, {"name": "adapted", **source, "lora": lora}]
    before = identities(models=models)
    monkeypatch.setitem(VERSIONS, "models.lora", 9)
    found = changed(before, identities(models=models))
    assert found == {"adapted--seed0": ["code.models.lora"]}


@pytest.mark.slow
def test_a_changed_comment_in_any_file_is_no_part(identities, tmp_path):
    before = identities()
    package = tmp_path / "copy" / "hfbench"
    shutil.copytree(Path(hfbench.__file__).parent, package)
    for path in package.rglob("*.py"):
        path.write_text(path.read_text("utf-8") + "\n# a comment\n", "utf-8")
    code = """
import json, sys, hfbench
from pathlib import Path
from hfbench.execution.identity import identify
from hfbench.execution.inputs import Inputs
from hfbench.recipe.cells import plan_comparison, plan_pretraining
from hfbench.recipe.load import load_recipe
assert "# a comment" in Path(hfbench.__file__).read_text()
recipe = load_recipe(Path(sys.argv[1]))
cells = plan_pretraining(recipe) + plan_comparison(recipe)
inputs = Inputs(recipe, cells)
print(json.dumps({cell.stem: identify(cell, inputs) for cell in cells}))
"""
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "tiny.yaml")],
        cwd=package.parent, env={**os.environ, "PYTHONPATH": str(package.parent)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(run.stdout.splitlines()[-1]) == before


def with_argument(cell, name, value):
    """The cell with a training argument, of whatever name and value."""
    arguments = {**cell.model.training_arguments, name: value}
    return replace(cell, model=cell.model.model_copy(update={"training_arguments": arguments}))


def test_arguments_that_observe_are_no_part_and_all_others_are(plan):
    cells, inputs = plan()
    cell = next(cell for cell in cells if cell.stem == "mine--seed0")
    before = identify(cell, inputs)
    names = {*training_arguments_fields(), "of_a_newer_transformers"}
    assert OBSERVING_ARGUMENTS.keys() <= names
    assert not OBSERVING_ARGUMENTS.keys() & OWNED_ARGUMENTS.keys()
    for name in names - OWNED_ARGUMENTS.keys():
        found = differences(before, identify(with_argument(cell, name, "another"), inputs))
        is_noticed = bool(found)
        assert is_noticed is (name not in OBSERVING_ARGUMENTS), name
        assert all(line.startswith(f"training.arguments.{name}: ") for line in found)


def test_arguments_of_a_pretraining_that_observe_are_no_part(identities):
    corpus = {"corpus": {"text_file": "corpus.txt", "cut": "rows"}}

    def pretrained(**arguments):
        pretrain = {**corpus, "training_arguments": {"max_steps": 2, **arguments}}
        return identities(models=[{"name": "pre", **SMALL, "pretrain": pretrain}])

    before = pretrained()
    assert pretrained(logging_steps=1, save_strategy="epoch") == before
    assert changed(before, pretrained(learning_rate=0.1)) == {
        "pretrain--pre": ["training.arguments.learning_rate"],
        "pre--seed0": ["pretraining.training.arguments.learning_rate"],
    }


@pytest.fixture
def train(write_recipe, tmp_path):
    """A function that trains with dropout; the hashes of the weights and of the identity."""

    def weights(number, **arguments):
        arguments = {"per_device_train_batch_size": 16, "num_train_epochs": 2, **arguments}
        models = [{"name": "mine", **SMALL}]
        path = write_recipe(models=models, seeds=[0], training_arguments=arguments)
        console = Console(file=io.StringIO())
        (record,) = compare(load_recipe(path), tmp_path / str(number), console=console).ran
        return record.model_facts.final_weights, record.cell_id

    return weights


OBSERVERS = [
    {
        **{"logging_strategy": "steps", "logging_steps": 1, "logging_first_step": True},
        **{"per_device_eval_batch_size": 5, "eval_accumulation_steps": 1},
        **{"report_to": "none", "run_name": "another", "log_level": "error"},
        **{"include_num_input_tokens_seen": "all", "skip_memory_metrics": False},
    },
    {
        **{"dataloader_num_workers": 2, "dataloader_prefetch_factor": 3},
        **{"save_strategy": "steps", "save_steps": 2, "save_total_limit": 1},
    },
]


def test_arguments_that_observe_leave_the_weights_to_the_bit(train):
    assert {name for given in OBSERVERS for name in given} <= OBSERVING_ARGUMENTS.keys()
    before = train("before")
    assert {train(number, **given) for number, given in enumerate(OBSERVERS)} == {before}


@pytest.mark.parametrize(
    "given",
    [
        {"eval_strategy": "no"},
        {"eval_on_start": True},
        pytest.param(
            {"dataloader_num_workers": 1, "dataloader_persistent_workers": True},
            marks=pytest.mark.slow,  # these workers take seconds to end
        ),
    ],
)
def test_what_looks_as_if_it_observed_and_does_not_gives_other_weights(train, given):
    before, after = train("before"), train("after", **given)
    assert before[0] != after[0]
    assert before[1] != after[1]
