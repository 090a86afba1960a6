"""Which row is taken: only what the bounds say, whatever is to be small."""

import math
import re

import numpy as np
import pytest

from hfbench.errors import UserError
from hfbench.evidence.comparison import compare_records
from hfbench.evidence.decision import decide
from hfbench.records.asked import Asked
from hfbench.records.store import load_records
from hfbench.records.use import UseFacts

SHARES = {"large": 0.92, "small": 0.895, "tiny": 0.6}


def use(milliseconds, device="CPU"):
    return UseFacts(
        latency_p50=milliseconds / 1000, latency_p95=0.1, asked=5, texts_per_second=9.0,
        batch=8, disk_bytes=2**20, memory_bytes=2**21, memory_of="growth of the process",
        device=device, threads=1, alone=True,
    )  # fmt: skip


@pytest.fixture
def compared(tmp_path, write_record):
    """A function that makes a comparison of rows of so many parameters."""
    difficulty = np.random.default_rng(0).random(600)
    for number, (name, share) in enumerate(SHARES.items()):
        for seed in range(4):
            own = np.random.default_rng([number, seed]).random(600)
            write_record(tmp_path, name, seed, 0.9 * difficulty + 0.1 * own < share)

    def build(parameters=None, uses=None, metric=None, seconds=None):
        parameters = parameters or {"large": 1000, "small": 100, "tiny": 10}

        def changed(record):
            facts = record.model_facts.model_copy(
                update={"parameters": parameters.get(record.model)}
            )
            training = record.training.model_copy(
                update={"train_seconds": (seconds or {}).get(record.model, 2.0)}
            )
            measured = (uses or {}).get(record.model)
            return record.model_copy(
                update={"model_facts": facts, "use": measured, "training": training}
            )

        records = [changed(record) for record in load_records(tmp_path)]
        return compare_records(records, tmp_path, [Asked(metric=metric)])

    return build


def test_the_cheapest_of_those_within_the_margin_is_taken(compared):
    found = decide({"": compared()}, 0.05)
    assert found.chosen.name == "small"
    assert [one.name for one in found.options] == ["tiny", "small", "large"]
    assert [one.standing for one in found.options] == ["worse", "good enough", "good enough"]
    assert found.text.startswith(
        "Take small (100 parameters), the cheapest row that is shown to be within 5.0 points of "
        "the best: it is worse than the best by at most "
    )
    assert found.text.endswith("; every cheaper row is worse by 5.0 points or more.")


def test_with_a_wide_margin_anything_will_do(compared):
    found = decide({"": compared()}, 0.5)
    assert found.chosen.name == "tiny"
    assert found.text.endswith("; no row is cheaper.")


def test_what_is_open_says_what_to_run(compared):
    bound = {one.name: one.bound for one in decide({"": compared()}, 0.5).options}
    assert bound["large"] < bound["small"]
    found = decide({"": compared()}, (bound["large"] + bound["small"]) / 2)
    assert found.chosen.name == "large"
    assert "small (100 parameters) may be, too" in found.text
    assert re.search(r"\): [\d, a-z]* more (examples|seeds)[a-z ,\d]* would tell", found.text)
    nothing = decide({"": compared()}, bound["large"] / 2)
    assert nothing.chosen is None
    assert nothing.text.startswith("No row is shown to be within ")
    assert "large comes nearest" in nothing.text


def test_more_examples_or_seeds_need_fewer_where_the_difference_is_clearer(compared):
    from hfbench.evidence.more import more_needed

    table = compared().table
    gap = table.mixtures([("small", "large")])[0].centre
    near, far = (
        more_needed(table, "small", "large", gap - distance, 0.05) for distance in (0.012, 0.1)
    )
    assert near.seeds[0] > far.seeds[0] >= 1
    assert far.text == "up to 1 more examples, or up to 1 more seeds, would tell (80 % power)"
    # as near as it is known: it may be on the margin itself
    assert near.examples[1] is None


def test_clocks_are_asked_where_seconds_count(compared):
    uses = {"large": use(2), "small": use(8), "tiny": use(1)}
    found = decide({"": compared(uses=uses)}, 0.05, "latency")
    assert found.chosen.name == "large"
    assert "(2 ms a text)" in found.text
    # within a tenth clocks tell nothing, and the better one is taken
    near = decide({"": compared(uses={"large": use(2.1), "small": use(2)})}, 0.05, "latency")
    assert near.chosen.name == "large"
    assert "Cost unknown, so never chosen: tiny." in near.cautions
    slow = decide({"": compared(seconds={"large": 9.0})}, 0.05, "train_seconds")
    assert slow.chosen.name == "small"


def test_clocks_of_different_devices_are_refused(compared):
    uses = {"large": use(2, "GPU"), "small": use(8)}
    with pytest.raises(UserError, match=r"(large on GPU|small on CPU) and "):
        decide({"": compared(uses=uses)}, 0.05, "latency")
    with pytest.raises(UserError, match="no row has it"):
        decide({"": compared()}, 0.05, "latency")


def test_of_a_row_of_unknown_cost_nothing_is_bought(compared):
    found = decide({"": compared({"large": None, "small": None, "tiny": 10})}, 0.05)
    assert found.chosen is None
    assert found.text.startswith("What these cost (parameters) is unknown: ")


def test_where_lower_is_better_the_lowest_is_the_best(compared):
    comparison = compared(metric="nll")
    found = decide({"": comparison}, 1.0)
    assert comparison.finished[0].name == "large"
    assert next(one.bound for one in found.options if one.name == "tiny") > 0


def test_on_several_tasks_a_row_must_do_on_each(compared):
    one = compared()
    both = decide({"first": one, "second": one}, 0.05)
    alone = decide({"": one}, 0.05)
    assert both.chosen.name == "small"
    assert "on each of the 2 tasks" in both.text
    # the error is shared by the tasks
    assert both.chosen.bound > alone.chosen.bound


@pytest.mark.parametrize("margin", [0, -0.1, math.inf, math.nan])
def test_a_margin_is_above_nothing(compared, margin):
    with pytest.raises(UserError, match="margin must be above 0"):
        decide({"": compared()}, margin)
