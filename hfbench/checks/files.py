"""Checks of what a model leaves in a folder, and of what others make of it."""

import json
import os
import tempfile
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from hfbench.checks.behaviour import logits
from hfbench.checks.checked_model import CheckedModel
from hfbench.checks.outcome import Failed, Skipped, at_most
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


def check_config(checked: CheckedModel, head: Head) -> float:
    """To a dictionary and to a file, and back; gives the number of fields."""
    config = checked.config
    expected = _fields(config.to_dict())
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        saved = type(config).from_pretrained(folder)
    for route, copy in (("from_dict", type(config).from_dict(config.to_dict())), ("file", saved)):
        found = _fields(copy.to_dict())
        changed = sorted(key for key in {*expected, *found} if expected.get(key) != found.get(key))
        if changed:
            raise Failed(
                len(changed),
                f"the configuration changes on its way through {route}: {', '.join(changed)}; "
                "declare each as a field and derive nothing in place",
            )
    return len(expected)


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
            model = checked.load(one)
            expected[name] = logits(model, ids)
            model.save_pretrained(root / name)
        run = run_stranger(_STRANGER, [str(root), *expected], root, seconds=_SECONDS)
        if run.returncode:
            reason = last_line(run.stderr).replace(f"{root}{os.sep}", "")
            raise Failed(
                None,
                f"elsewhere it does not load: {reason[:300]}. Call register_for_auto_class() on "
                "the configuration and on each model, import only torch, transformers and by "
                "`from .sibling`",
            )
        changes = [
            (logit - torch.load(root / f"{name}.pt", weights_only=True)).abs().max().item()
            for name, logit in expected.items()
        ]
    return at_most(
        max(changes), 0.0, "loaded elsewhere it gives other logits: some weight is not saved"
    )


def check_tied(checked: CheckedModel, head: Head) -> float:
    """A head tied to the word embedding: saved once, and still tied when loaded.

    Gives the number of copies in the file.
    """
    if not hasattr(checked.config, "tie_word_embeddings"):
        raise Skipped("the configuration has no tie_word_embeddings")
    model = checked.new(head, tie_word_embeddings=True)
    advice = (
        'say which weights are tied: _tied_weights_keys = {"lm_head.weight": '
        '"transformer.wte.weight"}, and call post_init() last'
    )
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


def _fields(values: dict) -> dict:
    """Without what names the file, the version that wrote it, or where its code lies."""
    own = {"_name_or_path", "transformers_version", "auto_map"}
    return json.loads(json.dumps({k: v for k, v in values.items() if k not in own}, default=str))


def _copies(folder: Path, shape: tuple[int, ...]) -> int:
    """Tensors in the folder's files that have the shape of the word embedding."""
    copies = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            copies += sum(tuple(file.get_slice(key).get_shape()) == shape for key in file.keys())  # noqa: SIM118  not a dict
    return copies


def _is_tied(model: PreTrainedModel) -> bool:
    head = model.get_output_embeddings()
    return head is not None and head.weight is model.get_input_embeddings().weight


def _pickles(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.suffix in _PICKLES]
