"""A process that sees the system's programs, Python and one folder, and nothing else of its user.

By bubblewrap (https://github.com/containers/bubblewrap), which most Linux distributions have, by
Flatpak for one. Where it is not there, or the system lets nobody make namespaces, there is no
sandbox, and who runs a stranger's code says so.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix/store")
_RESOLVER = "/run/systemd/resolve"  # to which /etc/resolv.conf is a link on many systems


def sandboxed(
    command: Sequence[str], folder: Path, *, readable: Sequence[Path] = (), network: bool
) -> list[str]:
    """``command`` as it is to be run; unchanged where there is no sandbox, see `no_sandbox`.

    Args:
        command: the program and its arguments.
        folder: where it may write.
        readable: what it may read besides the system and Python.
        network: whether it has one.
    """
    if no_sandbox():
        return list(command)
    return [*_bubblewrap(folder, readable, network=network), *command]


@cache
def no_sandbox() -> str | None:
    """Why there is no sandbox on this machine, in words; None where there is one."""
    if shutil.which("bwrap") is None:
        return "bubblewrap (`bwrap`) is not installed"
    alone = [*_bubblewrap(None, [], network=False), sys.executable, "-I", "-c", ""]
    run = subprocess.run(alone, capture_output=True, text=True, check=False)
    reason = (run.stderr.strip().splitlines() or ["no message"])[-1]
    return f"bubblewrap does not work here ({reason})" if run.returncode else None


def _bubblewrap(folder: Path | None, readable: Sequence[Path], *, network: bool) -> list[str]:
    arguments = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session"]
    if network:
        arguments += ["--share-net", "--ro-bind-try", _RESOLVER, _RESOLVER]
    for path in _SYSTEM:
        arguments += ["--ro-bind-try", path, path]
    arguments += ["--dev", "/dev", "--proc", "/proc"]
    needed = [*_python(), *map(str, readable)]
    # where links lead to them, also as they are called
    for path in dict.fromkeys([*map(os.path.realpath, needed), *needed]):
        arguments += ["--ro-bind-try", path, path]
    if folder is not None:
        arguments += ["--bind", str(folder), str(folder)]
    return [*arguments, "--remount-ro", "/", "--"]


def _python() -> list[str]:
    """Where Python and its packages are, and the libraries that it was started with."""
    libraries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    packages = [path for path in sys.path if "site-packages" in path or "dist-packages" in path]
    return [sys.prefix, sys.base_prefix, *packages, *filter(None, libraries)]
