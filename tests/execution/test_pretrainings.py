"""Several pretrainings of a model, run: each run has its own, and what there is runs once."""

import io
from functools import partial
from types import SimpleNamespace

from rich.console import Console

from hfbench.cli.app import app
from hfbench.evidence.comparison import load_comparison
from hfbench.execution import schedule
from hfbench.execution.compare import compare
from hfbench.recipe.cells import plan_comparison, plan_pretraining
from hfbench.recipe.load import load_recipe
from hfbench.records.record_file import load_record

SMALL = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
PRETRAIN = {
    "corpus": {"builtin": "pets"},
    "training_arguments": {"max_steps": 2, "per_device_train_batch_size": 8},
}


def test_each_run_starts_from_its_pretraining_and_one_that_is_there_is_taken(
    write_recipe, tmp_path, capsys
):
    results = tmp_path / "results"

    def run(runs, **which):
        path = write_recipe(
            models=[{"name": "pre", **SMALL, "pretrain": {**PRETRAIN, **which}}], seeds=runs
        )
        console = Console(file=io.StringIO(), width=200)
        return compare(load_recipe(path), results, console=console)

    stems = partial(map, lambda record: record.stem)
    first = run([0], seed=4)
    assert [*stems(first.ran)] == ["pretrain--pre", "pre--seed0"]
    outcome = run([0, 1, 2], seeds=[4, 5])
    # the first run stands; its pretraining is that of the third, and is found by its content
    assert sorted(stems(outcome.ran)) == ["pre--seed1", "pre--seed2", "pretrain--pre--seed5"]
    assert run([0, 1, 2], seeds=[4, 5]).ran == []
    records = outcome.folder / "records"
    started = [
        load_record(records / f"pre--seed{seed}.json").identity["pretraining"]["seed"]
        for seed in (0, 1, 2)
    ]
    assert started == [4, 5, 4]
    adopted = load_record(records / "pretrain--pre--seed4.json")
    assert adopted.adopted_from == "tiny/pretrain--pre"
    assert adopted.seed == 4
    (model,) = load_comparison(outcome.folder).finished
    assert model.judged.pretrainings == 2
    verify = ["verify", str(outcome.folder), "--relative-to", str(tmp_path)]
    app([*verify, "--cells", "pre--seed1"], standalone_mode=False)
    assert "pre--seed1: bit-identical" in capsys.readouterr().out


def test_a_failed_pretraining_ends_its_own_runs_alone(write_recipe, tmp_path, monkeypatch):
    from hfbench.execution.kinds import pretraining

    train = pretraining._train

    def fail(cell, *arguments):
        if cell.pretraining_seed == 1:
            raise ValueError("out of luck")
        return train(cell, *arguments)

    monkeypatch.setattr(pretraining, "_train", fail)
    path = write_recipe(
        models=[{"name": "pre", **SMALL, "pretrain": {**PRETRAIN, "seeds": [0, 1]}}], seeds=[0, 1]
    )
    console = Console(file=io.StringIO(), width=200)
    outcome = compare(load_recipe(path), tmp_path / "results", console=console)
    found = {record.stem: record.status for record in outcome.ran}
    assert found == {
        "pretrain--pre--seed0": "finished",
        "pretrain--pre--seed1": "failed",
        "pre--seed0": "finished",
        "pre--seed1": "failed",
    }


def test_a_run_waits_for_its_own_pretraining_alone(write_recipe, monkeypatch):
    path = write_recipe(
        models=[
            {"name": "pre", **SMALL, "pretrain": {**PRETRAIN, "seeds": [4, 5]}},
            {"name": "plain", **SMALL},
        ],
        seeds=[0, 1, 2],
    )
    recipe = load_recipe(path)
    inputs = SimpleNamespace(of=lambda cell: SimpleNamespace(recipe=recipe))
    monkeypatch.setattr(schedule, "cell_id_of", lambda cell, own: cell.stem)
    monkeypatch.setattr(schedule, "threads_of", lambda cell, own: 1)
    cells = [*plan_pretraining(recipe), *plan_comparison(recipe)]
    waits = {one.name: one.after for one in schedule.line_up(cells, inputs, 2)}
    assert [waits[f"pre--seed{seed}"] for seed in (0, 1, 2)] == [
        f"pretrain--pre--seed{seed}" for seed in (4, 5, 4)
    ]
    assert {name for name, after in waits.items() if after is None} == {
        "pretrain--pre--seed4", "pretrain--pre--seed5", *(f"plain--seed{s}" for s in (0, 1, 2)),
    }  # fmt: skip
