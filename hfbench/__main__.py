"""``python -m hfbench``."""

from hfbench.cli.app import main

main()
