"""A canary that planted files would create, and what plants it."""

import os
from contextlib import suppress

import pytest
from support.hub_fixtures import faults, hub, reach  # noqa: F401 - fixtures


class Calls:
    """Unpickled, it calls ``function``."""

    def __init__(self, function, argument):
        self.function, self.argument = function, argument

    def __reduce__(self):
        return self.function, (self.argument,)


@pytest.fixture
def canary(tmp_path):
    """A file that is not there."""
    return tmp_path / "canary"


@pytest.fixture
def code(canary):
    """Python that creates the canary."""
    return f"open({str(canary)!r}, 'w').close()"


@pytest.fixture
def payloads(canary, code):
    """Objects whose pickles create the canary."""
    return {
        "exec": Calls(exec, code),
        "os.system": Calls(os.system, f"touch '{canary}'"),
    }


@pytest.fixture
def payload(payloads):
    return payloads["exec"]


@pytest.fixture
def sings(canary):
    """A function that shows that what is planted creates the canary, and takes it away again.

    It is the control: without it, a payload that does nothing would pass for a defence.
    """

    def show(careless, *arguments, **options):
        # what comes of it may not fit its place
        with suppress(AttributeError, TypeError, ValueError):
            careless(*arguments, **options)
        assert canary.exists()
        canary.unlink()

    return show
