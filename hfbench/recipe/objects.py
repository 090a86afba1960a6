"""Objects of Python in a recipe: each becomes what a recipe can name, so that a record can, too.

Data, models and tokenizers are written to a folder of the Hugging Face cache that is called after
their content, and the recipe names that. What is named so is loaded as any other: in workers, and
when a record is run again, as long as the folder is there. Nothing here imports the libraries whose
objects these are: whoever has one has imported them.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hfbench.errors import UserError
from hfbench.system.hashes import hash_files, hash_texts

FOLDER = "hfbench"
"""In the Hugging Face cache (``HF_HOME``)."""


def take_objects(values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A recipe's values without objects, and why it can run in this process alone, if it can.

    Args:
        values: keywords of a recipe, that may hold objects where its reference says so.

    Raises:
        UserError: for an object that cannot be kept, naming its key.
    """
    bound: list[str] = []
    values = dict(values)
    if isinstance(values.get("task"), dict):
        values["task"] = _task(values["task"], "task", bound)
    if isinstance(values.get("tasks"), list):
        values["tasks"] = [
            _task(task, f"tasks[{place}]", bound) if isinstance(task, dict) else task
            for place, task in enumerate(values["tasks"])
        ]
    tokenizer = values.get("tokenizer")
    if _is(tokenizer, "transformers", "PreTrainedTokenizerBase"):
        values["tokenizer"] = {"name_or_path": str(_kept(tokenizer, "tokenizers"))}
    if callable(values.get("loss")):
        values["loss"] = _path(values["loss"], "loss")
    if isinstance(values.get("callbacks"), list):
        values["callbacks"] = [
            one if isinstance(one, str) else _path(one, "callbacks") for one in values["callbacks"]
        ]
    if isinstance(values.get("models"), list):
        values["models"] = [
            _model(model, f"models[{place}]") if isinstance(model, dict) else model
            for place, model in enumerate(values["models"])
        ]
    return values, bound


def _task(values: dict[str, Any], key: str, bound: list[str]) -> dict[str, Any]:
    values = dict(values)
    files = values.get("data_files")
    if _is(files, "datasets", "Dataset"):
        files = {values.get("train_split", "train"): files}
    if isinstance(files, dict):
        values["data_files"] = {
            split: str(_kept_data(data)) if _is(data, "datasets", "Dataset") else data
            for split, data in files.items()
        }
        if all(_is(data, "datasets", "Dataset") for data in files.values()):
            values.setdefault("title", "a Dataset in memory")
    if callable(values.get("metric")) or _is(values.get("metric"), "hfbench", "Metric"):
        values["metric"] = _registered(values["metric"], f"{key}.metric", bound)
    if isinstance(values.get("metrics"), list):
        values["metrics"] = [
            one if isinstance(one, str) else _registered(one, f"{key}.metrics", bound)
            for one in values["metrics"]
        ]
    return values


def _model(values: dict[str, Any], key: str) -> dict[str, Any]:
    values = dict(values)
    given: Any = values.get("model")
    tokenizer = values.get("tokenizer")
    has_tokenizer = _is(tokenizer, "transformers", "PreTrainedTokenizerBase")
    if _is(given, "transformers", "PreTrainedModel"):
        del values["model"]
        own = _is_own(given, f"{key}.model")
        if has_tokenizer:
            del values["tokenizer"]
        kept = _kept(given, "models", tokenizer if has_tokenizer else None)
        values["model_name_or_path"] = str(kept)
        if own:
            values.setdefault("trust_remote_code", True)
    elif _is(given, "transformers", "PreTrainedConfig"):
        del values["model"]
        if _is_own(given, f"{key}.model"):
            values["model"] = f"{type(given).__module__}:{type(given).__name__}"
        else:
            values["model_type"] = given.model_type
        fields = {k: v for k, v in given.to_diff_dict().items() if k not in _NO_FIELDS}
        values["config"] = {**fields, **values.get("config", {})}
    if has_tokenizer and "tokenizer" in values:
        values["tokenizer"] = {"name_or_path": str(_kept(tokenizer, "tokenizers"))}
    return values


