"""Features that a process has kept are read where they are what was written under their name."""

import os
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from hfbench.errors import RecordError
from hfbench.execution import features
from hfbench.records.store import ResultsFolder

ROWS = np.random.default_rng(0).normal(size=(2, 2, 6, 4)).astype(np.float32)
POOLINGS = [SimpleNamespace(name="mean"), SimpleNamespace(name="first")]


class Split:
    """Texts as a network reads them, as far as it is asked here."""

    column_names = ("input_ids", "labels")

    def __init__(self, number):
        self.number = number

    def __len__(self):
        return 6

    def __getitem__(self, name):
        return [self.number]


@pytest.fixture
def find(tmp_path, monkeypatch):
    """A function that finds the features of two splits by two poolings; what it said is beside."""

    def compute(model, columns, poolings, pad):
        rows = dict(zip(("mean", "first"), ROWS[columns["input_ids"][0]], strict=True))
        return SimpleNamespace(rows={p.name: rows[p.name] for p in poolings}, seconds=0.5)

    monkeypatch.setattr(features, "compute_features", compute)
    splits = {f"split {number}": (f"hash {number}", Split(number)) for number in (0, 1)}

    def run():
        run.said = []
        load, say = lambda: "a network", run.said.append
        found = features.find_features(
            ResultsFolder(tmp_path), {"model": "m"}, splits, POOLINGS, load, 0, say
        )
        return {
            name: ([*map(np.ndarray.tolist, one.rows.values())], one.seconds)
            for name, one in found.items()
        }

    return run


def as_written():
    by_pooling = zip(("mean", "first"), ROWS.swapaxes(0, 1), strict=True)
    return {name: ([*map(np.ndarray.tolist, rows)], 1.0) for name, rows in by_pooling}


@pytest.fixture
def files(find, tmp_path):
    assert find() == as_written()
    return sorted((tmp_path / "features").glob("*.safetensors"))


def exchange(path, other):
    first, second = path.read_bytes(), other.read_bytes()
    path.write_bytes(second)
    other.write_bytes(first)


def change_seconds(path, other):
    path.write_bytes(path.read_bytes().replace(b'"seconds":"0.5"', b'"seconds":"0.4"'))


def link(path, other):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def pipe(path, other):
    path.unlink()
    os.mkfifo(path)


def plant_pickle(path, other):
    path.write_bytes(pickle.dumps(SimpleNamespace(run=1)))


def leave_rows_out(path, other):
    with safe_open(path, framework="numpy") as file:
        metadata, rows = file.metadata(), file.get_tensor("features")[:5]
    metadata["sha256"] = features._hash(path, rows, metadata["seconds"])
    save_file({"features": rows}, path, metadata)


@pytest.mark.parametrize(
    "spoil", [exchange, change_seconds, link, pipe, plant_pickle, leave_rows_out]
)
def test_what_was_not_written_under_this_name_is_computed_again(find, files, spoil):
    assert len(files) == 4
    spoil(*files[:2])
    assert find() == as_written()
    assert len(find.said) == (2 if spoil is exchange else 1)
    assert all(line.endswith("is damaged: computed again") for line in find.said)
    assert find() == as_written()
    assert find.said == []


def test_features_are_kept_in_the_results_folder_alone(find, files, tmp_path):
    """A folder that leads elsewhere is refused, as that of the records is."""
    inside, elsewhere = tmp_path / "features", tmp_path / "elsewhere"
    inside.rename(elsewhere)
    inside.symlink_to(elsewhere)
    before = {path.name: path.read_bytes() for path in elsewhere.iterdir()}
    with pytest.raises(
        RecordError, match=r"features: is a link to .*elsewhere; links are not followed"
    ):
        find()
    assert {path.name: path.read_bytes() for path in elsewhere.iterdir()} == before


def test_a_flipped_bit_of_each_byte_is_noticed_or_without_effect(find, files):
    whole = files[0].read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1  # of a digit another digit
        files[0].write_bytes(changed)
        assert find() == as_written(), place
