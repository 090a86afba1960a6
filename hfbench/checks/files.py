"""Checks of what a model leaves in a folder, and of what others make of it."""

import inspect
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from hfbench.checks.behaviour import difference, logits
from hfbench.checks.checked_model import CheckedModel
from hfbench.checks.dropout import no_dropout
from hfbench.checks.outcome import Failed, Skipped, at_most
from hfbench.errors import one_line
from hfbench.models.architecture import AUTO_CLASSES
from hfbench.recipe.types import Head
from hfbench.system.stranger import last_line, run_stranger

_PICKLES = {".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"}
_SECONDS = 300  # for a process that imports torch and loads the models

_STRANGER = """
import json
from pathlib import Path
import torch, transformers
root = Path(sys.argv[1])
ids = torch.load(root / "ids.pt", weights_only=True)
for head in sys.argv[2:]:
    folder = root / head
    trusted = "auto_map" in json.loads((folder / "config.json").read_text("utf-8"))
    loader = getattr(transformers, head)
    model = loader.from_pretrained(folder, trust_remote_code=trusted).eval()
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    torch.save(logits, root / f"{head}.pt")
"""


def check_post_init(checked: CheckedModel, head: Head) -> float:
    """Each model, and each that it is made of, calls post_init(); gives their number."""
    ran: set[int] = set()
    original = PreTrainedModel.post_init

    def post_init(model: PreTrainedModel) -> None:
        ran.add(id(model))
        original(model)

    with mock.patch.object(PreTrainedModel, "post_init", post_init):
        model = checked.new(head)
    models = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    forgetful = [type(one).__name__ for one in models if id(one) not in ran]
    if forgetful:
        raise Failed(
            len(models) - len(forgetful),
            f"{', '.join(forgetful)} never calls self.post_init(), which draws the weights and "
            "ties them: let it be the last line of each __init__",
        )
    return len(models)


def check_config(checked: CheckedModel, head: Head) -> float:
    """To a dictionary and to a file, and back; gives the number of fields."""
    config = checked.config
    changed = _changed_on_the_way(config)
    if changed:
        raise Failed(
            len(changed),
            f"the configuration changes when it is saved and loaded: {', '.join(changed)}; "
            "declare each as a field and derive nothing in place",
        )
    return len(config.to_dict())


def check_config_values(checked: CheckedModel, head: Head) -> float:
    """The same with each argument at another value than its default.

    Gives the number of arguments that were tried: those that are numbers or true and false, and
    go with the others.
    """
    config_class = type(checked.config)
    try:
        default = _fields(vars(config_class()))
    except TypeError as error:
        raise Skipped(f"the configuration cannot be made without arguments: {error}") from error
    tried = 0
    for name, parameter in inspect.signature(config_class.__init__).parameters.items():
        config = _another(config_class, name, parameter.default)
        if config is None:
            continue
        tried += 1
        changed = _changed_on_the_way(config)
        if changed:
            raise Failed(
                tried,
                f"with another {name} the configuration is not what was saved when it is loaded: "
                f"{', '.join(changed)}; keep each argument under its own name",
            )
        if checked.prepared.is_own_architecture and _fields(vars(config)) == default:
            raise Failed(tried, f"the configuration takes {name} and keeps it nowhere")
    return tried


def check_weights(checked: CheckedModel, head: Head) -> float:
    """Weights unlike new ones, after a pass in training, saved and loaded: the same to the bit.

    Gives the number of weights and buffers.
    """
    model, ids = checked.strong(head), checked.rows(3, 8)
    with no_dropout(), torch.no_grad():
        model.train()(input_ids=ids, attention_mask=torch.ones_like(ids))
    expected = logits(model.eval(), ids)
    with tempfile.TemporaryDirectory() as folder, _poisoned_memory():
        model.save_pretrained(folder)
        torch.manual_seed(97)  # not that with which it was made
        loaded = type(model).from_pretrained(folder).eval()
    there, back = (dict(_tensors(one)) for one in (model, loaded))
    lost = [name for name, tensor in there.items() if not _equal(tensor, back.get(name))]
    if lost:
        raise Failed(
            len(there) - len(lost),
            f"{len(lost)} of {len(there)} weights and buffers are others when they are loaded, "
            f"first {lost[0]}: register each, leave none out of the file, and compute what "
            "persistent=False leaves out again in _init_weights",
        )
    change = difference(expected, logits(loaded, ids))
    advice = (
        "loaded it gives other logits: a number that decides is neither a parameter, a buffer nor "
        "a field of the configuration"
    )
    at_most(change, 0.0, advice)
    return len(there)


