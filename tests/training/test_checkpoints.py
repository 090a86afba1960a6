"""A pretraining that is stopped and started again gives what an undisturbed one gives."""

import io
import json
from functools import partial

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from hfbench.execution.compare import compare
from hfbench.recipe.load import load_recipe
from hfbench.training.checkpoints import _hash_files
from hfbench.training.trainer import FairTrainer

# 166 examples: 21 steps an epoch, the last with 2 ignored rows
ARGUMENTS = {
    "per_device_train_batch_size": 8,
    "max_steps": 52,
    "learning_rate": 1e-2,
    "save_strategy": "steps",
    "save_steps": 7,
    "eval_steps": 5,
    "logging_steps": 4,
}
WEIGHTS = "models/pretrain--mine/model.safetensors"


class Stopped(BaseException):
    """Like KeyboardInterrupt, nothing that becomes a record."""


@pytest.fixture(scope="module")
def pretrain_in(recipe_writer):
    """A function that pretrains into a folder, to the end or until a step begins."""

    def run(folder, name, stop=None, **arguments):
        model = {"name": "mine", "preset": "gpt-nano"}
        model["config"] = {"n_layer": 1, "n_embd": 12, "n_positions": 32, "resid_pdrop": 0.3}
        arguments = {**ARGUMENTS, **arguments}
        model["pretrain"] = {"corpus": {"builtin": "pets"}, "training_arguments": arguments}
        recipe = load_recipe(recipe_writer(folder)(models=[model]))
        seen, train = [], FairTrainer.training_step

        def step(self, model, inputs, *args, **kwargs):
            if self.state.global_step == stop:
                raise Stopped
            seen.append((self.state.global_step, inputs["input_ids"].tolist()))
            return train(self, model, inputs, *args, **kwargs)

        console = Console(file=io.StringIO())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(FairTrainer, "training_step", step)
            if stop is not None:
                with pytest.raises(Stopped):
                    compare(recipe, folder / name, only_pretraining=True, console=console)
                return None, console.file.getvalue(), seen
            outcome = compare(recipe, folder / name, only_pretraining=True, console=console)
        return outcome, console.file.getvalue(), seen

    return run


@pytest.fixture
def pretrain(pretrain_in, tmp_path):
    """The same, in the test's folder."""
    return partial(pretrain_in, tmp_path)


@pytest.fixture(scope="module")
def undisturbed(pretrain_in, tmp_path_factory):
    """What an undisturbed run with the usual arguments gave."""
    return pretrain_in(tmp_path_factory.mktemp("undisturbed"), "whole")


@pytest.fixture
def stopped(pretrain_in, tmp_path):
    """The folder of a run that was stopped at step 24; its newest checkpoint is of 21."""
    pretrain_in(tmp_path, "stopped", 24)
    return tmp_path / "stopped" / "tiny" / "runs" / "pretrain--mine"


def assert_same_result(resumed, undisturbed):
    weights, expected = (load_file(o.folder / WEIGHTS) for o in (resumed, undisturbed))
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)
    record, other = resumed.ran[0], undisturbed.ran[0]
    assert record.status == "finished"
    assert record.curves == other.curves
    assert record.metrics == other.metrics
    assert record.training.tokens_seen == other.training.tokens_seen
    assert record.training.train_seconds > 0


BY_EPOCH = {"eval_strategy": "epoch", "logging_strategy": "epoch"}


