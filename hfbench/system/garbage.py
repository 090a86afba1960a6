"""When Python looks for garbage."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Within, no search for cycles: of what makes many objects that stay it is a good part.

    A quarter of the time that importing torch and transformers takes, and half of that of reading
    records.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()  # what was made is old now: it is not searched as soon as anything is new
        if was_enabled:
            gc.enable()
