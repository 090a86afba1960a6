"""The process that workers are forked from: it has imported everything, and done nothing else.

It has started no thread and has not asked for a GPU, so that a fork of it is as good as new, unless
a library has on import.
Importing this module imports nothing heavy, so that the server can import while its parent does:
therefore it lies outside `engines`, which imports torch.
"""

import logging
import multiprocessing
import sys
from functools import cache
from typing import Any

logger = logging.getLogger(__name__)

_PRELOADED = ["hfbench.execution.forked"]


def context(*, uses_gpus: bool = False) -> Any:
    """Of `multiprocessing`: its processes are forked from the server, where they can be.

    Args:
        uses_gpus: they must be able to use GPUs.
    """
    if not _exists():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    if uses_gpus and not _leaves_gpus_to_forks():
        return multiprocessing.get_context("spawn")
    return context


@cache
def _leaves_gpus_to_forks() -> bool:
    """Whether the server has not started CUDA after all: some libraries do on import, as torchao.

    Only a fork can tell, and only of the process that it is a fork of.
    """
    fork = context().Process(target=_exit_by_cuda)
    fork.start()
    fork.join()
    if fork.exitcode != 0:
        logger.info("a library starts CUDA on import: workers import for themselves, seconds each")
    return fork.exitcode == 0


def _exit_by_cuda() -> None:
    import torch

    sys.exit(torch.cuda._is_in_bad_fork())


def start() -> None:
    """Let the server import from now on, seconds before its first process is wanted."""
    if _exists():
        from multiprocessing import forkserver

        context()
        forkserver.ensure_running()


def _exists() -> bool:
    return "forkserver" in multiprocessing.get_all_start_methods()
