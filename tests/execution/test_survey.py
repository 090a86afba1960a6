"""What is there is found, whatever its name; what is not, or is damaged, runs, and why is said."""

import io
import json
import shutil
import threading

import pytest
from rich.console import Console
from safetensors.torch import load_file, save_file
from support.by_hand import write_by_hand

from hfbench.cli.app import app, main
from hfbench.cli.plan import print_plan
from hfbench.evidence.comparison import load_comparison
from hfbench.execution.compare import compare
from hfbench.recipe.load import load_recipe
from hfbench.records.pack import pack, unpack
from hfbench.records.predictions import load_predictions
from hfbench.records.record_file import load_record
from hfbench.records.store import ResultsFolder, load_records

SMALL = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
PRETRAIN = {
    "corpus": {"builtin": "pets"},
    "training_arguments": {"max_steps": 3, "per_device_train_batch_size": 8},
}
MODELS = [{"name": "pre", **SMALL, "pretrain": PRETRAIN}, {"name": "floor", "control": "majority"}]


def run(path, results, *overrides, **options):
    console = Console(file=io.StringIO(), width=200)
    outcome = compare(load_recipe(path, list(overrides)), results, console=console, **options)
    return outcome, console.file.getvalue()


def plan(path, results, *overrides, **options):
    console = Console(file=io.StringIO(), width=200)
    print_plan(load_recipe(path, list(overrides)), results, console, **options)
    return console.file.getvalue()


@pytest.fixture
def recipe(write_recipe):
    return write_recipe(models=MODELS, seeds=[0])