_NO_FIELDS = ("transformers_version", "model_type", "architectures", "_name_or_path", "dtype",
              "vocab_size", "pad_token_id", "bos_token_id", "eos_token_id")  # fmt: skip
"""Of a configuration: what says where it comes from, and what the tokenizer says."""


def _path(value: Any, key: str) -> str:
    """``module:name`` of a function or class, by which any process finds it."""
    name = getattr(value, "__qualname__", None)
    if name is None:
        raise UserError(
            f"{key}: an object of {type(value).__name__} cannot be used: give its class, or a "
            "function that makes one, since each training has its own"
        )
    if value.__module__ == "__main__" or not name.isidentifier():
        raise UserError(
            f"{key}: {name} is defined in a notebook, a script or another function, where a record "
            "cannot find it again: put it into a module (a .py file) and import that"
        )
    return f"{value.__module__}:{name}"


def _is(value: Any, package: str, name: str) -> bool:
    """Whether it is an object of this class of a library that need not be imported here."""
    return any(
        base.__name__ == name and base.__module__.partition(".")[0] == package
        for base in type(value).__mro__
    )


def _is_own(value: Any, key: str) -> bool:
    """Whether its class is from no library, and comes with its code; refuses what has no file."""
    module = type(value).__module__
    if module.partition(".")[0] in ("transformers", "hfbench"):
        return False
    if module == "__main__":
        raise UserError(
            f"{key}: {type(value).__name__} is defined in a notebook or script, where a record "
            "cannot find it again: put its class into a module (a .py file) and import that"
        )
    return True


def _kept(value: Any, kind: str, tokenizer: Any = None) -> Path:
    """The folder with what ``save_pretrained`` writes, called after its content."""
    if kind == "models" and _is_own(value, "model"):
        type(value.config).register_for_auto_class()
        type(value).register_for_auto_class("AutoModelForSequenceClassification")

    def write(folder: Path) -> str:
        for one in (value, tokenizer):
            if one is not None:
                one.save_pretrained(folder)
        return hash_files(folder, (".safetensors", ".json", ".txt", ".model", ".py"))

    return _keep(kind, write)


def _kept_data(data: Any) -> Path:
    """The folder with what ``save_to_disk`` writes; the same data are found again."""
    datasets: Any = sys.modules["datasets"]

    def write(folder: Path) -> str:
        is_silent = datasets.are_progress_bars_disabled()
        datasets.disable_progress_bars()
        try:
            data.save_to_disk(str(folder))
        finally:
            if not is_silent:
                datasets.enable_progress_bars()
        names = [f"{name}: {feature}" for name, feature in data.features.items()]
        return hash_texts([*names, hash_files(folder, (".arrow",))])

    return _keep("data", write)


def _keep(kind: str, write: Callable[[Path], str]) -> Path:
    """What ``write`` puts into a folder, in the cache under the name that it gives."""
    from huggingface_hub.constants import HF_HOME

    cache = Path(HF_HOME) / FOLDER / kind
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as temporary:
        made = Path(temporary) / "new"
        made.mkdir()
        kept = cache / write(made)[:32]
        if not kept.exists():
            shutil.move(made, kept)
    return kept


def _registered(metric: Any, key: str, bound: list[str]) -> str:
    """The name under which a function or `Metric` can be asked for in this process."""
    from hfbench.metrics.registry import METRICS, Metric, register

    if not isinstance(metric, Metric):
        if not callable(metric):
            raise UserError(f"{key}: {metric!r} is neither a name, a Metric nor a function")
        name = getattr(metric, "__name__", type(metric).__name__)
        if not name.isidentifier():
            raise UserError(
                f"{key}: a function without a name: give hfbench.metrics.Metric('my_name', ...)"
            )
        metric = Metric(name, metric, name.replace("_", " "), ".3f", None, higher_is_better=True)
    known = METRICS.get(metric.name)
    if metric.name in _GIVEN and known is not None:
        METRICS[metric.name] = metric  # a cell of a notebook that is run again
    elif known is not metric:
        register(metric)
    _GIVEN.add(metric.name)
    bound.append(f"{key}: {metric.name} is a function of this process")
    return metric.name


_GIVEN: set[str] = set()
"""Metrics that came as objects."""
