import json
import random

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hfbench.cli.app import main
from hfbench.errors import RecordError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.table import as_markdown
from hfbench.records.damage import find_damage
from hfbench.records.pack import pack
from hfbench.records.predictions import read_predictions_table
from hfbench.records.store import ResultsFolder


@pytest.fixture
def results(tmp_path, write_record):
    """Of two recipes."""
    for recipe in ("one", "two"):
        for seed in range(2):
            write_record(tmp_path / recipe, "m", seed, np.arange(40) % 3 > seed)
        write_record(tmp_path / recipe, "floor", None, np.arange(40) % 2 > 0, control=True)
    return tmp_path


@pytest.fixture
def fsck(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["hfbench", "fsck", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, capsys.readouterr().out

    return run


def flip(path, rng):
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def test_what_was_written_is_whole(results, fsck):
    assert fsck(results) == (0, "6 records looked at, 0 damaged\n")
    assert fsck(results / "one") == (0, "3 records looked at, 0 damaged\n")


@pytest.mark.parametrize("seed", range(10))
def test_flipped_bits_are_found_and_set_aside(results, fsck, seed):
    rng = random.Random(seed)
    flip(results / "one" / "records" / "m--seed0.parquet", rng)
    (results / "two" / "records" / "floor.json").write_text("")
    code, said = fsck(results)
    assert code == 1
    assert "one/records/m--seed0.parquet: " in said
    assert "two/records/floor.json: not a valid record: " in said
    assert said.endswith("6 records looked at, 2 damaged\n")
    assert (results / "one" / "records" / "m--seed0.json").exists()
    code, said = fsck(results, "--repair")
    assert code == 0
    assert f"moved to {results / 'one' / 'records' / 'damaged' / 'm--seed0.json'}" in said
    assert fsck(results) == (0, "4 records looked at, 0 damaged\n")


@pytest.mark.slow
@pytest.mark.parametrize("is_packed", [False, True], ids=["loose", "packed"])
def test_a_thousand_changed_bytes_are_noticed_or_without_effect(tmp_path, write_record, is_packed):
    """In records, predictions and weights alike; what a table prints is never another."""
    for seed in range(2):
        write_record(tmp_path / "one", "m", seed, np.arange(40) % 3 > seed)
    folder, rng = ResultsFolder(tmp_path / "one"), random.Random(0)
    record = folder.record("m--seed0")
    weights = {"a": torch.randn(50, 50), "b": torch.randn(7)}
    folder.keep(
        record.model_copy(update={"started": "2027-01-01T00:00:00+00:00"}),
        read_predictions_table(record, folder),
        lambda path: save_file(weights, path / "model.safetensors"),
    )
    if is_packed:
        pack(folder)
    assert [*find_damage(folder)] == []

    def printed():
        return as_markdown(Findings.of(load_comparison(folder.path)))

    before = printed()
    files = [path for path in folder.path.rglob("*") if path.is_file() and path.stat().st_size]
    files = [path for path in files if "superseded" not in path.parts]
    assert {path.suffix for path in files} >= {".parquet", ".safetensors"}
    noticed = 0
    for _ in range(1000):
        path = rng.choice(files)
        content = path.read_bytes()
        place = rng.randrange(len(content))
        changed = content[place] ^ rng.randrange(1, 256)
        path.write_bytes(content[:place] + bytes([changed]) + content[place + 1 :])
        try:
            is_damaged = bool([*find_damage(folder)])
            assert printed() == before, path
        except RecordError:
            is_damaged = True
        # what nobody reads may change: spaces in JSON; in a packed file what wrote it, statistics
        assert is_damaged or path.suffix != ".safetensors", path
        noticed += is_damaged
        path.write_bytes(content)
    print(f"{noticed} of 1,000 noticed, the others without effect")
    assert noticed > (600 if is_packed else 990)


def test_weights_that_are_not_those_of_the_record_are_found(tmp_path, write_record, fsck):
    record = write_record(tmp_path, "m", 0, np.arange(40) % 3 > 0)
    folder = ResultsFolder(tmp_path)
    folder.keep(record, None, lambda path: (path / "model.safetensors").write_bytes(bytes(999)))
    values = json.loads(folder.record_path("m--seed0").read_text())
    assert values["saved_weights"]
    (folder.records / "m--seed0.parquet").unlink(missing_ok=True)
    write_record(tmp_path, "m", 0, np.arange(40) % 3 > 0, saved_weights=values["saved_weights"])
    assert fsck(tmp_path)[0] == 0
    flip(folder.weights("m--seed0") / "model.safetensors", random.Random(0))
    code, said = fsck(tmp_path, "--repair")
    assert (code, "these are not the weights that were saved" in said) == (0, True)
    assert (tmp_path / "models" / "m--seed0.damaged").is_dir()


def test_no_results_are_a_message(tmp_path, fsck):
    assert fsck(tmp_path)[0] == 2


def test_a_link_that_leads_nowhere_is_found_and_set_aside(results, fsck):
    (results / "one" / "records" / "m--seed7.json").symlink_to(results / "nothing")
    code, said = fsck(results, "--repair")
    assert code == 0
    assert "one/records/m--seed7.json: is a link to" in said
    assert fsck(results) == (0, "6 records looked at, 0 damaged\n")
