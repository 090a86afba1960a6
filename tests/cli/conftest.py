"""A command line that is run in this process, and a Hub for what publishes."""

import sys

import pytest
from publish.conftest import faults, hub, reach, results  # noqa: F401

from hfbench.cli import app as cli


@pytest.fixture
def call(monkeypatch, capsys, quick_figures):
    """A function that runs a command line: its exit code, output and errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hfbench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as leave:
            cli.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return leave.value.code or 0, said.out, said.err

    return run