def check_pretrained_body(checked: CheckedModel, head: Head) -> float:
    """A classifier that starts from a language model's file has the same body.

    Gives the number of its weights.
    """
    if "language model" in checked.missing:
        raise Skipped("there is no language model to start from")
    language_model, classifier_class = checked.strong("language model"), type(checked.new(head))
    with tempfile.TemporaryDirectory() as folder:
        language_model.save_pretrained(folder)
        classifier = classifier_class.from_pretrained(folder)
    if classifier.base_model is classifier:
        raise Failed(
            None,
            f"the classifier has no attribute {classifier.base_model_prefix!r}, which "
            "base_model_prefix names: call the body so in each model with a head",
        )
    there = dict(_tensors(language_model.base_model))
    found = dict(_tensors(classifier.base_model))
    other = [name for name, tensor in there.items() if not _equal(tensor, found.get(name))]
    if other:
        raise Failed(
            len(there) - len(other),
            f"a classifier that starts from the language model's file has {len(other)} of "
            f"{len(there)} other weights in its body, first {other[0]}: let both call it by "
            "base_model_prefix",
        )
    return len(there)


def check_loads_elsewhere(checked: CheckedModel, head: Head) -> float:
    """Saved, then loaded by a process without network, caches and hfbench; all heads at once.

    Gives the largest change of a logit, which has to be 0.
    """
    ids = checked.rows(2, 9)
    expected = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        torch.save(ids, root / "ids.pt")
        for one in checked.heads:
            name = AUTO_CLASSES[one].__name__
            is_checkpoint = bool(checked.prepared.entry.model_name_or_path)
            model = checked.load(one) if is_checkpoint else checked.strong(one)
            expected[name] = logits(model, ids)
            model.save_pretrained(root / name)
        run = run_stranger(_STRANGER, [str(root), *expected], root, seconds=_SECONDS)
        if run.returncode:
            reason = last_line(run.stderr).replace(f"{root}{os.sep}", "")
            raise Failed(
                None,
                "elsewhere it does not load. Call register_for_auto_class() on the configuration "
                "and on each model, import only torch, transformers and by `from .sibling`. What "
                f"was said there: {one_line(reason)}",
            )
        changes = [
            (logit - torch.load(root / f"{name}.pt", weights_only=True)).abs().max().item()
            for name, logit in expected.items()
        ]
    return at_most(
        max(changes), 0.0, "loaded elsewhere it gives other logits: some weight is not saved"
    )


def check_tied(checked: CheckedModel, head: Head) -> float:
    """What is tied is said to be; a head tied to the word embedding is saved once and stays tied.

    Gives the number of copies of the word embedding in the file, or of weights that are shared
    where the architecture does not tie its head.
    """
    advice = (
        'say which weights are tied: _tied_weights_keys = {"lm_head.weight": '
        '"transformer.wte.weight"}, and call post_init() last'
    )
    shared = _shared_weights(checked.new(head))
    if shared:
        names = ", ".join(shared)
        raise Failed(
            len(shared), f"{names} are one weight, and the class does not say so: {advice}"
        )
    if head == "classifier" or not _can_tie(checked):
        return 0
    model = checked.new(head, tie_word_embeddings=True)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        copies = _copies(Path(folder), tuple(model.get_input_embeddings().weight.shape))
        loaded = type(model).from_pretrained(folder)
    if copies != 1 or not (_is_tied(model) and _is_tied(loaded)):
        raise Failed(copies, f"tie_word_embeddings=True does not tie the head: {advice}")
    return copies


