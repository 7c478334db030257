"""The noiseless path from a start, and runs along it: draws of noise to second order, and to higher orders."""

from dataclasses import dataclass
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Shaped

from ..._mesh import ALONE, Devices
from ...derivatives import full_blocks, num_params
from ...errors import LandscapeError
from ...landscapes import Landscape
from ...spacetimes import Spacetime
from .._noise_weights import Ties
from ._adjoints import Adjoints, compiled_adjoints
from ._control_variates import ControlVariates, compiled_control_means, control_variates
from ._higher_orders import compiled_higher_orders
from ._importance import ExampleSampler, ExampleSamplers, Survey, survey
from ._noise import Noise, batch_noise, example_noise, sign_noise, tie_labels
from ._noise_directions import PILOTS, Directions, compiled_directions
from ._second_order import Draws, compiled_second_order

# How often noise is drawn for an equivalence of steps in every draw: more often where it dominates errors of
# predictions, as the spreads in docs/benchmarks.md, "Which noise, and how much of it", show.
REPEATS = {"population": {"run": 6, "step": 2}, "conditional": {"step": 2}}
_RISE = 1e-2  # of the largest loss on the path: a path that ends so far above its start may diverge
_EXAMPLES = 256  # examples, at most, that make the noise of fourth order, which is drawn beforehand


def columns(ties: list[Ties], reading: str) -> list[Ties]:
    """Return equivalences of steps, each as often as noise is drawn for it in every draw."""
    return [each for each in ties for _ in range(REPEATS[reading].get(each.kind, 1))]


@dataclass(frozen=True)
class DrawsAlongPath:
    """The losses on the path, and draws of noise along it.

    Attributes:
        train_path: the mean loss on the path.
        test_path: the test loss there.
        draws: arrays of shape (R, S, T + 1) for R draws and S equivalences of steps, controls with a last axis.
    """

    train_path: Float[np.ndarray, " points"]
    test_path: Float[np.ndarray, " points"]
    draws: Draws


