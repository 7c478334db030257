"""The landscape of a temperature sweep: a named model or one that is given, its start, and the minimum of its pool."""

import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ..._store import Store, UnsoundError, beside, digest, digest_of_arrays, read_npz, write_npz, writing
from ..._version import __version__
from ...errors import ArgumentError
from ...estimates import Estimate
from ...landscapes import DIGITS_MODELS, Landscape, Origin, digits_landscape, enter, toys
from ._pool_minimum import FromMinimum, PoolMinimum, pool_minimum
from ._sweep_config import Config

_POOL = 4000  # values of the toy's pool, drawn once


class SweepModel:
    """What a sweep is run on.

    Args:
        config: the sweep.
        landscape: the loss and the pool; by default those of the model that the sweep names.
        start: parameters, or `init(key)` that draws them; given with a landscape.

    Attributes:
        landscape: in the population reading.
        start: `init(key)`, or parameters.
        digest: a hash of what the loss computes, of the data and the start.

    Raises:
        ArgumentError: a start is missing, or the landscape's reading is conditional.
    """

    def __init__(self, config: Config, landscape: Any = None, start: Any = None) -> None:
        self.config = config
        if landscape is None:
            landscape, start = _named(config)
        elif start is None:
            raise ArgumentError("A landscape of your own needs start=, parameters or a function init(key) of a key.")
        self.start = start
        first = start(jax.random.key(0)) if callable(start) else start
        self.landscape, self._first = enter(landscape, first)
        self.landscape.validate(self._first)
        origin = Origin.of(self.landscape, self._first)
        self.digest = digest([origin.loss, origin.data, digest_of_arrays(self._first), callable(start)])
        self._minimum: PoolMinimum | None = None
        self._from_minimum: FromMinimum | None = None

    def minimum(self, store: Store) -> PoolMinimum:
        """Return the minimum of the pool's loss, from the store if it was found before."""
        if self._minimum is None:
            decay = self.config.weight_decay
            about = {"version": __version__, "landscape": self.digest, "weight_decay": decay}
            stem = f"values/minimum-{digest(about)[:12]}"
            with store.lock(stem.replace("/", "-"), wait=True):
                found, path = store.find(stem, lambda path: _read(beside(path, "npz"), about, self._first))
                if found is None:
                    store.clean(stem)
                    found = pool_minimum(self.landscape, self._first, decay, jax.random.key(0))
                    with writing(store.folder):
                        _write(beside(path, "npz"), about, found)
            self._minimum = found
        return self._minimum

    def from_minimum(self, store: Store) -> FromMinimum:
        """Return what predicts runs from there."""
        if self._from_minimum is None:
            params = self.minimum(store).params
            decay = self.config.weight_decay
            self._from_minimum = FromMinimum(self.landscape, params, decay, jax.random.key(1))
        return self._from_minimum


def _named(config: Config) -> tuple[Landscape, Any]:
    if config.model == "mean-estimation":
        values = np.random.default_rng(0).normal(size=config.limit or _POOL)
        landscape, params = toys.mean_estimation(x=(values - values.mean()) / values.std())
        return landscape, params
    landscape, _ = digits_landscape(config.model, config.limit, key=jax.random.key(0))
    init: Callable[[jax.Array], Any] = DIGITS_MODELS[config.model]((8, 8), 10).init
    return landscape, init


def _write(path: Any, about: dict[str, Any], found: PoolMinimum) -> None:
    trace = None if found.trace is None else (found.trace.value, found.trace.stderr, found.trace.num_samples)
    text = {"about": about, "trace": trace, "lowest": found.lowest, "reason": found.reason}
    flat = np.asarray(ravel_pytree(found.params)[0])
    write_npz(path, {"description": np.array(json.dumps(text)), "params": flat})


def _read(path: Any, about: dict[str, Any], template: Any) -> PoolMinimum | None:
    arrays = read_npz(path)
    if arrays is None:
        return None
    flat, unravel = ravel_pytree(template)
    try:
        text = json.loads(str(arrays["description"]))
        if text["about"] != about or arrays["params"].shape != flat.shape:
            raise UnsoundError(path, "holds another minimum than its name says")
        trace = None
        if text["trace"] is not None:
            value, stderr, count = text["trace"]
            trace = Estimate(value, stderr, count, "exact" if stderr is None else "lanczos")
        return PoolMinimum(unravel(jnp.asarray(arrays["params"])), trace, text["lowest"], text["reason"])
    except (KeyError, ValueError, TypeError) as error:
        raise UnsoundError(path, "lacks values that it should hold") from error
