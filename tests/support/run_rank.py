"""Body of a process that a test starts, by `runpy` with a dictionary ``given`` among its globals.

It runs a script as the process of some rank that a launcher starts. ``given`` holds ``command``,
the script's path and its arguments; ``environment``, what the launcher sets; and ``output``, a file
for what is said.
"""

import os
import runpy
import sys

if __name__ == "__main__":
    given = globals()["given"]
    descriptor = os.open(given["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ |= given["environment"]
    sys.argv = given["command"]
    runpy.run_path(sys.argv[0], run_name="__main__")
