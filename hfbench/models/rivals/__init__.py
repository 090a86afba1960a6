"""Answers of models that nobody fine-tunes: frozen features with a head, prompts, estimators."""

PROBE_VERSION = 1  # of numbers, see `execution.identity`
"""To be raised when features are pooled or heads are fitted otherwise."""
PROMPT_VERSION = 1
"""To be raised when a prompt is written or its answer is read otherwise."""
ESTIMATOR_VERSION = 1
"""To be raised when estimators are fitted or asked otherwise."""
