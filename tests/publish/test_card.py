"""What a card says: true of the records, read by the Hub as YAML, fit for each kind of model."""

import json
import re
from dataclasses import replace
from inspect import signature

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData, parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results
from sklearn.metrics import f1_score, matthews_corrcoef

from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.stats import wilson_interval
from hfbench.publish.bundle import Choice
from hfbench.publish.card import (
    eval_results_yaml,
    mark_broken,
    render_model_card,
    render_results_card,
    render_space_card,
)
from hfbench.publish.published_run import PublishedRun
from hfbench.recipe.load import load_recipe
from hfbench.records.schema import Probe, Tokens

TASK = {"dataset_name": "d/s", "dataset_config": "c", "validation_size": 40, "train_split": "train"}
PROBE = Probe(weights="d" * 64, texts=["a", "b"], max_length=8, logits=[[0.5, 1.0], [2.0, -1.0]])
ARGUMENTS = {
    "learning_rate": 5e-4, "optim": "adamw_torch_fused", "lr_scheduler_type": "constant",
    "adam_beta1": 0.9, "adam_beta2": 0.95, "weight_decay": 0.1, "max_grad_norm": 1.0,
}  # fmt: skip
PRESET = {"name": "mine", "preset": "gpt-nano"}


def run_of(folder, write_record, entry=PRESET, right=(34, 36), task=TASK, **changes):
    """The run of seed 1 of a model that answers ``right`` of 40 examples, beside a bad one."""
    settings = {"models": [entry], "task": task}
    for seed, n in enumerate(right):
        # which examples are wrong depends on the seed
        correct = np.roll(np.arange(40) < n, 7 * seed)
        record = write_record(
            folder, entry["name"], seed, correct, settings=settings, probe=PROBE,
            training={"arguments": ARGUMENTS},
        )  # fmt: skip
    write_record(folder, "floor", None, np.arange(40) % 2 == 1, control=True)
    comparison = load_comparison(folder)
    model = next(m for m in comparison.models if m.name == entry["name"])
    facts = record.model_facts.model_copy(update={"revision": "e" * 40})
    record = model.finished[-1].model_copy(update={"model_facts": facts})
    choice = Choice(record, "of 2 seeds it has the highest accuracy on the validation examples")
    return replace(
        PublishedRun(Findings.of(comparison), model, choice, "u/n", "mit", "preset" in entry),
        **changes,
    )


@pytest.fixture
def run(tmp_path, write_record):
    return run_of(tmp_path, write_record)


def test_its_figures_are_those_of_the_record(run):
    card = render_model_card(run)
    low, high = wilson_interval(36 / 40, 40, 1.959964)
    expected = "accuracy 90.0 % (36 of 40 validation examples, held out of the train split; 95 % "
    assert f"Seed 1: {expected}interval {100 * low:.1f}-{100 * high:.1f})" in card
    assert "mean of 2 seeds 87.5 %" in card
    assert "the seed was chosen on these examples, so that its own figure is too high" in card
    assert PROBE.hash in card
    assert "mine is number 1 of 2" in card


def test_the_hub_reads_its_metadata(run):
    card = ModelCard(render_model_card(run))
    fields = {*signature(ModelCardData).parameters, "model-index"}
    assert set(yaml.safe_load(card.data.to_yaml())) <= fields
    assert card.data.to_dict()["license"] == "mit"
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.datasets == ["d/s"]
    results = {r.metric_name: r for r in card.data.eval_results}
    own, mean = results["accuracy"], results["accuracy, mean of 2 seeds"]
    assert (own.metric_value, own.metric_args["n"], own.metric_args["seed"]) == (0.9, 40, 1)
    assert own.metric_args["ci95"] == [
        pytest.approx(bound, abs=1e-4) for bound in wilson_interval(0.9, 40, 1.959964)
    ]
    assert (mean.metric_value, mean.metric_args["seeds"]) == (0.875, [0, 1])
    assert mean.metric_args["ci95"][0] < 0.875 < mean.metric_args["ci95"][1]
    # the legacy index and back
    _, again = model_index_to_eval_results(yaml.safe_load(card.data.to_yaml())["model-index"])
    assert {r.metric_name for r in again} == set(results)


