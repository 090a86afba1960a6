"""Silence of the libraries between hfbench's own lines."""


def quiet_libraries() -> None:
    """No progress bars and notices of datasets and transformers in this process."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
