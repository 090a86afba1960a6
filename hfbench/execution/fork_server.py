"""The process that workers are forked from: it has imported everything, and done nothing else.

It has started no thread and has not asked for a GPU, so that a fork of it is as good as new.
Importing this module imports nothing heavy, so that the server can import while its parent does:
therefore it lies outside `engines`, which imports torch.
"""

import multiprocessing
from typing import Any

_PRELOADED = ["hfbench.execution.forked"]


def context() -> Any:
    """Of `multiprocessing`: its processes are forked from the server, where there can be one."""
    if not _exists():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def start() -> None:
    """Let the server import from now on, seconds before its first process is wanted."""
    if _exists():
        from multiprocessing import forkserver

        context()
        forkserver.ensure_running()


def _exists() -> bool:
    return "forkserver" in multiprocessing.get_all_start_methods()