def check_no_pickle(checked: CheckedModel, head: Head) -> float:
    """Neither the given folder nor a saved one has a pickle; gives their number."""
    with tempfile.TemporaryDirectory() as folder:
        checked.new(head).save_pretrained(folder)
        found = _pickles(Path(folder))
    source = Path(checked.prepared.entry.model_name_or_path or "")
    if checked.prepared.entry.model_name_or_path and source.is_dir():
        found += _pickles(source)
    if found:
        raise Failed(
            len(found),
            f"{', '.join(sorted(set(found)))} can run code when loaded: keep only safetensors",
        )
    return 0


def _changed_on_the_way(config: PreTrainedConfig) -> list[str]:
    """Fields that are others after `to_dict` and back, or after a file and back."""
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        saved = type(config).from_pretrained(folder)
    expected = _fields(vars(config))
    changed = set()
    for copy in (type(config).from_dict(config.to_dict()), saved):
        found = _fields(vars(copy))
        changed |= {key for key in {*expected, *found} if expected.get(key) != found.get(key)}
    return sorted(changed)


def _fields(values: dict) -> dict:
    """Without what names the file, the version that wrote it, or where its code lies."""
    own = {
        "model_type",  # of the class, which loading sets again
        "_name_or_path",
        "_commit_hash",
        "transformers_version",
        "auto_map",
        "architectures",
        "dtype",
        "_attn_implementation_internal",
        "_experts_implementation_internal",
        "_output_attentions",
    }
    kept = {key: value for key, value in values.items() if key not in own}
    return json.loads(json.dumps(kept, default=_as_json))


def _as_json(value: Any) -> Any:
    return value.to_dict() if isinstance(value, PreTrainedConfig) else str(value)


def _another(config_class: type, name: str, default: Any) -> PreTrainedConfig | None:
    """A configuration with another value of an argument than the default; None if none goes."""
    others: list[Any] = []
    if isinstance(default, bool):
        others = [not default]
    elif isinstance(default, int):
        others = [default + 1, default * 2]
    elif isinstance(default, float):
        others = [default / 2 or 0.25]
    for other in others:
        try:
            return config_class(**{name: other})
        except Exception:  # noqa: S112  a stranger's: whatever it raises for what does not go
            continue
    return None


def _tensors(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _equal(first: Tensor, second: Tensor | None) -> bool:
    return second is not None and first.shape == second.shape and torch.equal(first, second)


@contextmanager
def _poisoned_memory() -> Iterator[None]:
    """New memory is filled with NaN: what nobody computes again shows, whatever lay there."""
    was = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was, warn_only=warns)


def _shared_weights(model: PreTrainedModel) -> list[str]:
    """Names of one weight that the class does not say are tied; empty if there are none."""
    names: dict[int, list[str]] = {}
    for name, weight in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(weight), []).append(name)
    tied = {*model.all_tied_weights_keys, *model.all_tied_weights_keys.values()}
    undeclared = [group for group in names.values() if len(group) > 1 and not {*group} <= tied]
    return undeclared[0] if undeclared else []


def _can_tie(checked: CheckedModel) -> bool:
    """In transformers many configurations have the field, and the architecture no use for it."""
    if not hasattr(checked.config, "tie_word_embeddings"):
        return False
    model = checked.new("language model")
    return checked.prepared.is_own_architecture or bool(model._tied_weights_keys)


def _copies(folder: Path, shape: tuple[int, ...]) -> int:
    """Tensors in the folder's files that have the shape of the word embedding."""
    copies = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            copies += sum(tuple(file.get_slice(key).get_shape()) == shape for key in file.keys())  # noqa: SIM118  not a dict
    return copies


def _is_tied(model: PreTrainedModel) -> bool:
    words = model.get_input_embeddings().weight
    weights = model.named_parameters(remove_duplicate=False)
    return sum(weight is words for _, weight in weights) > 1


def _pickles(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.suffix in _PICKLES]
