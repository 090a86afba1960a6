"""The training of every model by one Trainer, and what hangs on it."""

VERSION = 1  # of numbers, see `execution.identity`
"""To be raised when another curve or other weights come out of the same training."""
