"""What the command line gets ready before it is known what will run."""

import pytest

from hfbench.cli import run
from hfbench.recipe.load import load_recipe
from hfbench.training import process

SMALL = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}
MINE = {"name": "mine", **SMALL}
PRETRAINED = {"name": "mine", **SMALL, "pretrain": {"corpus": {"builtin": "pets"}}}
TUNED = {"trials": 2, "space": {"learning_rate": {"log": [1e-4, 1e-3]}}}


@pytest.fixture
def starts_cuda(write_recipe, tmp_path, monkeypatch):
    """Whether CUDA would be started early for a recipe, on a machine with so many GPUs."""

    def ask(gpus="0", jobs=None, **recipe):
        started = []
        monkeypatch.setattr("hfbench.system.launch.visible_gpus", lambda: gpus.split())
        monkeypatch.setattr(process, "start_cuda", lambda: started.append(True))
        read = load_recipe(write_recipe(**{"models": [MINE], "seeds": [0], **recipe}))
        run._expect_gpu(read, run._new_networks(read, tmp_path / "results"), jobs)
        return started == [True]

    return ask


def test_cuda_starts_early_where_this_process_will_surely_train(starts_cuda):
    assert starts_cuda()
    assert starts_cuda(seeds=[0, 1], jobs=1)


@pytest.mark.parametrize(
    "case",
    [
        {"gpus": ""},
        {"gpus": "0 1"},
        {"jobs": 2},
        {"seeds": [0, 1]},
        {"models": [PRETRAINED]},
        {"models": [{"name": "floor", "control": "majority"}], "jobs": 1},
        {"training_arguments": {"use_cpu": True}},
        {"tune": TUNED},
    ],
)
def test_cuda_does_not_start_early_where_others_may_train(case, starts_cuda):
    assert not starts_cuda(**case)


def test_cuda_does_not_start_early_in_a_process_of_a_launcher(starts_cuda, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert not starts_cuda()


def test_a_damaged_record_is_set_aside_also_where_workers_may_run(write_recipe, tmp_path, call):
    path = write_recipe(models=[MINE], seeds=[0], training_arguments={"max_steps": 1})
    arguments = ("compare", path, "--results-dir", tmp_path / "r")
    record = tmp_path / "r" / "tiny" / "records" / "mine--seed0.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"schema_version": 3')
    code, shown, _ = call(*arguments)
    assert code == 0
    assert "has a damaged record" in shown
    assert "1 cell ran" in shown
