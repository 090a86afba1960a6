"""Results that come from elsewhere: nothing outside their folder is read, written or removed."""

import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.by_hand import write_by_hand

from hfbench.cli.app import main
from hfbench.errors import RecordError, UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.page import write_report
from hfbench.evidence.plots import write_plots
from hfbench.evidence.table import write_table
from hfbench.publish.bundle import stage_files
from hfbench.records.pack import pack
from hfbench.records.record_file import load_record
from hfbench.records.store import ResultsFolder, load_records


@pytest.fixture
def results(tmp_path, write_record):
    """A results folder among other folders, as it might be sent to somebody."""
    folder = tmp_path / "results" / "r"
    for model in ("mine", "theirs"):
        write_record(folder, model, 0, np.arange(20) % 3 > 0)
    return folder


def change(results, **values):
    """Change a record by hand, at keys that may be dotted."""
    path = results / "records" / "mine--seed0.json"
    record = json.loads(path.read_text("utf-8"))
    for key, value in values.items():
        *parents, last = key.split(".")
        place = record
        for parent in parents:
            place = place[parent]
        place[last] = value
    write_by_hand(path, record)
    return path


CLIMBING = [
    "../../secret",
    "/etc/passwd",
    "..\\..\\secret",
    "a/b",
    "\0",
    "..",
    ".hidden",
    "x" * 300,
]


@pytest.mark.parametrize("name", CLIMBING)
def test_predictions_are_read_beside_their_record_only(results, tmp_path, name):
    source = results / "records" / "mine--seed0.parquet"
    shutil.copyfile(source, tmp_path / "secret")
    change(results, predictions=name)
    with pytest.raises(RecordError, match="cannot be the name of a file"):
        load_comparison(results)


@pytest.mark.parametrize("model", [*CLIMBING, "../../models/evil"])
def test_a_models_name_is_no_path(results, model):
    path = change(results, model=model)
    with pytest.raises(RecordError, match="cannot be the name of a file"):
        load_record(path)


@pytest.mark.parametrize("started", ["../../../elsewhere", "..", "/tmp/x", ""])
def test_what_is_superseded_stays_in_its_folder(results, tmp_path, started):
    """The old record is moved to a folder that is named by its start."""
    new = load_record(results / "records" / "mine--seed0.json")
    change(results, started=started)
    before = files(tmp_path)
    with pytest.raises(RecordError, match="started"):
        ResultsFolder(results).keep(new, pa.table({"x": [1]}))
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", ["mine--seed0.json", "mine--seed0.parquet"])
def test_links_are_not_followed(results, tmp_path, name):
    path = results / "records" / name
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RecordError, match="links are not followed"):
        load_comparison(results)


LOCKED = ["locks", "runs", "models", "features", "push", "tensorboard", "hfbench.log"]