def test_the_newer_entry_carries_the_uncertainty_and_no_benchmarks_name(run):
    (entry,) = parse_eval_result_entries(yaml.safe_load(eval_results_yaml(run)))
    assert (entry.dataset_id, entry.value) == ("d/s", 0.9)
    assert entry.task_id == "c-r"  # the recipe's examples, not the benchmark's
    assert "36 of 40" in entry.notes
    assert "95 % interval" in entry.notes
    assert "2 seeds" in entry.notes


def test_a_published_split_is_the_benchmark_and_other_data_has_no_entry(tmp_path, write_record):
    task = {"dataset_name": "d/s", "validation_split": "validation", "train_split": "train"}
    whole = run_of(tmp_path / "a", write_record, task=task)
    (entry,) = parse_eval_result_entries(yaml.safe_load(eval_results_yaml(whole)))
    assert entry.task_id == "default"
    assert "held out" not in entry.notes
    local = run_of(tmp_path / "b", write_record, task={"builtin": "sentiment"})
    local_task = {"data_files": {"train": "x.csv"}, "validation_size": 4, "train_split": "train"}
    local = run_of(tmp_path / "c", write_record, task=local_task)
    assert eval_results_yaml(local) is None
    assert "datasets:" not in render_model_card(local).split("---")[1]


@pytest.mark.parametrize(
    ("entry", "says", "base"),
    [
        (PRESET, "custom GPT; 12,345 parameters), trained from scratch", None),
        ({**PRESET, "pretrain": {}}, "pretrained on other text, then fine-tuned", None),
        ({"name": "m", "model_type": "gpt2"}, "the architecture gpt2; 12,345 parameters)", None),
        ({"name": "m", "model_name_or_path": "a/b"}, "`a/b`, fine-tuned (12,345", "a/b"),
        (
            {"name": "m", "model_name_or_path": "a/b", "random_init": True},
            "nothing of that checkpoint's weights is in it", None,
        ),
        (
            {"name": "m", "model_name_or_path": "a/b", "lora": {"r": 8}},
            "`a/b` fine-tuned with LoRA (rank 8); the adapters are merged", "a/b",
        ),
    ],
)  # fmt: skip
def test_it_says_what_kind_of_model_it_is(tmp_path, write_record, entry, says, base):
    card = render_model_card(run_of(tmp_path, write_record, entry))
    assert says in card
    data = ModelCard(card).data
    assert data.base_model == base
    assert ("huggingface.co/a/b" in card) == (base is not None)
    assert ("trust_remote_code=True" in card) == ("preset" in entry)
    assert "None" not in re.sub(r"None was named", "", card)


def test_it_says_that_it_is_no_better_than_chance(tmp_path, write_record):
    card = render_model_card(run_of(tmp_path, write_record, right=(20, 21)))
    assert "> It is not shown to be better than guessing (50.0 %)" in card
    assert '> It is not shown to be better than always answering "y".' in card
    good = render_model_card(run_of(tmp_path / "good", write_record, right=(38, 37)))
    assert "[!WARNING]" not in good


def test_data_cannot_write_markup_into_it(tmp_path, write_record):
    run = run_of(tmp_path, write_record)
    task = run.task.model_copy(update={"labels": ["<script>x</script>", "y"]})
    record = run.record.model_copy(update={"task": task})
    card = render_model_card(replace(run, choice=Choice(record, "why not")))
    assert "<script>" not in card
    assert "&lt;script&gt;" in card


