"""A process that knows nothing of hfbench and of its user: what a stranger's would be.

It has a home and caches of its own, of the environment what Python and torch need to start, no
token but one that it is given, and limits of time and output. It is no sandbox: a model's code,
which runs here with permission only, can read what its user can read.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

# Also where hfbench is installed, nothing of it is there for a model's code to lean on.
_ALONE = "import sys; sys.modules['hfbench'] = None\n"
_NEEDED = re.compile(
    r"PATH|LANG|LC_\w+|TZ|TMPDIR|TEMP|TMP|SYSTEMROOT|LD_LIBRARY_PATH|DYLD_\w+|CUDA_\w+|(OMP|MKL)_\w+"
    r"|HF_ENDPOINT|HF_HUB_DISABLE_XET|HTTPS?_PROXY|NO_PROXY|(SSL|REQUESTS|CURL)_CA?_?\w+",
    re.IGNORECASE,
)
"""Environment variables that it has: how to start, and the way to the Hub."""
_MOST_OUTPUT = 1 << 20  # bytes of what it says; a traceback has less


def run_stranger(
    script: str, arguments: list[str], folder: Path, *, seconds: int, token: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a Python script with hfbench not importable and caches in ``folder``.

    Args:
        script: its source.
        arguments: its ``sys.argv[1:]``.
        folder: an existing folder for caches and the current directory.
        seconds: after which it is killed.
        token: of the Hub, which is not there without one; an empty one stands for nobody's.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if _NEEDED.fullmatch(name)},
        "HOME": str(folder),
        "HF_HOME": str(folder / "hf_home"),
        "HF_HUB_CACHE": str(folder / "hf_home" / "hub"),
        "HF_MODULES_CACHE": str(folder / "hf_home" / "modules"),
        "DISABLE_SAFETENSORS_CONVERSION": "1",
    }
    environment |= {"HF_HUB_OFFLINE": "1"} if token is None else {"HF_TOKEN": token}
    (folder / "elsewhere").mkdir()
    command = [sys.executable, "-I", "-c", _ALONE + script, *arguments]
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        run = subprocess.run(
            command,
            cwd=folder / "elsewhere",
            env=environment,
            stdin=subprocess.DEVNULL,  # a question whether to trust the code is a failure
            stdout=out,
            stderr=err,
            timeout=seconds,
            check=False,
        )
    said = [_last_of(folder / name) for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess(command, run.returncode, *said)


def _last_of(file: Path) -> str:
    """The end of what it said, of which no more is read than fits in memory."""
    with file.open("rb") as content:
        content.seek(max(0, file.stat().st_size - _MOST_OUTPUT))
        return content.read().decode("utf-8", "replace")


def last_line(text: str) -> str:
    """The last line of what it wrote on standard error: an exception's, if it ended in one."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "no message"
