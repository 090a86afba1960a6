"""Checks, asked of one model: each once, and of a failure what it follows from."""

import traceback
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
import transformers

from hfbench.checks.checked_model import CheckedModel
from hfbench.checks.outcome import Check, Failed, Skipped, Status, Verdict
from hfbench.errors import one_line
from hfbench.recipe.types import Head

# whose frames in a traceback tell nothing of the model
_KNOWN_CODE = [str(Path(str(module.__file__)).parent) for module in (torch, transformers)]
_KNOWN_CODE.append(str(Path(__file__).parents[1]))


class Examination:
    """What checks say of one model.

    A failure whose cause is another check's failure says so: that is asked first.

    Args:
        checked: the model.
        checks: all that are named as causes are among them.
    """

    def __init__(self, checked: CheckedModel, checks: Iterable[Check]) -> None:
        self.checked = checked
        self._checks = {check.name: check for check in checks}
        self._verdicts: dict[tuple[str, Head], Verdict] = {}

    def heads(self, check: Check) -> list[Head]:
        """The heads that it is asked of; empty if it does not fit the model's families."""
        heads = [
            head
            for head in check.heads
            if head in self.checked.heads and self.checked.family(head) in check.families
        ]
        return heads[:1] if check.once else heads

    def ask(self, check: Check) -> list[Verdict]:
        """What a check says of each head that it is asked of."""
        return [self.verdict(check, head) for head in self.heads(check)]

    def verdict(self, check: Check, head: Head) -> Verdict:
        """What a check says of a head; both exist."""
        if (check.name, head) not in self._verdicts:
            verdict = _verdict(check, self.checked, head)
            if verdict.status in ("FAIL", "note"):
                verdict = replace(verdict, follows_from=self._cause(check, head))
            self._verdicts[check.name, head] = verdict
        return self._verdicts[check.name, head]

    def _cause(self, check: Check, head: Head) -> str | None:
        """The first cause that fails, or what that follows from itself."""
        for name in check.follows_from:
            cause = self._checks.get(name)
            if cause is None:
                continue
            for verdict in self.ask(cause):
                same = verdict.head == head or head not in cause.heads or cause.once or check.once
                if same and verdict.status == "FAIL":
                    return verdict.follows_from or name
        return None


def _verdict(check: Check, checked: CheckedModel, head: Head) -> Verdict:
    try:
        return Verdict(head, "ok", check.run(checked, head), "")
    except Failed as failure:
        level = failure.level or check.level
        status: Status = "note" if level == "advice" else "FAIL"
        return Verdict(head, status, failure.value, failure.advice, level)
    except Skipped as skipped:
        return Verdict(head, "skipped", None, str(skipped))
    except Exception as error:  # the code under check is a stranger's and may raise anything
        note = f"{type(error).__name__}: {one_line(error)}{_place(error)}"
        return Verdict(head, "FAIL", None, note, check.level)


def _place(error: Exception) -> str:
    """Where in the model's own code the error was raised, if that is in the traceback."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(tuple(_KNOWN_CODE))]
    own = [frame for frame in own if "site-packages" not in frame.filename]
    if not own:
        return ""
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno}, in {own[-1].name})"