@pytest.fixture(scope="module")
def finished(recipe_writer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run(recipe_writer(folder)(models=MODELS, seeds=[0]), folder / "results")
    return folder / "results"


@pytest.fixture
def results(recipe, finished, tmp_path):
    """What the recipe's run gave, for a test to change."""
    return shutil.copytree(finished, tmp_path / "results")


def test_a_renamed_recipe_and_model_are_found_and_nothing_runs(write_recipe, results, timeless):
    models = [{**MODELS[0], "name": "renamed"}, {**MODELS[1], "name": "least"}]
    path = write_recipe(models=models, seeds=[0], name="other", save_models=False)
    assert "finished as tiny/pre--seed0" in plan(path, results)
    assert not (results / "other").exists()  # only looked at
    outcome, _ = run(path, results)
    assert (outcome.ran, outcome.kept) == ([], 2)
    old, new = load_records(results / "tiny"), load_records(outcome.folder)
    assert [r.stem for r in new] == ["least", "renamed--seed0"]  # no cell needs the pretraining
    assert [r.adopted_from for r in new] == ["tiny/floor", "tiny/pre--seed0"]
    assert [r.model for r in old] == ["floor", "pre", "pre"]
    for before, after in ((old[0], new[0]), (old[1], new[1])):
        again = after.model_copy(
            update={name: getattr(before, name) for name in
                    ("recipe", "model", "settings", "adopted_from", "predictions")}
        )  # fmt: skip
        assert again == before
        logits = [
            load_predictions(r, folder, "validation")["logits"].tolist()
            for r, folder in ((before, results / "tiny"), (after, outcome.folder))
        ]
        assert logits[0] == logits[1]


def test_the_last_point_of_a_learning_curve_is_the_comparison_of_all_examples(
    write_recipe, results
):
    size = load_records(results / "tiny")[0].task.splits["train"].examples
    path = write_recipe(
        models=MODELS, seeds=[0], name="curve", train_sizes=[size // 2, size], save_models=False
    )
    outcome, _ = run(path, results)
    ran = sorted(record.stem for record in outcome.ran)
    half = size // 2
    assert ran == [f"floor--n{half}--seed0", f"floor--n{size}--seed0", f"pre--n{half}--seed0"]
    again, _ = run(path, results)
    assert (again.ran, again.kept) == ([], 4)
    found = {record.stem: record for record in load_records(outcome.folder)}
    adopted = found[f"pre--n{size}--seed0"]
    assert (adopted.adopted_from, adopted.train_size) == ("tiny/pre--seed0", size)
    curve = load_comparison(outcome.folder).curve
    assert [len(standing.finished) for standing in curve.values()] == [2, 2]


def test_where_weights_are_to_be_kept_a_result_without_them_is_none(write_recipe, results):
    path = write_recipe(models=MODELS, seeds=[0], name="other", save_models=True)
    outcome, _ = run(path, results)
    assert [record.stem for record in outcome.ran] == ["pre--seed0"]  # a control has none
    third = write_recipe(models=MODELS, seeds=[0], name="third", save_models=True)
    outcome, _ = run(third, results)
    assert outcome.ran == []
    assert (outcome.folder / "models" / "pre--seed0" / "model.safetensors").is_file()


def test_a_model_renamed_in_its_recipe_leaves_no_row_of_its_old_name(write_recipe, results):
    path = write_recipe(models=[{**MODELS[0], "name": "renamed"}, MODELS[1]], seeds=[0])
    outcome, _ = run(path, results)
    assert outcome.ran == []
    stems = [record.stem for record in load_records(outcome.folder)]
    assert stems == ["floor", "pretrain--pre", "renamed--seed0"]
    assert [p.name for p in (outcome.folder / "records" / "superseded").rglob("*.json")] == [
        "pre--seed0.json"
    ]


def test_what_one_part_of_a_recipe_has_run_stays_where_another_takes_it_over(
    write_recipe, tmp_path
):
    """``--only pre``, then ``--only other``: a row that this does not know is no old name of it."""
    recipe = load_recipe(
        write_recipe(models=[MODELS[0], {**MODELS[0], "name": "other"}], seeds=[0])
    )
    for name in ("pre", "other"):
        compare(recipe.only({name}, [0]), tmp_path, console=Console(quiet=True))
    records = {record.stem: record.adopted_from for record in load_records(tmp_path / "tiny")}
    assert records == {
        "other--seed0": "tiny/pre--seed0", "pre--seed0": None, "pretrain--pre": None
    }  # fmt: skip


def test_weights_of_a_pretraining_are_adopted_where_a_new_cell_needs_them(write_recipe, results):
    path = write_recipe(models=[{**MODELS[0], "name": "again"}], seeds=[0, 1], name="other")
    outcome, _ = run(path, results)
    assert [record.stem for record in outcome.ran] == ["again--seed1"]
    old, new = (
        load_file(results / name / "model.safetensors")
        for name in ("tiny/models/pretrain--pre", "other/models/pretrain--again")
    )
    assert all(old[name].equal(new[name]) for name in old)


def test_the_plan_says_why_a_cell_runs_again(recipe, results, tmp_path):
    said = plan(recipe, results)
    assert "0 of 3 cells to run" in said
    assert "again" not in said
    said = plan(recipe, results, "models.pre.training_arguments.learning_rate=0.25")
    assert "pre--seed0 to run again:\n  training.arguments.learning_rate: 0.0005 -> 0.25\n" in said
    assert "1 of 3 cells to run" in said
    said = plan(recipe, results, rerun=True)
    assert "pretrain--pre and 2 more to run again:\n  --rerun\n" in said
    lines = (tmp_path / "train.jsonl").read_text().splitlines()
    (tmp_path / "train.jsonl").write_text("\n".join(lines[2:]))
    said = plan(recipe, results)
    assert "\nfloor to run again:\n  task.train: " in said
    assert "\npre--seed0 to run again:\n  task.train: " in said


def damage_weights(folder):
    path = folder / "models" / "pretrain--pre" / "model.safetensors"
    tensors = load_file(path)
    tensors["transformer.ln_f.weight"] += 1
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: shutil.rmtree(f / "models" / "pretrain--pre"), "lost its weights"),
        (damage_weights, "has other weights in models/pretrain--pre than were saved"),
    ],
)
def test_lost_and_damaged_weights_of_a_pretraining_are_made_again(
    recipe, results, timeless, damage, reason
):
    folder = results / "tiny"
    before = load_record(folder / "records" / "pretrain--pre.json")
    damage(folder)
    (folder / "records" / "pre--seed0.json").unlink()  # else nobody needs the weights
    assert reason in plan(recipe, results)
    outcome, said = run(recipe, results)
    assert [record.stem for record in outcome.ran] == ["pretrain--pre", "pre--seed0"]
    assert timeless(load_record(folder / "records" / "pretrain--pre.json")) == timeless(before)
    is_aside = (folder / "models" / "pretrain--pre.damaged").is_dir()
    assert is_aside == (damage is damage_weights)
    assert ("moved to pretrain--pre.damaged" in said) == is_aside


def test_lost_predictions_are_made_again(recipe, results):
    (results / "tiny" / "records" / "pre--seed0.parquet").unlink()
    assert "lost its predictions: records/pre--seed0.parquet" in plan(recipe, results)
    outcome, _ = run(recipe, results)
    assert [record.stem for record in outcome.ran] == ["pre--seed0"]


def test_a_record_of_an_older_hfbench_runs_again_and_is_kept(recipe, results):
    path = results / "tiny" / "records" / "floor.json"
    values = json.loads(path.read_text())
    del values["identity"]
    write_by_hand(path, values)
    assert "did not record all that decides a result" in plan(recipe, results)
    outcome, _ = run(recipe, results)
    assert [record.stem for record in outcome.ran] == ["floor"]
    assert list((results / "tiny" / "records" / "superseded").rglob("floor.json"))


