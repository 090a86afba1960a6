"""The version of hfbench."""

__version__ = "0.1.0"
