"""What is said about the kinks of a loss: series use higher derivatives, and a relu hides its kink from them."""

import warnings
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ...derivatives import Loss
from ...kinks import Kink, SmoothnessWarning
from ._find_kinks import find_kinks


def kinks(loss: Loss, params: Any, example: Any) -> list[str]:
    """Return the names of operations in a loss with kinks within reach of parameters, judged by one example.

    What has a kink only for parameters far away does not count, nor what cancels: see `find_kinks`.

    Args:
        loss: `loss(params, example)`, a real scalar.
        params: the parameters, a pytree of floating-point arrays.
        example: one example.

    Returns:
        The names, without repetition.
    """
    data = jax.tree.map(lambda leaf: (leaf if isinstance(leaf, jax.Array) else np.asarray(leaf))[None], example)
    return list(dict.fromkeys(kink.operation for kink in find_kinks(loss, params, data)))


def warn_of_kinks(kinks: Sequence[Kink], *, stacklevel: int = 2) -> None:
    """Warn with `SmoothnessWarning` of the kinks that were found; do nothing if there are none.

    Args:
        kinks: the kinks, as `find_kinks` returns them.
        stacklevel: how many callers up the warning belongs to: 1 is this function, 2 its caller.
    """
    if kinks:
        warnings.warn(
            f"The loss is not smooth in its parameters: {'; '.join(map(str, kinks))}. Within reach are moves of the "
            "parameters by up to half their norm, or down to where an example's own loss would be least. Values are "
            "computed as if kinks were not there, and a series misses what they do: compare with fd.simulate, or use "
            "tanh, gelu, softplus, logsumexp or average pooling in their place.",
            SmoothnessWarning,
            stacklevel=stacklevel + 1,
        )
