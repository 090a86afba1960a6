"""Whether a model is a good citizen of transformers and compares fairly: `hfbench check`.

Each check is a function in the modules beside this one; `CHECKS` lists them, causes before what
follows from them. An `Examination` asks them.
"""

from rich.console import Console
from rich.progress import track

from hfbench.checks import behaviour, embeddings, files, memory, processes, training
from hfbench.checks.checked_model import HEADS, CheckedModel, find_checked_model
from hfbench.checks.examination import Examination
from hfbench.checks.family import Family
from hfbench.checks.outcome import Check, Level, Verdict
from hfbench.errors import UserError
from hfbench.models.prepare import PreparedModel
from hfbench.recipe.types import Head

_CHANGE = "logit change"
_CLASSIFIER: tuple[Head, ...] = ("classifier",)
_LM: tuple[Head, ...] = ("language model",)
_DECODER: tuple[Family, ...] = ("decoder",)
_NO_DECODER_BEHIND: tuple[Family, ...] = ("encoder", "decoder", "state space")
_NO_STATE: tuple[Family, ...] = ("encoder", "encoder-decoder", "decoder")
_UNFAIR: Level = "unfair here"
_BROKEN: Level = "broken on the Hub"

CHECKS = [
    Check(
        "post_init",
        "models",
        files.check_post_init,
        _BROKEN,
        HEADS,
    ),
    Check(
        "forward",
        "largest logit",
        behaviour.check_forward,
        _UNFAIR,
        HEADS,
        quick=True,
    ),
    Check(
        "determinism",
        _CHANGE,
        training.check_determinism,
        _UNFAIR,
        HEADS,
        follows_from=("forward",),
        quick=True,
    ),
    Check(
        "initialisation",
        "loss - ln(n)",
        training.check_initialisation,
        _UNFAIR,
        HEADS,
        follows_from=("forward", "post_init"),
    ),
    Check(
        "scaled initialisation",
        "std ratio",
        training.check_scaled_initialisation,
        "advice",
        HEADS,
        follows_from=("post_init", "initialisation"),
        once=True,
    ),
    Check(
        "company",
        _CHANGE,
        behaviour.check_company,
        _UNFAIR,
        HEADS,
        follows_from=("determinism",),
        quick=True,
    ),
    Check(
        "labels",
        "loss change",
        training.check_labels,
        _UNFAIR,
        HEADS,
        follows_from=("determinism",),
        quick=True,
    ),
    Check(
        "every parameter learns",
        "moved",
        training.check_every_parameter_learns,
        _UNFAIR,
        HEADS,
        follows_from=("forward", "labels"),
        quick=True,
    ),
    Check(
        "gradients",
        "relative change",
        training.check_gradients,
        _UNFAIR,
        HEADS,
        follows_from=("determinism", "labels", "every parameter learns"),
    ),
    Check(
        "truncation",
        "tokens",
        behaviour.check_truncation,
        _UNFAIR,
        HEADS,
        follows_from=("forward",),
    ),
    Check(
        "future",
        _CHANGE,
        behaviour.check_future,
        _UNFAIR,
        _LM,
        follows_from=("determinism", "company", "truncation"),
        quick=True,
    ),
    Check(
        "whole text",
        _CHANGE,
        behaviour.check_whole_text,
        _UNFAIR,
        HEADS,
        follows_from=("truncation",),
    ),
    Check(
        "padding",
        _CHANGE,
        behaviour.check_own_side_padding,
        _UNFAIR,
        HEADS,
        follows_from=("determinism", "company", "future"),
        quick=True,
    ),
    Check(
        "padding, other side",
        _CHANGE,
        behaviour.check_other_side_padding,
        "advice",
        HEADS,
        follows_from=("determinism", "company", "padding"),
    ),
    Check(
        "eos",
        "effect of EOS",
        behaviour.check_eos,
        _UNFAIR,
        _CLASSIFIER,
        _NO_DECODER_BEHIND,
        follows_from=("determinism",),
    ),
    Check(
        "attention",
        _CHANGE,
        behaviour.check_attention,
        _UNFAIR,
        HEADS,
        _NO_STATE,
        follows_from=("determinism", "padding"),
    ),
    Check(
        "autocast",
        "relative change",
        behaviour.check_autocast,
        _UNFAIR,
        HEADS,
        follows_from=("determinism",),
    ),
    Check(
        "half precision",
        "relative change",
        behaviour.check_half_precision,
        _BROKEN,
        HEADS,
        follows_from=("determinism", "truncation", "autocast"),
    ),
    Check(
        "activation checkpointing",
        "gradient change",
        training.check_checkpointing,
        _UNFAIR,
        HEADS,
        follows_from=("determinism", "labels", "every parameter learns", "gradients"),
    ),
    Check(
        "fairness",
        "largest change",
        training.check_fairness,
        _UNFAIR,
        HEADS,
        follows_from=("determinism", "company", "labels"),
    ),
    Check(
        "training mode",
        _CHANGE,
        training.check_training_mode,
        _UNFAIR,
        HEADS,
        follows_from=("determinism", "company", "fairness"),
    ),
    Check(
        "two processes",
        "largest change",
        processes.check_two_processes,
        _UNFAIR,
        HEADS,
        follows_from=("fairness",),
        once=True,
    ),
    Check(
        "config round trip",
        "fields",
        files.check_config,
        _BROKEN,
        HEADS,
        once=True,
    ),
    Check(
        "config values",
        "arguments",
        files.check_config_values,
        _BROKEN,
        HEADS,
        follows_from=("config round trip",),
        once=True,
    ),
    Check(
        "embeddings",
        _CHANGE,
        embeddings.check_embeddings,
        _BROKEN,
        HEADS,
        follows_from=("determinism",),
    ),
    Check(
        "tied weights",
        "copies saved",
        files.check_tied,
        _BROKEN,
        HEADS,
        follows_from=("post_init", "config round trip"),
    ),
    Check(
        "weights in the file",
        "tensors",
        files.check_weights,
        _BROKEN,
        HEADS,
        follows_from=(
            "forward",
            "post_init",
            "determinism",
            "config round trip",
            "embeddings",
            "tied weights",
        ),
    ),
    Check(
        "pretrained body",
        "tensors",
        files.check_pretrained_body,
        _UNFAIR,
        _CLASSIFIER,
        ("decoder", "state space"),
        follows_from=("weights in the file",),
    ),
    Check(
        "loads elsewhere",
        _CHANGE,
        files.check_loads_elsewhere,
        _BROKEN,
        HEADS,
        follows_from=("weights in the file",),
        once=True,
    ),
    Check(
        "no pickle",
        "files",
        files.check_no_pickle,
        _BROKEN,
        HEADS,
        follows_from=("post_init", "tied weights"),
        once=True,
    ),
    Check(
        "resize",
        _CHANGE,
        embeddings.check_resize,
        _BROKEN,
        HEADS,
        follows_from=("labels", "embeddings", "weights in the file"),
    ),
    Check(
        "positions",
        _CHANGE,
        behaviour.check_positions,
        _BROKEN,
        HEADS,
        _NO_STATE,
        follows_from=("determinism",),
    ),
    Check(
        "cache",
        _CHANGE,
        memory.check_cache,
        _BROKEN,
        _LM,
        follows_from=("determinism", "company", "future", "whole text"),
    ),
    Check(
        "cache, in chunks",
        _CHANGE,
        memory.check_chunks,
        _BROKEN,
        _LM,
        _DECODER,
        follows_from=("cache",),
    ),
    Check(
        "cache, reordered",
        _CHANGE,
        memory.check_reordered,
        _BROKEN,
        _LM,
        _DECODER,
        follows_from=("cache", "cache, in chunks"),
    ),
    Check(
        "cache, cropped",
        _CHANGE,
        memory.check_cropped,
        _BROKEN,
        _LM,
        _DECODER,
        follows_from=("cache", "cache, in chunks", "cache, reordered"),
    ),
    Check(
        "cache, static",
        _CHANGE,
        memory.check_static,
        _BROKEN,
        _LM,
        _DECODER,
        follows_from=("cache",),
    ),
    Check(
        "generation",
        _CHANGE,
        memory.check_generation,
        _BROKEN,
        _LM,
        follows_from=("determinism", "company", "future", "padding", "cache", "positions"),
    ),
]


