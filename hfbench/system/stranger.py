"""A process that knows nothing of hfbench, with empty caches: what a stranger's would be."""

import os
import subprocess
import sys
from pathlib import Path

# Also where hfbench is installed, nothing of it is there for a model's code to lean on.
_ALONE = "import sys; sys.modules['hfbench'] = None\n"


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
        **{name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"},
        "HF_HOME": str(folder / "hf_home"),
        "HF_HUB_CACHE": str(folder / "hf_home" / "hub"),
        "HF_MODULES_CACHE": str(folder / "hf_home" / "modules"),
        "DISABLE_SAFETENSORS_CONVERSION": "1",
    }
    environment |= {"HF_HUB_OFFLINE": "1"} if token is None else {"HF_TOKEN": token}
    (folder / "elsewhere").mkdir()
    return subprocess.run(
        [sys.executable, "-I", "-c", _ALONE + script, *arguments],
        cwd=folder / "elsewhere",
        env=environment,
        stdin=subprocess.DEVNULL,  # a question whether to trust the code is a failure
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def last_line(text: str) -> str:
    """The last line of what it wrote on standard error: an exception's, if it ended in one."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:500] if lines else "no message"
