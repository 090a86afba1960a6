"""One broken model costs its own row: it is named before the first cell, and the others run."""

import json
import sys

import pytest
from rich.console import Console

from hfbench.cli import app as cli
from hfbench.errors import UserError
from hfbench.execution.compare import compare
from hfbench.recipe.load import load_recipe
from hfbench.records.store import load_records

GOOD = {"name": "good", "preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
UNBUILDABLE = {"name": "odd", "model_type": "gpt2", "config": {"n_embd": 10, "n_head": 3}}
BLIND = {  # it is built, and then reads no text
    "name": "blind",
    "model_type": "gptj",
    "config": {"n_embd": 16, "n_layer": 1, "n_head": 2, "rotary_dim": 64},
}
# BigBird's attention of blocks, DeBERTa's own products, and no embedding with rows of words
UNUSUAL = {
    "canine": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
               "intermediate_size": 16, "max_position_embeddings": 64, "num_hash_buckets": 16},
    "perceiver": {"num_latents": 4, "d_latents": 16, "d_model": 16, "num_self_attention_heads": 2,
                  "num_cross_attention_heads": 2, "num_self_attends_per_block": 1,
                  "max_position_embeddings": 64},
    "ibert": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
              "intermediate_size": 16, "max_position_embeddings": 66},
    "xlnet": {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 16},
    "bart": {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16,
             "encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_ffn_dim": 16},
}  # fmt: skip
BROKEN_IN_TRAINING = """
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class OwnConfig(PreTrainedConfig):
    model_type = "breaks"
    vocab_size: int = 300
    pad_token_id: int | None = None


class OwnForSequenceClassification(PreTrainedModel):
    config: OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, 8)
        self.score = nn.Linear(8, config.num_labels)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, attention_mask=None, labels=None, **kwargs):
        if self.training:
            raise ArithmeticError("hf_abcdefghijklmnopqrstuvwxyz is no number")
        return SequenceClassifierOutput(logits=self.score(self.embed(input_ids).mean(1)))
"""


def run(path, results, **options):
    return compare(load_recipe(path), results, console=Console(quiet=True), **options)


def test_models_that_cannot_run_are_named_at_once_and_the_others_run(
    write_recipe, tmp_path, monkeypatch, capsys
):
    path = write_recipe(models=[UNBUILDABLE, GOOD, BLIND], seeds=[0, 1])
    results = tmp_path / "results"
    arguments = ["compare", str(path), "--results-dir", str(results), "--jobs", "1"]
    monkeypatch.setattr(sys, "argv", ["hfbench", *arguments])
    with pytest.raises(SystemExit) as leave:
        cli.main()
    said = " ".join(capsys.readouterr().out.split())
    assert leave.value.code == 1
    named, _, ran = said.partition("[1/2]")
    assert "2 models cannot run, the others do: models.odd.config: GPT2Config (gpt2) canno" in named
    assert "models.blind: GPTJForSequenceClassification (gptj) cannot read a text of 8" in named
    assert "2 cells ran, 0 were finished before, 4 FAILED" in ran
    table = (results / "tiny" / "README.md").read_text()
    assert "| odd [1] |" in table or "| odd [2] |" in table
    assert "no run finished: seeds 0 and 1 failed (UserError: models.odd.config" in table
    records = load_records(results / "tiny")
    assert {r.model for r in records if r.status == "finished"} == {"good"}


