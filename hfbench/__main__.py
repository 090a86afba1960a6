"""``python -m hfbench``."""

from hfbench.cli import main

main()
