import io

import numpy as np
import pytest
from rich.console import Console

from hfbench.cli.texts import load_texts
from hfbench.errors import UserError
from hfbench.evidence.comparison import load_comparison
from hfbench.evidence.flips import (
    count_by_label,
    count_by_length,
    find_flips,
    find_model,
    print_flips,
)
from hfbench.recipe.load import load_recipe


@pytest.fixture
def models(tmp_path, write_record):
    rng = np.random.default_rng(0)
    for seed in (3, 5, 8):
        write_record(tmp_path, "one", seed, rng.random(40) < 0.6)
    for seed in (8, 3):
        write_record(tmp_path, "two", seed, rng.random(40) < 0.7)
    write_record(tmp_path, "control", None, rng.random(40) < 0.5, control=True)
    write_record(tmp_path, "stranger", 99, rng.random(40) < 0.5)
    return {model.name: model for model in load_comparison(tmp_path).models}


def test_flips_are_mcnemars_cells_of_the_seeds_that_both_have(models):
    flips = find_flips(models["one"], models["two"])
    assert flips.seeds == [3, 8]
    for seed, test in zip(flips.seeds, flips.by_seed, strict=True):
        one = models["one"].correct[models["one"].seeds.index(seed)]
        two = models["two"].correct[models["two"].seeds.index(seed)]
        assert (test.only_first, test.only_second) == ((two & ~one).sum(), (one & ~two).sum())
    assert flips.fixed.sum() == sum(test.only_first for test in flips.by_seed)
    assert flips.broken.sum() == sum(test.only_second for test in flips.by_seed)


def test_a_control_stands_beside_every_seed(models):
    flips = find_flips(models["control"], models["one"])
    assert flips.seeds == [3, 5, 8]
    reverse = find_flips(models["one"], models["control"])
    assert (flips.fixed == reverse.broken).all()


def test_models_without_a_common_seed_have_no_flips(models):
    with pytest.raises(UserError, match="no finished seed in common"):
        find_flips(models["one"], models["stranger"])


def test_stable_flips_come_first_and_are_the_same_with_every_seed(models):
    flips = find_flips(models["control"], models["one"])
    stable = [flips.is_stable(example) for example in flips.examples]
    assert any(stable)
    assert not all(stable)
    assert stable == sorted(stable, reverse=True)
    first = flips.examples[0]
    right = models["one"].correct[:, first]
    assert (right == right[0]).all()
    assert right[0] != models["control"].correct[0, first]


def test_counts_by_label_and_length_add_up(models):
    flips = find_flips(models["one"], models["two"])
    texts = {f"validation/{i}": "word " * (1 + i % 9) for i in range(40)}
    for counts in (count_by_label(flips), count_by_length(flips, texts)):
        assert sum(count.examples for count in counts) == 40
        assert sum(count.fixed for count in counts) == flips.fixed.sum()
        assert sum(count.broken for count in counts) == flips.broken.sum()
        stable = (flips.fixed == 2).sum() + (flips.broken == 2).sum()
        assert sum(count.stable_fixed + count.stable_broken for count in counts) == stable
    assert [count.group for count in count_by_label(flips)] == ["x", "y"]
    groups = [count.group for count in count_by_length(flips, texts)]
    assert groups == ["up to 3 words", "4 to 6 words", "over 6 words"]


def test_what_is_printed_names_each_example_and_its_text_as_it_is(models):
    flips = find_flips(models["one"], models["two"])
    console = Console(file=io.StringIO(), width=80)
    print_flips(flips, console, {f"validation/{i}": f"[bold]text {i}" for i in range(40)})
    shown = console.file.getvalue()
    for example in flips.examples:
        assert f"validation/{example} " in shown
        assert f"[bold]text {example}" in shown
    assert f"seed 3: {flips.by_seed[0].only_first} fixed" in shown


def test_texts_are_those_of_the_records_or_refused(write_recipe, tmp_path):
    from hfbench.execution.compare import compare

    recipe = load_recipe(write_recipe(models=[{"name": "floor", "control": "majority"}]))
    outcome = compare(recipe, tmp_path / "results", console=Console(quiet=True))
    found = load_comparison(outcome.folder).finished
    texts = load_texts(recipe, found)
    assert set(texts) == set(found[0].ids)
    assert all("indeed" in text for text in texts.values())
    other = load_recipe(
        write_recipe(task={"data_files": {"train": "train.jsonl"}, "validation_size": 0.5})
    )
    with pytest.raises(UserError, match="are not those that floor was evaluated on"):
        load_texts(other, found)


def test_an_unknown_model_is_an_error_that_names_the_known(models, tmp_path):
    with pytest.raises(UserError, match=r"no finished run of a model 'three' \(finished: "):
        find_model([*models.values()], "three", tmp_path)
