"""Whether a model is a good citizen of transformers and compares fairly: `hfbench check`.

Each check is a function in the modules beside this one; `CHECKS` lists them.
"""

from rich.progress import track

from hfbench.checks import behaviour, files, processes, training
from hfbench.checks.checked_model import HEADS, CheckedModel, find_checked_model, from_prepared
from hfbench.checks.outcome import Check, Failed, Skipped, Verdict
from hfbench.errors import UserError
from hfbench.models.prepare import PreparedModel
from hfbench.recipe.types import Head
from hfbench.system.terminal import Console

_CHANGE = "logit change"
_LM: tuple[Head, ...] = ("language model",)

CHECKS = [
    Check("config round trip", "fields", files.check_config, HEADS, once=True),
    Check("loads elsewhere", _CHANGE, files.check_loads_elsewhere, HEADS, once=True),
    Check("no pickle", "files", files.check_no_pickle, HEADS, once=True),
    Check("tied weights", "copies saved", files.check_tied, _LM),
    Check("initialisation", "loss - ln(n)", training.check_initialisation, HEADS),
    Check(
        "scaled initialisation",
        "std / expected",
        training.check_scaled_initialisation,
        HEADS,
        once=True,
    ),
    Check("every parameter learns", "moved", training.check_every_parameter_learns, HEADS),
    Check("labels", "loss change", training.check_labels, HEADS),
    Check("padding", _CHANGE, behaviour.check_own_side_padding, HEADS),
    Check("padding, other side", _CHANGE, behaviour.check_other_side_padding, HEADS),
    Check("eos", "effect of EOS", behaviour.check_eos, ("classifier",)),
    Check("company", _CHANGE, behaviour.check_company, HEADS),
    Check("future", _CHANGE, behaviour.check_future, _LM),
    Check("cache", _CHANGE, behaviour.check_cache, _LM),
    Check("attention", _CHANGE, behaviour.check_attention, HEADS),
    Check("truncation", "tokens", behaviour.check_truncation, HEADS),
    Check(
        "activation checkpointing",
        "gradient change",
        training.check_checkpointing,
        HEADS,
    ),
    Check("determinism", _CHANGE, training.check_determinism, HEADS),
    Check("fairness", "largest change", training.check_fairness, HEADS),
    Check("two processes", "largest change", processes.check_two_processes, HEADS, once=True),
]

# What would make a comparison wrong, in a few seconds.
_QUICK = {"every parameter learns", "labels", "padding", "company"}


def run_check(check: Check, checked: CheckedModel) -> list[Verdict]:
    """What a check says of each head that it is meant for."""
    heads = check.heads
    if check.once:
        heads = tuple(checked.heads[:1])
    return [_verdict(check, checked, head) for head in heads]


def run_checks(checked: CheckedModel, *, show_progress: bool = False) -> dict[str, list[Verdict]]:
    """Check -> what it says of each head."""
    console = Console(stderr=True)  # the report alone is on standard output
    hidden = not (show_progress and console.is_terminal)
    checks = track(CHECKS, "checking", console=console, transient=True, disable=hidden)
    return {check.name: run_check(check, checked) for check in checks}


def quick_check(prepared: PreparedModel, head: Head) -> None:
    """Refuse a model of a recipe that cannot be compared fairly.

    Raises:
        UserError: naming the model and the first check that it fails.
    """
    checked = from_prepared(prepared)
    for check in CHECKS:
        if check.name in _QUICK:
            verdict = _verdict(check, checked, head)
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


def _verdict(check: Check, checked: CheckedModel, head: Head) -> Verdict:
    if head in checked.missing:
        return Verdict(head, "skipped", None, checked.missing[head])
    try:
        return Verdict(head, "ok", check.run(checked, head), "")
    except Failed as failure:
        return Verdict(head, "FAIL", failure.value, failure.advice)
    except Skipped as skipped:
        return Verdict(head, "skipped", None, str(skipped))
    except Exception as error:  # the code under check is a stranger's and may raise anything
        reason = " ".join(str(error).split())[:300]
        return Verdict(head, "FAIL", None, f"{type(error).__name__}: {reason}")


__all__ = [
    "CHECKS",
    "Check",
    "CheckedModel",
    "Verdict",
    "find_checked_model",
    "quick_check",
    "run_check",
    "run_checks",
]
