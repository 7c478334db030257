"""Ready-made landscapes on the bundled handwritten digits."""

from typing import Any

import jax

from .._keys import check_key
from ..errors import ArgumentError
from ._datasets import digits
from ._landscape import Landscape
from ._models import convnet, cross_entropy, logistic_regression, tanh_mlp

DIGITS_MODELS = {"convnet": convnet, "logistic": logistic_regression, "mlp": tanh_mlp}


def digits_landscape(
    model: str = "convnet", limit: int | None = None, *, key: jax.Array
) -> tuple[Landscape, dict[str, Any]]:
    """The cross-entropy landscape of a small classifier on scikit-learn's 8×8 digits, and a random start.

    Args:
        model: `"convnet"`, `"logistic"` or `"mlp"` (one tanh layer of width 32).
        limit: how many of the 1,797 images to use, from the first; all if `None`.
        key: the random key of the initial parameters.

    Returns:
        The landscape and Glorot-normal parameters, which it has been validated at.

    Raises:
        ArgumentError: an unknown model, a limit outside 1 to 1,797, or something else than a key.

    Examples:
        >>> import jax
        >>> from feyngd.landscapes import digits_landscape
        >>> landscape, params = digits_landscape("logistic", limit=50, key=jax.random.key(0))
        >>> landscape.num_examples
        50
    """
    if not isinstance(model, str) or model not in DIGITS_MODELS:
        raise ArgumentError(f"Unknown model {model!r}; the digits models are {', '.join(map(repr, DIGITS_MODELS))}.")
    check_key(key, "Parameters are drawn at random")
    images, labels = digits(limit)
    network = DIGITS_MODELS[model](images.shape[1:], 10)
    landscape = Landscape(cross_entropy(network), (images, labels))
    params = network.init(key)
    landscape.validate(params)
    return landscape, params