def test_what_failed_says_so_and_runs_again(write_recipe, tmp_path):
    hot = {"name": "hot", **SMALL, "training_arguments": {"learning_rate": 1e30}}
    path = write_recipe(models=[hot], seeds=[0])
    run(path, tmp_path)
    assert "failed: NonFiniteLossError: the training loss is not finite" in plan(path, tmp_path)
    assert len(run(path, tmp_path)[0].ran) == 1


def test_what_is_no_record_elsewhere_is_passed_over(recipe, tmp_path):
    folder = tmp_path / "results" / "somebody" / "records"
    folder.mkdir(parents=True)
    for number, content in enumerate(["{", "[]", '{"status": "finished"}', "\xff"]):
        (folder / f"mine-{number}.json").write_bytes(content.encode("latin-1"))
    outcome, _ = run(recipe, tmp_path / "results")
    assert len(outcome.ran) == 3


def test_records_verify_and_what_differs_is_named(recipe, results, tmp_path, capsys, monkeypatch):
    verify = ["verify", str(results / "tiny"), "--relative-to", str(tmp_path)]

    def said(*arguments, code=0):
        monkeypatch.setattr("sys.argv", ["hfbench", *verify, *arguments])
        if code:
            with pytest.raises(SystemExit) as end:
                main()
            assert end.value.code == code
        else:
            app([*verify, *arguments], standalone_mode=False)
        return capsys.readouterr()

    before = sorted(p.stat().st_mtime_ns for p in (results / "tiny").rglob("*"))
    shown = said().out
    assert "floor: bit-identical\npre--seed0: bit-identical\n" in shown
    assert "pretrain--pre: bit-identical\n" in shown
    assert "3 of 3 cells are bit-identical." in shown
    assert "not as recorded" not in shown
    assert before == sorted(p.stat().st_mtime_ns for p in (results / "tiny").rglob("*"))
    path = results / "tiny" / "records" / "pre--seed0.json"
    values = json.loads(path.read_text())
    values["curves"]["validation"][-1]["loss"] += 1e-7
    values["environment"]["processor"] = "Z80"
    write_by_hand(path, values)
    shown = said("--cells", "pre--*", code=1).out
    assert "pre--seed0: differs first at step 10, validation loss: " in shown
    assert 'not as recorded: processor: "Z80" -> ' in shown
    assert "0 of 1 cells are bit-identical." in shown
    floor = results / "tiny" / "records" / "floor.json"
    of_floor = json.loads(floor.read_text())
    write_by_hand(floor, {name: of_floor[name] for name in of_floor if name != "identity"})
    shown = said("--cells", "floor").out
    assert "not as recorded: an older hfbench did not record all that decides a result\n" in shown
    write_by_hand(floor, of_floor)
    del values["identity"]
    write_by_hand(path, {**values, "environment": {**values["environment"], "torch_threads": 0}})
    error = said("--cells", "pre--seed0", code=2).err
    assert "pre--seed0: environment.torch_threads: 0 must be a number of 1 or more" in error
    values["settings"]["models"][0]["presett"] = "gpt-nano"
    write_by_hand(path, values)
    error = said("--cells", "pre--seed0", code=2).err
    assert "pre--seed0: settings: models[0].presett: unknown key; did you mean 'preset'?" in error
    lines = (tmp_path / "train.jsonl").read_text().splitlines()
    (tmp_path / "train.jsonl").write_text("\n".join(lines[1:] + lines[:1]))
    shown = said("--cells", "floor", code=1).out
    assert "floor: differs first at validation: other examples" in shown
    assert "not as recorded: task.train: " in shown
    error = said("--cells", "nothing", code=2).err
    assert "no finished record is called nothing; there is floor, pre--seed0, pretr" in error
    (tmp_path / "train.jsonl").unlink()
    error = said("--cells", "floor", code=2).err
    assert "task.data_files.train: there is no file" in error
    assert "--relative-to" in error


def test_while_another_process_unpacks_a_comparison_waits(write_recipe, tmp_path):
    path = write_recipe(models=MODELS[1:])
    run(path, tmp_path)
    (folder,) = (ResultsFolder(place) for place in tmp_path.iterdir() if place.is_dir())
    pack(folder)
    found = []
    again = threading.Thread(target=lambda: found.append(run(path, tmp_path, rerun=True)))
    with folder.alone("unpacking"):
        again.start()
        again.join(2)
        assert again.is_alive()
        assert folder.packed
        unpack(folder)
    again.join(30)
    ((outcome, _),) = found
    assert len(outcome.ran) == 1
    assert [record.stem for record in load_records(folder.path)] == ["floor"]
