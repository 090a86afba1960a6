"""A pytest plugin: ``pytest --hfbench my_package.my_model:MyConfig`` asks each check as a test.

It is imported in every run of pytest where hfbench is installed: torch only where it is asked for.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hfbench.errors import UserError

if TYPE_CHECKING:
    from hfbench.checks import Check, Examination, Verdict


class AdviceWarning(UserWarning):
    """What `hfbench check` would only advise."""


class CheckFailedError(Exception):
    """What to do; shown without a traceback, for it is the model that has to change."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--hfbench``."""
    parser.addoption(
        "--hfbench",
        action="append",
        default=[],
        metavar="MODEL",
        help="ask `hfbench check` of this model, a test for each check: package.module:ConfigClass "
        "of your own, or a folder; may be given again. Without paths nothing else is run.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Look for no other tests, unless they are named."""
    if config.getoption("hfbench") and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose among them
def pytest_collection_modifyitems(session: pytest.Session, items: list[pytest.Item]) -> None:
    """Add a test for each check that each model is asked."""
    for model in session.config.getoption("hfbench"):
        items += _collect(session, model)


class CheckItem(pytest.Item):
    """A check of a model: it passes, fails with what to do, or is skipped with the reason."""

    def __init__(self, *, examination: "Examination", check: "Check", **options: Any) -> None:
        super().__init__(**options)
        self._examination = examination
        self._check = check

    def runtest(self) -> None:
        """Ask the check of each head."""
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # one that is an error here would be a failure there
            verdicts = self._examination.ask(self._check)
        failed = [verdict for verdict in verdicts if verdict.status == "FAIL"]
        if failed:
            raise CheckFailedError("\n".join(_in_words(verdict) for verdict in failed))
        for verdict in verdicts:
            if verdict.status == "note":
                warnings.warn(AdviceWarning(_in_words(verdict)), stacklevel=1)
        if all(verdict.status == "skipped" for verdict in verdicts):
            pytest.skip("; ".join(dict.fromkeys(verdict.note for verdict in verdicts)))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What to do, and no traceback of hfbench."""
        if isinstance(excinfo.value, CheckFailedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """A title in place of a line of code."""
        return self.path, None, f"{self._examination.checked.name}: {self.name}"


def _collect(session: pytest.Session, model: str) -> list[CheckItem]:
    from hfbench.checks import CHECKS, Examination, find_checked_model

    try:
        examination = Examination(find_checked_model(model), CHECKS)
    except UserError as error:
        raise pytest.UsageError(f"--hfbench {model}: {error}") from error
    return [
        CheckItem.from_parent(
            session,
            name=check.name,
            nodeid=f"{model}::{check.name}",
            examination=examination,
            check=check,
        )
        for check in CHECKS
        if examination.heads(check)
    ]


def _in_words(verdict: "Verdict") -> str:
    cause = f"follows from {verdict.follows_from!r}: " if verdict.follows_from else ""
    return f"{verdict.level}, {verdict.head}: {cause}{verdict.note}"