class NoiselessPath:
    """The noiseless path from a start, and runs along it.

    Args:
        landscape: the loss and the data.
        params: the start.
        rates: the learning rate of every step.
        chunk_size: how many examples are differentiated together.
        noise: how many random examples make the noise of a step.
        curvature: how many random examples stand for all in Hessians.
        devices: those that share runs and examples.
    """

    def __init__(
        self,
        landscape: Landscape,
        params: PyTree,
        rates: Float[np.ndarray, " steps"],
        chunk_size: int,
        noise: int,
        curvature: int,
        devices: Devices = ALONE,
    ) -> None:
        self._landscape, self._params, self._devices = landscape, params, devices
        self._rates = jnp.asarray(rates, jnp.result_type(*jax.tree.leaves(params)))
        count = landscape.num_examples
        self._chunk_size = min(chunk_size, count)
        self._noise, self._curvature = (None if size >= count else size for size in (noise, curvature))

    @property
    def steps(self) -> int:
        """The number of steps T."""
        return len(self._rates)

    @property
    def _tested(self) -> bool:
        return self._landscape.reading == "conditional"

    @cached_property
    def _given(self) -> tuple[PyTree, PyTree, PyTree]:
        """The parameters, the data, and the test data or `None`, on the devices."""
        landscape = self._landscape
        return self._devices.placed((self._params, landscape.data, landscape.test_data if self._tested else None))

    def check_path(self) -> None:
        """Raise `LandscapeError` where the noiseless path diverges.

        It diverges where the loss is not finite, and where it ends above its start by more than rounding. Descent that
        is unstable only until it finds flatter ground ends below.
        """
        path = self._survey.losses
        if not np.isfinite(path).all():
            first, what = int(np.argmin(np.isfinite(path))), "is"
        elif path[-1] - path[0] > _RISE * np.abs(path).max() and self._rises(path[-1] - path[0]):
            first, what = int(np.argmax(path)), f"rises from {path[0]:.3g} to"
        else:
            return
        raise LandscapeError(
            f"The noiseless path diverges: the mean loss {what} {path[first]:.3g} at step {first} of "
            f"{len(self._rates)}, with the learning rate {float(self._rates[max(first - 1, 0)]):.3g}. Gradient descent "
            f"is stable below 2/h for the greatest curvature h, about {self._stable:.2g} at the start: take a smaller "
            "learning rate."
        )

    def _rises(self, rise: float) -> bool:
        """Whether a mean loss rose by more than rounding.

        It did if learning rates are above 2/h at the start, or if single losses there are not much larger than the
        rise. A minimum at which they are next to zero rises by rounding alone.
        """
        single = jax.vmap(self._landscape.loss, in_axes=(None, 0))(self._params, self._landscape.data)
        size = float(jnp.mean(jnp.abs(single)))
        return float(self._rates.max()) > self._stable or rise > _RISE * size > 0

    @cached_property
    def _survey(self) -> Survey:
        return survey(self._landscape.loss, *self._given, self._rates, self._chunk_size, self._devices)

    @cached_property
    def _samplers(self) -> ExampleSamplers:
        return self._survey.samplers(self._rates.dtype)

    @cached_property
    def _stable(self) -> float:
        """2/h for the greatest curvature at the start, by power iteration."""
        gradient = jax.grad(self._landscape.mean_loss)

        @jax.jit
        def product(vector: PyTree) -> tuple[PyTree, Float[Array, ""]]:
            image = jax.jvp(gradient, (self._params,), (vector,))[1]
            size = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(image)))
            return jax.tree.map(lambda leaf: leaf / size, image), size

        vector, size = product(gradient(self._params))
        for _ in range(30):
            vector, size = product(vector)
        return float(2 / size)

    def control_variates(self, ties: list[Ties], size: int, key: PRNGKeyArray) -> ControlVariates:
        """Run pilots, find a number of directions that matter, and return the control variates that they make."""
        landscape = self._landscape
        for_pilots, for_bends = jax.random.split(key)
        run = compiled_directions(landscape.loss, self._noise, self._chunk_size, self._tested, size, self._devices)
        path, directions = run(
            *self._given,
            self._rates,
            jnp.asarray(tie_labels(columns(ties, landscape.reading), self.steps)),
            self._samplers,
            jax.random.split(for_pilots, PILOTS),
        )
        adjoints = compiled_adjoints(landscape.loss, self._chunk_size, self._tested, self._devices)(
            *self._given,
            path,
            directions,
            self._rates,
            self._samplers.curvature,
            for_bends,
        )
        return self.control_variates_in(directions, adjoints, path, ties)

    def control_variates_in(
        self, directions: Directions, adjoints: Adjoints, path: Float[Array, "points params"], ties: list[Ties]
    ) -> ControlVariates:
        """Return the control variates that directions and adjoints of the path make."""
        landscape, labels = self._landscape, tie_labels(ties, self.steps)
        begins = np.diff(labels, axis=0, prepend=labels[:1]) != 0
        means = compiled_control_means(landscape.loss, self._chunk_size, self._devices)(
            *self._given[:2], path, directions, adjoints, self._rates, jnp.asarray(begins)
        )
        # At the same place in their epochs steps are tied that do not follow one another; nor do last steps of epochs.
        known = np.array([each.kind in ("step", "epoch", "run") for each in ties])
        return control_variates(directions, adjoints, means, known)

    def no_control_variates(self, ties: list[Ties]) -> ControlVariates:
        """Return no directions, no adjoints, and control variates of unknown means, which are not used."""
        sizes = self.steps, num_params(self._params), self._rates.dtype
        return ControlVariates(
            Directions.none(*sizes),
            Adjoints.none(*sizes),
            *(np.full((len(ties), self.steps + 1, count), np.nan) for count in (2, 2, 1)),
        )

    def second_order(
        self, ties: list[Ties], keys: Shaped[Array, "draws ..."], controls: ControlVariates
    ) -> DrawsAlongPath:
        """Draw noise of random signs, the same in tied steps, with control variates beside it, a draw for every key."""
        landscape = self._landscape
        run = compiled_second_order(
            landscape.loss, self._noise, self._curvature, self._chunk_size, self._tested, self._devices
        )
        drawn = columns(ties, landscape.reading)
        labels = jnp.asarray(tie_labels(drawn, self.steps))
        path, test_path, draws = run(
            *self._given,
            self._rates,
            labels,
            self._samplers,
            keys,
            controls.directions,
            controls.adjoints,
        )

        def averaged(rows: Float[Array, "points draws columns *controls"]) -> np.ndarray:
            """Return the averages over the columns of every equivalence, with axes of draws, ties and points."""
            by_column = np.moveaxis(np.asarray(rows, dtype=float), 0, 2)
            return np.stack([by_column[:, [own == each for own in drawn]].mean(axis=1) for each in ties], axis=1)

        return DrawsAlongPath(
            np.asarray(path, dtype=float), np.asarray(test_path, dtype=float), Draws(*map(averaged, draws))
        )

    def higher_orders(
        self, ties: list[Ties], count: int, together: int, key: PRNGKeyArray
    ) -> tuple[Float[np.ndarray, "ties replicates points"], Float[np.ndarray, "ties replicates points"]]:
        """Return R replicates of third and fourth derivatives of the test loss for S equivalences of steps.

        The third are those of the noise of single examples, the fourth those of random signs, which have no third.

        Args:
            ties: the equivalences of steps.
            count: R.
            together: how many replicates run side by side.
            key: a JAX random key.
        """
        for_examples, for_signs, for_curvature = jax.random.split(key, 3)
        few = self._noise if self._landscape.num_examples <= _EXAMPLES else min(self._noise or _EXAMPLES, _EXAMPLES)
        options = self.steps, self._samplers.noise, few
        single, factors = example_noise(ties, jax.random.split(for_examples, count), *options)
        signs = sign_noise(ties, jax.random.split(for_signs, count), *options)
        # One program for both, which takes longer to compile than to run.
        shape = 2, len(ties), count
        replicate = np.arange(np.prod(shape)).reshape(shape)
        derivatives = np.empty((*shape, self.steps + 1, 5))
        for group in full_blocks(count, together):
            chosen = replicate[..., group].ravel()
            # On the host, where this compiles nothing.
            both = jax.tree.map(lambda *parts, own=chosen: np.concatenate(parts, axis=1)[:, own], single, signs)
            rows = self._derivatives(both, 4, self._curvature, jax.random.fold_in(for_curvature, int(group[0])))
            derivatives[:, :, group] = rows.reshape(2, len(ties), together, -1, 5)
        factors = factors.reshape(len(ties), count, 1)
        return factors * derivatives[0, ..., 3], derivatives[1, ..., 4]

    def real_batches(
        self, spacetime: Spacetime, replicates: int, order: int, key: PRNGKeyArray
    ) -> Float[np.ndarray, "replicates points _"]:
        """Run with the noise of real batches; return the test loss and its derivatives up to an order."""
        noise = batch_noise(spacetime, self._landscape.reading, self._landscape.num_examples, replicates, key)
        return self._derivatives(noise, order, None, key)

    def _derivatives(
        self, noise: Noise, order: int, curvature: int | None, key: PRNGKeyArray
    ) -> Float[np.ndarray, "replicates points _"]:
        landscape = self._landscape
        run = compiled_higher_orders(landscape.loss, order, self._chunk_size, self._tested, curvature, self._devices)
        equal = np.ones(landscape.num_examples)
        sampler = ExampleSampler.of_sizes(equal, self._rates.dtype) if curvature is None else self._samplers.curvature
        value, losses, _, test = run(*self._given, self._rates, noise, sampler, key)
        if self._tested:
            return np.moveaxis(np.asarray(test, dtype=float), 0, 1)
        start = np.broadcast_to(np.asarray(value, dtype=float)[:, None, None], (*losses.shape[:2], 1))
        return np.moveaxis(np.concatenate([start, np.asarray(losses, dtype=float)], axis=2), 0, 1)
