import sys

import pytest

from hfbench import cli


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command line in this process: its exit code and what it wrote to standard error."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["hfbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as leave:
            cli.main()
        return leave.value.code or 0, capsys.readouterr().err

    return run
