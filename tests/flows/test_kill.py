"""Killed at any moment, the same command goes on and ends as an undisturbed one, to the bit."""

import random
import shutil
import subprocess
import sys
import time
from functools import partial

import pytest
from support.hub_fixtures import TOKEN

from hfbench.records.predictions import load_predictions
from hfbench.records.record_file import load_record
from hfbench.records.schema import ComparedRecord
from hfbench.records.store import ResultsFolder
from hfbench.training.checkpoints import _by_step, _damaged_files, _is_finished

SMALL = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32, "resid_pdrop": 0.3}}
PRETRAIN = {
    "corpus": {"builtin": "pets"},
    "training_arguments": {"max_steps": 40, "per_device_train_batch_size": 8, "eval_steps": 10,
                           "logging_steps": 7, "save_strategy": "steps", "save_steps": 6},
}  # fmt: skip
MODELS = [
    {"name": "pre", **SMALL, "pretrain": PRETRAIN},
    {"name": "floor", "control": "tfidf-logreg"},
]


@pytest.fixture
def recipe(write_recipe):
    return write_recipe(models=MODELS, seeds=[0], save_models=True)


@pytest.fixture
def run(recipe, start_hfbench):
    """A function that runs the recipe into a folder, to the end or until it is killed."""

    def start(results, *, seconds=None, kill_at=()):
        arguments = ["compare", recipe, "--results-dir", results, "--jobs", 1]
        process = start_hfbench(*arguments, kill_at=kill_at)
        process.join(seconds if seconds is not None else 120)
        process.kill()
        process.join()
        return process.exitcode

    start.said = start_hfbench.output
    return start


def contents(results, timeless):
    """All that a run leaves, but for times."""
    folder = results / "tiny"
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".json" and path.parent.name == "records":
            found[name] = timeless(load_record(path))
        elif path.suffix == ".parquet":
            record = load_record(path.with_suffix(".json"))
            split = record.task.evaluation_split
            found[name] = load_predictions(record, path.parents[1], split)["logits"].tolist()
        elif path.is_file():
            # times are in the table, too
            found[name] = path.read_bytes() if "models/" in name else None
    return found


def assert_whole(results):
    """Nothing in a folder where a process was killed is half of something."""
    folder = results / "tiny"
    for path in folder.glob("records/*.json"):
        record = load_record(path)
        if isinstance(record, ComparedRecord):
            load_predictions(record, folder, "validation")
    for run in folder.glob("runs/*"):
        finished = [path for _, path in sorted(_by_step(run).items()) if _is_finished(path)]
        # the Trainer may just have been removing those before
        assert not finished or not _damaged_files(finished[-1])
    for path in (*folder.glob("*.md"), *folder.glob("*.csv"), *folder.glob("*.tex")):
        assert path.read_text().endswith("\n")


MOMENTS = [
    ("hfbench.data.tokens", "_encode", 1),
    ("hfbench.training.trainer", "FairTrainer.training_step", 15),
    ("hfbench.training.trainer", "FairTrainer.training_step", 42),  # of the classifier
    ("transformers.trainer", "Trainer._save_optimizer_and_scheduler", 2),  # weights are there
    ("hfbench.training.checkpoints", "_hash_files", 2),  # all but the manifest is there
    ("hfbench.system.files", "os.fsync", 1),  # of the note whose checkpoints they are
    ("hfbench.system.files", "os.fsync", 8),  # a record is written but not in its place
    ("hfbench.records.store", "replace_folder", 1),
    ("hfbench.records.store", "hash_files", 1),  # weights without a record
    ("hfbench.execution.cell", "clear", 1),  # a record, and checkpoints that nobody needs
    ("shutil", "rmtree", 3),
    ("hfbench.records.store", "atomic", 2),
    ("hfbench.records.store", "atomic", 7),  # README.md is written, and no table
]


@pytest.fixture
def undisturbed(run, tmp_path, timeless):
    assert run(tmp_path / "whole") == 0, run.said.read_text()
    return contents(tmp_path / "whole", timeless)


def test_killed_at_three_moments_it_goes_on_each_time(run, undisturbed, tmp_path, timeless):
    for moment in (MOMENTS[1], MOMENTS[3], MOMENTS[8]):
        assert run(tmp_path / "killed", kill_at=moment) == -9, (moment, run.said.read_text())
        assert_whole(tmp_path / "killed")
    assert run(tmp_path / "killed") == 0, run.said.read_text()
    assert "resumes from its checkpoint of step" in run.said.read_text()
    assert contents(tmp_path / "killed", timeless) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: f"{moment[1]}-{moment[2]}")
def test_killed_at_each_kind_of_moment(run, undisturbed, tmp_path, timeless, moment):
    assert run(tmp_path / "killed", kill_at=moment) == -9, run.said.read_text()
    assert_whole(tmp_path / "killed")
    assert run(tmp_path / "killed") == 0, run.said.read_text()
    assert contents(tmp_path / "killed", timeless) == undisturbed


@pytest.mark.slow
def test_killed_at_24_random_moments(run, undisturbed, tmp_path, timeless):
    start = time.monotonic()
    assert run(tmp_path / "timed") == 0
    whole = time.monotonic() - start
    generator, killed = random.Random(7), 0
    for number in range(24):
        results = tmp_path / f"killed-{number}"
        for _ in range(2):  # the second may fall into what the first left
            killed += run(results, seconds=whole * generator.random()) == -9
            assert_whole(results)
        assert run(results) == 0, run.said.read_text()
        assert contents(results, timeless) == undisturbed, number
    assert killed >= 24


