"""Trajectories of real runs of SGD with momentum: simulated here, or from recorded checkpoints."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._arguments import check_integer
from ..._keys import check_key
from ..._learning_rates import check_learning_rate
from ...derivatives import Loss, flat_loss, per_loss
from ...errors import ArgumentError, LandscapeError
from ...landscapes import Landscape, enter
from ...optimizers import momentum
from .._numbers import check_number, check_numbers
from ._eigenpairs import Eigenpairs
from ._linear_step import linear_step
from ._recorded import Comparison as Comparison
from ._recorded import Recorded
from ._settings import response_of

_TOGETHER = 2**22  # examples drawn at a time
_CHUNKS = 16  # of a run, at least, so that it can be interrupted


class Trajectories(Recorded):
    """Records of runs. Made by `trajectories`, or `from_arrays`; see there and `Recorded` for what it holds."""

    @classmethod
    def from_arrays(
        cls,
        positions: Any,
        *,
        every: int = 1,
        directions: Any = None,
        center: Any = None,
        optimizer: Any = None,
        learning_rate: float | None = None,
    ) -> "Trajectories":
        """Make trajectories of recorded checkpoints, such as those of a PyTorch run as NumPy arrays.

        Args:
            positions: flattened parameters, shape (records, p) or (runs, records, p), the first at step 0.
            every: steps between checkpoints.
            directions: vectors in rows, shape (k, p), or `Eigenpairs`; by default the axes, for up to 64 parameters.
            center: θ*, shape (p,), which positions and distances are counted from; by default the mean of the second
                half.
            optimizer: with `learning_rate`, for `local_curvature` from checkpoints of every step.
            learning_rate: η.

        Raises:
            ArgumentError: shapes do not fit or numbers are not finite.

        Examples:
            >>> import numpy as np
            >>> walk = np.cumsum(np.random.default_rng(0).normal(size=(50, 200, 3)), axis=1)
            >>> print(f"{Trajectories.from_arrays(walk, every=10).fit_exponent((20, 400)).value:.1f}")
            1.0
        """
        rows = check_numbers("Positions", positions)
        rows = rows[None] if rows.ndim == 2 else rows
        if rows.ndim != 3 or rows.shape[1] < 2 or not np.all(np.isfinite(rows)):
            raise ArgumentError(
                f"Positions are finite, of shape (records, p) or (runs, records, p) with 2 records and more; got "
                f"{np.shape(positions)}."
            )
        stride, size = check_integer("every", every, least=1), rows.shape[2]
        if (optimizer is None) != (learning_rate is None):
            raise ArgumentError("optimizer and learning_rate belong together: give both or neither.")
        step = None if optimizer is None else linear_step(optimizer, learning_rate)
        vectors = _vectors(directions, size, np.eye(size) if size <= 64 else np.zeros((0, size)))
        middle = rows[:, rows.shape[1] // 2 :].mean(axis=(0, 1)) if center is None else check_numbers("center", center)
        if middle.shape != (size,):
            raise ArgumentError(f"center has the shape ({size},); got {middle.shape}.")
        moves = np.diff(rows, axis=1, prepend=rows[:, :1])
        along = moves @ vectors.T / (step.eta if step is not None else 1.0)
        return cls(
            steps=stride * np.arange(rows.shape[1]),
            displacement=np.sum((rows - rows[:, :1]) ** 2, axis=2),
            distance=np.sum((rows - middle) ** 2, axis=2),
            speed=np.sum(moves**2, axis=2) if stride == 1 else None,
            positions=(rows - middle) @ vectors.T,
            velocities=along if stride == 1 and step is not None else None,
            every=stride,
            step=step,
            directions=vectors,
        )


def trajectories(
    landscape: Landscape,
    params: Any,
    learning_rate: float,
    batch_size: int,
    steps: int,
    *,
    optimizer: Any = None,
    sampling: str = "with-replacement",
    weight_decay: float = 0.0,
    runs: int = 8,
    record_every: int = 1,
    directions: Any = None,
    velocity: Any = None,
    burn_in: int = 0,
    drop_last: bool = False,
    key: Any,
) -> Trajectories:
    """Run SGD with momentum many times from one point, and record where it goes.

    Args:
        landscape: the loss and its data; batches are drawn from the data.
        params: the start θ*, a pytree of p numbers in all.
        learning_rate: η.
        batch_size: B.
        steps: how many are recorded.
        optimizer: `momentum(0.9)` by default; linear in gradients, of constant rate.
        sampling: "with-replacement", "reshuffled" or "fixed".
        weight_decay: λ, added to gradients as λθ.
        runs: how many.
        record_every: steps between records.
        directions: vectors in rows, shape (k, p), or `Eigenpairs`, along which positions and velocities are recorded.
        velocity: v_0, like the parameters; 0 by default.
        burn_in: steps before recording begins; displacement is counted from their end. Every run is then at a random
            place of its epoch; without burn-in epochs begin at the start.
        drop_last: whether epochs leave out a last batch that is not full.
        key: a JAX random key.

    Returns:
        A `Trajectories`, computed in the precision of the parameters.

    Raises:
        ArgumentError: an argument is not allowed.
        LandscapeError: the landscape is invalid, or a run leaves the finite numbers.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> import feyngd as fd
        >>> landscape = fd.Landscape(lambda theta, x: 0.5 * (theta - x) ** 2, jnp.array([-1.0, 1.0]))
        >>> trajectories(landscape, jnp.array(0.0), 0.1, 1, 40, runs=3, key=jax.random.key(0)).displacement.shape
        (3, 40)
    """
    rate, batch = check_learning_rate(learning_rate), check_integer("batch_size", batch_size, least=1)
    number, every = check_integer("runs", runs, least=1), check_integer("record_every", record_every, least=1)
    total, burn = check_integer("steps", steps, least=1), check_integer("burn_in", burn_in, least=0)
    decay = check_number("weight_decay", weight_decay, least=0)
    step = linear_step(momentum(0.9) if optimizer is None else optimizer, rate)
    check_key(key, "Batches are drawn at random")
    frozen, params = enter(landscape, params)
    if frozen.reading == "unbiased":
        raise ArgumentError("Runs on the data are those of reading='conditional' or 'population', not 'unbiased'.")
    response_of(
        step,
        batch,
        num_examples=frozen.num_examples,
        reading=frozen.reading,
        sampling=sampling,
        drop_last=drop_last,
        time="discrete",
    )
    if total < every:
        raise ArgumentError(f"record_every={every} is more than the run's {total} steps.")
    frozen.validate(params)
    theta, _ = flat_loss(frozen.loss, params)
    vectors = _vectors(directions, len(theta), np.zeros((0, len(theta))))
    start = np.zeros(len(theta)) if velocity is None else _flat(velocity, len(theta))
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,))).tolist())
    batches = _Batches(rng, sampling, frozen.num_examples, batch, number, is_shifted=burn > 0)
    run = _compiled_run(frozen.loss)
    numbers = [jnp.asarray(x, theta.dtype) for x in (step.eta, step.a, step.b, step.beta, decay)]
    one = jnp.ones((number, 1), theta.dtype)
    state = one * theta, one * jnp.asarray(-start, theta.dtype), one * theta, 0 * one * theta
    given = params, frozen.data, jnp.asarray(vectors, theta.dtype), numbers
    if burn:
        for _ in range(burn // every):
            state, _ = run(*given, state, batches.draw(1, every))
        for _ in range(burn % every):
            state, _ = run(*given, state, batches.draw(1, 1))
        state = state[0], state[1], state[0], state[3]
    records = total // every
    together = max(1, min(_TOGETHER // (number * every * batch), -(-records // _CHUNKS)))
    found = []
    for first in range(0, records, together):
        state, part = run(*given, state, batches.draw(together, every))
        found.append([np.asarray(x, dtype=float)[:, : min(together, records - first)] for x in part])
    displaced, distance, speed, positions, velocities, left, right = (
        np.concatenate(parts, axis=1) for parts in zip(*found, strict=True)
    )
    if not np.all(np.isfinite(displaced)):
        raise LandscapeError(
            f"A run left the finite numbers at learning_rate={rate:g}: give a smaller one, or a start nearer to a "
            "minimum."
        )
    return Trajectories(
        steps=every * np.arange(1, records + 1),
        displacement=displaced,
        distance=distance,
        speed=speed,
        positions=positions,
        velocities=velocities,
        every=every,
        step=step,
        sides=np.stack([left, right]),
        directions=vectors,
    )


class _Batches:
    """Batches of all runs, drawn as they are needed.

    Args:
        rng: the source of randomness.
        sampling: of the batches.
        count: N.
        batch: B.
        runs: how many runs.
        is_shifted: whether every run begins at a random place of its first epoch.
    """

    def __init__(
        self, rng: np.random.Generator, sampling: str, count: int, batch: int, runs: int, *, is_shifted: bool
    ) -> None:
        self._rng, self._sampling, self._count, self._batch, self._runs = rng, sampling, count, batch, runs
        self._left = np.zeros((runs, 0, batch), dtype=np.int32)
        self._places = rng.integers(0, count // batch, size=runs) if is_shifted else np.zeros(runs, dtype=int)
        self._order = self._epoch() if sampling == "fixed" else None

    def draw(self, records: int, every: int) -> np.ndarray:
        """Return the examples of the next steps, shape (runs, records, every, B)."""
        steps = records * every
        shape = self._runs, records, every, self._batch
        if self._sampling == "with-replacement":
            return self._rng.integers(0, self._count, size=shape, dtype=np.int32)
        parts, have = [self._left], self._left.shape[1]
        while have < steps + self._places.max():
            parts.append(self._epoch() if self._order is None else self._order)
            have += parts[-1].shape[1]
        joined = np.concatenate(parts, axis=1)
        self._left = joined[:, steps:]
        return joined[np.arange(self._runs)[:, None], self._places[:, None] + np.arange(steps)].reshape(shape)

    def _epoch(self) -> np.ndarray:
        order = self._rng.permuted(np.tile(np.arange(self._count, dtype=np.int32), (self._runs, 1)), axis=1)
        steps = self._count // self._batch
        return order[:, : steps * self._batch].reshape(self._runs, steps, self._batch)


@per_loss
def _compiled_run(loss: Loss) -> Callable[..., Any]:
    """Compile the steps of all runs between records."""

    def run(params: Any, data: Any, vectors: Any, numbers: Any, state: Any, batches: Any) -> Any:
        center, example_loss = flat_loss(loss, params)
        eta, a, b, beta, decay = numbers
        share = beta / (1 - beta)

        def mean(theta: jax.Array, drawn: jax.Array) -> jax.Array:
            examples = jax.tree.map(lambda leaf: leaf[drawn], data)
            return jnp.mean(jax.vmap(partial(example_loss, theta))(examples))

        def step(state: Any, drawn: jax.Array) -> tuple[Any, Any]:
            theta, u, origin, _ = state
            gradient = jax.grad(mean)(theta, drawn) + decay * theta
            u = beta * u + gradient
            change = -eta * (a * gradient + b * u)
            square = jnp.sum(change**2)
            # The identity of `StationarityMonitor`.
            left = jnp.sum((theta - center) * gradient) * (a + b / (1 - beta))
            right = square / (2 * eta) - b * share * jnp.sum(change * u)
            return (theta + change, u, origin, change), (square, left, right)

        def record(state: Any, drawn: jax.Array) -> tuple[Any, Any]:
            state, (squares, lefts, rights) = jax.lax.scan(step, state, drawn)
            theta, _, origin, change = state
            moved, away = jnp.sum((theta - origin) ** 2), jnp.sum((theta - center) ** 2)
            along = vectors @ (theta - center), vectors @ change / eta
            return state, (moved, away, jnp.mean(squares), *along, jnp.mean(lefts), jnp.mean(rights))

        return jax.lax.scan(record, state, batches)

    return jax.jit(jax.vmap(run, in_axes=(None, None, None, None, 0, 0)))


def _vectors(directions: Any, size: int, default: np.ndarray) -> np.ndarray:
    if directions is None:
        return default
    vectors = directions.vectors if isinstance(directions, Eigenpairs) else check_numbers("Directions", directions)
    vectors = vectors[None] if vectors.ndim == 1 else vectors
    if vectors.ndim != 2 or vectors.shape[1] != size or not np.all(np.isfinite(vectors)):
        raise ArgumentError(f"Directions are finite vectors in rows, shape (k, {size}); got {np.shape(vectors)}.")
    return vectors


def _flat(velocity: Any, size: int) -> np.ndarray:
    found = np.concatenate([np.ravel(np.asarray(leaf, dtype=float)) for leaf in jax.tree.leaves(velocity)])
    if found.shape != (size,) or not np.all(np.isfinite(found)):
        raise ArgumentError(f"velocity has {size} finite numbers, like the parameters; got {found.size}.")
    return found
