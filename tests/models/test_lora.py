import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from rich.console import Console
from safetensors.torch import load_file
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from hfbench.errors import UserError
from hfbench.evidence.fairness import unlike
from hfbench.execution.compare import compare
from hfbench.models.facts import count_parameters
from hfbench.models.load import load_causal_lm, load_classifier
from hfbench.models.lora import merge_adapters
from hfbench.models.prepare import check_lora, prepare_model
from hfbench.models.tokenizer import train_tokenizer
from hfbench.recipe.cells import plan_comparison, plan_pretraining
from hfbench.recipe.load import load_recipe
from hfbench.recipe.model import Lora, Model
from hfbench.recipe.schema import Recipe
from hfbench.records.predictions import load_predictions
from hfbench.records.store import load_records
from hfbench.training.seeds import derive_streams

ROOT = Path(__file__).parents[2]
WIDTH, LAYERS, RANK = 8, 2, 3
LORA = {"r": RANK, "lora_alpha": 6, "target_modules": ["c_attn"]}
SMALL = {
    "vocab_size": 300, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 16, "max_position_embeddings": 32,
}  # fmt: skip
TOKENIZER = {"train_on": "task", "vocab_size": 300}
ADAPTED = {f"transformer.h.{layer}.attn.c_attn.weight" for layer in range(LAYERS)}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, rows):
    """A GPT-2 folder as on the Hub: no pad token."""
    folder = tmp_path_factory.mktemp("gpt2")
    tokenizer = train_tokenizer([row["text"] for row in rows], 300)
    tokenizer.pad_token = None
    torch.manual_seed(5)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=WIDTH, n_layer=LAYERS, n_head=2, n_positions=32
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, rows, checkpoint):
    """A row that trains adapters beside one that trains all weights."""
    folder = tmp_path_factory.mktemp("recipe")
    for split, part in {"train": rows[:72], "test": rows[72:]}.items():
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, part)), encoding="utf-8")
    source = {"model_name_or_path": str(checkpoint)}
    values = {
        "name": "tiny",
        "task": {
            "data_files": {"train": "train.jsonl", "test": "test.jsonl"},
            "validation_size": 0.25,
            "test_split": "test",
        },
        "models": [
            {"name": "lora", **source, "lora": {**LORA, "lora_dropout": 0.1}},
            {"name": "full", **source},
        ],
        "seeds": [0, 1],
        "selection": "best_loss",
        "optimizer": "study",
        "save_models": True,
        "training_arguments": {
            "per_device_train_batch_size": 16,
            "num_train_epochs": 2,
            "learning_rate": 0.02,
        },
    }
    return Recipe.from_values(values, folder)


def run(recipe, results):
    return compare(recipe, results, console=Console(file=io.StringIO()))


@pytest.fixture(scope="module")
def finished(recipe, tmp_path_factory):
    pytest.importorskip("peft")
    return run(recipe, tmp_path_factory.mktemp("results")).folder


@pytest.fixture
def record(finished):
    records = {record.stem: record for record in load_records(finished)}
    assert records["lora--seed0"].status == "finished"
    return records["lora--seed0"]


def entry(**values):
    return Model.model_validate({"name": "m", **values})


def prepare(**values):
    return prepare_model(entry(**values), lambda source: ["the cat sat on the mat"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"control": "majority", "lora": {}}, "lora has no meaning for the control 'majority'"),
        ({"preset": "gpt-nano", "lora": {}}, "lora needs weights to start from"),
        ({"model_type": "gpt2", "lora": {}}, "lora needs weights to start from"),
        (
            {"model_name_or_path": "x", "random_init": True, "lora": {}},
            "lora needs weights to start from",
        ),
        ({"model_name_or_path": "x", "lora": {"r": 0}}, "greater than 0"),
        ({"model_name_or_path": "x", "lora": {"lora_dropout": 1}}, "less than 1"),
        ({"model_name_or_path": "x", "lora": {"target_modules": []}}, "at least 1 item"),
        ({"model_name_or_path": "x", "lora": {"target_modules": "c_attn"}}, "valid list"),
        ({"model_name_or_path": "x", "lora": {"rank": 4}}, "Extra inputs"),
    ],
)
def test_a_mistaken_lora_is_named(values, message):
    with pytest.raises(ValidationError) as error:
        entry(**values)
    assert message in str(error.value)


def test_lora_goes_with_a_checkpoint_and_with_what_is_pretrained_here():
    assert entry(model_name_or_path="x", lora={}).lora == Lora(r=8, lora_alpha=16)
    pretrain = {"corpus": {"builtin": "pets"}}
    assert entry(preset="gpt-nano", pretrain=pretrain, lora={"r": 2}).lora.r == 2
    assert entry(model_name_or_path="x", random_init=True, pretrain=pretrain, lora={}).lora


