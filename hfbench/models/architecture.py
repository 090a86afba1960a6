"""Which classes make up an architecture: its configuration, and a model for each head.

The Auto classes are the registry. A configuration class that is given as ``package.module:Class``
is made known to them with the models that lie beside it.
"""

import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import transformers
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from hfbench.errors import UserError, nearest
from hfbench.models.imports import hash_module, import_module
from hfbench.recipe.types import Head
from hfbench.system.hashes import hash_texts

AUTO_CLASSES: dict[Head, Any] = {
    "classifier": AutoModelForSequenceClassification,
    "language model": AutoModelForCausalLM,
}
_MODEL_CLASSES: dict[Head, Any] = {
    "classifier": MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    "language model": MODEL_FOR_CAUSAL_LM_MAPPING,
}


def find_config_class(name: str, key: str) -> type[PreTrainedConfig]:
    """The configuration class that ``name`` stands for; the Auto classes know its models then.

    Args:
        name: ``package.module:ConfigClass``.
        key: which names it, for messages.

    Raises:
        UserError: if there is no such module or class.
    """
    module_name, _, class_name = name.partition(":")
    module = import_module(module_name, key)
    found = getattr(module, class_name, None)  # transformers makes its own when they are asked for
    if not (isinstance(found, type) and issubclass(found, PreTrainedConfig)):
        raise UserError(
            f"{key}: {module_name} has no configuration class {class_name!r}"
            f"{nearest(class_name, vars(module))}"
        )
    _register_models(found)
    return found


def is_own(architecture: type) -> bool:
    """Whether a class is neither from transformers nor from hfbench, which test theirs."""
    return architecture.__module__.partition(".")[0] not in (transformers.__name__, "hfbench")


def find_model_class(head: Head, config_class: type[PreTrainedConfig]) -> Any:
    """The model with this ``head`` that the Auto classes know for a configuration, or None.

    They go by its name: a changed copy of GPT-2 whose configuration is still called GPT2Config
    would get the model of transformers.
    """
    known = _MODEL_CLASSES[head].get(config_class, None)
    if known is None or (is_own(config_class) and known.config_class is not config_class):
        return None
    return known


def is_read(field: str, config_class: type[PreTrainedConfig]) -> bool:
    """Whether the code beside a configuration, that of its models, has this word anywhere."""
    file = sys.modules[config_class.__module__].__file__
    beside = Path(file).parent.glob("*.py") if file else []
    word = re.compile(rf"\b{re.escape(field)}\b")
    return any(word.search(path.read_text("utf-8")) for path in beside)


def hash_source(config_class: type[PreTrainedConfig]) -> str:
    """SHA-256 over the source of an architecture of one's own: of configuration and models."""
    models = [find_model_class(head, config_class) for head in AUTO_CLASSES]
    modules = {found.__module__ for found in (config_class, *filter(None, models))}
    return hash_texts(sorted({hash_module(name) for name in modules}))


def _register_models(config_class: type[PreTrainedConfig]) -> None:
    """Tell the Auto classes of the models beside a configuration, where they know none for it."""
    for head, auto_class in AUTO_CLASSES.items():
        if find_model_class(head, config_class):
            continue
        ending = auto_class.__name__.removeprefix("AutoModel")
        for model_class in _models_beside(config_class):
            if model_class.__name__.endswith(ending):
                # its configuration may be called as one of transformers', of which it is a copy
                auto_class.register(config_class, model_class, exist_ok=True)
                break


def _models_beside(config_class: type[PreTrainedConfig]) -> Iterator[type[PreTrainedModel]]:
    for module in _modules_beside(sys.modules[config_class.__module__]):
        for value in list(vars(module).values()):
            is_model = isinstance(value, type) and issubclass(value, PreTrainedModel)
            if is_model and value.config_class is config_class:
                yield value


def _modules_beside(module: ModuleType) -> Iterator[ModuleType]:
    """The module itself, then those of its package that models are usually in."""
    yield module
    package = sys.modules.get(module.__package__ or "")
    for found in pkgutil.iter_modules(package.__path__ if package else []):
        if found.name.startswith("modeling"):
            name = f"{module.__package__}.{found.name}"
            yield import_module(name, f"beside {module.__name__}")
