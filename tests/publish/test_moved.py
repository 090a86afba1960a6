"""A model of the Hub that moves under its name is another model; one that is copied is not."""

import pytest

from hfbench.execution.identity import identify
from hfbench.execution.inputs import Inputs
from hfbench.recipe.cells import plan_comparison
from hfbench.recipe.load import load_recipe
from hfbench.records.identity import differences


@pytest.fixture
def identity(hub, results, write_recipe):
    """A function that gives what decides the cell of a model that is on the Hub."""
    base = {path.name: path.read_bytes() for path in (results.parents[1] / "base").iterdir()}
    hub.add_repo("ada/base", base)

    def identity_of(**changes):
        model = {"name": "tuned", "model_name_or_path": "ada/base", **changes}
        recipe = load_recipe(write_recipe(models=[model], seeds=[0]))
        (cell,) = plan_comparison(recipe)
        return identify(cell, Inputs(recipe, [cell]))

    return identity_of


def test_a_revision_that_moved_is_noticed_and_one_that_is_pinned_stays(hub, identity):
    before = identity()
    assert identity() == before
    first = before["model"]["weights"]
    assert identity(revision=first) == before
    second = hub.commit("ada/base", {"notes.txt": b"weights of today"})
    assert differences(before, identity()) == [f"model.weights: {first[:12]} -> {second[:12]}"]
    assert identity(revision=first) == before