def test_settings_without_lora_are_those_of_committed_records():
    recipe = load_recipe(ROOT / "recipes" / "quickstart.yaml")
    cells = plan_pretraining(recipe) + plan_comparison(recipe)
    records = load_records(ROOT / "results" / "quickstart")
    settings = {cell.stem: cell.settings for cell in cells}
    for record in records:  # a key of later may stand there with its default
        now, then = (
            Recipe.from_values({"name": "r", **values}, Path())
            for values in (settings.pop(record.stem), record.settings)
        )
        assert now == then
    assert settings == {}


def test_only_adapted_weights_and_the_head_differ_from_the_checkpoint(finished, record, checkpoint):
    before = load_file(checkpoint / "model.safetensors")
    after = load_file(finished / "models" / record.stem / "model.safetensors")
    old = before["transformer.wte.weight"]
    # a row more: the checkpoint brought no pad token
    after["transformer.wte.weight"] = after["transformer.wte.weight"][: len(old)]
    changed = {name for name in before.keys() & after.keys() if not before[name].equal(after[name])}
    assert changed == ADAPTED
    assert set(after) - set(before) == {"score.weight"}
    prepared = prepare(model_name_or_path=str(checkpoint))
    start = load_classifier(prepared, ["no", "yes"], derive_streams(record.seed).init)
    assert not torch.allclose(after["score.weight"], start.score.weight, atol=1e-3)


def test_what_was_added_to_a_weight_has_the_rank_of_the_adapter(finished, record, checkpoint):
    before = load_file(checkpoint / "model.safetensors")
    after = load_file(finished / "models" / record.stem / "model.safetensors")
    for name in ADAPTED:
        assert torch.linalg.matrix_rank(after[name] - before[name], atol=1e-5) == RANK


def test_a_kept_model_is_an_ordinary_one_with_the_logits_of_its_probe(
    finished, record, monkeypatch
):
    folder = finished / "models" / record.stem
    assert {path.name for path in folder.iterdir()} == {
        path.name for path in (finished / "models" / "full--seed0").iterdir()
    }
    monkeypatch.setitem(sys.modules, "peft", None)  # importing it fails
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["architectures"] == [
        "GPT2ForSequenceClassification"
    ]
    for text, expected in zip(record.probe.texts, record.probe.logits, strict=True):
        inputs = tokenizer(
            text, truncation=True, max_length=record.probe.max_length, return_tensors="pt"
        )
        with torch.no_grad():
            assert model(**inputs).logits[0].tolist() == expected


def test_predictions_are_those_of_the_kept_model(finished, record, recipe, rows):
    folder = finished / "models" / record.stem
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    texts = [row["text"] for row in rows[72:]]
    inputs = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).logits.numpy()
    predicted = load_predictions(record, finished, "test")["logits"]
    np.testing.assert_allclose(predicted, expected, atol=1e-6)


def test_facts_tell_how_many_parameters_were_trained_and_how_many_there_are(finished, record):
    adapters = LAYERS * (RANK * WIDTH + 3 * WIDTH * RANK)  # A and B of the matrix for q, k and v
    assert record.model_facts.trainable_parameters == adapters + 2 * WIDTH  # the head: two labels
    others = {other.stem: other for other in load_records(finished)}
    full = others["full--seed0"]
    assert full.model_facts.trainable_parameters is None
    assert record.model_facts.parameters == full.model_facts.parameters
    assert record.model_facts.config == full.model_facts.config
    assert record.model_facts.class_name == full.model_facts.class_name
    # no gradients of frozen weights, and none at all below the first adapter
    assert record.training.flops < full.training.flops
    told = unlike([record, full, others["full--seed1"]])
    assert told["lora"] == ["trained parameters LoRA's and the head's, not all"]


def test_a_run_is_decided_by_its_seed(finished, recipe, tmp_path):
    only = recipe.model_copy(update={"models": recipe.models[:1], "seeds": [0]})
    again = run(only, tmp_path).folder
    file = Path("lora--seed0") / "model.safetensors"
    first, second = load_file(finished / "models" / file), load_file(again / "models" / file)
    other = load_file(finished / "models" / "lora--seed1" / "model.safetensors")
    for name in ADAPTED:
        assert first[name].equal(second[name])
        assert not first[name].equal(other[name])


def test_adapters_add_nothing_at_first_and_are_drawn_from_the_seed(checkpoint):
    pytest.importorskip("peft")
    prepared = prepare(model_name_or_path=str(checkpoint))
    plain = load_classifier(prepared, ["no", "yes"], 0).eval()
    adapted = [
        load_classifier(prepared, ["no", "yes"], seed, lora=Lora(**LORA)).eval()
        for seed in (0, 0, 1)
    ]
    inputs = prepared.tokenizer("the cat", return_tensors="pt")
    assert adapted[0](**inputs).logits.equal(plain(**inputs).logits)
    assert adapted[0].accepts_loss_kwargs is False
    first, same, other = (dict(model.named_parameters()) for model in adapted)
    drawn = [name for name in first if "lora_A" in name]
    assert len(drawn) == LAYERS
    for name in drawn:
        assert first[name].equal(same[name])
        assert not first[name].equal(other[name])


