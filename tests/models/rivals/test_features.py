"""Frozen features: those of each text alone, pooled as a formula says."""

import json

import numpy as np
import pytest
import torch

from hfbench.errors import UserError
from hfbench.models.rivals.features import choose_poolings, compute_features, load_body
from hfbench.models.rivals.pooling import WAYS, Pooling, own_pooling
from tests.models.rivals.networks import TEXTS, prepare, save_bert, save_gpt2

POOLINGS = [Pooling((way,)) for way in WAYS]


@pytest.mark.parametrize("save", [save_gpt2, save_bert])
def test_features_of_a_batch_are_those_of_each_text_alone(save, tmp_path):
    prepared = prepare(save(tmp_path), probe="linear")
    model, tokenizer = load_body(prepared, None), prepared.tokenizer
    found = compute_features(model, tokenizer(TEXTS), POOLINGS, tokenizer.pad_token_id).rows
    for row, text in enumerate(TEXTS):
        with torch.no_grad():
            states = model(**tokenizer([text], return_tensors="pt")).last_hidden_state[0].numpy()
        weights = np.arange(1, len(states) + 1)
        expected = {
            "cls": states[0],
            "last": states[-1],
            "max": states.max(0),
            "mean": states.mean(0),
            "mean_sqrt_len": states.sum(0) / np.sqrt(len(states)),
            "weightedmean": weights @ states / weights.sum(),
        }
        for name, values in expected.items():
            assert found[name][row] == pytest.approx(values, abs=2e-5), (name, text)


def test_a_text_without_a_token_has_zeros_and_the_others_are_as_before(tmp_path):
    prepared = prepare(save_gpt2(tmp_path), probe="linear")
    model, tokenizer = load_body(prepared, None), prepared.tokenizer
    texts = [TEXTS[0], "", TEXTS[1]]
    found = compute_features(model, tokenizer(texts), [Pooling(("mean",))], 0).rows["mean"]
    alone = compute_features(model, tokenizer(TEXTS[:2]), [Pooling(("mean",))], 0).rows["mean"]
    assert not found[1].any()
    assert found[[0, 2]] == pytest.approx(alone, abs=1e-5)


def write(folder, pooling, modules=("Transformer", "Pooling", "Normalize")):
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    paths = {"Transformer": "", "Pooling": "1_Pooling"}
    listed = [
        {"idx": n, "path": paths.get(kind, f"{n}_{kind}"), "type": f"sentence_transformers.{kind}"}
        for n, kind in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(listed))


def test_a_sentence_transformers_checkpoint_is_pooled_and_normalised_as_it_says(tmp_path):
    prepared = prepare(save_bert(tmp_path), probe="linear")
    assert choose_poolings(prepared, None) == ([Pooling(("mean",))], "default")
    modes = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}
    write(tmp_path, modes)
    (pooling,), chosen_by = choose_poolings(prepared, None)
    assert (set(pooling.ways), pooling.normalises, chosen_by) == (
        {"cls", "mean"},
        True,
        "checkpoint",
    )
    states = torch.randn(2, 3, 4)
    rows = pooling(states, torch.tensor([3, 2]))
    assert rows.norm(dim=1).tolist() == pytest.approx([1, 1])
    halves = torch.cat([states[:, 0], torch.stack([states[0].mean(0), states[1, :2].mean(0)])], 1)
    assert torch.allclose(rows, halves / halves.norm(dim=1, keepdim=True), atol=1e-6)


def test_what_a_recipe_says_comes_before_what_a_checkpoint_says(tmp_path):
    write(save_bert(tmp_path), {"pooling_mode": "lasttoken"}, ("Transformer", "Pooling", "Dense"))
    own = own_pooling(str(tmp_path), None, "k")
    assert own == Pooling(("last",), normalises=False, left_out=("Dense",))
    prepared = prepare(tmp_path, probe="linear")
    assert choose_poolings(prepared, "cls") == ([Pooling(("cls",))], "recipe")
    tried, chosen_by = choose_poolings(prepared, "best")
    assert [pooling.name for pooling in tried] == ["mean", "cls", "last"]
    assert chosen_by == "validation"


@pytest.mark.parametrize(
    ("pooling", "modules", "message"),
    [
        ({"pooling_mode": "magic"}, None, "give probe.pooling, one of mean, cls, last"),
        ([1], None, "give probe.pooling"),
        ({}, '{"a": 1}', "modules.json of .* is no list of modules"),
        ({}, "{", "modules.json of .* is no JSON"),
        ({}, '[{"path": "../../etc", "type": "x.Pooling"}]', "which is no file of its own"),
    ],
)
def test_files_that_say_what_cannot_be_followed_are_refused(tmp_path, pooling, modules, message):
    write(tmp_path, pooling)
    if modules:
        (tmp_path / "modules.json").write_text(modules)
    with pytest.raises(UserError, match=message):
        own_pooling(str(tmp_path), None, "models.m.model_name_or_path")


def test_a_checkpoint_that_lacks_a_part_of_its_body_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    weights = load_file(save_bert(tmp_path) / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"has no encoder.layer.1.output.dense.weight, nor 0 other"):
        load_body(prepare(tmp_path, probe="linear"), None)