def run_checks(checked: CheckedModel, *, show_progress: bool = False) -> dict[str, list[Verdict]]:
    """Check -> what it says of each head that it is asked of; others are left out."""
    console = Console(stderr=True)  # the report alone is on standard output
    hidden = not (show_progress and console.is_terminal)
    checks = track(CHECKS, "checking", console=console, transient=True, disable=hidden)
    examination = Examination(checked, CHECKS)
    found = {check.name: examination.ask(check) for check in checks}
    return {name: verdicts for name, verdicts in found.items() if verdicts}


def quick_check(prepared: PreparedModel, head: Head) -> None:
    """Refuse a model of a recipe that cannot be compared fairly.

    Raises:
        UserError: naming the model and the first check that it fails.
    """
    examination = Examination(CheckedModel(prepared), CHECKS)
    for check in CHECKS:
        if not check.quick or head not in check.heads:
            continue
        verdict = examination.verdict(check, head)
        if verdict.status == "FAIL":
            raise UserError(
                f"models.{prepared.entry.name}: the check {check.name!r} fails: {verdict.note} "
                f"(`hfbench check {_argument(prepared)}` tells more; unfair: true has it "
                "compared all the same)"
            )


def _argument(prepared: PreparedModel) -> str:
    """By which `hfbench check` finds the model."""
    config_class = type(prepared.config)
    path = f"{config_class.__module__}:{config_class.__name__}"
    return prepared.entry.model_name_or_path or path


__all__ = [
    "CHECKS",
    "Check",
    "CheckedModel",
    "Examination",
    "Level",
    "Verdict",
    "find_checked_model",
    "quick_check",
    "run_checks",
]
