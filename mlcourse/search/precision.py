"""A block of code -> the same in 64 bits, and with one thread for small matrices, whatever the process around it uses."""

import contextlib
import functools

import jax
import scipy.linalg  # noqa: F401 (it brings the BLAS that JAX calls, which `threads` has to find)
from threadpoolctl import ThreadpoolController


def float64():
    """A context in which JAX computes in 64 bits. Outside nothing changes, and arrays that leave it stay 64 bits wide.

    >>> with float64():
    ...     inside = jax.numpy.ones(1).dtype
    >>> str(inside), str(jax.numpy.ones(1).dtype)
    ('float64', 'float32')
    """
    if hasattr(jax, "enable_x64"):  # from JAX 0.8 on; the older name is gone from the newest releases
        return jax.enable_x64(True)
    from jax.experimental import enable_x64

    return enable_x64(True)


@functools.cache
def threads() -> ThreadpoolController:
    return ThreadpoolController()


@contextlib.contextmanager
def one_thread():
    """A context in which linear algebra keeps to one thread. Take the results out of JAX before it ends.

    The matrices of a search are small: several threads mostly wait for each other, which on a busy machine of two cores made
    a suggestion cost 8 to 970 ms of CPU where one thread takes 5.

    >>> with one_thread():
    ...     {library["num_threads"] for library in threads().info() if library["user_api"] == "blas"}
    {1}
    """
    with threads().limit(limits=1, user_api="blas"):
        yield
