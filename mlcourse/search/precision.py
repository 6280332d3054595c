"""A block of code -> the same block in 64 bits, whatever the process around it uses."""

import jax


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
