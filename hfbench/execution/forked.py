"""What the process imports that workers are forked from, see `fork_server`."""

import gc

from hfbench.system.garbage import no_garbage_collection

with no_garbage_collection():
    import hfbench.execution.engines.workers

    # imported where it is used, elsewhere for the sake of what is done without it
    import hfbench.metrics.evaluate_metric  # noqa: F401

# Never garbage: not to be looked at in each worker, which would copy it, and in the end, which
# would take seconds.
gc.freeze()
