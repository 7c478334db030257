"""JAX's strict modes are for a user's code: they apply where a loss is traced, not to programs made from its trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax


@contextmanager
def own_settings() -> Iterator[None]:
    """Broadcast and promote as JAX does by default, whatever the user has set. It also decorates functions."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield
