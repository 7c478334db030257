"""Noise that is drawn anew at every use: a loss with a key as a loss of pairs, of an example and the words of a key."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import ArgumentError

NoisyLoss = Callable[[Any, Any, jax.Array], Any]  # loss(params, example, key)


def check_takes_key(loss: Any) -> None:
    """Raise `ArgumentError` unless a function can be called with parameters, an example and a key."""
    try:
        inspect.signature(loss).bind(None, None, None)
    except ValueError:  # a built-in function without a signature
        return
    except TypeError as error:
        raise ArgumentError(
            "With per_use_noise the loss is loss(params, example, key), where the key is another one at every use of "
            f"the example; the arguments of {getattr(loss, '__name__', loss)!r} are {inspect.signature(loss)}."
        ) from error


class OfPairs:
    """A loss(params, example, key) as a function of parameters and pairs.

    Programs are kept for the function that it wraps, as for other losses.
    """

    def __init__(self, loss: NoisyLoss) -> None:
        self._loss = loss
        self.__self__ = getattr(loss, "__self__", loss)
        self.__name__ = getattr(loss, "__name__", type(loss).__name__)

    def __call__(self, params: Any, pair: tuple[Any, jax.Array]) -> Any:
        """Return the loss of an example with the noise of one use."""
        example, words = pair
        return self._loss(params, example, jax.random.wrap_key_data(words, impl=IMPLEMENTATION))


IMPLEMENTATION = "threefry2x32"
WORDS = jax.ShapeDtypeStruct((2,), np.uint32)  # of one key


def pairs(data: Any, key: jax.Array | None = None) -> tuple[Any, jax.Array]:
    """Return examples with the words of a key for each: those of one use of all of them.

    Args:
        data: examples, a pytree of arrays that share their leading axis.
        key: what the keys are made from; a fixed one without it.
    """
    count = int(np.shape(jax.tree.leaves(data)[0])[0])
    seed = jax.random.key(0, impl=IMPLEMENTATION) if key is None else _own(key)
    return data, jax.random.key_data(jax.random.split(seed, count))


def noise_words(key: jax.Array, count: int) -> jax.Array:
    """Return the words of keys made from a key, of shape (count, 2)."""
    return jax.random.key_data(jax.random.split(_own(key), count))


def several_uses(data: tuple[Any, jax.Array], least: int) -> tuple[Any, jax.Array]:
    """Return pairs as they are if there are enough of them, or several uses of every example."""
    examples, words = data
    draws = -(-least // len(words))
    if draws == 1:
        return data
    numbers = np.arange(draws * len(words))
    which = numbers % len(words)
    return jax.tree.map(lambda leaf: leaf[which], examples), jax.vmap(other_use)(words[which], numbers)


def _own(key: jax.Array) -> jax.Array:
    """Return a key of the implementation that is used here, made from one of any kind."""
    words = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    seed = np.random.default_rng(np.asarray(words, dtype=np.uint32).ravel().tolist()).integers(2**32, size=2)
    return jax.random.wrap_key_data(jnp.asarray(seed, dtype=np.uint32), impl=IMPLEMENTATION)


def other_use(words: jax.Array, number: Any) -> jax.Array:
    """Return the words of the key of another use of an example, given those of the first and its number."""
    key = jax.random.wrap_key_data(words, impl=IMPLEMENTATION)
    return jax.random.key_data(jax.random.fold_in(key, number))
