"""What decides a cell's result, as content: by its hash a result is known again.

No name of a recipe, a model, a file or a repo is part of it, but what they stand for: texts,
weights, tokenizer, configuration, arguments, the code that trains and the libraries under it. So
the same content is found again under another name, and changed content is not taken for the same.

hfbench's own code is in it by versions of its concepts, which stand beside the code that they are
about and are raised by hand when its numbers change: a comma in a docstring runs nothing again. The
golden numbers of the tests fail where a version was forgotten.

What does not decide a result, but for rounding, is no part either: the hardware, the number of
processes and threads, `cuda_graphs`, and arguments that only observe, see
`recipe.arguments.OBSERVING_ARGUMENTS`. The record says them beside.
"""

import json
from functools import cache
from importlib import metadata
from typing import Any

from hfbench import data, metrics, models, training
from hfbench.data import answers
from hfbench.execution.inputs import Inputs
from hfbench.execution.kinds import KINDS
from hfbench.models import custom_gpt, lora, rivals
from hfbench.models.controls import CONTROLS
from hfbench.models.custom_gpt import CustomGPTConfig
from hfbench.recipe.cells import Cell
from hfbench.recipe.types import Kind
from hfbench.records.identity import cell_id, concepts

VERSIONS = {
    "data": data.VERSION,
    "data.answers": answers.VERSION,
    "metrics": metrics.VERSION,
    "models": models.VERSION,
    "models.custom_gpt": custom_gpt.VERSION,
    "models.lora": lora.VERSION,
    "estimator": rivals.ESTIMATOR_VERSION,
    "probe": rivals.PROBE_VERSION,
    "prompt": rivals.PROMPT_VERSION,
    "training": training.VERSION,
}
"""Concept -> version of the code by which its numbers come about; a control has its own."""

_CONTROL_LIBRARIES: tuple[str, ...] = ("numpy", "scikit-learn", "scipy")
_NETWORK_LIBRARIES: tuple[str, ...] = ("numpy", "tokenizers", "torch", "transformers")
_LIBRARIES: dict[Kind, tuple[str, ...]] = {
    "classification": ("accelerate", *_NETWORK_LIBRARIES),
    "control": _CONTROL_LIBRARIES,
    "predictions": (),  # the numbers are there already
    "pretraining": ("accelerate", *_NETWORK_LIBRARIES),
    "probe": (*_NETWORK_LIBRARIES, "scikit-learn", "scipy"),
    "prompt": _NETWORK_LIBRARIES,
}


def identify(cell: Cell, inputs: Inputs) -> dict[str, Any]:
    """All that decides the result of ``cell``, as JSON would give it back."""
    libraries = _LIBRARIES[cell.kind] + (("peft",) if cell.model.lora else ())
    if cell.model.pretrain:
        libraries = ("accelerate", *libraries)
    identity = {
        **KINDS[cell.kind].describe(cell, inputs),
        "code": _versions_of(cell, inputs),
        "libraries": {name: _version(name) for name in sorted({*libraries})},
    }
    return json.loads(json.dumps(identity))


def cell_id_of(cell: Cell, inputs: Inputs) -> str:
    """The hash of that."""
    return cell_id(identify(cell, inputs))


def version_of(concept: str) -> int:
    """The version of one of `records.identity.concepts`."""
    controls = {f"control.{name}": control.version for name, control in CONTROLS.items()}
    return {**VERSIONS, **controls}[concept]


def _versions_of(cell: Cell, inputs: Inputs) -> dict[str, int]:
    prepared = inputs.prepared.get(cell.model.name)
    names = concepts(
        cell.kind,
        control=cell.model.control,
        is_pretrained=bool(cell.model.pretrain),
        is_custom_gpt=prepared is not None and isinstance(prepared.config, CustomGPTConfig),
        has_lora=bool(cell.model.lora),
    )
    return {name: version_of(name) for name in names}


@cache
def _version(name: str) -> str:
    return metadata.version(name)
