"""Silence of the libraries between hfbench's own lines."""

from hfbench.system.redaction import redact_output


def quiet_libraries() -> None:
    """No progress bars and notices of datasets and transformers in this process.

    What is logged all the same, because somebody asked for it, holds no secrets.
    """
    import datasets
    import transformers

    redact_output()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # its errors are raised, too
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
