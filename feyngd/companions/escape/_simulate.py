"""Simulated escapes: many runs side by side, each followed until it is outside."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from ..._arguments import check_integer
from ..._keys import check_key
from ..._learning_rates import check_learning_rates
from ...errors import ArgumentError, LandscapeError
from ...landscapes import Landscape
from ...progress import Progress, check_progress
from ._critical_point import Modes
from ._escapes import Escapes
from ._keep import Kept
from ._noise import Noise, check_noise
from ._surface import Surface
from ._until import Other, Outside, outside

_BLOCK = 256  # steps before runs that are done give their place to others; it grows where few are
_MOST_BLOCK = 8192


def simulate(
    landscape: Landscape,
    params: Any,
    noise: Noise,
    learning_rates: ArrayLike,
    *,
    until: Any,
    runs: int = 200,
    max_steps: int,
    chunk_size: int = 64,
    checkpoint: str | Path | None = None,
    progress: Progress | bool | None = None,
    key: Any,
) -> Escapes:
    """Run SGD, SGLD or both from one start many times, each until it is outside.

    A step is θ ← θ − η ∇ (mean loss of a batch, or of all data) + √(2ηD₀) ξ. Runs are in double precision, side by
    side; one that has escaped gives its place to the next. Every run has its own key, so that results depend neither on
    `chunk_size` nor on where a computation was interrupted.

    Args:
        landscape: the loss and its data.
        params: where all runs start.
        noise: made by `sgd`, `sgld` or their sum; its model plays no part in real runs.
        learning_rates: η, one or more.
        until: `Box`, `Halfspace`, `Other`, or a JAX function of the parameters that says whether they are outside. It
            is asked after every step.
        runs: at every rate.
        max_steps: after which a run is cut off, which the interval of the rate accounts for.
        chunk_size: runs that are vectorised together.
        checkpoint: a file that finished runs are kept in; a call with the same arguments goes on from there.
        progress: shows progress; silent by default.
        key: a JAX random key.

    Returns:
        `Escapes`, with rates and exact intervals.

    Raises:
        ArgumentError: an argument is not allowed, the start is outside, or the file holds other runs.
        LandscapeError: η times the largest curvature at the start is 2 or more, or a run is not finite any more.

    References:
        Xie, Sato and Sugiyama, section 4 and appendices C–E.

    Examples:
        >>> import jax
        >>> from feyngd.companions import escape as esc
        >>> from feyngd.landscapes import toys
        >>> well, start = toys.double_well()
        >>> key = jax.random.key(0)
        >>> runs = esc.simulate(
        ...     well, start, esc.sgld(0.15), 0.05, until=lambda x: x > 0.9, runs=100, max_steps=10**6, key=key
        ... )
        >>> int(runs.count[0])
        100
    """
    check_noise(noise)
    rates = check_learning_rates(learning_rates)
    runs, max_steps = check_integer("runs", runs, least=1), check_integer("max_steps", max_steps, least=1)
    check_integer("chunk_size", chunk_size, least=1)
    check_key(key, "Batches and noise are drawn at random")
    shown = check_progress(progress)
    surface = Surface(landscape, params)
    noise.check_examples(surface.count)
    is_outside, every = outside(surface, until)
    data = surface.traced()[2]
    with jax.enable_x64(True):
        at_start = bool(jax.jit(is_outside)(jnp.asarray(surface.start), data))
    if at_start:
        raise ArgumentError("The start is outside already: give another start, or another until.")
    largest = float(Modes.at(surface, surface.start, np.ones((1, surface.size))).values[-1])
    if rates.max() * largest >= 2:
        raise LandscapeError(
            f"Steps are stable below η = 2/h = {2 / largest:.4g}, with the largest curvature h = {largest:.4g} at the "
            f"start; got η = {rates.max():g}. Runs would leave at once: give a smaller rate."
        )
    kept = Kept(checkpoint, _digest(surface, noise, rates, until, max_steps, key), (len(rates), runs))
    lanes = min(chunk_size, len(rates) * runs)
    move = _compiled(surface, noise, is_outside, every, max_steps)
    with shown.task(len(rates) * runs, "escapes") as task, jax.enable_x64(True):
        task.advance(int(kept.done.sum()))
        _run(surface.start, move, data, rates, key, lanes, every if isinstance(until, Other) else 1, kept, task)
    sampling = noise.sampling if noise.batch_size is not None else ""
    return Escapes(kept.steps, kept.escaped, rates, sampling, str(noise))


def _run(
    start: np.ndarray,
    move: Callable[..., Any],
    data: Any,
    rates: np.ndarray,
    key: Any,
    lanes: int,
    every: int,
    kept: Kept,
    task: Any,
) -> None:
    """Follow all runs that are not done yet, refilling lanes."""
    runs = kept.steps.shape[1]
    waiting = list(np.flatnonzero(~kept.done.ravel()))[::-1]
    keys = jax.random.split(key, kept.steps.size)
    examples = jax.tree.leaves(data)[0].shape[0]
    theta = np.tile(start, (lanes, 1))
    which, taken = np.full(lanes, -1), np.zeros(lanes, dtype=np.int64)
    order = np.zeros((lanes, examples), dtype=np.int32)
    block = _BLOCK
    while waiting or np.any(which >= 0):
        for lane in np.flatnonzero(which < 0):
            if waiting:
                which[lane], theta[lane], taken[lane] = waiting.pop(), start, 0
        active = which >= 0
        chosen = np.where(active, which, 0)
        steps = max(every, block // every * every)
        found = move(data, theta, rates[chosen // runs], keys[chosen], taken, order, active, steps)
        theta, taken, order, escaped, ended = (np.array(part) for part in found)
        if not np.all(np.isfinite(theta[active])):
            raise LandscapeError(
                f"A run at η = {rates[chosen[active][~np.isfinite(theta[active]).all(axis=1)] // runs][0]:g} is not "
                "finite any more: the loss is not stable at that rate away from the start. Give a smaller one."
            )
        for lane in np.flatnonzero(ended & active):
            place = np.unravel_index(which[lane], kept.steps.shape)
            kept.add(place, int(taken[lane]), bool(escaped[lane]))
            which[lane] = -1
        gone = int(np.sum(ended & active))
        task.advance(gone)
        kept.save()
        if gone * 8 < active.sum():
            block = min(2 * block, _MOST_BLOCK)
        elif gone * 2 > active.sum():
            block = max(block // 2, 16)
    kept.save(last=True)


def _compiled(surface: Surface, noise: Noise, is_outside: Outside, every: int, max_steps: int) -> Callable[..., Any]:
    """Compile a number of steps of all lanes; a lane stops where it escapes or has taken all its steps."""
    loss, _, _ = surface.traced()
    count, batch = surface.count, noise.batch_size
    epoch = max(count // batch, 1) if batch else 1

    def full_gradient(theta: jax.Array, data: Any) -> jax.Array:
        return jax.grad(lambda at: jnp.mean(jax.vmap(lambda example: loss(at, example))(data)))(theta)

    def batch_gradient(theta: jax.Array, data: Any, chosen: jax.Array) -> jax.Array:
        return full_gradient(theta, jax.tree.map(lambda leaf: leaf[chosen], data))

    def indices(key: jax.Array, step: jax.Array, order: jax.Array) -> jax.Array:
        assert batch is not None
        if noise.sampling == "with-replacement":
            return jax.random.randint(key, (batch,), 0, count)
        if noise.sampling == "without-replacement":
            return jax.random.choice(key, count, (batch,), replace=False)
        return jax.lax.dynamic_slice(order, (step % epoch * batch,), (batch,))

    def one_step(
        data: Any, theta: jax.Array, rate: jax.Array, key: jax.Array, step: jax.Array, order: jax.Array
    ) -> jax.Array:
        for_batch, for_noise = jax.random.split(jax.random.fold_in(key, step))
        if batch is None:
            slope = full_gradient(theta, data)
        else:
            slope = batch_gradient(theta, data, indices(for_batch, step, order))
        moved = theta - rate * slope
        if noise.isotropic:
            moved += jnp.sqrt(2 * rate * noise.isotropic) * jax.random.normal(for_noise, theta.shape, theta.dtype)
        return moved

    def shuffled(keys: jax.Array, taken: jax.Array, order: jax.Array) -> jax.Array:
        def new() -> jax.Array:
            each = jax.vmap(
                lambda key, step: jax.random.permutation(jax.random.fold_in(key, -1 - step // epoch), count)
            )
            return jnp.where((taken % epoch == 0)[:, None], each(keys, taken).astype(order.dtype), order)

        return jax.lax.cond(jnp.any(taken % epoch == 0), new, lambda: order)

    @jax.jit
    def move(
        data: Any,
        theta: jax.Array,
        rates: jax.Array,
        keys: jax.Array,
        taken: jax.Array,
        order: jax.Array,
        active: jax.Array,
        steps: jax.Array,
    ) -> Any:
        def goes_on(state: Any) -> jax.Array:
            return (state[5] < steps) & jnp.any(~state[4] & active)

        def step(state: Any) -> Any:
            theta, taken, order, escaped, ended, number = state
            if noise.sampling == "reshuffled" and batch:
                order = shuffled(keys, taken, order)
            moved = jax.vmap(one_step, in_axes=(None, 0, 0, 0, 0, 0))(data, theta, rates, keys, taken, order)
            theta = jnp.where(ended[:, None], theta, moved)
            taken = jnp.where(ended, taken, taken + 1)
            look = jax.vmap(is_outside, in_axes=(0, None))
            if every == 1:
                out = look(theta, data)
            else:
                out = jax.lax.cond((number + 1) % every == 0, lambda: look(theta, data), lambda: jnp.zeros_like(ended))
            escaped = jnp.where(ended, escaped, out)
            return theta, taken, order, escaped, ended | out | (taken >= max_steps), number + 1

        nothing = jnp.zeros(len(theta), bool)
        state = theta, taken, order, nothing, nothing | ~active, jnp.zeros((), int)
        return jax.lax.while_loop(goes_on, step, state)[:5]

    return move


def _digest(surface: Surface, noise: Noise, rates: np.ndarray, until: Any, max_steps: int, key: Any) -> str:
    """Return a hash of all that decides the runs."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(vars(until))] if not callable(until) else []
    raw = key if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.key_data(key)
    program = getattr(until, "__code__", None)
    parts = [
        surface.landscape.data_digest.encode(),
        getattr(surface.landscape.loss, "digest", "").encode(),
        surface.start.tobytes(),
        str(noise).encode(),
        rates.tobytes(),
        type(until).__name__.encode(),
        b"" if program is None else program.co_code + repr(program.co_consts).encode(),
        *(leaf.astype(float).tobytes() for leaf in leaves if leaf.dtype.kind in "fiu"),
        str(max_steps).encode(),
        np.asarray(raw).tobytes(),
    ]
    return hashlib.sha256(b"|".join(parts)).hexdigest()
