"""Probes, prompts and estimators through the command line: run, kept, shown, run again."""

import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from hfbench.cli import app as cli
from hfbench.execution.identity import cell_id_of
from hfbench.execution.inputs import Inputs
from hfbench.execution.survey import cells_to_look_at
from hfbench.models.rivals import features as features_module
from hfbench.recipe.load import load_recipe
from hfbench.records.predictions import load_predictions
from hfbench.records.store import ResultsFolder, load_records
from tests.models.rivals.networks import save_gpt2

PROMPT = {
    "template": "so {text} was",
    "labels": {"no": " bad", "yes": " great film"},
    "shots": 2,
    "calibrate": True,
}
MODULE = """
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
make = lambda: make_pipeline(CountVectorizer(), MultinomialNB())
"""
CELLS = ["asked--seed0", "asked--seed1", "count", "floor", "near", "probed", "thrice--seed0",
         "thrice--seed1"]  # fmt: skip


@pytest.fixture
def call(monkeypatch, capsys, quick_figures):
    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["hfbench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as leave:
            cli.main()
        said = capsys.readouterr()
        assert (leave.value.code or 0) == code, said.err
        return said.out + said.err

    return run


@pytest.fixture
def recipe(tmp_path, write_recipe, monkeypatch):
    """Its path: six rows, of which two depend on the seed."""
    monkeypatch.chdir(tmp_path)
    source = {"model_name_or_path": str(save_gpt2(tmp_path / "gpt2", positions=128))}
    name = f"own_{abs(hash(str(tmp_path)))}"  # a module is imported once in a process
    (tmp_path / f"{name}.py").write_text(MODULE)
    models = [
        {"name": "probed", **source, "probe": "linear"},
        {"name": "near", **source, "probe": {"head": "knn", "pooling": "last"}},
        {"name": "thrice", **source, "probe": "mlp"},
        {"name": "asked", **source, "prompt": PROMPT},
        {"name": "count", "estimator": f"{name}:make"},
        {"name": "floor", "control": "majority"},
    ]
    return write_recipe(models=models)


def results_of(recipe):
    return recipe.parent / "results" / "tiny"


def test_rows_that_are_not_trained_go_from_the_recipe_to_every_page(recipe, call):
    call("compare", recipe, "--jobs", 1)
    results = results_of(recipe)
    records = {record.stem: record for record in load_records(results)}
    assert sorted(records) == CELLS
    assert {record.status for record in records.values()} == {"finished"}
    for record in records.values():
        assert np.isfinite(load_predictions(record, results, "validation")["logits"]).all()
    probed, near, asked = (records[name] for name in ("probed", "near", "asked--seed1"))
    assert (probed.features.pooling, near.features.pooling) == ("mean", "last")
    assert (probed.features.width, probed.features.were_there) == (16, False)
    assert probed.fitted.chosen.keys() == {"C"}
    assert records["thrice--seed1"].features.were_there  # those of the linear one
    assert probed.model_facts.trainable_parameters == 17
    assert len(asked.prompt.shots) == 2
    assert asked.prompt.shots != records["asked--seed0"].prompt.shots
    assert asked.prompt.shares_prefix
    assert asked.prompt.word_tokens["yes"] > 1
    uses = {stem: record.use for stem, record in records.items()}
    assert uses["asked--seed1"] is uses["thrice--seed1"] is None  # the first seed is enough
    for stem in set(CELLS) - {"asked--seed1", "thrice--seed1"}:
        use = uses[stem]
        assert 0 < use.latency_p50 <= use.latency_p95
        assert use.disk_bytes <= use.memory_bytes
    weights = (recipe.parent / "gpt2" / "model.safetensors").stat().st_size
    assert uses["asked--seed0"].disk_bytes == pytest.approx(weights, rel=0.05)

    call("table", results)
    table = (results / "README.md").read_text()
    assert "probed: not fine-tuned: a linear classifier on 16 frozen features (mean), C " in table
    assert "near: not fine-tuned: nearest neighbours (by the cosine)" in table
    assert "asked: not trained: prompted with 2 training examples that the seed drew" in table
    assert "count: the estimator of own_" in table
    assert "## Cost of use" in table
    assert "What has no seed runs once" in table
    assert "latency_p50" in (results / "accuracy.csv").read_text().splitlines()[0]
    call("report", results)
    assert 'id="use"' in (results / "report.html").read_text()
    assert call("fsck", results).strip()
    assert "0 of 8 cells to run" in call("plan", recipe)
    before = {path: path.stat().st_mtime_ns for path in (results / "records").iterdir()}
    call("compare", recipe, "--jobs", 1)
    assert {path: path.stat().st_mtime_ns for path in (results / "records").iterdir()} == before
    cells = [part for name in ("probed", "asked--seed0", "count") for part in ("--cells", name)]
    said = call("verify", results, *cells, "--trust-remote-code")
    assert "3 of 3 cells are bit-identical" in said
    # what has no trained weights is not published as a model
    said = call("push", results, "probed", "--repo-id", "u/r", "--dry-run", code=2)
    assert "probed is a probe" in said


@pytest.mark.slow
def test_features_are_computed_once_and_again_where_they_are_damaged(recipe, call, monkeypatch):
    computed = []
    plain = features_module.compute_features

    def counting(model, columns, poolings, *rest):
        computed.append([pooling.name for pooling in poolings])
        return plain(model, columns, poolings, *rest)

    monkeypatch.setattr("hfbench.execution.features.compute_features", counting)
    call("compare", recipe, "--jobs", 1)
    assert computed == [["mean"], ["mean"], ["last"], ["last"]]  # of two splits each
    results = results_of(recipe)
    before = {record.stem: record.metrics for record in load_records(results)}
    files = sorted((results / "features").glob("*.safetensors"))
    assert len(files) == 4
    rows = [load_file(path)["features"] for path in files]
    bits = bytearray(files[0].read_bytes())
    bits[-3] ^= 1
    files[0].write_bytes(bits)
    files[1].write_bytes(files[1].read_bytes()[:-40])
    computed.clear()
    said = call("compare", recipe, "--jobs", 1, "--rerun")
    assert said.count("is damaged: computed again") == 2
    assert len(computed) == 2
    assert all((load_file(f)["features"] == r).all() for f, r in zip(files, rows, strict=True))
    assert {record.stem: record.metrics for record in load_records(results)} == before


@pytest.mark.slow
def test_workers_give_the_same_answers_to_the_last_bit(recipe, call):
    call("compare", recipe, "--jobs", 1)
    call("compare", recipe, "--jobs", 2, "--results-dir", recipe.parent / "other")
    one, other = results_of(recipe), recipe.parent / "other" / "tiny"
    for record in load_records(one):
        twin = ResultsFolder(other).record(record.stem)
        logits = [load_predictions(record, one, "validation")["logits"],
                  load_predictions(twin, other, "validation")["logits"]]  # fmt: skip
        assert np.array_equal(*logits), record.stem
        assert twin.cell_id == record.cell_id


@pytest.mark.parametrize(
    "change",
    [
        "models.probed.probe=knn",
        "models.probed.probe.pooling=last",
        "models.asked.prompt.shots=1",
        'models.asked.prompt.template="so {text} is"',
        "models.asked.prompt.likelihood=mean",
        "task.max_length=8",
    ],
)
def test_what_changes_answers_runs_again(recipe, change):
    def ids(*overrides):
        loaded = load_recipe(recipe, list(overrides))
        cells = cells_to_look_at(loaded, only_pretraining=False)
        inputs = Inputs(loaded, cells)
        return {cell.stem: cell_id_of(cell, inputs) for cell in cells}

    overrides = [change]
    if change == "models.probed.probe.pooling=last":
        overrides = ["models.probed.probe={head: linear, pooling: last}"]
    before, after = ids(), ids(*overrides)
    touched = "asked" if "asked" in change else "probed"
    changed = {stem for stem in before if before[stem] != after[stem]}
    assert any(stem.startswith(touched) for stem in changed)
    assert "floor" not in changed


def test_a_pretrained_model_of_ones_own_is_probed_and_prompted(write_recipe, tmp_path, call, rows):
    (tmp_path / "corpus.txt").write_text("\n".join(row["text"] for row in rows))
    source = {
        "preset": "gpt-nano",
        "config": {"n_layer": 1, "n_positions": 64},
        "pretrain": {
            "corpus": {"text_file": "corpus.txt", "cut": "rows"},
            "training_arguments": {"max_steps": 4, "per_device_train_batch_size": 4},
        },
    }
    models = [
        {"name": "probed", **source, "probe": "linear"},
        {"name": "asked", **source, "prompt": {**PROMPT, "shots": 0}},
    ]
    path = write_recipe(models=models, seeds=[0])
    call("compare", path, "--results-dir", tmp_path / "results", "--jobs", 1)
    records = {record.stem: record for record in load_records(tmp_path / "results" / "tiny")}
    assert records["probed"].corpus_overlap["validation"].exact > 0
    assert records["asked"].model_facts.class_name == "CustomGPTForCausalLM"
    assert records["probed"].model_facts.class_name == "CustomGPTModel"
    call("table", tmp_path / "results" / "tiny")
    table = (tmp_path / "results" / "tiny" / "README.md").read_text()
    assert table.count("one pretraining for all runs") == 2
