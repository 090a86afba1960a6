"""A task or a corpus, on the Hub or built in, becomes a DatasetDict with known columns."""

VERSION = 1  # of numbers, see `execution.identity`
"""To be raised when texts become other tokens or batches, or a subset other rows."""
