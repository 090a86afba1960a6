"""A process for a stranger's code: what it may take, and what it does not see."""

import socket
import time

import pytest

from hfbench.system.sandbox import no_sandbox
from hfbench.system.stranger import last_line, run_stranger

needs_sandbox = pytest.mark.skipif(no_sandbox() is not None, reason=str(no_sandbox()))


@pytest.fixture
def stranger(tmp_path):
    """Runs a script in a folder of its own; gives the process."""
    folder = tmp_path / "own"
    folder.mkdir()

    def run(script, *arguments, seconds=60, **options):
        return run_stranger(script, list(map(str, arguments)), folder, seconds=seconds, **options)

    return run


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("bytearray(1 << 50)", "MemoryError"),
        ("import pathlib; pathlib.Path('a').write_bytes(bytes((1 << 26) + 1))", "File too large"),
        ("import hfbench", "ModuleNotFoundError"),
        ("print(open(0).read(), end='')", ""),
        ("import time; time.sleep(60)", "it had not ended after 1 s"),
    ],
    ids=["memory", "a large file", "hfbench", "no input", "time"],
)
def test_its_limits(stranger, script, says):
    run = stranger(script, seconds=1 if "sleep" in script else 60)
    assert (run.returncode == 0) == (says == "")
    assert says in last_line(run.stderr)


def test_what_it_started_ends_with_it(stranger, tmp_path):
    left = tmp_path / "own" / "left"
    child = f"import time; time.sleep(1.5); open({str(left)!r}, 'w')"
    script = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}])"
    assert stranger(script).returncode == 0
    time.sleep(2)
    assert not left.exists()


@needs_sandbox
def test_a_sandbox_hides_the_users_files_and_the_network(stranger, tmp_path):
    secret, given = tmp_path / "secret", tmp_path / "given"
    secret.write_text("token")
    given.write_text("weights")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = f"""
import socket
from pathlib import Path
assert Path({str(given)!r}).read_text() == "weights"
Path("own").write_text("mine")
for attempt in (
    lambda: Path({str(secret)!r}).read_text(),
    lambda: Path({str(given)!r}).write_text("others"),
    lambda: Path({str(tmp_path / "new")!r}).write_text(""),
    lambda: socket.create_connection(("127.0.0.1", {port}), timeout=5),
):
    try:
        attempt()
    except OSError:
        continue
    raise SystemExit("it could")
"""
        run = stranger(script, readable=[given])
        assert run.returncode == 0, run.stderr
        assert (tmp_path / "own" / "elsewhere" / "own").read_text() == "mine"
        assert not (tmp_path / "new").exists()
        connect = f"import socket; socket.create_connection(('127.0.0.1', {port}))"
        assert stranger(connect, token="").returncode == 0  # with a token it downloads
