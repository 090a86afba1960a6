"""Threads of the linear algebra under numpy and scipy, which takes every core unasked."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Within, products and sums of arrays are computed by one thread.

    Cells side by side would each start as many as there are cores, and wait for one another. Nor do
    sums depend on the number of cores.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"):
        yield
