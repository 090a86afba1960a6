"""Numbers of logits and labels: each metric is an entry of `registry.METRICS`."""

from hfbench.metrics import built_in  # noqa: F401 -- its measures enter the registry
from hfbench.metrics.registry import Metric, register

VERSION = 1
"""Raised when a number of a built-in metric changes."""

__all__ = ["VERSION", "Metric", "register"]
