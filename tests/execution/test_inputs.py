import pytest

from hfbench.execution import inputs as workbench
from hfbench.execution.inputs import Inputs
from hfbench.models import tokenizer
from hfbench.recipe.cells import plan_comparison, plan_pretraining
from hfbench.recipe.load import load_recipe

SIZES = {"preset": "gpt-nano", "config": {"n_layer": 1, "n_positions": 32}}


@pytest.fixture
def count(monkeypatch):
    """A function that gives the list of the calls that the workbench makes of another one."""

    def count(name):
        calls, plain = [], getattr(workbench, name)

        def counted(*arguments):
            calls.append(arguments)
            return plain(*arguments)

        monkeypatch.setattr(workbench, name, counted)
        return calls

    return count


def test_texts_are_tokenised_once_also_where_some_are_cut(write_recipe, count):
    calls = count("tokenize_task")
    task = {"data_files": {"train": "train.jsonl"}, "validation_size": 0.25, "max_length": 4}
    models = [{"name": name, **SIZES} for name in ("one", "other")]
    recipe = load_recipe(write_recipe(models=models, task=task))
    cells = plan_comparison(recipe)
    bench = Inputs(recipe, cells)
    data = [bench.tokenized_task(cell) for cell in cells]
    assert data[0].cut["validation"].any()  # what the tokenizer did last was to cut
    assert len(calls) == 1
    assert all(other is data[0] for other in data)


def test_models_that_pretrain_on_a_corpus_share_it_and_its_tokens(write_recipe, count):
    loads, calls = count("load_corpus"), count("tokenize_corpus")
    models = [
        {
            "name": f"m{number}",
            **SIZES,
            "pretrain": {"corpus": {"builtin": "pets", "first": 200, "max_length": length}},
        }
        for number, length in enumerate([4, 4, 5])
    ]
    recipe = load_recipe(write_recipe(models=models))
    bench = Inputs(recipe, plan_pretraining(recipe))
    one, other, longer = (bench.tokenized_corpus(model) for model in recipe.models)
    assert one is other
    assert one.lengths("train").max() == 4
    assert longer.lengths("train").max() == 5
    assert (len(loads), len(calls)) == (2, 2)


def test_a_tokenizer_is_trained_once_and_each_model_has_its_own(write_recipe):
    tokenizer._train_tokenizer.cache_clear()
    models = [{"name": name, **SIZES} for name in ("one", "other")]
    recipe = load_recipe(write_recipe(models=models))
    bench = Inputs(recipe, plan_comparison(recipe))
    assert tokenizer._train_tokenizer.cache_info().misses == 1
    one, other = (bench.prepared[name].tokenizer for name in ("one", "other"))
    assert one.get_vocab() == other.get_vocab()
    one.add_tokens(["a new one"])
    assert len(one) == len(other) + 1