PACKING = [
    *(("pack", "pathlib", "Path.replace", number) for number in (1, 2)),
    *(("pack", "pathlib", "Path.unlink", number) for number in (1, 3, 4, 5, 6)),
    *(("--undo", "pathlib", "Path.replace", number) for number in (1, 2, 3)),
    *(("--undo", "pathlib", "Path.unlink", number) for number in (1, 4, 5, 6)),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment", PACKING, ids=lambda moment: f"{moment[0]}-{moment[2]}-{moment[3]}"
)
def test_killed_while_packing(write_record, start_hfbench, tmp_path, moment):
    """What is read is what was packed, and the same command then ends."""
    what, *kill_at = moment
    for seed in (0, 1):
        write_record(tmp_path / "r", "m", seed, [True, False, True, True])
    folder = ResultsFolder(tmp_path / "r")
    before = {path.name: path.read_bytes() for path in folder.records.iterdir()}

    def hfbench(*arguments, kill_at=()):
        process = start_hfbench("pack", tmp_path / "r", *arguments, kill_at=kill_at)
        process.join(60)
        return process.exitcode

    options = [] if what == "pack" else [what]
    if options:
        assert hfbench() == 0
    assert hfbench(*options, kill_at=kill_at) == -9, start_hfbench.output.read_text()
    found = [folder.record(stem) for stem in folder.stems]
    assert [record.seed for record in found] == [0, 1]
    for record in found:
        load_predictions(record, folder.path, "validation")
    for last in ([], ["--undo"]):
        hfbench(*last)  # with nothing to do, it says so
    left = {path.name: path.read_bytes() for path in folder.records.iterdir()}
    assert left == before
    assert sorted(path.name for path in folder.path.iterdir()) == ["records"]


@pytest.mark.slow
def test_killed_at_30_random_moments_from_tuning_to_pushing(
    write_recipe,
    run,
    start_hfbench,
    hub,
    faults,
    tmp_path,
    timeless,
):
    """14 times while it tunes and compares, 8 while it packs, 8 while it pushes."""
    generator, kills = random.Random(11), []

    def time_of(call):
        start = time.monotonic()
        assert call() == 0, run.said.read_text()
        return time.monotonic() - start

    def kill_in(call, whole, afresh=lambda: None):
        """Call it until one is killed before its end."""
        while call(seconds=whole * generator.random()) != -9:
            afresh()
        kills.append(call)

    shutil.copy(write_recipe().with_name("train.jsonl"), tmp_path / "exam.jsonl")
    write_recipe(
        task={"data_files": {"train": "train.jsonl", "exam": "exam.jsonl"},
              "validation_size": 0.25, "test_split": "exam"},
        tune={"space": {"learning_rate": {"log": [1e-4, 1e-1]}}, "trials": 3},
        models=[{"name": "mine", **SMALL}], seeds=[0], save_models=True,
    )  # fmt: skip
    whole = tmp_path / "whole"
    assert run(whole) == 0, run.said.read_text()
    undisturbed = contents(whole, timeless)
    assert sum("tuning/records" in name for name in undisturbed) == 2 * 3
    seconds = time_of(partial(run, tmp_path / "timed"))  # by a fork server that is there
    for number in range(7):
        results = tmp_path / f"killed-{number}"
        kill_in(partial(run, results), seconds, partial(shutil.rmtree, results))
        kill_in(partial(run, results), seconds)  # in what the first left
        assert run(results) == 0, run.said.read_text()
        assert contents(results, timeless) == undisturbed, number

    folder = tmp_path / "killed-0" / "tiny"
    before = {path.name: path.read_bytes() for path in (folder / "records").iterdir()}

    def pack(*options, seconds=60.0):
        process = start_hfbench("pack", folder, *options)
        process.join(seconds)
        process.kill()
        process.join()
        return process.exitcode

    undo = partial(pack, "--undo")
    seconds = time_of(pack)
    assert undo() == 0
    for _ in range(4):
        kill_in(pack, seconds, undo)
        pack()  # with nothing to do, it says so
        kill_in(undo, seconds, pack)
        undo()
        left = {path.name: path.read_bytes() for path in (folder / "records").iterdir()}
        assert left == before
    assert pack() == 0

    def push(what, to, seconds=None):
        """``what``: a model, or nothing: the results."""
        command = [sys.executable, "-m", "hfbench", "push", str(folder), *what, "--repo-id", to]
        env = faults.client_env(hub, TOKEN, tmp_path / "home")
        with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
            try:
                return process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        return process.returncode

    for kind, what in (("model", ["mine", "--license", "mit"]), ("dataset", [])):
        seconds = time_of(partial(push, what, "ada/it"))
        for _ in range(4):
            kill_in(partial(push, what, "lab/it"), seconds)
        assert push(what, "lab/it") == 0
        pushed, expected = (hub.files(repo, kind) for repo in ("lab/it", "ada/it"))
        pushed = {name: data.replace(b"lab/it", b"ada/it") for name, data in pushed.items()}
        assert pushed.keys() == expected.keys()
        for name, data in pushed.items():
            lines, others = data.splitlines(), expected[name].splitlines()
            assert [pair for pair in zip(lines, others, strict=True) if len({*pair}) > 1] == [], (
                name
            )
        assert not [*(folder / "push").rglob(".*.tmp")]
    assert len(kills) == 30