@pytest.mark.parametrize(
    ("stop", "step", "arguments"),
    [
        (18, 14, {}),  # in the middle of the first epoch; the last log was of step 12
        pytest.param(33, 28, {}, marks=pytest.mark.slow),  # in the middle of the second
        (32, 28, {"gradient_accumulation_steps": 2, "per_device_train_batch_size": 4}),
        # an epoch's last step is also one to save: 7 * 3 = 21
        pytest.param(24, 21, BY_EPOCH, marks=pytest.mark.slow),
        pytest.param(
            40, 21, {"save_strategy": "epoch", "eval_on_start": True}, marks=pytest.mark.slow
        ),
        pytest.param(
            52 - 1, 49, {"lr_scheduler_type": "cosine", "warmup_steps": 10}, marks=pytest.mark.slow
        ),
    ],
)
def test_a_stopped_pretraining_ends_as_an_undisturbed_one(
    pretrain, undisturbed, tmp_path, stop, step, arguments
):
    whole, said, all_seen = pretrain("whole", **arguments) if arguments else undisturbed
    assert "resumes" not in said
    pretrain("stopped", stop, **arguments)
    runs = tmp_path / "stopped" / "tiny" / "runs" / "pretrain--mine"
    left = {path.name for path in runs.iterdir()}
    assert {"cell.txt", f"checkpoint-{step}"} <= left
    assert len(left) <= 3  # two checkpoints are kept
    resumed, said, seen = pretrain("stopped", **arguments)
    assert f"pretrain--mine: resumes from its checkpoint of step {step}\n" in said
    assert seen == [entry for entry in all_seen if entry[0] >= step]
    assert_same_result(resumed, whole)
    assert not runs.exists()


def test_it_may_be_stopped_again_and_after_its_last_step(pretrain, monkeypatch):
    whole, _, _ = pretrain("whole", max_steps=28)
    pretrain("stopped", 9, max_steps=28)
    pretrain("stopped", 20, max_steps=28)
    with monkeypatch.context() as patch:

        def stop(path, write):
            raise Stopped

        patch.setattr("hfbench.records.store.replace_folder", stop)
        with pytest.raises(Stopped):
            pretrain("stopped", max_steps=28)
    resumed, said, seen = pretrain("stopped", max_steps=28)
    assert "step 21" in said  # not 28, the end
    assert [step for step, _ in seen] == list(range(21, 28))
    assert_same_result(resumed, whole)


def test_the_checkpoints_of_another_cell_or_of_nobody_are_not_used(pretrain, undisturbed, tmp_path):
    whole, _, _ = undisturbed
    pretrain("stopped", 18, learning_rate=0.1)
    resumed, said, seen = pretrain("stopped", 3)
    assert "resumes" not in said
    runs = tmp_path / "stopped" / "tiny" / "runs" / "pretrain--mine"
    assert [p.name for p in runs.iterdir()] == ["cell.txt"]
    pretrain("stopped", 18)
    (runs / "cell.txt").unlink()
    resumed, said, seen = pretrain("stopped")
    assert "resumes" not in said
    assert seen[0][0] == 0
    assert_same_result(resumed, whole)


@pytest.mark.parametrize(
    "damage",
    [
        "cut off",
        pytest.param("missing", marks=pytest.mark.slow),
        pytest.param("no optimizer", marks=pytest.mark.slow),
    ],
)
def test_an_incomplete_checkpoint_is_passed_over(pretrain, undisturbed, stopped, damage):
    newest = stopped / "checkpoint-21"
    state = newest / "trainer_state.json"
    if damage == "missing":
        state.unlink()
    elif damage == "cut off":
        state.write_text(state.read_text()[:100])
    else:
        (newest / "optimizer.pt").unlink()
    resumed, said, _ = pretrain("stopped")
    assert "step 14" in said
    assert_same_result(resumed, undisturbed[0])


def test_train_seconds_cover_what_was_kept_of_every_start(pretrain, stopped):
    state = stopped / "checkpoint-21" / "trainer_state.json"
    values = json.loads(state.read_text())
    values["stateful_callbacks"]["hfbench"]["seconds"] += 1000
    state.write_text(json.dumps(values))
    checkpoint = state.parent
    (checkpoint / "hfbench.json").write_text(json.dumps(_hash_files(checkpoint)))
    resumed, _, _ = pretrain("stopped")
    assert 1000 < resumed.ran[0].training.train_seconds < 1100


def test_no_checkpoint_is_written_of_weights_that_are_not_finite(pretrain, tmp_path):
    hot = {"learning_rate": 1e30, "logging_steps": 50, "eval_steps": 50, "save_steps": 10}
    outcome, _, _ = pretrain("hot", **hot)
    assert outcome.ran[0].failure.type == "NonFiniteLossError"
    assert outcome.ran[0].failure.step < 10
    assert not list((tmp_path / "hot" / "tiny" / "runs" / "pretrain--mine").glob("checkpoint-*"))
