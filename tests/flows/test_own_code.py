"""Architectures and controls of one's own, from a recipe that names their modules."""

import itertools
import sys
from pathlib import Path

import pytest
from rich.console import Console
from threadpoolctl import threadpool_info, threadpool_limits

from hfbench.errors import UserError
from hfbench.execution.compare import compare
from hfbench.execution.verify import verify
from hfbench.models import controls
from hfbench.recipe.load import load_recipe
from hfbench.records.store import load_records

NUMBERS = itertools.count()
ARCHITECTURE = '''
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class BagConfig(PreTrainedConfig):
    model_type = "{module}"
    vocab_size: int = 300
    hidden_size: int = 16
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None


class BagForSequenceClassification(PreTrainedModel):
    """The mean of the tokens' embeddings."""

    config: BagConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.score = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids, attention_mask=None, labels=None, **kwargs):
        real = (input_ids >= 0).long() if attention_mask is None else attention_mask
        total = (self.embed(input_ids) * real[..., None]).sum(1)
        logits = self.score(total / real.sum(1, keepdim=True))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)
'''
REGISTERED = """
from transformers import AutoConfig, AutoModelForSequenceClassification

AutoConfig.register("{module}", BagConfig)
AutoModelForSequenceClassification.register(BagConfig, BagForSequenceClassification)
"""
CONTROL = """
import numpy as np
from threadpoolctl import threadpool_info
from hfbench.models.controls import register_control


class Length:
    version = 1

    def fit(self, texts, labels, num_labels):
        self.num_labels = num_labels
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        assert {pool["num_threads"] for pool in pools} == {1}

    def logits(self, texts):
        return np.array([[len(text)] + [0] * (self.num_labels - 1) for text in texts]) / 100

    def parameter_count(self):
        return None


register_control("{module}", Length)
"""


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    """A function that writes a module beside the recipe and gives its name, which no other has."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # to which the recipe's folder is added
    names = []

    def write(*code):
        names.append(name := f"own_{next(NUMBERS)}_code")
        text = "".join(code).replace("{module}", name)
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        return name

    yield write
    for name in names:
        sys.modules.pop(name, None)
        controls.CONTROLS.pop(name, None)


def run(path: Path, results: Path, **options):
    return compare(load_recipe(path), results, console=Console(quiet=True), **options).ran


def test_each_process_knows_what_the_recipe_imports(write_module, write_recipe, tmp_path):
    registered, plain = write_module(ARCHITECTURE, REGISTERED), write_module(ARCHITECTURE)
    control = write_module(CONTROL)
    models = [
        {"name": "registered", "model_type": registered},
        {"name": "plain", "model": f"{plain}:BagConfig", "config": {"hidden_size": 8}},
        {"name": "length", "control": control},
    ]
    path = write_recipe(models=models, imports=[registered, control])
    ran = run(path, tmp_path / "results", jobs=2)
    assert {record.stem: record.status for record in ran} == dict.fromkeys(
        ["registered--seed0", "registered--seed1", "plain--seed0", "plain--seed1", "length"],
        "finished",
    )
    records = {record.stem: record for record in ran}
    assert records["plain--seed0"].model_facts.class_name == "BagForSequenceClassification"
    assert records["plain--seed0"].model_facts.config["hidden_size"] == 8
    assert records["length"].model_facts.class_name == "Length"
    # all that is needed to run it again
    assert records["length"].settings["imports"] == [registered, control]


def test_a_control_is_fitted_by_one_thread(write_module, write_recipe, tmp_path):
    path = write_recipe(models=[{"name": "length", "control": (name := write_module(CONTROL))}],
                        imports=[name])  # fmt: skip
    with threadpool_limits(2, user_api="blas"):
        (record,) = run(path, tmp_path / "results", jobs=1)
        assert {
            pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"
        } == {2}
    assert record.status == "finished"


def test_workers_do_not_know_what_this_process_alone_has_registered(
    write_module, write_recipe, tmp_path, monkeypatch
):
    name = write_module(ARCHITECTURE, REGISTERED)
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__(name)
    path = write_recipe(models=[{"name": "own", "model_type": name}])
    with pytest.raises(UserError, match=rf"models\.own: the configuration of {name} cannot be"):
        run(path, tmp_path / "results", jobs=2)


def test_an_architecture_that_nothing_registers_is_named(write_module, write_recipe, tmp_path):
    name = write_module(ARCHITECTURE, REGISTERED)
    path = write_recipe(models=[{"name": "own", "model_type": name}], seeds=[0])
    with pytest.raises(UserError, match=rf"models\.own: the configuration of {name} cannot be"):
        run(path, tmp_path / "results")
    path = write_recipe(models=[{"name": "own", "model_type": name}], seeds=[0], imports=[name])
    assert [record.status for record in run(path, tmp_path / "results")] == ["finished"]


def test_a_control_that_nothing_registers_is_named_before_a_cell_runs(
    write_module, write_recipe, tmp_path
):
    imported = write_module(CONTROL)
    models = [{"name": "a", "control": "majority"}, {"name": "b", "control": imported[:-1] + "O"}]
    path = write_recipe(models=models, imports=[imported])
    with pytest.raises(UserError) as error:
        run(path, tmp_path / "results")
    assert f"models.b.control: unknown control '{imported[:-1]}O'; did you" in str(error.value)
    assert f"mean '{imported}'?" in str(error.value)
    assert not (tmp_path / "results").exists()


def test_a_changed_source_makes_another_cell(write_module, write_recipe, tmp_path):
    name = write_module(ARCHITECTURE)
    path = write_recipe(models=[{"name": "own", "model": f"{name}:BagConfig"}], seeds=[0])
    (before,) = run(path, tmp_path / "results")
    assert run(path, tmp_path / "results") == []
    file = tmp_path / f"{name}.py"
    file.write_text(file.read_text() + "\n# changed\n")
    (after,) = run(path, tmp_path / "results")
    assert before.identity["model"]["code"] != after.identity["model"]["code"]


def test_reading_a_recipe_runs_nothing_and_verifying_only_what_is_trusted(
    write_module, write_recipe, tmp_path, monkeypatch
):
    name = write_module(CONTROL, "\nfrom pathlib import Path\nPath('ran').touch()\n")
    monkeypatch.chdir(tmp_path)
    path = write_recipe(models=[{"name": "length", "control": name}], imports=[name])
    assert load_recipe(path).imports == [name]
    assert not Path("ran").exists()
    run(path, tmp_path / "results")
    assert Path("ran").exists()

    Path("ran").unlink()
    monkeypatch.delitem(sys.modules, name)
    results, console = tmp_path / "results" / "tiny", Console(quiet=True)
    with pytest.raises(UserError, match=f"length: {name} brings code of its own: read it, then"):
        list(verify(results, [], tmp_path, console))
    assert not Path("ran").exists()
    (verdict,) = verify(results, [], tmp_path, console, trust_remote_code=True)
    assert Path("ran").exists()
    assert verdict.difference is None
    assert [record.stem for record in load_records(results)] == ["length"]


def test_the_class_of_a_model_is_code_too(write_module, write_recipe, tmp_path):
    name = write_module(ARCHITECTURE)
    path = write_recipe(models=[{"name": "own", "model": f"{name}:BagConfig"}], seeds=[0])
    run(path, tmp_path / "results")
    with pytest.raises(UserError, match=f"own--seed0: {name} brings code of its own"):
        list(verify(tmp_path / "results" / "tiny", [], tmp_path, Console(quiet=True)))