def test_the_recipe_in_it_is_one(run, tmp_path):
    entry = {"name": "mine", "preset": "gpt-nano", "tokenizer": {"name_or_path": "a/b"}}
    record = run.record.model_copy(
        update={"settings": {"models": [entry], "task": TASK, "seeds": [1], "selection": "last"}}
    )
    card = render_model_card(replace(run, choice=Choice(record, "it was asked for")))
    text = re.search(r"```yaml\n(.*?)```", card, re.S).group(1)
    (tmp_path / "recipe.yaml").write_text(text)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    assert (recipe.name, recipe.seeds, recipe.models[0].preset) == ("r", [1], "gpt-nano")


def test_its_python_is_python(run):
    blocks = re.findall(r"```python\n(.*?)```", render_model_card(run), re.S)
    assert len(blocks) == 2
    for block in blocks:
        compile(block, "card", "exec")


def test_a_broken_model_says_so_first(run):
    card = mark_broken(render_model_card(run), "other logits")
    assert ModelCard(card).data.license == "mit"
    body = card.split("\n---\n", 1)[1]
    assert body.lstrip().startswith("> [!CAUTION]\n> **Broken.**")
    assert "other logits" in body.split("# n")[0]


def test_a_results_card_names_what_load_dataset_opens(run):
    card = render_results_card(run.findings, "u/r", None)
    data = yaml.safe_load(card.split("---")[1])
    assert [config["config_name"] for config in data["configs"]] == ["predictions", "runs"]
    assert "license" not in data
    assert "| mine | 87.50 |" in card
    assert 'load_dataset("u/r", "predictions", split="results")' in card


def test_a_space_shows_one_page(run):
    data = yaml.safe_load(render_space_card("u/r").split("---")[1])
    assert (data["sdk"], data["app_file"]) == ("static", "index.html")


@pytest.mark.parametrize(
    ("task", "kept"), [(TASK, "the beginning"), ({**TASK, "truncation": "tail"}, "the end")]
)
def test_it_says_how_many_texts_were_cut_and_what_is_left_of_them(
    tmp_path, write_record, task, kept
):
    run = run_of(tmp_path, write_record, task=task)
    assert "texts cut" not in render_model_card(run)
    counts = {"train": Tokens(total=60, truncated_examples=4, cut=40)}
    training = run.training.model_copy(update={"tokens": counts})
    record = run.record.model_copy(update={"training": training})
    card = render_model_card(replace(run, choice=replace(run.choice, record=record)))
    assert (
        "4 of 40 train texts cut at 8 tokens, 40.0 % of all tokens cut off; of every longer text "
        f"it has read {kept} only."
    ) in card


def test_its_figures_are_those_of_the_tasks_measures(tmp_path, write_record):
    asked = [{"metric": "f1:y", "metrics": ["mcc"]}]
    (tmp_path / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    run = run_of(tmp_path, write_record)
    labels, answers = run.model.labels, run.model.predicted[1]
    f1, mcc = f1_score(labels, answers), matthews_corrcoef(labels, answers)
    data = ModelCard(render_model_card(run)).data
    results = {r.metric_name: r for r in data.eval_results}
    own, mean = results["F1 of y"], results["F1 of y, mean of 2 seeds"]
    assert (own.metric_type, own.metric_value) == ("f1", pytest.approx(f1, abs=1e-6))
    assert own.metric_args["ci95"][0] < f1 < own.metric_args["ci95"][1]
    assert (mean.metric_type, mean.metric_args["seeds"]) == ("f1", [0, 1])
    assert results["MCC"].metric_type == "matthews_correlation"
    assert results["MCC"].metric_value == pytest.approx(mcc, abs=1e-6)
    assert results["accuracy"].metric_value == 0.9
    assert data.metrics[0] == "f1"
    (entry,) = parse_eval_result_entries(yaml.safe_load(eval_results_yaml(run)))
    assert entry.value == pytest.approx(f1)
    assert f"Seed 1: F1 of y {f1:.3f} (40 validation examples" in entry.notes
    assert "`table.md`, `f1_y.csv`, `f1_y.tex`" in render_results_card(run.findings, "u/r", None)
