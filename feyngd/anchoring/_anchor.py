"""One computation along the noiseless path that predicts SGD for every N, B, E and sampling."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._arguments import check_integer
from ..errors import ArgumentError, LandscapeError, SpacetimeError
from ..evaluation import CHUNK, check_key, check_landscape
from ..landscapes import Landscape
from ..prediction import check_learning_rates, check_reading
from ..progress import Progress
from ..series import QUANTITIES
from ..spacetimes import Spacetime
from ._fields import batch_field, drawn_batches, sign_field, sign_steps
from ._jets import compiled_jets
from ._prediction import AnchoredPrediction
from ._ties import RUN, STEP, Ties, served

READINGS = ("population", "conditional")
_TOGETHER = 16  # replicates that run side by side, and between two reports of progress


@dataclass(frozen=True, eq=False, repr=False)
class Anchored:
    """The noiseless path from a start, and what noise does along it to second order. Made by `feyngd.anchor`.

    Attributes:
        landscape: the loss and the data.
        params: the start.
        rates: the learning rate of every step, shape (T,).
        train_loss: the mean loss over the data on the noiseless path at steps 0 to T, shape (T + 1,).
        test_loss: the test loss there; the same in the population reading.
        second: for every equivalence of steps, replicates of Σ_{s~t} E_x D_st of the test loss, shape (m, T + 1).
        train_second: the same of the mean loss over the data.
        influence: replicates of E_x ∂(l_x − l)(θ_t)/∂ε for a field that stays the same, shape (m, T + 1).
        fourth: for every equivalence, the mean of the fourth derivative of the test loss, shape (T + 1,).
        chunk_size: how many examples are differentiated together.
    """

    landscape: Landscape
    params: Any
    rates: np.ndarray
    train_loss: np.ndarray
    test_loss: np.ndarray
    second: dict[Ties, np.ndarray]
    train_second: dict[Ties, np.ndarray]
    influence: np.ndarray
    fourth: dict[Ties, np.ndarray]
    chunk_size: int = CHUNK

    @property
    def steps(self) -> int:
        """The number of steps T."""
        return len(self.rates)

    def predict(
        self,
        spacetime: Spacetime | None = None,
        *,
        N: int | None = None,
        B: int = 1,
        E: int | None = None,
        T: int | None = None,
        sampling: str = "reshuffled",
        quantity: str = "test_loss",
    ) -> AnchoredPrediction:
        """Predict a learning curve of SGD from the functionals of the path: arithmetic, no more runs.

        Args:
            spacetime: the concrete spacetime; or give its sizes.
            N: the number of training points; in the conditional reading the number of examples, which is the default.
            B: the batch size.
            E: the number of epochs; with T steps at most. All of the anchored steps if neither E nor T is given.
            T: the number of steps.
            sampling: "reshuffled", "fixed", "with-replacement" or "full-batch".
            quantity: "test_loss", "train_loss" or "gap".

        Raises:
            ArgumentError: the quantity is unknown, or N is missing.
            SpacetimeError: the steps are more than were anchored; or epochs have a length that was not anchored.
        """
        if quantity not in QUANTITIES:
            raise ArgumentError(f"Unknown quantity {quantity!r}. Known: {', '.join(map(repr, QUANTITIES))}.")
        if spacetime is None:
            spacetime = self._spacetime(N, B, E, T, sampling)
        steps = self._check(spacetime)
        weights = served(spacetime, self.landscape.reading, steps)
        if missing := [ties for ties in weights if ties not in self.second]:
            known = sorted({ties.length for ties in self.second if ties.kind == "epoch"})
            raise SpacetimeError(
                f"{spacetime} has epochs of {int(spacetime.N) // int(spacetime.B)} steps ({missing[0]}), and anchored "
                f"are {known or 'none'}: give epoch_lengths{' and fixed_order' * (missing[0].kind == 'place')} to "
                "anchor, or take N/B of an anchored length, one epoch, with-replacement or full batches."
            )
        return self._prediction(quantity, spacetime, weights, steps)

    def orders(
        self,
        spacetime: Spacetime | None = None,
        *,
        N: int | None = None,
        B: int = 1,
        E: int | None = None,
        T: int | None = None,
        sampling: str = "reshuffled",
        order: int = 4,
        num_samples: int = 32,
        progress: Progress | None = None,
        key: jax.Array,
    ) -> AnchoredPrediction:
        """Predict the test loss of one spacetime to a higher order in the noise, from the noise of real batches.

        Small batches need orders ε³ and ε⁴. They depend on more of the sampling than pairs of steps, so that every
        spacetime takes a computation of its own. The first order is zero on average and is left out.

        Args:
            spacetime: as in `predict`.
            N: as in `predict`.
            B: as in `predict`.
            E: as in `predict`.
            T: as in `predict`.
            sampling: as in `predict`.
            order: the highest order in the noise, 2 or more; the time grows like 2 to this power.
            num_samples: the number of draws of training sets and batches, at least 2.
            progress: shows progress; silent by default.
            key: a JAX random key.

        Returns:
            An `AnchoredPrediction` whose parts are "order 2", "order 3", …; its truncation figure is the last of them.

        Raises:
            ArgumentError: an option is unfit.
            SpacetimeError: the steps are more than were anchored, or the spacetime does not suit the reading.
        """
        check_integer("order", order, least=2)
        check_integer("num_samples", num_samples, least=2)
        check_key(key, "Training sets and batches are drawn at random")
        if spacetime is None:
            spacetime = self._spacetime(N, B, E, T, sampling)
        steps = self._check(spacetime)
        runs = _Runs(self.landscape, self.params, self.rates[:steps], self.chunk_size)
        groups = []
        with (progress or Progress()).task(num_samples, f"noise to order {order}") as task:
            for first in range(0, num_samples, _TOGETHER):
                count = min(_TOGETHER, num_samples - first)
                groups.append(runs.batches(spacetime, count, order, jax.random.fold_in(key, first)).test[0])
                task.advance(count)
        found = np.concatenate(groups)
        parts = {f"order {k}": found[:, :, k] / math.factorial(k) for k in range(2, order + 1)}
        truncation = np.abs(parts[f"order {order}"].mean(axis=0))
        times, noiseless = np.arange(steps + 1), self.test_loss[: steps + 1]
        return AnchoredPrediction("test_loss", spacetime, times, noiseless, parts, truncation)

    def _check(self, spacetime: Spacetime) -> int:
        """Return the number of steps, if they are anchored and suit the reading."""
        spacetime.require_concrete("Learning curves are predicted")
        check_reading(self.landscape, spacetime)
        steps = int(spacetime.T)
        if steps > self.steps:
            raise SpacetimeError(
                f"{spacetime} makes {steps} steps, and {self.steps} were anchored: E·N/B is at most {self.steps}. "
                f"Anchor more steps, or take E ≤ {self.steps * int(spacetime.B) // int(spacetime.N)}."
            )
        return steps

    def _spacetime(self, N: int | None, B: int, E: int | None, T: int | None, sampling: str) -> Spacetime:
        if N is None:
            if self.landscape.reading != "conditional":
                raise ArgumentError("Give N, the number of training points, or a Spacetime.")
            N = self.landscape.num_examples
        if sampling == "full-batch":
            if E is not None:
                raise ArgumentError(f"Full batches count steps: give T, not E; got E={E}.")
            return Spacetime.gd(N, self.steps if T is None else T)
        return Spacetime.sgd(N, B, E, T=self.steps if E is None and T is None else T, sampling=sampling)

    def _prediction(
        self, quantity: str, spacetime: Spacetime, weights: dict[Ties, Any], steps: int
    ) -> AnchoredPrediction:
        until = slice(0, steps + 1)
        second = self.train_second if quantity == "train_loss" else self.second
        zero = np.zeros_like(next(iter(self.second.values()))[:, until])
        rows = {ties: float(weight) / 2 * second[ties][:, until] for ties, weight in weights.items()}
        total = sum(rows.values(), start=zero)
        parts = {}
        if self.landscape.reading == "conditional":
            noiseless = {"test_loss": self.test_loss, "train_loss": self.train_loss}.get(quantity)
            if quantity == "gap":
                noiseless = self.test_loss - self.train_loss
                train = sum((float(w) / 2 * self.train_second[t][:, until] for t, w in weights.items()), start=zero)
                total = total - train
            parts["minibatch noise"] = total
        else:
            noiseless = np.zeros(self.steps + 1) if quantity == "gap" else self.test_loss
            if quantity != "gap":
                data = second[RUN][:, until] / (2 * int(spacetime.N))
                parts = {"minibatch noise": total - data, "finite data": data}
            if quantity != "test_loss":
                gap = -self.influence[:, until] / int(spacetime.N)
                parts["gap"] = gap if quantity == "gap" else -gap
        assert noiseless is not None
        cut = [float(w) ** 2 * self.fourth[t][until] / 24 for t, w in weights.items() if t in self.fourth]
        truncation = np.abs(np.sum(cut, axis=0)) if cut else np.zeros(steps + 1)
        return AnchoredPrediction(quantity, spacetime, np.arange(steps + 1), noiseless[until], parts, truncation)

    def __repr__(self) -> str:
        drop = f"{self.train_loss[0]:.3g} to {self.train_loss[-1]:.3g}"
        ties = ", ".join(str(one) for one in self.second)
        return (
            f"<Anchored on {self.steps} noiseless steps, mean loss {drop}; ties: {ties}; {len(self.influence)} draws>"
        )


def anchor(
    landscape: Landscape,
    params: Any,
    *,
    steps: int,
    learning_rate: float | Sequence[float],
    epoch_lengths: Sequence[int] = (),
    fixed_order: bool = False,
    num_samples: int = 32,
    truncation_samples: int = 4,
    chunk_size: int = CHUNK,
    progress: Progress | None = None,
    key: jax.Array,
) -> Anchored:
    """Run gradient descent on the mean loss once, with what noise does along it: every N, B, E and sampling at once.

    The plain series ends where training begins to matter. Here batch losses are l + ε (l_batch − l), and the expected
    loss after every step is expanded in ε instead of η: order ε⁰ is the noiseless path, order ε² a sum of few
    functionals of it, weighted by what sampling does to pairs of steps.

    Args:
        landscape: the loss and the data, in the population or the conditional reading.
        params: the start, a pytree of floating-point arrays; nothing needs to be small there.
        steps: the number of steps T.
        learning_rate: η, or one for every step.
        epoch_lengths: the numbers of steps of an epoch, N/B, for which several reshuffled epochs are to be predicted.
        fixed_order: whether to anchor for several epochs in one fixed order too.
        num_samples: the number of draws of signs behind every functional, at least 2.
        truncation_samples: the number of draws for the fourth derivatives behind the truncation figure, or 0 for none.
        chunk_size: how many examples are differentiated together.
        progress: shows progress; silent by default.
        key: a JAX random key.

    Returns:
        An `Anchored`, whose `predict(N=…, B=…, E=…, sampling=…)` takes microseconds.

    Raises:
        ArgumentError: an option is unfit, or the reading is "unbiased".
        LandscapeError: the loss, data or parameters are unfit, or the path diverges.

    References:
        theory: "Anchored on the noiseless path".
    """
    rates = _check(landscape, steps, learning_rate, num_samples, truncation_samples, chunk_size, key)
    if isinstance(epoch_lengths, int):
        raise ArgumentError(f"epoch_lengths is a list of numbers of steps, such as [40]; got {epoch_lengths!r}.")
    lengths = [check_integer("epoch_lengths", length, least=1) for length in epoch_lengths]
    landscape.validate(params)
    population = landscape.reading == "population"
    ties = [STEP, RUN] + [Ties("epoch", length) for length in lengths]  # one epoch is the run itself
    ties += [Ties("place", length) for length in lengths if fixed_order and population]
    runs = _Runs(landscape, params, rates, chunk_size)
    runs.check_path()
    for_second, for_fourth = jax.random.split(key)
    groups = []
    with (progress or Progress()).task(num_samples, "noise along the path") as task:
        for first in range(0, num_samples, _TOGETHER):
            keys = jax.random.split(jax.random.fold_in(for_second, first), min(_TOGETHER, num_samples - first))
            groups.append(runs.signs(ties, keys, order=2))
            task.advance(len(keys))
    fourth = {}
    if truncation_samples:
        found = runs.signs(ties, jax.random.split(for_fourth, truncation_samples), order=4)
        fourth = {one: found.test[i, :, :, 4].mean(axis=0) for i, one in enumerate(ties)}
    joined = [np.concatenate([getattr(group, name) for group in groups], axis=1) for name in ("test", "train", "field")]
    test, train, field = joined
    return Anchored(
        landscape,
        params,
        rates,
        groups[0].train[0, 0, :, 0],
        groups[0].test[0, 0, :, 0],
        {one: test[i, :, :, 2] for i, one in enumerate(ties)},
        {one: train[i, :, :, 2] for i, one in enumerate(ties)},
        field[ties.index(RUN), :, :, 1] if population else np.zeros_like(test[0, :, :, 0]),
        fourth,
        chunk_size,
    )


@dataclass(frozen=True)
class _Found:
    """Derivatives by ε, from the 0-th on: arrays of shape (equivalences, replicates, T + 1, order + 1)."""

    test: np.ndarray
    train: np.ndarray
    field: np.ndarray


class _Runs:
    """Runs along one noiseless path."""

    def __init__(self, landscape: Landscape, params: Any, rates: np.ndarray, chunk_size: int) -> None:
        self.landscape, self.params, self.rates = landscape, params, rates
        self._chunk_size = min(chunk_size, landscape.num_examples)

    def check_path(self) -> None:
        """Raise `LandscapeError` where the noiseless path diverges."""
        landscape, rates = self.landscape, jnp.asarray(self.rates)

        @jax.jit
        def losses(params: Any) -> jax.Array:
            def step(params: Any, rate: jax.Array) -> tuple[Any, jax.Array]:
                value, slope = jax.value_and_grad(landscape.mean_loss)(params)
                return jax.tree.map(lambda p, g: p - (rate * g).astype(p.dtype), params, slope), value

            end, path = jax.lax.scan(step, params, rates)
            return jnp.append(path, landscape.mean_loss(end))

        path = np.asarray(losses(self.params), dtype=float)
        if not np.isfinite(path).all():
            first = int(np.argmin(np.isfinite(path)))
            raise LandscapeError(
                f"The noiseless path diverges: the mean loss is {path[first]} at step {first} of {len(rates)}, with "
                f"the learning rate {self.rates[max(first - 1, 0)]:.3g}. Gradient descent is stable below 2/h for the "
                f"greatest curvature h, about {self._stable():.2g} at the start: take a smaller learning rate."
            )

    def _stable(self) -> float:
        """Return 2/h for the greatest curvature at the start, by power iteration."""
        slope = jax.grad(self.landscape.mean_loss)

        @jax.jit
        def product(vector: Any) -> tuple[Any, jax.Array]:
            image = jax.jvp(slope, (self.params,), (vector,))[1]
            size = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(image)))
            return jax.tree.map(lambda leaf: leaf / size, image), size

        vector, size = product(slope(self.params))
        for _ in range(30):
            vector, size = product(vector)
        return float(2 / size)

    def signs(self, ties: list[Ties], keys: jax.Array, order: int) -> _Found:
        """Run with random signs, the same in tied steps."""
        given = sign_steps(ties, keys, len(self.rates))
        found = self._run(sign_field(self.landscape.num_examples), given, order)
        return _Found(*(array.reshape(len(ties), len(keys), *array.shape[1:]) for array in found))

    def batches(self, spacetime: Spacetime, replicates: int, order: int, key: jax.Array) -> _Found:
        """Run with the noise of real batches."""
        count = self.landscape.num_examples
        given = drawn_batches(spacetime, self.landscape.reading, count, replicates, key)
        found = self._run(batch_field(count, int(spacetime.B)), given, order)
        return _Found(*(array[None] for array in found))

    def _run(self, field: Any, given: Any, order: int) -> tuple[np.ndarray, ...]:
        landscape = self.landscape
        tested = landscape.reading == "conditional"
        run = compiled_jets(landscape.loss, order, self._chunk_size, field, tested)
        rates = jnp.asarray(self.rates, jnp.result_type(*jax.tree.leaves(self.params)))
        value, losses, noise, test = run(self.params, landscape.data, landscape.test_data, rates, given)
        replicates = losses.shape[1]
        start = np.broadcast_to(np.asarray(value, dtype=float)[:, None, None], (len(value), replicates, 1))
        train = np.concatenate([start, np.asarray(losses, dtype=float)], axis=2)
        arrays = (np.asarray(test, dtype=float) if tested else train, train, np.asarray(noise, dtype=float))
        return tuple(np.moveaxis(array, 0, 1) for array in arrays)


def _check(
    landscape: Landscape, steps: Any, learning_rate: Any, num_samples: Any, fourth: Any, chunk_size: Any, key: Any
) -> np.ndarray:
    """Check the options and return the learning rate of every step."""
    check_landscape(landscape)
    if landscape.reading not in READINGS:
        raise ArgumentError(
            f"anchor takes the readings {' and '.join(map(repr, READINGS))}; got {landscape.reading!r}."
        )
    check_integer("steps", steps, least=1)
    check_integer("num_samples", num_samples, least=2)
    check_integer("truncation_samples", fourth, least=0)
    check_integer("chunk_size", chunk_size, least=1)
    check_key(key, "Signs of examples are drawn at random")
    rates = check_learning_rates(learning_rate)
    if len(rates) not in (1, steps):
        raise ArgumentError(f"Give one learning rate, or one for each of {steps} steps; got {len(rates)} of them.")
    return np.broadcast_to(rates, steps)
