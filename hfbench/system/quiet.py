"""Silence of the libraries between hfbench's own lines."""

from collections.abc import Iterator
from contextlib import contextmanager

from hfbench.system.redaction import redact_output


def quiet_libraries() -> None:
    """No progress bars and notices of datasets and transformers in this process.

    What is logged all the same, because somebody asked for it, holds no secrets.
    """
    redact_output()
    _silence()


def _silence() -> None:
    import datasets
    import transformers

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # its errors are raised, too
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


@contextmanager
def quietly() -> Iterator[None]:
    """No progress bars and notices for a while; a program's own settings come back."""
    import datasets
    import transformers

    levels = datasets.logging.get_verbosity(), transformers.logging.get_verbosity()
    bars = datasets.are_progress_bars_disabled(), transformers.logging.is_progress_bar_enabled()
    _silence()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(levels[0])
        transformers.logging.set_verbosity(levels[1])
        if not bars[0]:
            datasets.enable_progress_bars()
        if bars[1]:
            transformers.logging.enable_progress_bar()
