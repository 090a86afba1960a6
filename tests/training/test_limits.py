"""A cell that asks too much of the machine: of its memory, of its time; and what the others do."""

import io
import re

import pytest
import torch
from rich.console import Console

from hfbench.execution.compare import compare
from hfbench.models.custom_gpt.modeling_custom_gpt import CustomGPTModel
from hfbench.recipe.load import load_recipe
from hfbench.records.predictions import load_predictions
from hfbench.training.limits import in_parts

SMALL = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
STILL = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
PLAIN = {"name": "mine", "preset": "gpt-nano", "config": {**SMALL["config"], **STILL}}
PRETRAIN = {
    "corpus": {"builtin": "pets"},
    "training_arguments": {"max_steps": 5, "per_device_train_batch_size": 12},
}


def run(path, results, *overrides, **options):
    console = Console(file=io.StringIO())
    outcome = compare(load_recipe(path, list(overrides)), results, console=console, **options)
    return outcome, console.file.getvalue()


@pytest.fixture
def small_memory(monkeypatch):
    """Let no more than so many rows be passed at a time, by a GPU's error or a CPU's."""

    def bound(rows, on_cpu=False):
        forward = CustomGPTModel.forward

        def bounded(self, input_ids, *args, **kwargs):
            # a single row is passed before, to ask what lengths the model takes
            if len(input_ids) > max(rows, not self.training):
                if on_cpu:
                    torch.empty(10**15)
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
            return forward(self, input_ids, *args, **kwargs)

        monkeypatch.setattr(CustomGPTModel, "forward", bounded)

    return bound


def test_where_memory_runs_out_the_batch_is_passed_in_parts_and_the_result_is_the_same(
    write_recipe, tmp_path, small_memory
):
    models = [{**PLAIN, "pretrain": PRETRAIN}]
    path = write_recipe(models=models, seeds=[0])
    whole, _ = run(path, tmp_path / "whole")
    small_memory(5)
    parted, said = run(path, tmp_path / "parted")
    assert [record.status for record in parted.ran] == ["finished"] * 2
    assert "pretrain--mine: out of memory: once more with 6 of 12 examples at a time\n" in said
    assert "pretrain--mine: out of memory: once more with 3 of 12 examples at a time\n" in said
    assert "mine--seed0: out of memory: once more with 4 of 16 examples at a time\n" in said
    for one, two, parts, rows in zip(whole.ran, parted.ran, (4, 4), (3, 4), strict=True):
        assert (one.training.batch_parts, two.training.batch_parts) == (1, parts)
        assert two.training.arguments["per_device_train_batch_size"] == rows
        assert two.training.arguments["gradient_accumulation_steps"] == parts
        assert two.training.batch == one.training.batch
        assert two.training.steps == one.training.steps
        assert two.cell_id == one.cell_id
        loss, same = (record.metrics["validation"] for record in (one, two))
        assert same == pytest.approx(loss, rel=1e-4)
    logits = [load_predictions(o.ran[1], o.folder, "validation")["logits"] for o in (whole, parted)]
    assert logits[0] == pytest.approx(logits[1], abs=1e-4)


def test_memory_of_the_cpu_runs_out_as_well(write_recipe, tmp_path, small_memory):
    small_memory(5, on_cpu=True)
    once = {"per_device_train_batch_size": 16, "max_steps": 1}
    outcome, said = run(write_recipe(models=[PLAIN], seeds=[0], training_arguments=once), tmp_path)
    assert "mine--seed0: out of memory: once more with 4 of 16 examples at a time\n" in said
    assert outcome.ran[0].training.batch_parts == 4


def test_where_memory_does_not_hold_one_row_the_cell_fails_and_the_others_run(
    write_recipe, tmp_path, small_memory
):
    small_memory(0)
    gpt2 = {
        "name": "other",
        "model_type": "gpt2",
        "config": {"n_layer": 1, "n_embd": 8, "n_head": 2},
    }
    outcome, _ = run(write_recipe(models=[PLAIN, gpt2], seeds=[0]), tmp_path)
    assert [record.status for record in outcome.ran] == ["failed", "finished"]
    assert outcome.failed[0].failure.type == "OutOfMemoryError"


def test_the_parts_are_divisors_each_at_least_twice_the_one_before():
    tried = []

    def train(parts):
        tried.append(parts)
        raise MemoryError

    with pytest.raises(MemoryError):
        in_parts(12, train, lambda message: None)
    assert tried == [1, 2, 4, 12]


def test_another_error_is_no_lack_of_memory():
    def train(parts):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes"):
        in_parts(16, train, pytest.fail)


@pytest.mark.parametrize("kind", ["classification", "pretraining"])
def test_a_cell_that_takes_too_long_fails_with_its_step_and_the_others_run(
    write_recipe, tmp_path, kind
):
    endless = {"max_steps": 1_000_000, "eval_strategy": "no", "logging_steps": 1000}
    long = {"name": "long", **SMALL}
    if kind == "pretraining":
        long["pretrain"] = {**PRETRAIN, "training_arguments": endless}
    else:
        long["training_arguments"] = endless
    floor = {"name": "floor", "control": "majority"}
    path = write_recipe(models=[long, floor], seeds=[0], max_cell_seconds=1)
    outcome, _ = run(path, tmp_path)
    failed = outcome.failed[0]
    assert failed.kind == kind
    assert failed.failure.type == "TimeLimitError"
    assert failed.failure.message == "took longer than max_cell_seconds: 1"
    assert failed.failure.step > 1
    assert 1 < failed.cell_seconds < 10
    assert outcome.ran[-1].stem == "floor"
    assert outcome.ran[-1].status == "finished"


def test_a_time_limit_is_no_part_of_a_result(write_recipe, tmp_path):
    run(write_recipe(seeds=[0]), tmp_path / "results")
    outcome, _ = run(write_recipe(seeds=[0], max_cell_seconds=0.001), tmp_path / "results")
    assert outcome.ran == []


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_fail_fast_leaves_the_rest(write_recipe, tmp_path, jobs, capsys, monkeypatch):
    hot = {"name": "hot", **SMALL, "training_arguments": {"learning_rate": 1e30}}
    # each another cell: of the same content one would be adopted for all
    others = [
        {"name": f"other-{n}", **SMALL, "training_arguments": {"learning_rate": (n + 1) * 1e-4}}
        for n in range(4)
    ]
    path = write_recipe(models=[hot, *others], seeds=[0])
    outcome, _ = run(path, tmp_path, fail_fast=True, jobs=jobs)
    assert [record.stem for record in outcome.failed] == ["hot--seed0"]
    assert outcome.not_run >= 2
    assert len(outcome.ran) + outcome.not_run == 5
    monkeypatch.setattr(
        "sys.argv", ["hfbench", "compare", str(path), "--results-dir", str(tmp_path)]
    )
    from hfbench.cli.app import main

    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 1
    last = capsys.readouterr().out.splitlines()[-1]
    counts = re.fullmatch(r"(\d) cells? ran, (\d) (?:was|were) finished before, 1 FAILED\.", last)
    ran, before = map(int, counts.groups())
    # a worker may have come to the end of its cell before it was ended
    assert ran + before == 4
    assert ran >= 1
