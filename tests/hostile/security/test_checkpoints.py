"""A pretraining goes on from checkpoints on the disk: what somebody put there is not run.

Of what hfbench leaves itself, nothing is a pickle.
"""

import io
import pickle
import shutil
import zipfile
from contextlib import suppress

import pytest
import torch
from rich.console import Console

from hfbench.errors import RecordError
from hfbench.execution.compare import compare
from hfbench.recipe.load import load_recipe
from hfbench.training.trainer import FairTrainer


class Stopped(BaseException):
    """Like KeyboardInterrupt, nothing that becomes a record."""


@pytest.fixture
def pretrain(write_recipe, tmp_path, monkeypatch):
    """A function that pretrains into a folder of results, to the end or until a step begins."""
    model = {"name": "mine", "preset": "gpt-nano"}
    model["config"] = {"n_layer": 1, "n_embd": 12, "n_positions": 32}
    arguments = {"per_device_train_batch_size": 8, "max_steps": 4, "save_strategy": "steps"}
    arguments |= {"save_steps": 2}
    model["pretrain"] = {"corpus": {"builtin": "pets"}, "training_arguments": arguments}
    step = FairTrainer.training_step

    def run(name, stop=None):
        def stopping(self, *args, **kwargs):
            if self.state.global_step == stop:
                raise Stopped
            return step(self, *args, **kwargs)

        monkeypatch.setattr(FairTrainer, "training_step", stopping)
        recipe = load_recipe(write_recipe(models=[model]))
        console = Console(file=io.StringIO())
        return compare(recipe, tmp_path / name, only_pretraining=True, console=console)

    return run


STATES = ["optimizer.pt", "scheduler.pt", "rng_state.pth"]


@pytest.fixture
def stopped(pretrain, tmp_path):
    """The checkpoint that a stopped pretraining left."""
    with pytest.raises(Stopped):
        pretrain("results", stop=3)
    (found,) = (tmp_path / "results").rglob("checkpoint-2")
    return found


@pytest.fixture
def plant(payload, sings):
    """A function that puts a payload in the place of a checkpoint's file."""

    def put(checkpoint, name):
        if name == "pytorch_model.bin":
            (checkpoint / "model.safetensors").unlink()
        torch.save(payload, checkpoint / name)
        sings(torch.load, checkpoint / name, weights_only=False)

    return put


@pytest.mark.parametrize("name", [*STATES, "pytorch_model.bin", "training_args.bin"])
def test_a_planted_checkpoint_of_a_pretraining_is_not_run(stopped, pretrain, canary, plant, name):
    plant(stopped, name)
    pretrain("results")
    assert not canary.exists()


@pytest.mark.parametrize("name", [*STATES, "pytorch_model.bin"])
def test_nor_is_one_that_passed_for_our_own(
    stopped, pretrain, tmp_path, monkeypatch, canary, plant, name
):
    """Whatever vouches for a checkpoint's files may be planted, too: reading them must be safe."""
    planted = shutil.copytree(stopped, tmp_path / "checkpoint-2")
    plant(planted, name)
    train, read = FairTrainer.train, torch.load
    files = []

    def train_from_planted(self, resume_from_checkpoint=None, **kwargs):
        return train(self, resume_from_checkpoint=str(planted), **kwargs)

    def note(file, *args, **kwargs):
        files.append(file)
        return read(file, *args, **kwargs)

    monkeypatch.setattr(FairTrainer, "train", train_from_planted)
    monkeypatch.setattr(torch, "load", note)
    with suppress(pickle.UnpicklingError):
        assert pretrain("others").failed
    assert str(planted / name) in map(str, files)  # it was read
    assert not canary.exists()


def test_only_safetensors_is_written(pretrain, stopped, tmp_path, write_recipe):
    """Pickles are only the optimizer's, scheduler's and generators' states, while it trains."""
    root = tmp_path / "results"
    states = {path.name for path in root.rglob("*") if path.is_file() and is_pickle(path)}
    assert states == set(STATES) | ({"training_args.bin"} & states)
    assert all("runs" in path.parts for path in root.rglob("*") if path.name in states)
    pretrain("results")
    models = [
        {"name": "mine", "preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}},
        {"name": "words", "control": "tfidf-logreg"},
    ]
    recipe = load_recipe(write_recipe(models=models, seeds=[0], save_models=True))
    outcome = compare(recipe, root, console=Console(file=io.StringIO()))
    assert not outcome.failed
    files = [path for path in root.rglob("*") if path.is_file()]
    assert [path.name for path in files].count("model.safetensors") == 2
    assert [path for path in files if is_pickle(path)] == []


def is_pickle(path):
    """Whether it could be read by `pickle` or by `torch.load`."""
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"PK":
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".pkl") for name in archive.namelist())
    return path.suffix in (".bin", ".pt", ".pth", ".pkl", ".joblib") or start[:1] == b"\x80"


@pytest.mark.parametrize("link", ["run", "checkpoint-2", "in-2-parts"])
def test_no_checkpoint_is_removed_through_a_link(stopped, pretrain, tmp_path, link):
    """Of another training, which the person who runs this has, too."""
    mine = tmp_path / "mine" / "checkpoint-2"
    shutil.copytree(stopped, mine)
    before = {path.name: path.read_bytes() for path in mine.iterdir()}
    run = stopped.parent
    shutil.rmtree(run)
    if link == "run":
        run.symlink_to(mine.parent)
    else:
        run.mkdir()
        (run / link).symlink_to(mine if link == "checkpoint-2" else mine.parent)
    if link == "run":
        with pytest.raises(RecordError, match=f"{run}: is a link"):
            pretrain("results")
    else:
        assert not pretrain("results").failed
    assert {path.name: path.read_bytes() for path in mine.iterdir()} == before
