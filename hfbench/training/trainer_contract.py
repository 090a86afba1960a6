"""The private names of transformers that training relies on, and how they were when it was tested.

What is private may change with any release. A test compares the installed transformers with the
versions below; on one that is not among them it names what is no longer as in the newest.
"""

import hashlib
import inspect
from dataclasses import dataclass

from transformers import Trainer


@dataclass(frozen=True)
class PrivateName:
    """A private name of ``owner`` that hfbench.training overrides, calls, reads or sets."""

    owner: type
    name: str
    reason: str
    """Why no public hook serves."""
    methods: tuple[str, ...]
    """The methods of ``owner`` whose source tells what it means: for a method, itself."""


def _method(name: str, reason: str) -> PrivateName:
    return PrivateName(Trainer, name, reason, (name,))


PRIVATE_NAMES = (
    _method(
        "_get_train_sampler",
        "get_train_dataloader would have to make the loader anew, with its workers and their seeds",
    ),
    _method(
        "_clip_grad_norm",
        "the Trainer would visit every parameter at each step, none of which has a gradient then",
    ),
    _method("_get_grad_norm", "likewise; the replayed step left the norm elsewhere"),
    _method(
        "_save",
        "save_model writes the model's own state dict; this writes one that is given, likewise",
    ),
    _method("_save_optimizer_and_scheduler", "nothing else writes them; with FSDP in parts"),
    _method("_load_from_checkpoint", "nothing else reads weights; with FSDP from parts"),
    _method("_load_optimizer_and_scheduler", "nothing else reads them; with FSDP from parts"),
    PrivateName(
        Trainer,
        "_tr_loss",
        "the loss since the last log is nowhere else, and in no checkpoint",
        ("_inner_training_loop", "_run_epoch", "_maybe_log_save_evaluate"),
    ),
    PrivateName(
        Trainer,
        "_globalstep_last_logged",
        "the step of the last log, from which that loss is averaged, is nowhere else",
        ("_inner_training_loop", "_maybe_log_save_evaluate"),
    ),
)

TESTED = {
    "5.17.0": {
        "_clip_grad_norm": "ebfa9dc91d3088ab",
        "_get_grad_norm": "913ba6f52f074d10",
        "_get_train_sampler": "1580d7493244e637",
        "_inner_training_loop": "59b69168df655246",
        "_load_from_checkpoint": "4711d0506786db15",
        "_load_optimizer_and_scheduler": "bdcb956f06c459ab",
        "_maybe_log_save_evaluate": "af101534f0f7b2d7",
        "_run_epoch": "ebe374933064ecd6",
        "_save": "bf720120f407bab3",
        "_save_optimizer_and_scheduler": "c5ef974db69ab993",
    },
    "5.23.0": {
        "_clip_grad_norm": "ebfa9dc91d3088ab",
        "_get_grad_norm": "913ba6f52f074d10",
        "_get_train_sampler": "1580d7493244e637",
        "_inner_training_loop": "20ec4276e99fe7ae",
        "_load_from_checkpoint": "a2804e8d93a297e3",
        "_load_optimizer_and_scheduler": "741032f57d6fb802",
        "_maybe_log_save_evaluate": "af101534f0f7b2d7",
        "_run_epoch": "31aff00f34c302a2",
        "_save": "b136889e87928376",
        "_save_optimizer_and_scheduler": "c5ef974db69ab993",
    },
    "5.24.0": {
        "_clip_grad_norm": "ebfa9dc91d3088ab",
        "_get_grad_norm": "913ba6f52f074d10",
        "_get_train_sampler": "1580d7493244e637",
        "_inner_training_loop": "20ec4276e99fe7ae",
        "_load_from_checkpoint": "a2804e8d93a297e3",
        "_load_optimizer_and_scheduler": "741032f57d6fb802",
        "_maybe_log_save_evaluate": "af101534f0f7b2d7",
        "_run_epoch": "31aff00f34c302a2",
        "_save": "b136889e87928376",
        "_save_optimizer_and_scheduler": "c5ef974db69ab993",
    },
}
"""Version of transformers -> hash of the source of each method in `PRIVATE_NAMES`, newest last."""


def source_hashes() -> dict[str, str]:
    """The hash of each method in `PRIVATE_NAMES`, of the transformers that is installed.

    A name, or a method, that is no longer there has the hash "missing".
    """
    methods = {(private.owner, name) for private in PRIVATE_NAMES for name in private.methods}
    return {
        name: _hash(inspect.getsource(getattr(owner, name))) if hasattr(owner, name) else "missing"
        for owner, name in sorted(methods, key=lambda method: method[1])
    }


def changed(version: str, hashes: dict[str, str]) -> list[str]:
    """The methods that in ``version`` of transformers, with these ``hashes``, are not as tested.

    A version that was not tested is compared with the newest that was.
    """
    tested = TESTED.get(version, list(TESTED.values())[-1])
    return [name for name, found in hashes.items() if found != tested.get(name)]


def _hash(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]
