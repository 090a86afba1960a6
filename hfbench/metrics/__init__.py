"""Numbers of logits and labels."""

VERSION = 1  # of numbers, see `execution.identity`
"""To be raised when a built-in metric gives another number."""
