"""A process that knows nothing of hfbench and of its user: what a stranger's would be.

It has a home and caches of its own, of the environment what Python and torch need to start, no
token but one that it is given, and limits of time, memory and output. Where the system has a
sandbox it runs there (`sandbox`), without a network unless it is given a token; where not, a
model's code, which runs here with permission only, can read what its user can read.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from hfbench.system.sandbox import sandboxed

# Also where hfbench is installed, nothing of it is there for a model's code to lean on.
_ALONE = """
import resource, sys
sys.modules['hfbench'] = None
for kind, most in ((resource.RLIMIT_DATA, {memory}), (resource.RLIMIT_FSIZE, {file})):
    hard = resource.getrlimit(kind)[1]
    if most is not None and not 0 <= hard < most:
        resource.setrlimit(kind, (most, most))
"""
_NEEDED = re.compile(
    r"PATH|LANG|LC_\w+|TZ|TMPDIR|TEMP|TMP|SYSTEMROOT|LD_LIBRARY_PATH|DYLD_\w+|CUDA_\w+|(OMP|MKL)_\w+"
    r"|HF_ENDPOINT|HF_HUB_DISABLE_XET|HTTPS?_PROXY|NO_PROXY|(SSL|REQUESTS|CURL)_CA?_?\w+",
    re.IGNORECASE,
)
"""Environment variables that it has: how to start, and the way to the Hub."""
_MOST_SAID = 1 << 20  # bytes of what it says that are read; a traceback has less
_LARGEST_FILE = 1 << 26  # bytes that it may write into one, unless it downloads


def run_stranger(
    script: str,
    arguments: list[str],
    folder: Path,
    *,
    seconds: int,
    token: str | None = None,
    readable: Sequence[Path] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a Python script with hfbench not importable and caches in ``folder``.

    It may take as much memory as is free when it starts.

    Args:
        script: its source.
        arguments: its ``sys.argv[1:]``.
        folder: an existing folder for caches and the current directory.
        seconds: after which it is killed, with all that it started.
        token: of the Hub, which is not there without one; an empty one stands for nobody's.
        readable: what it is to read elsewhere.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if _NEEDED.fullmatch(name)},
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "HF_HOME": str(folder / "hf_home"),
        "HF_HUB_CACHE": str(folder / "hf_home" / "hub"),
        "HF_MODULES_CACHE": str(folder / "hf_home" / "modules"),
        "DISABLE_SAFETENSORS_CONVERSION": "1",
    }
    environment |= {"HF_HUB_OFFLINE": "1"} if token is None else {"HF_TOKEN": token}
    alone = _ALONE.format(
        memory=psutil.virtual_memory().available, file=_LARGEST_FILE if token is None else None
    )
    (folder / "elsewhere").mkdir(exist_ok=True)
    command = [sys.executable, "-I", "-c", alone + script, *arguments]
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            sandboxed(command, folder, readable=readable, network=token is not None),
            cwd=folder / "elsewhere",
            env=environment,
            stdin=subprocess.DEVNULL,  # a question whether to trust the code is a failure
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            err.seek(0, os.SEEK_END)
            err.write(f"\nit had not ended after {seconds:,} s".encode())
        finally:
            _end(process)
    said = [_last_of(folder / name) for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess(command, process.returncode, *said)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill what is left of it and of all that it started in its session."""
    with suppress(ProcessLookupError):  # nothing is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_of(file: Path) -> str:
    """The end of what it said, of which no more is read than fits in memory."""
    with file.open("rb") as content:
        content.seek(max(0, file.stat().st_size - _MOST_SAID))
        return content.read().decode("utf-8", "replace")


def last_line(text: str) -> str:
    """The last line of what it wrote on standard error: an exception's, if it ended in one."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "no message"