def test_where_no_model_can_run_it_is_the_recipe_that_is_refused(write_recipe, tmp_path):
    models = [UNBUILDABLE, BLIND, {"name": "floor", "control": "majority"}]
    with pytest.raises(UserError, match=r"models\.odd\.config(.|\n)*models\.blind: "):
        run(write_recipe(models=models), tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_with_fail_fast_nothing_runs_beside_a_model_that_cannot(write_recipe, tmp_path):
    with pytest.raises(UserError, match=r"models\.odd\.config"):
        run(write_recipe(models=[GOOD, UNBUILDABLE]), tmp_path / "results", fail_fast=True)
    assert not (tmp_path / "results").exists()


def test_a_result_outlives_a_model_that_cannot_be_had_any_more(write_recipe, tmp_path, monkeypatch):
    path = write_recipe(models=[GOOD, {**GOOD, "name": "other"}], seeds=[0])
    run(path, tmp_path / "results")
    before = (tmp_path / "results" / "tiny" / "records" / "other--seed0.json").read_bytes()
    gone = {"name": "other", "model_name_or_path": str(tmp_path / "gone")}
    outcome = run(write_recipe(models=[GOOD, gone], seeds=[0]), tmp_path / "results")
    assert [record.model for record in outcome.failed] == ["other"]
    assert outcome.kept == 1
    after = (tmp_path / "results" / "tiny" / "records" / "other--seed0.json").read_bytes()
    assert before == after


@pytest.mark.parametrize("model_type", UNUSUAL)
def test_no_bookkeeping_fails_an_unusual_model(model_type, write_recipe, tmp_path):
    model = {"name": "m", "model_type": model_type, "config": UNUSUAL[model_type]}
    path = write_recipe(models=[model], seeds=[0], save_models=True)
    (record,) = run(path, tmp_path / "results").ran
    assert record.status == "finished"
    assert record.probe is not None
    # all was recorded, or why not
    assert (record.training.flops is None) == ("flops" in record.not_recorded)


def test_what_cannot_be_counted_is_null_with_its_reason_in_the_table(
    write_recipe, tmp_path, monkeypatch
):
    def fail(*_):
        raise AssertionError("nobody can count\nthis")

    monkeypatch.setattr("hfbench.execution.kinds.train.count_flops", fail)
    monkeypatch.setattr("hfbench.execution.kinds.train.count_parameters", fail)
    monkeypatch.setattr("hfbench.execution.kinds.classification.probe_model", fail)
    path = write_recipe(models=[GOOD], seeds=[0], save_models=True)
    (record,) = run(path, tmp_path / "results").ran
    assert (record.training.flops, record.model_facts.parameters, record.probe) == (None,) * 3
    reason = "AssertionError: nobody can count this"
    assert record.not_recorded == dict.fromkeys(["flops", "parameters", "probe"], reason)
    from hfbench.evidence.comparison import load_comparison
    from hfbench.evidence.findings import Findings

    findings = Findings.of(load_comparison(tmp_path / "results" / "tiny"))
    assert f"Not recorded of good: flops ({reason})." in findings.cost


def test_a_failed_record_says_where_without_a_path_or_a_secret(write_recipe, tmp_path, monkeypatch):
    (tmp_path / "breaks_in_training.py").write_text(BROKEN_IN_TRAINING)
    monkeypatch.setattr(sys, "path", [*sys.path])
    own = {"name": "own", "model": "breaks_in_training:OwnConfig", "unfair": True}
    try:
        outcome = run(write_recipe(models=[own, GOOD], seeds=[0]), tmp_path / "results")
    finally:
        sys.modules.pop("breaks_in_training", None)
    (record,) = outcome.failed
    failure = record.failure
    line = BROKEN_IN_TRAINING.splitlines().index(
        '            raise ArithmeticError("hf_abcdefghijklmnopqrstuvwxyz is no number")'
    )
    assert (failure.module, failure.line) == ("breaks_in_training", line + 1)
    assert failure.frames[-1] == f"breaks_in_training:{line + 1} forward"
    assert len(failure.frames) > 2
    text = (tmp_path / "results" / "tiny" / "records" / "own--seed0.json").read_text()
    assert json.loads(text)["failure"]["message"] == "[redacted] is no number"
    assert str(tmp_path) not in json.dumps(json.loads(text)["failure"])


def test_an_encoder_is_not_pretrained_as_a_language_model(write_recipe, tmp_path):
    pretrain = {"corpus": {"builtin": "pets", "first": 40}, "training_arguments": {"max_steps": 1}}
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 16, "max_position_embeddings": 64}  # fmt: skip
    encoder = {"name": "encoder", "model_type": "bert", "config": sizes, "pretrain": pretrain}
    models = [encoder, {**GOOD, "pretrain": pretrain}]
    path = write_recipe(models=models, seeds=[0])
    outcome = run(path, tmp_path / "results")
    assert [record.stem for record in outcome.failed] == ["pretrain--encoder", "encoder--seed0"]
    assert "models.encoder.pretrain: bert is no causal" in outcome.failed[0].failure.message
    path = write_recipe(models=[{**encoder, "unfair": True}], seeds=[0])
    assert [r.status for r in run(path, tmp_path / "results").ran] == ["finished"] * 2


def test_a_cell_whose_configuration_has_an_infinite_limit_is_known_again(write_recipe, tmp_path):
    sizes = {"hidden_size": 8, "num_heads": 2, "head_dim": 8, "n_groups": 1, "state_size": 4,
             "num_hidden_layers": 1}  # fmt: skip
    pretrain = {"corpus": {"builtin": "pets", "first": 40}, "training_arguments": {"max_steps": 1}}
    model = {"name": "m", "model_type": "mamba2", "config": sizes, "pretrain": pretrain}
    path = write_recipe(models=[model], seeds=[0])
    (record,) = run(path, tmp_path / "results", only_pretraining=True).ran
    assert record.model_facts.config["time_step_limit"] == [0.0, "inf"]
    assert run(path, tmp_path / "results", only_pretraining=True).ran == []
