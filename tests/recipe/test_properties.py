"""What must hold for any recipe, any split and any record."""

import copy
import json
import re
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from hfbench.data.subsets import nested_order
from hfbench.data.task import load_task
from hfbench.errors import UserError
from hfbench.recipe.fields import custom_gpt_fields, training_arguments_fields
from hfbench.recipe.load import load_recipe
from hfbench.recipe.model import Corpus, Lora, Model, Pretrain, Tokenizer
from hfbench.recipe.schema import Recipe
from hfbench.recipe.task import Task
from hfbench.records.data import SplitData, TaskData
from hfbench.records.predictions import load_predictions
from hfbench.records.record_file import load_record
from hfbench.records.schema import ControlRecord, FailedRecord, Failure, ModelFacts
from hfbench.records.store import ResultsFolder

quick = settings(derandomize=True, database=None)
slower = settings(quick, max_examples=quick.max_examples // 4)

slugs = st.from_regex(r"[A-Za-z0-9]((-?[A-Za-z0-9._]){0,7}[A-Za-z0-9_])?", fullmatch=True).filter(
    lambda name: not re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", name, re.IGNORECASE)
)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20)
lines = texts.filter(lambda text: text.strip() == text != "")
counts = st.integers(1, 10**6)
arguments = st.fixed_dictionaries(
    {},
    optional={
        "learning_rate": st.floats(1e-9, 1),
        "per_device_train_batch_size": st.integers(1, 64),
        "max_steps": st.integers(1, 1000),
        "lr_scheduler_type": st.sampled_from(["constant", "linear"]),
        "bf16": st.booleans(),
    },
)


def some(**optional):
    """Some of these keys."""
    return st.fixed_dictionaries({}, optional=optional)


def joined(*parts):
    """The keys of all these mappings."""
    return st.tuples(*parts).map(
        lambda mappings: {k: v for part in mappings for k, v in part.items()}
    )


tasks = joined(
    st.sampled_from([{"builtin": "sentiment"}, {"dataset_name": "a/b", "dataset_config": "c"}]),
    st.sampled_from(
        [
            {"validation_split": "dev"},
            {"validation_size": 9},
            {"validation_size": 0.1, "split": "last"},
        ]
    ),
    st.sampled_from([{}, {"text_column": "s"}, {"text_column": ["s", "t"]}]),
    some(first=counts, split_seed=st.integers(0, 99), max_length=counts, min_class_size=counts),
    some(
        group_column=st.just("g"),
        label_names=st.just({"0": "no", "1": "yes"}),
        title=st.just("a title"),
        truncation=st.sampled_from(["head", "tail", "head_tail"]),
    ),
)
corpora = joined(
    st.sampled_from([{"builtin": "pets"}, {"dataset_name": "a/b"}]),
    some(cut=st.sampled_from(["rows", "blocks"]), first=counts, train_share=st.floats(0.1, 0.9)),
)
pretraining = st.fixed_dictionaries(
    {"corpus": corpora}, optional={"seed": st.integers(0, 9), "training_arguments": arguments}
)
custom = joined(
    st.sampled_from([{"preset": "gpt-nano"}, {"preset": "gpt-micro"}]),
    some(
        config=some(n_layer=st.integers(1, 4), embd_pdrop=st.floats(0, 0.9)), pretrain=pretraining
    ),
    some(training_arguments=arguments, optimizer=st.sampled_from(["study", "huggingface"])),
)
checkpoints = joined(
    st.just({"model_name_or_path": "a/b"}),
    some(revision=st.just("main"), lora=some(r=counts, lora_dropout=st.floats(0, 0.9))),
    some(training_arguments=arguments),
)
controls = st.sampled_from([{"control": "majority"}, {"control": "tfidf-logreg"}])


@st.composite
def recipes(draw):
    """What a valid recipe's file holds."""
    names = draw(st.lists(slugs, min_size=1, max_size=3, unique_by=str.lower))
    models = [{"name": name, **draw(custom | checkpoints | controls)} for name in names]
    optional = some(
        description=texts,
        seeds=st.lists(st.integers(0, 2**31), min_size=1, max_size=4, unique=True),
        train_sizes=st.lists(counts, max_size=3, unique=True).map(sorted),
        training_arguments=arguments,
        save_models=st.booleans(),
    )
    tokenizer = draw(
        st.sampled_from([{"train_on": "task", "vocab_size": 400}, {"name_or_path": "a/b"}])
    )
    return {
        "name": draw(slugs),
        "task": draw(tasks),
        "tokenizer": tokenizer,
        "models": models,
        **draw(optional),
    }