@pytest.mark.parametrize("verb", ["pack", "unpack", "compare", "push"])
@pytest.mark.parametrize("name", LOCKED)
def test_nothing_is_written_or_removed_through_a_link(
    results, tmp_path, write_recipe, monkeypatch, capsys, name, verb
):
    """A lock that nobody holds would be removed: uv.lock, of whatever project it is."""
    outside = tmp_path / "outside"
    (outside / "empty").mkdir(parents=True)
    (outside / "uv.lock").write_text("mine", "utf-8")
    recipe = write_recipe(models=[{"name": "floor", "control": "majority"}], name="r")
    if verb == "unpack":
        pack(ResultsFolder(results))
    target = outside / "uv.lock" if name == "hfbench.log" else outside
    (results / name).symlink_to(target)
    command = {
        "pack": ["pack", str(results)],
        "unpack": ["pack", str(results), "--undo"],
        "compare": ["compare", str(recipe), "--results-dir", str(results.parent)],
        "push": ["push", str(results), "--repo-id", "me/it", "--dry-run"],
    }[verb]
    monkeypatch.setattr("sys.argv", ["hfbench", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"{name}: is a link to {target}; links are not followed" in capsys.readouterr().err
    assert sorted(path.name for path in outside.iterdir()) == ["empty", "uv.lock"]
    assert (outside / "uv.lock").read_text("utf-8") == "mine"


@pytest.mark.parametrize("name", ["merges.txt", "model.safetensors", "evil.py"])
def test_a_link_among_a_models_files_is_not_published(tmp_path, name):
    folder, secret = tmp_path / "model", tmp_path / "secret"
    folder.mkdir()
    secret.write_text("a key of mine", "utf-8")
    (folder / "config.json").write_text(json.dumps(CODE if name == "evil.py" else {}), "utf-8")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(secret)
    with pytest.raises(UserError, match="is a link"):
        stage_files(folder, tmp_path / "staged")
    assert not any(
        b"a key" in content for content in files(tmp_path / "staged").values() if content
    )


CODE = {"auto_map": {"AutoConfig": "evil.C", "AutoModelForSequenceClassification": "evil.M"}}


@pytest.mark.parametrize("reference", ["../secret.C", "/etc/secret.C", "a/b.C", "..\\secret.C"])
def test_a_models_code_is_in_its_folder(tmp_path, reference):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.py").write_text("mine", "utf-8")
    auto_map = dict.fromkeys(CODE["auto_map"], reference)
    (folder / "config.json").write_text(json.dumps({"auto_map": auto_map}), "utf-8")
    with pytest.raises(UserError, match=r"is not module\.Class"):
        stage_files(folder, tmp_path / "staged")
    assert not (tmp_path / "staged").exists()


@pytest.mark.parametrize(
    "repo_id",
    ["..", "../..", "a/../b", "/etc/x", "", ".", "a/b/c", "a\\b", "a/..", "../a", "a/b\0"],
)
@pytest.mark.parametrize("model", [["mine"], []])
def test_a_repos_name_leads_nowhere(results, tmp_path, monkeypatch, capsys, repo_id, model):
    """A dry run empties the folder that it is about to write."""
    (results / "push").mkdir()
    before = files(tmp_path)
    arguments = ["push", str(results), *model, "--repo-id", repo_id, "--dry-run"]
    monkeypatch.setattr("sys.argv", ["hfbench", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert "repo-id" in capsys.readouterr().err
    assert files(tmp_path) == before


def files(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


HOSTILE = [
    "<script>alert(1)<script>",
    "<img src=x onerror=alert(1)>",
    "![x](javascript:alert(1))",
    "[x](http:evil)",
    "\\input{passwd}\\immediate\\write18{touch canary}",
    '=HYPERLINK("http:evil","x")',
    "+1+cmd|' C calc'!A0",
    "@SUM(1)",
    "-2+3",
    "$\\frac{$ {{ 6999*3 }} {% include 'x' %}",
    "a|b\nc\r\n# d",
    "\x1b[2J\x1b]0;x\x07",
]


def test_what_a_record_says_stays_text(results):
    """In every text of a record that is shown, in every output."""
    text = " ".join(HOSTILE)
    labels = ["x", text]
    counts = {"x": 10, text: 11}
    for record in load_records(results):
        task = record.task.model_copy(
            update={
                "labels": labels,
                "source": text,
                "splits": {
                    split: facts.model_copy(update={"label_counts": counts})
                    for split, facts in record.task.splits.items()
                },
            }
        )
        facts = record.model_facts.model_copy(update={"source": text, "class_name": text})
        training = record.training.model_copy(update={"device": text})
        changed = {"task": task, "model_facts": facts, "training": training, "recipe": text}
        table = pq.read_table(results / "records" / record.predictions)
        ResultsFolder(results).keep(record.model_copy(update=changed), table)
    comparison = load_comparison(results)
    written = write_table(Findings.of(comparison), results)
    written += [
        write_report(Findings.of(comparison), results),
        *write_plots(comparison, results / "plots"),
    ]
    shown = {path.name: path.read_text("utf-8") for path in written if path.suffix != ".png"}
    for name, content in shown.items():
        assert "20997" not in content  # no template of anybody's was rendered
        if name.endswith((".html", ".svg")):
            assert "<script>alert" not in content
            assert "<img" not in content.replace('<img src="data:', "")
            assert 'href="javascript' not in content
            assert 'href="http:evil' not in content
        if name.endswith(".tex"):
            assert "\\input{" not in content
            assert "\\immediate" not in content
            assert "\\write18" not in content


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", " "])
def test_a_models_name_is_no_formula_of_a_spreadsheet(results, start):
    """It is the only text of a record in accuracy.csv."""
    path = change(results, model=f"{start}HYPERLINK(1)")
    with pytest.raises(RecordError, match="cannot be the name of a file"):
        load_record(path)


def test_the_code_that_a_record_names_is_run_with_permission_only(
    results, tmp_path, canary, code, monkeypatch, capsys
):
    """The permission of the one who wrote the record is not that of the one who verifies it."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "evil.py").write_text(code, "utf-8")
    auto_map = {"AutoConfig": "evil.C", "AutoModelForSequenceClassification": "evil.M"}
    (model / "config.json").write_text(json.dumps({"auto_map": auto_map, "model_type": "e"}))
    entry = {"name": "mine", "model_name_or_path": str(model), "trust_remote_code": True}
    entry["tokenizer"] = {"train_on": "task", "vocab_size": 300}
    task = {"builtin": "sentiment", "validation_size": 0.5}
    settings = {"models": [entry], "task": task, "seeds": [0]}
    change(results, settings=settings, environment={"torch_threads": 1})
    for permission in ([], ["--trust-remote-code"]):
        arguments = ["verify", str(results), "--cells", "mine--*", *permission]
        monkeypatch.setattr("sys.argv", ["hfbench", *arguments])
        with pytest.raises((SystemExit, AttributeError)):
            main()
        assert canary.exists() == bool(permission)
    assert "brings code of its own: read it" in capsys.readouterr().err
