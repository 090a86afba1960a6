"""The verb `hfbench pack`: packed results are read by every verb, and unpacked by what runs."""

import pytest

from hfbench.records.store import ResultsFolder


@pytest.fixture
def recipe(write_recipe):
    controls = [{"name": name, "control": name} for name in ("majority", "tfidf-logreg")]
    return write_recipe(models=controls)


def test_packed_results_are_read_found_and_run_on(call, recipe, tmp_path):
    results = tmp_path / "results"
    folder = ResultsFolder(results / "tiny")
    assert call("compare", recipe, "--results-dir", results)[0] == 0
    table = (folder.path / "README.md").read_bytes()
    code, said, _ = call("pack", results)
    assert (code, said) == (0, f"{folder.path}: 2 records packed\n")
    assert call("pack", results)[1] == f"{results}: nothing to pack\n"
    assert call("fsck", results)[1] == "2 records looked at, 0 damaged\n"
    # a comparison with nothing to run leaves them packed; its tables are the same
    assert call("compare", recipe, "--results-dir", results)[0] == 0
    assert folder.packed
    assert (folder.path / "README.md").read_bytes() == table
    # another recipe finds them
    assert "majority" in call("compare", recipe, "--results-dir", results, "name=other")[1]
    assert ResultsFolder(results / "other").record("majority").adopted_from == "tiny/majority"
    # a cell that runs unpacks them, and nothing else runs
    call("compare", recipe, "--results-dir", results, "task.first=20")
    assert not folder.packed
    assert (folder.records / "superseded").is_dir()
    assert call("pack", results / "tiny")[0] == 0
    assert call("pack", results / "tiny", "--undo")[1] == f"{folder.path}: 2 records unpacked\n"
    assert not folder.packed