def parse(values, overrides=()) -> Recipe:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")  # JSON is YAML
        return load_recipe(path, list(overrides))


SECTIONS = {
    "task": Task, "tokenizer": Tokenizer, "pretrain": Pretrain, "corpus": Corpus, "lora": Lora,
}  # fmt: skip


def sections(values, known=frozenset(Recipe.model_fields), path=()):
    """(key path, known keys) of each mapping of a recipe."""
    yield path, known
    for key, value in values.items():
        if key == "models":
            for index, model in enumerate(value):
                yield from sections(model, frozenset(Model.model_fields), (*path, key, index))
        elif key in SECTIONS:
            yield from sections(value, frozenset(SECTIONS[key].model_fields), (*path, key))
        elif key == "training_arguments":
            yield (*path, key), frozenset(training_arguments_fields())
        elif key == "config":
            yield (*path, key), frozenset(custom_gpt_fields())


def at(values, path):
    for part in path:
        values = values[part]
    return values


@slower
@given(recipes())
def test_a_recipe_that_is_written_and_read_is_the_same(values):
    recipe = parse(values)
    again = parse(recipe.model_dump(mode="json", exclude_unset=True))
    assert again.model_dump() == recipe.model_dump()
    complete = parse(recipe.model_dump(mode="json"))
    assert complete.model_dump() == recipe.model_dump()


@slower
@given(recipes(), st.data())
def test_an_unknown_key_anywhere_is_refused_with_the_nearest_known(values, data):
    path, known = data.draw(st.sampled_from(sorted(sections(values), key=str)))
    key = data.draw(st.sampled_from(sorted(name for name in known if len(name) > 4)))
    typo = key[:-2] + key[-1] + key[-2] + "e"
    assume(typo not in known)
    changed = copy.deepcopy(values)
    at(changed, path)[typo] = 1
    with pytest.raises(UserError) as error:
        parse(changed)
    message = str(error.value)
    assert "recipe.yaml: " in message
    assert "unknown key" in message
    assert typo in message
    hints = {f"did you mean {name!r}?" for name in known}
    assert any(hint in message for hint in hints)
    where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")
    assert where in message.replace(": config:", ".config:")  # presets know their fields later


@slower
@given(recipes(), st.data())
def test_an_override_does_what_the_key_in_the_file_does(values, data):
    model = data.draw(st.sampled_from(values["models"]))
    settable = {
        ("seeds",): st.lists(st.integers(0, 99), min_size=1, unique=True),
        ("description",): texts,
        ("training_arguments", "learning_rate"): st.floats(1e-9, 1),
        ("task", "max_length"): counts,
        ("task", "text_column"): st.just(["s", "t"]),
    }
    if "control" not in model:
        settable["models", model["name"], "training_arguments", "warmup_steps"] = st.integers(0, 9)
    path = data.draw(st.sampled_from(list(settable)))
    value = data.draw(settable[path])
    changed = copy.deepcopy(values)
    target = changed
    for part in path[:-1]:
        if isinstance(target, list):
            target = next(entry for entry in target if entry["name"] == part)
        else:
            target = target.setdefault(part, {})
    target[path[-1]] = value
    override = f"{'.'.join(path)}={json.dumps(value, ensure_ascii=False)}"
    assert parse(values, [override]).model_dump() == parse(changed).model_dump()