def test_merging_leaves_the_custom_gpt_as_it_was_but_for_the_sum(tmp_path):
    pytest.importorskip("peft")
    prepared = prepare(
        preset="gpt-nano",
        tokenizer=TOKENIZER,
        config={"n_layer": 2, "n_positions": 32},
    )
    load_causal_lm(prepared, 0).save_pretrained(tmp_path)
    lora = Lora(r=2, lora_alpha=6, target_modules=["c_attn", "mlp.c_proj"])
    model = load_classifier(prepared, ["x", "y", "z"], 0, tmp_path, lora).eval()
    plain = load_classifier(prepared, ["x", "y", "z"], 0, tmp_path)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    layer = model.transformer.h[1].mlp.c_proj
    product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    summed = layer.base_layer.weight + 6 / 2 * product
    inputs = prepared.tokenizer("the cat sat", return_tensors="pt")
    adapted = model(**inputs).logits
    assert not torch.allclose(adapted, plain.eval()(**inputs).logits, atol=1e-2)
    # attention's input and the second matrix of the MLP, of 2 layers; the head has a bias
    width = 48
    by_hand = 2 * (2 * width + 2 * 3 * width + 2 * 4 * width + 2 * width) + 3 * (width + 1)
    assert merge_adapters(model) == by_hand
    assert type(model) is type(plain)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert count_parameters(model) == count_parameters(plain)
    torch.testing.assert_close(model.transformer.h[1].mlp.c_proj.weight, summed)
    torch.testing.assert_close(model(**inputs).logits, adapted, atol=1e-5, rtol=1e-5)


def test_what_the_checkpoint_did_not_bring_is_trained_too(tmp_path):
    """A pooler with random weights that nobody trains would spoil the row in silence."""
    pytest.importorskip("peft")
    BertForMaskedLM(BertConfig(**SMALL)).save_pretrained(tmp_path)
    prepared = prepare(model_name_or_path=str(tmp_path), tokenizer=TOKENIZER)
    model = load_classifier(prepared, ["x", "y"], 0, lora=Lora())
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    whole = {name for name in trained if "lora_" not in name}
    layers = ("bert.pooler.dense", "classifier")
    assert whole == {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}


def test_a_head_is_trained_as_a_whole_also_where_a_layer_of_it_has_an_adapted_layers_name(tmp_path):
    pytest.importorskip("peft")
    RobertaForMaskedLM(RobertaConfig(**SMALL)).save_pretrained(tmp_path)
    prepared = prepare(model_name_or_path=str(tmp_path), tokenizer=TOKENIZER)
    model = load_classifier(prepared, ["x", "y"], 0, lora=Lora(target_modules=["dense"]))
    head = dict(model.classifier.named_parameters())
    assert set(head) == {"dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias"}
    assert all(weight.requires_grad for weight in head.values())
    trained = {name for name, weight in model.roberta.named_parameters() if weight.requires_grad}
    assert trained
    assert all("dense.lora_" in name for name in trained)


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ({}, "PEFT has no default for custom_gpt; name some of its linear layers: c_attn, c_proj"),
        ({"target_modules": ["c_atn"]}, "no linear layer 'c_atn' but in its head; did you mean"),
        ({"target_modules": ["wte"]}, "no linear layer 'wte'"),
        ({"target_modules": ["score"]}, "no linear layer 'score'"),
    ],
)
def test_layers_that_the_model_lacks_are_named(lora, message):
    pytest.importorskip("peft")
    prepared = prepare(preset="gpt-nano", tokenizer=TOKENIZER)
    with pytest.raises(UserError) as error:
        check_lora(prepared, Lora(**lora))
    assert str(error.value).startswith("models.m.lora.target_modules: ")
    assert message in str(error.value)


def test_by_default_the_layers_are_those_that_peft_chooses(checkpoint):
    pytest.importorskip("peft")
    prepared = prepare(model_name_or_path=str(checkpoint))
    model = load_classifier(prepared, ["x", "y"], 0, lora=Lora(lora_dropout=0.25))
    rates = [m.p for name, m in model.named_modules() if name.endswith("lora_dropout.default")]
    assert rates == [0.25] * LAYERS
    adapted = {name.split(".lora_")[0] for name, _ in model.named_parameters() if "lora_" in name}
    assert adapted == {name.removesuffix(".weight") for name in ADAPTED}


def test_without_peft_its_row_alone_cannot_run_and_the_extra_is_named(
    recipe, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "peft", None)
    outcome = run(recipe, tmp_path)
    assert {record.model for record in outcome.failed} == {"lora"}
    assert "models.lora.lora needs peft: pip install 'hfbench[" in outcome.failed[0].failure.message
    assert {record.model for record in outcome.ran if record.status == "finished"} == {"full"}
