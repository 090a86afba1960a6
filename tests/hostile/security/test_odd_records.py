"""Records that the schema may admit and nobody writes: a message or a table, never a traceback."""

import copy
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.by_hand import write_by_hand

from hfbench.errors import HfbenchError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.findings import Findings
from hfbench.evidence.gate import Side, gate
from hfbench.evidence.page import write_report
from hfbench.evidence.table import write_table
from hfbench.records.pack import unpack
from hfbench.records.store import ResultsFolder

ODD = [
    None, True, 0, -1, 1, 10**400, 10**18, -(10**18), 1e308, -1e308, 0.0, -0.5, 1e-320, "", "x",
    "0", "\x1b]52;c;x\x07", "=1+1", "a" * 5000, [], {}, [1], [None], [[]], {"a": 1},
    {"x": 1, "y": 2}, [{"step": 1.0}],
]  # fmt: skip


def places(values, path=()):
    """The path of each value in a record; of a list, of the first three."""
    if path:
        yield path
    items = values.items() if isinstance(values, dict) else enumerate(
        values[:3] if isinstance(values, list) else []
    )  # fmt: skip
    for key, value in items:
        yield from places(value, (*path, key))


def spoil(values, rng):
    """A copy in which one value is odd or, now and then, missing; and where."""
    values = copy.deepcopy(values)
    path = rng.choice(list(places(values)))
    part = values
    for key in path[:-1]:
        part = part[key]
    if isinstance(part, dict) and rng.random() < 0.2:
        del part[path[-1]]
    else:
        part[path[-1]] = rng.choice(ODD)
    return values, path


@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("seed", "times"), [(0, 60), pytest.param(1, 4000, marks=pytest.mark.slow)]
)
def test_an_odd_record_is_a_message_or_a_row(tmp_path, write_record, seed, times):
    for model in ("a", "b"):
        for run in range(2):
            write_record(tmp_path, model, run, np.arange(20) % 3 > run)
    write_record(tmp_path, "floor", None, np.arange(20) % 2 > 0, control=True)
    failure = {"type": "E", "message": "m", "step": 1}
    write_record(tmp_path, "bad", 0, [True] * 20, failure=failure)
    paths = [tmp_path / "records" / f"{name}.json" for name in ("a--seed0", "floor", "bad--seed0")]
    whole = {path: json.loads(path.read_text()) for path in paths}
    rng, refused = random.Random(seed), 0
    for number in range(times):
        path = rng.choice(paths)
        values, place = spoil(whole[path], rng)
        write_by_hand(path, values)
        try:
            findings = Findings.of(load_comparison(tmp_path))
            write_table(findings, tmp_path)
            if number % 5 == 0:
                write_report(findings, tmp_path)
        except HfbenchError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{path.name}: {place}") from error
        write_by_hand(path, whole[path])
    assert 0.2 * times < refused < 0.95 * times


RESULTS = Path(__file__).parents[3] / "results"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize(
    ("recipe", "models"),
    [
        ("quickstart", ["gpt-nano", "gpt-nano-pretrained", "gpt-nano-probe"]),
        ("rivals", ["minilm", "minilm-linear", "stories-4-shots", "naive-bayes"]),
        ("sst2_folds", ["gpt-nano", "minilm-linear", "tfidf-logreg"]),
        ("three_tasks/trec", ["gpt-nano", "tiny-gpt2"]),
    ],
)
def test_an_odd_record_of_published_results_is_a_message_or_a_row(tmp_path, recipe, models):
    """Of every kind: probes, prompts, folds; texts that were cut, settings that were tuned."""
    good, odd = tmp_path / "good", tmp_path / "odd"
    shutil.copytree(RESULTS / recipe, good)
    if ResultsFolder(good).packed:
        unpack(ResultsFolder(good))
    for path in (good / "records").iterdir():
        if path.stem.split("--")[0] not in models:
            path.unlink()
    shutil.copytree(good, odd)
    side = Side("good", None, {"": load_comparison(good)})
    paths = sorted((odd / "records").glob("*.json"))
    assert {path.stem.split("--")[0] for path in paths} == {*models}
    rng, refused = random.Random(0), 0
    for number in range(200):
        path = rng.choice(paths)
        values, place = spoil(json.loads(path.read_text("utf-8")), rng)
        whole = path.read_bytes()
        write_by_hand(path, values)
        try:
            found = load_comparison(odd)
            gate(side, Side("odd", None, {"": found}), 0.01).to_junit()
            findings = Findings.of(found)
            write_table(findings, tmp_path)
            if number % 100 == 0:
                write_report(findings, tmp_path)
        except HfbenchError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"{path.name}: {place}") from error
        path.write_bytes(whole)
    assert 0 < refused < 200