@slower
@given(
    st.lists(st.integers(3, 20), min_size=2, max_size=4),
    st.integers(4, 12) | st.floats(0.2, 0.6),
    st.integers(0, 3),
)
def test_a_validation_held_out_is_disjoint_stratified_and_the_same_each_time(totals, size, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(totals)), totals))
    labels = labels.tolist()
    with tempfile.TemporaryDirectory() as folder:
        rows = [{"text": f"text {row}", "label": label} for row, label in enumerate(labels)]
        (Path(folder) / "t.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        task = Task(data_files={"train": "t.jsonl"}, validation_size=size, split_seed=seed)
        try:
            loaded = load_task(task, Path(folder))
        except UserError:  # too few of a label, or for a split
            event("refused")
            return
        again = load_task(task, Path(folder))
    ids = {split: list(data["id"]) for split, data in loaded.splits.items()}
    assert not {*ids["train"]} & {*ids["validation"]}
    assert {*ids["train"], *ids["validation"]} == {f"train/{row}" for row in range(len(labels))}
    held_out = loaded.facts.splits["validation"]
    assert held_out.examples == (size if isinstance(size, int) else np.ceil(size * len(labels)))
    for label, count in Counter(map(str, labels)).items():
        expected = count * held_out.examples / len(labels)
        assert abs(held_out.label_counts[label] - expected) <= 1
    assert again.facts == loaded.facts
    assert {split: list(data["id"]) for split, data in again.splits.items()} == ids


@quick
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 99))
def test_every_prefix_of_a_nested_order_is_stratified(labels, seed):
    labels = np.array(labels)
    order = nested_order(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    np.testing.assert_array_equal(nested_order(labels, seed), order)
    # how many of each class a prefix has follows from the sizes of the classes alone
    np.testing.assert_array_equal(labels[nested_order(labels, seed + 1)], labels[order])
    classes, totals = np.unique(labels, return_counts=True)
    shares = totals / len(labels)
    bound = np.maximum(0.5, (1 + shares * (len(classes) - 2)) / 2)
    for size in range(len(labels) + 1):
        found = (labels[order[:size]][:, None] == classes).sum(0)
        assert (np.abs(found - size * shares) <= bound + 1e-9).all()


jsons = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
any_text = st.lists(st.characters() | st.sampled_from(["\ud800", "\udcff"]), max_size=20).map(
    "".join
)


@quick
@given(
    model=slugs,
    recipe=slugs,
    seed=st.none() | st.integers(0, 2**31),
    config=st.dictionaries(texts, jsons, max_size=3),
    value=st.floats(0, 1),
    message=any_text,
    step=st.none() | counts,
)
def test_a_record_that_is_saved_and_loaded_is_the_same(
    model, recipe, seed, config, value, message, step
):
    record = FailedRecord(
        kind="classification",
        failure=Failure(type="OSError", message=message, step=step),
        recipe=recipe,
        model=model,
        seed=seed,
        cell_id="0" * 64,
        settings=config,
        started="2026-01-01T00:00:00.000+00:00",
        environment=config,
        cell_seconds=value,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = ResultsFolder(Path(folder)).keep(record)
        assert path.parent == Path(folder) / "records"
        assert load_record(path) == record


@quick
@given(
    st.lists(
        st.tuples(st.sampled_from(["validation", "test"]), texts, st.integers(0, 2),
                  st.lists(st.floats(width=32, allow_nan=False), min_size=3, max_size=3)),
        min_size=1, max_size=8, unique_by=lambda row: row[:2],
    )
)  # fmt: skip
def test_predictions_that_are_saved_and_loaded_are_the_same(rows):
    splits, ids, labels, logits = zip(*rows, strict=True)
    table = pa.table(
        {"split": splits, "id": ids, "label": pa.array(labels, pa.int64()),
         "logits": pa.array(logits, pa.list_(pa.float32()))}
    )  # fmt: skip
    sizes = Counter(splits)
    parts = {
        name: SplitData(examples=sizes[name], content_hash="a" * 64, label_counts={})
        for name in sizes
    }
    task = TaskData(
        source="d", revision=None, labels=["x", "y", "z"], splits=parts,
        evaluation_split=splits[0],
    )  # fmt: skip
    facts = ModelFacts(
        source="m", revision=None, weights_hash=None, class_name="C", parameters=None,
        embedding_parameters=None, config={}, vocab_size=None, max_length=None,
    )  # fmt: skip
    record = ControlRecord(
        recipe="r", model="m", seed=0, cell_id="0", settings={}, started="2026", environment={},
        cell_seconds=1, fit_seconds=1, task=task, model_facts=facts,
        metrics={name: {} for name in sizes}, predictions="m--seed0.parquet",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        ResultsFolder(Path(folder)).keep(record, table)
        for split in set(splits):
            found = load_predictions(record, Path(folder), split)
            expected = [row for row in rows if row[0] == split]
            assert list(found["id"]) == [row[1] for row in expected]
            assert list(found["label"]) == [row[2] for row in expected]
            assert found["logits"].tolist() == [row[3] for row in expected]
