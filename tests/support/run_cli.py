"""Body of a process that a test starts, by `runpy` with a dictionary ``given`` among its globals.

It holds ``arguments`` of the command line; ``cwd``, a folder or None; ``output``, a file for what
is said; and ``kill_at``: a module, the name of what it calls and the number of the call before
which the process is killed.
"""

import gc
import importlib
import os
import signal
import sys


def die_at(module, name, number):
    *owners, last = name.split(".")
    owner = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    call, calls = getattr(owner, last), []

    def counted(*args, **kwargs):
        calls.append(name)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)

    setattr(owner, last, counted)


if __name__ == "__main__":
    given = globals()["given"]
    # a shell that runs the tests in the background has the first ignored, and nohup the second; who
    # inherits that heeds none
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    descriptor = os.open(given["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    sys.argv = ["hfbench", *given["arguments"]]
    if given["cwd"]:
        os.chdir(given["cwd"])
        sys.path.insert(0, given["cwd"])  # as of `python -m hfbench`
    from hfbench.cli.app import main
    from hfbench.execution import use

    # as in conftest.py
    use._SECONDS_ALONE, use._MOST_BATCHES = 0.0, 1
    gc.unfreeze = lambda: None

    if given["kill_at"]:
        die_at(*given["kill_at"])
    main()
