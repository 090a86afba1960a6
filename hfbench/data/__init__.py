"""A task or a corpus, on the Hub or built in, becomes a DatasetDict with known columns."""
