import importlib
import itertools
import sys

import pytest
from transformers import AutoModelForSequenceClassification, GPT2Config

from hfbench.errors import UserError
from hfbench.models import CustomGPTConfig
from hfbench.models.architecture import (
    find_config_class,
    find_model_class,
    hash_source,
    is_own,
)
from hfbench.models.prepare import check_head, prepare_model
from hfbench.recipe.model import Model

NUMBERS = itertools.count()
CONFIG = """
from transformers import GPT2Config as Theirs

class GPT2Config(Theirs):  # called as the class of which it is a changed copy
    pass
"""
CLASSIFIER = """
from transformers import GPT2ForSequenceClassification as Theirs

class GPT2ForSequenceClassification(Theirs):
    config: GPT2Config
"""
REGISTER = """
from transformers import AutoModelForSequenceClassification

AutoModelForSequenceClassification.register(
    GPT2Config, GPT2ForSequenceClassification, exist_ok=True
)
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """A function that writes a package's files and gives its name, which no other has."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names = []

    def write(**files):
        names.append(name := f"architecture_{next(NUMBERS)}")
        (tmp_path / name).mkdir()
        for file, code in files.items():
            (tmp_path / name / f"{file}.py").write_text(code, encoding="utf-8")
        importlib.invalidate_caches()
        return name

    yield write
    for module in [module for module in sys.modules if module.partition(".")[0] in names]:
        del sys.modules[module]


def test_the_auto_classes_learn_of_the_models_beside_a_configuration(write):
    beside = f"from .configuration import GPT2Config\n{CLASSIFIER}"
    name = write(__init__="", configuration=CONFIG, modeling_own=beside)
    config_class = find_config_class(f"{name}.configuration:GPT2Config", "model")
    config = config_class(n_layer=1, n_embd=8, n_head=2, vocab_size=10)
    model = AutoModelForSequenceClassification.from_config(config)
    assert type(model).__module__ == f"{name}.modeling_own"
    # which the Auto class would take for that of transformers
    assert find_model_class("language model", config_class) is None
    theirs = AutoModelForSequenceClassification.from_config(
        GPT2Config(n_layer=1, n_embd=8, n_head=2)
    )
    assert type(theirs).__module__.startswith("transformers.")


def test_what_is_registered_already_stays(write):
    other = "\nclass Other(GPT2ForSequenceClassification): pass\n"
    register = REGISTER.replace("GPT2ForSequenceClassification,", "Other,")
    name = write(__init__=CONFIG + CLASSIFIER + other + register)
    config_class = find_config_class(f"{name}:GPT2Config", "model")
    assert find_model_class("classifier", config_class).__name__ == "Other"


def test_an_architecture_is_known_by_the_source_of_its_models_too(write, tmp_path):
    configuration = write(__init__=CONFIG)
    models = write(__init__=f"from {configuration} import GPT2Config\n{CLASSIFIER}{REGISTER}")
    importlib.import_module(models)
    config_class = find_config_class(f"{configuration}:GPT2Config", "model")
    hashes = [hash_source(config_class)]
    for changed in (configuration, models):
        path = tmp_path / changed / "__init__.py"
        path.write_text(f"{path.read_text()}# changed\n")
        hashes.append(hash_source(config_class))
    assert len(set(hashes)) == 3
    assert hash_source(config_class) == hashes[-1]


def test_own_is_what_neither_transformers_nor_hfbench_tests(write):
    name = write(__init__=CONFIG)
    assert is_own(find_config_class(f"{name}:GPT2Config", "model"))
    assert not is_own(GPT2Config)
    assert not is_own(CustomGPTConfig)


@pytest.mark.parametrize(
    ("model", "config", "message"),
    [
        ("{}:GPT2Confg", {}, "models.m.model: {} has no configuration class 'GPT2Confg'; did you "
                             "mean 'GPT2Config'?"),
        ("{}:Theirs2", {}, "models.m.model: {} has no configuration class 'Theirs2'"),
        ("{}.gone:GPT2Config", {}, "models.m.model: {}.gone cannot be imported: No module named"),
        ("{}:GPT2Config", {"n_layer": 0}, "models.m.config.n_layer: 0 must be at least 1"),
        ("{}:GPT2Config", {}, "models.m: transformers has no language model for GPT2Config "
                              "({}:GPT2Config), and none lies beside it"),
    ],
)  # fmt: skip
def test_a_mistaken_model_of_a_recipe_is_named(write, model, config, message):
    name = write(__init__=CONFIG + CLASSIFIER)
    tokenizer = {"train_on": "task", "vocab_size": 260}
    values = {"name": "m", "model": model.format(name), "config": config, "tokenizer": tokenizer}
    entry = Model.model_validate(values)
    with pytest.raises(UserError) as error:
        check_head(prepare_model(entry, lambda source: ["a text"]), "language model")
    assert str(error.value).startswith(message.format(name))


def test_a_field_of_a_class_that_takes_no_others_is_a_mistake_with_the_nearest_name(write):
    code = """
from transformers import PreTrainedConfig

class NarrowConfig(PreTrainedConfig):
    model_type = "narrow"

    def __init__(self, vocab_size=10, width=8, pad_token_id=None, bos_token_id=None,
                 eos_token_id=None):
        super().__init__()
        self.vocab_size, self.width, self.pad_token_id = vocab_size, width, pad_token_id
"""
    name = write(__init__=code)
    values = {"name": "m", "model": f"{name}:NarrowConfig", "config": {"widht": 4},
              "tokenizer": {"train_on": "task", "vocab_size": 260}}  # fmt: skip
    with pytest.raises(UserError) as error:
        prepare_model(Model.model_validate(values), lambda source: ["a text"])
    assert str(error.value) == (
        "models.m.config: NarrowConfig has no field 'widht'; did you mean 'width'?"
    )
