import datasets
import transformers

from hfbench.system.quiet import quietly


def test_a_programs_own_settings_come_back():
    datasets.enable_progress_bars()
    transformers.logging.set_verbosity_info()
    try:
        with quietly():
            assert datasets.are_progress_bars_disabled()
            assert transformers.logging.get_verbosity() == transformers.logging.ERROR
        assert not datasets.are_progress_bars_disabled()
        assert transformers.logging.get_verbosity() == transformers.logging.INFO
    finally:
        transformers.logging.set_verbosity_warning()
