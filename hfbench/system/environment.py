"""What a run ran on: versions, commit, machine. No host name, no user name, no path."""

import os
import platform
import re
import shlex
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hfbench.system.launch import is_worker
from hfbench.system.redaction import redact
from hfbench.version import __version__

_PACKAGES = (
    "hfbench",
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "evaluate",
    "accelerate",
    "huggingface_hub",
    "numpy",
    "scikit-learn",
)

_OPTIONAL_PACKAGES = ("peft",)

_PROCESS = Path("/proc/self")  # Linux only

_PYTHON = re.compile(r"(.*/)?python[\d.]*")
_FOLDERS = re.compile(r"(?<![\w.:/-])~?/([^\s,'\"{}\[\]]*/)?")  # of an absolute path in an argument


def environment_stamp() -> dict[str, Any]:
    """Versions of Python and of the packages that matter, hfbench's commit, the machine."""
    import torch

    return {
        "command": command(),
        "python": platform.python_version(),
        "packages": _versions(),
        **_commit(),
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cpu_count": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "hub_endpoint": redact(os.environ.get("HF_ENDPOINT", "https://huggingface.co")),
    }


def command() -> str:
    """What was typed to start this: the launcher's command line where there was a launcher.

    Folders are left out of absolute paths, and secrets out of everything.
    """
    words = list(sys.argv)
    # a worker has the arguments of the process that started it, whose parent is of no interest
    if _has_launcher() and not is_worker():
        import psutil  # here: tables need no launcher

        words = psutil.Process().parent().cmdline()
    if _PYTHON.fullmatch(words[0]) and not words[1].startswith("-"):
        del words[0]  # it runs a script, which is the command
    words[0] = Path(words[0]).name
    if words[0] == "__main__.py":
        words[0] = "hfbench"
    return redact(shlex.join(_FOLDERS.sub("", word) for word in words))


def _has_launcher() -> bool:
    """Whether ``torchrun`` or ``accelerate launch``, also of one process, started this one."""
    return bool({"LOCAL_RANK", "ACCELERATE_MIXED_PRECISION"} & os.environ.keys())


@cache  # what this process has loaded does not change; reading it takes a while
def _versions() -> dict[str, str]:
    versions = {name: version(name) for name in _PACKAGES if name != "hfbench"}
    for name in _OPTIONAL_PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {"hfbench": __version__, **versions}


def device_names(device: Any) -> str:
    """What the processes that train together run on, as its maker calls it.

    Called in each of them; with their number where there are several: ``2 x NVIDIA H200``.
    """
    import torch.distributed

    if not torch.distributed.is_initialized():
        return device_name(device)
    names: list[str] = [""] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(names, device_name(device))
    if len(names) == 1:
        return names[0]
    return ", ".join(f"{count} x {name}" for name, count in Counter(names).items())


def device_name(device: Any) -> str:
    """What this process runs on; unlike `device_names` it waits for no other."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor() if device.type == "cpu" else device.type


def reset_peak_memory(device: Any) -> None:
    """Let `peak_memory` count from now on, where the system can."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _counts_from_reset():
        (_PROCESS / "clear_refs").write_text("5")  # proc(5): the peak becomes what is used now


def peak_memory(device: Any) -> tuple[int, str]:
    """Highest memory use in bytes and what it is of, as in the record's ``peak_memory_of``."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device), "device allocations"
    if _counts_from_reset():
        status = (_PROCESS / "status").read_text("utf-8")
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024, "the process during the run"
    import resource

    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024), "the process since its start"


def _counts_from_reset() -> bool:
    return os.access(_PROCESS / "clear_refs", os.W_OK)


@cache  # that of the code which this process has loaded
def _commit() -> dict[str, Any]:
    """Commit of hfbench's own checkout; None when it is an installed package."""
    package = Path(__file__).parents[1]

    def git(*arguments: str) -> str | None:
        try:
            run = subprocess.run(
                ["git", "-C", str(package), *arguments], capture_output=True, text=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            return None
        return run.stdout.strip()

    # in another project's virtual environment, git would answer for that project
    if git("ls-files", "--error-unmatch", "__init__.py") is None:
        return {"commit": None, "uncommitted_changes": None}
    changes = git("status", "--porcelain", "--", ".")
    return {"commit": git("rev-parse", "HEAD"), "uncommitted_changes": bool(changes)}


@cache
def _processor() -> str:
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
