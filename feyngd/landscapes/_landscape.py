"""A landscape: a loss and the population of examples that it is averaged over."""

import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from .._arguments import check_integer
from ..derivatives import CHUNK, FrozenLoss, Loss, Update, digest_of_arrays, flat_loss, frozen_loss, per_loss
from ..errors import ArgumentError, LandscapeError
from ..quantities import Measurement
from ._noise import WORDS, OfPairs, check_takes_key, pairs
from .checks import check_same_examples, example_arrays, nonfinite_leaf, param_arrays, trace_loss, trace_update

READINGS = ("population", "unbiased", "conditional")


@dataclass(frozen=True, eq=False, repr=False)
class Landscape:
    """A smooth loss over a population of examples: what SGD descends on.

    What `data` stands for is its `reading`:

    - `"population"`: the data distribution is the empirical distribution of `data`. Training sets are independent draws
      from its M examples, and the test loss of parameters θ is the plain average `l(θ) = (1/M) Σ_n loss(θ, data[n])`.
    - `"unbiased"`: `data` is a sample from an unknown distribution. Values of diagrams are estimated without bias, by
      averages over distinct examples (U-statistics).
    - `"conditional"`: the training set *is* `data`, so N = M; only the order in which SGD visits it is random, and the
      test loss is the mean over the separate `test_data`.

    Two landscapes are equal only if they are the same object.

    Attributes:
        loss: `loss(params, example)` returns the loss of one example, a real scalar. The example has the structure of
            `data` without the leading axis. It must be traceable by JAX and smooth: series use its higher derivatives.
            It is traced again in every call, so that what it reads may change between calls. Whatever is random in it,
            a mask or the key it is drawn from, has to be part of the example. A training point is then the pair, and
            keeps its mask in all epochs. That is right for the test loss of one epoch without repeats. With repeats the
            same masks come again, and train loss and gap are those with the masks that were seen. For noise that is
            drawn anew at every use see `per_use_noise`.
        data: a pytree of arrays that share their leading axis, the M examples. NumPy arrays are copied to JAX arrays
            once, when the landscape is made, in JAX's current precision.
        test_data: separate test examples with the structure of `data`, for the conditional reading; `None` otherwise.
        reading: what `data` stands for, see above.
        update: what a step follows instead of the gradient, `update(params, example)` with the structure of the
            parameters: θ ← θ − η (1/B) Σ update(θ, x_n), for natural gradients, games, target networks and any other
            smooth field. The loss is then only measured. `evaluate`, `plan`, `predict` and `simulate` take it.
        per_use_noise: whether every use of an example draws noise anew, as dropout and augmentation do: the loss is
            then `loss(params, example, key)`, and the key is another one for every example of every batch, and for
            every example of a measurement. What is measured is the mean over the noise. `evaluate`, `predict` and
            `simulate` take it; series are those of `expand(..., per_use_noise=True)`. Methods of the landscape, such as
            `mean_loss`, give the loss for one fixed use of every example.

    Raises:
        LandscapeError: `data` has no examples, is not made of numeric arrays, or its leaves disagree on their number;
            or the test data differ from it in structure, shapes or dtypes.
        ArgumentError: the loss is not callable, the reading is unknown, or `test_data` is given to a reading that has
            none or missing from the one that needs it.

    References:
        Tenka, section 2.1; "Three readings of a dataset" in the documentation.

    Examples:
        >>> import jax.numpy as jnp
        >>> from feyngd.landscapes import Landscape
        >>> landscape = Landscape(lambda theta, x: 0.5 * (theta - x) ** 2, jnp.array([-1.0, 1.0]))
        >>> landscape.num_examples
        2
        >>> float(landscape.mean_loss(jnp.array(0.0)))
        0.5
    """

    loss: Callable[..., Any]
    data: Any
    test_data: Any = None
    reading: str = field(default="population", kw_only=True)
    update: Update | None = field(default=None, kw_only=True)
    per_use_noise: bool = field(default=False, kw_only=True)
    measured: ClassVar[Any] = None  # what `measuring` puts in the place of the test loss

    def __post_init__(self) -> None:
        if not callable(self.loss):
            raise ArgumentError(f"The loss must be a function loss(params, example); got {type(self.loss).__name__}.")
        if self.per_use_noise:
            check_takes_key(self.loss)
            if self.update is not None:
                raise ArgumentError("Noise at every use belongs to gradients of the loss: leave update out.")
        if self.update is not None and not callable(self.update):
            raise ArgumentError(f"An update is a function update(params, example); got {type(self.update).__name__}.")
        if self.reading not in READINGS:
            raise ArgumentError(f"Unknown reading {self.reading!r}; the readings are {', '.join(map(repr, READINGS))}.")
        if self.test_data is not None and self.reading != "conditional":
            raise ArgumentError(
                f"test_data belongs to reading='conditional'; in the {self.reading} reading the test loss is that of "
                "the distribution of data. Leave test_data out."
            )
        if self.test_data is None and self.reading == "conditional":
            raise ArgumentError("In the conditional reading the test loss is measured on test_data: give it.")
        object.__setattr__(self, "data", example_arrays(self.data))
        if self.test_data is not None:
            object.__setattr__(self, "test_data", example_arrays(self.test_data, "test_data"))
            check_same_examples(self.data, self.test_data)

    def __repr__(self) -> str:
        leaves = (f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(self.data))
        name = getattr(self.loss, "__name__", type(self.loss).__name__)
        return f"Landscape(loss={name}, data=({', '.join(leaves)}), reading={self.reading!r})"

    @property
    def num_examples(self) -> int:
        """The number of examples M in the population."""
        return int(jax.tree.leaves(self.data)[0].shape[0])

    @property
    def num_test_examples(self) -> int:
        """The number of separate test examples, or of those of a measurement; 0 where there are none."""
        return 0 if self.test_data is None else int(jax.tree.leaves(self.test_data)[0].shape[0])

    @property
    def test_function(self) -> Loss:
        """What is averaged over the examples of the test loss: the loss, or the function that is measured."""
        return self.loss if self.measured is None else self.measured

    def example(self, i: int) -> Any:
        """One example of the population.

        Args:
            i: its index, 0 to M − 1.

        Returns:
            A pytree with the structure of `data` and without the leading axis.

        Raises:
            ArgumentError: there is no such example.
        """
        index = operator.index(i)
        if not 0 <= index < self.num_examples:
            raise ArgumentError(f"There is no example {i}; the population has examples 0 to {self.num_examples - 1}.")
        return jax.tree.map(lambda leaf: leaf[index], self.data)

    def mean_loss(self, params: Any, chunk_size: int = 256) -> jax.Array:
        """The mean loss l(θ) over the data: in the conditional reading the train loss, in the others the test loss.

        Args:
            params: the parameters θ, a pytree of floating-point arrays.
            chunk_size: how many examples are evaluated together; memory grows with it, the result does not depend on it
                beyond rounding.

        Returns:
            A scalar array, in the unit of the loss; differentiable in `params`.

        Raises:
            LandscapeError: the loss of one example is not a real scalar.
            ArgumentError: `chunk_size` is not a positive integer.
        """
        return jnp.mean(self.losses(params, chunk_size))

    def test_loss(self, params: Any, chunk_size: int = 256) -> jax.Array:
        """The test loss: the mean loss over the test data in the conditional reading, over the data in the others.

        Args:
            params: the parameters θ, a pytree of floating-point arrays.
            chunk_size: how many examples are evaluated together.

        Returns:
            A scalar array, in the unit of the loss; differentiable in `params`.

        Raises:
            LandscapeError: the loss of one example is not a real scalar.
            ArgumentError: `chunk_size` is not a positive integer.
        """
        data = self.data if self.test_data is None else self.test_data
        return jnp.mean(self._losses(params, data, chunk_size, is_test=True))

    def losses(self, params: Any, chunk_size: int = 256) -> jax.Array:
        """The loss of every example.

        Args:
            params: the parameters θ, a pytree of floating-point arrays.
            chunk_size: how many examples are evaluated together.

        Returns:
            An array of shape (M,), in the unit of the loss; differentiable in `params`.

        Raises:
            LandscapeError: the loss of one example is not a real scalar.
            ArgumentError: `chunk_size` is not a positive integer.
        """
        return self._losses(params, self.data, chunk_size)

    def validate(self, params: Any, chunk_size: int = CHUNK, *, gradients: bool = True) -> None:
        """Check that loss and gradient are finite real numbers at these parameters, on every example.

        Args:
            params: the parameters θ, a pytree of floating-point arrays.
            chunk_size: how many per-example gradients are held in memory together.
            gradients: whether to check the gradients too, which takes longer.

        Raises:
            LandscapeError: the parameters are not a non-empty pytree of finite floating-point arrays, or the loss is
                not a real scalar, or it or its gradient is not finite on some example; the message names the first.
            ArgumentError: `chunk_size` is not a positive integer.
        """
        params = param_arrays(params)
        frozen = self.frozen(params)
        tested = frozen.test_function, frozen.test_data
        named = (frozen.loss, frozen.data, "loss", "example"), (*tested, *self._test_names)
        for loss, data, what, name in named:
            if data is not None:
                _check_values(loss, params, data, self._chunk(chunk_size), what, name)
                if gradients:
                    _check_gradients(loss, params, data, self._chunk(chunk_size), what, name)

    def frozen(self, params: Any) -> "Landscape":
        """The landscape with its loss as it is now: traced once, so that it cannot change during a computation.

        Every public call uses it. The loss is traced again; programs that were compiled before are used only if the
        trace has the same equations and the same constants.

        Args:
            params: the parameters, a pytree of floating-point arrays.

        Returns:
            A landscape with the same data whose loss takes parameters and examples of these shapes and dtypes only.

        Raises:
            LandscapeError: the loss cannot be traced, or it does not return one real number.
        """
        if isinstance(self.loss, FrozenLoss):
            return self
        if self.per_use_noise:
            return self._frozen_with_noise(params)
        loss = frozen_loss(self.loss, trace_loss(self.loss, params, self.example_shapes), self)
        measured = None if self.measured is None else self._frozen_measurement(self.measured, params)
        update = None if self.update is None else self._frozen_update(self.update, params)
        return self.with_functions(loss, measured, update=update, _given=self)

    def _frozen_with_noise(self, params: Any) -> "Landscape":
        """The landscape of pairs, of an example and the words of a key, for one use of every example."""
        loss = OfPairs(self.loss)
        frozen = frozen_loss(loss, trace_loss(loss, params, (self.example_shapes, WORDS)), self)
        measured = None if self.measured is None else self._frozen_measurement(self.measured, params)
        test_data = self.test_data if self.test_data is None or measured is not None else pairs(self.test_data)
        return self.with_functions(frozen, measured, data=pairs(self.data), test_data=test_data, _given=self)

    def with_noise(self, key: jax.Array) -> "Landscape":
        """A frozen landscape with noise at every use, with other noise made from a key."""
        has_pairs = self.test_data is not None and self.measured is None
        test_data = pairs(self.test_data[0], jax.random.fold_in(key, 1)) if has_pairs else self.test_data
        own = pairs(self.data[0], jax.random.fold_in(key, 0))
        return self.with_functions(self.loss, self.measured, data=own, test_data=test_data)

    def with_functions(self, loss: Loss, measured: Loss | None, **others: Any) -> "Landscape":
        """The landscape with the same data and another loss and measurement, which are not checked."""
        twin = copy.copy(self)
        for name, value in {"loss": loss, "measured": measured, **others}.items():
            object.__setattr__(twin, name, value)
        return twin

    def measuring(self, measurement: Measurement) -> "Landscape":
        """The landscape with a measurement in the place of its test loss.

        The measured function is then `measured`, and its examples are `test_data`.

        Args:
            measurement: made by `feyngd.measurement`, with a function.

        Raises:
            ArgumentError: the measurement has a name alone, or is one of examples in the unbiased reading without data.
            LandscapeError: its data are no arrays with a common leading axis.
        """
        if measurement.loss is None:
            raise ArgumentError(
                f"The measurement {str(measurement)!r} has a name and no function: numbers need "
                f"measurement({str(measurement)!r}, function)."
            )
        if not measurement.takes_example:
            data: Any = jnp.zeros(1)  # one example that nothing depends on
        elif measurement.data is not None:
            data = example_arrays(measurement.data, "measurement's data")
        elif self.reading == "unbiased":
            raise ArgumentError(
                "In the unbiased reading the examples of a training set are not those that test it: give the "
                f"measurement {str(measurement)!r} its data, or measure a function of the parameters alone."
            )
        else:
            data = self.data if self.test_data is None else self.test_data
        twin = self.with_functions(self.loss, measurement.loss, test_data=data)
        for kept in ("data_digest", "_given"):
            twin.__dict__.pop(kept, None)
        return twin

    def _frozen_measurement(self, measured: Loss, params: Any) -> FrozenLoss:
        try:
            return frozen_loss(measured, trace_loss(measured, params, self.test_example_shapes), measured)
        except LandscapeError as error:
            raise LandscapeError(
                f"A measurement is read like a loss of its own, which this one is not. {error}"
            ) from error

    def _frozen_update(self, update: Update, params: Any) -> FrozenLoss:
        """Return the update as one vector."""
        return frozen_loss(update, trace_update(update, params, self.example_shapes), self)

    @property
    def example_shapes(self) -> Any:
        """One example as a pytree of `jax.ShapeDtypeStruct`, without the leading axis."""
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), self.data)

    @property
    def test_example_shapes(self) -> Any:
        """One separate test example, or one of the measurement, likewise."""
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), self.test_data)

    @cached_property
    def data_digest(self) -> str:
        """A hash of reading, data and test data, which results carry to show what they belong to."""
        if "_given" in self.__dict__:  # a frozen landscape: the hash is taken once
            return self.__dict__["_given"].data_digest
        return digest_of_arrays((self.data, self.test_data)) + self.reading

    def __getstate__(self) -> dict[str, Any]:
        names = ("loss", "data", "test_data", "reading", "update", "per_use_noise", "measured")
        return {name: getattr(self, name) for name in names}

    def flatten(self, params: Any) -> tuple[jax.Array, Callable[..., Any]]:
        """The parameters as one vector, and the loss as a function of such vectors.

        Args:
            params: the parameters, a pytree of p floating-point numbers in all.

        Returns:
            `(theta, flat_loss)` with theta of shape (p,) and `flat_loss(theta, example) == loss(params, example)`; with
            noise at every use the key comes after the example.

        Raises:
            LandscapeError: the parameters are not a non-empty pytree of finite floating-point arrays.
        """
        theta, loss = flat_loss(lambda point, given: self.loss(point, *given), param_arrays(params))
        return theta, lambda point, *given: loss(point, given)

    @property
    def _test_names(self) -> tuple[str, str]:
        """What messages call the function of the test examples, and one of these."""
        return ("loss", "test example") if self.measured is None else ("measurement", "example of the measurement")

    def _chunk(self, chunk_size: int) -> int:
        return min(check_integer("chunk_size", chunk_size, least=1), self.num_examples)

    def _losses(self, params: Any, data: Any, chunk_size: int, *, is_test: bool = False) -> jax.Array:
        params, frozen = param_arrays(params), self.frozen(params)
        loss = frozen.test_function if is_test else frozen.loss
        if self.per_use_noise and not (is_test and self.measured is not None):
            data = frozen.test_data if is_test and frozen.test_data is not None else frozen.data
        return _compiled_losses(loss, self._chunk(chunk_size))(params, data)


def _check_values(loss: Loss, params: Any, data: Any, chunk_size: int, what: str, name: str) -> None:
    losses = np.asarray(_compiled_losses(loss, chunk_size)(params, data))
    bad = np.flatnonzero(~np.isfinite(losses))
    if bad.size:
        raise LandscapeError(
            f"The {what} is {losses[bad[0]]} on {name} {bad[0]}, the first of {bad.size} among {len(losses)} where it "
            "is not finite. Check that example (a label out of range, a missing value), or start from other parameters."
        )


def _check_gradients(loss: Loss, params: Any, data: Any, chunk_size: int, what: str, name: str) -> None:
    good = np.asarray(_compiled_good_gradients(loss, chunk_size)(params, data))
    bad = np.flatnonzero(~good)
    if bad.size:
        example = jax.tree.map(lambda leaf: leaf[int(bad[0])], data)
        where = nonfinite_leaf(jax.grad(loss)(params, example), "params")
        raise LandscapeError(
            f"The gradient of the {what} by {where} is not finite on {name} {bad[0]}, the first of {bad.size} among "
            f"{len(good)}, although the {what} is. Look for a square root, norm or logarithm at 0 there, or start from "
            "other parameters."
        )


# The data are arguments, not closed-over constants, so that XLA does not embed them in the compiled program.


@per_loss
def _compiled_losses(loss: Loss, chunk_size: int) -> Callable[[Any, Any], jax.Array]:
    """Compile the losses of all examples, shape (M,), as a function of the parameters and the data."""
    return jax.jit(lambda params, data: jax.lax.map(partial(loss, params), data, batch_size=chunk_size))


@per_loss
def _compiled_good_gradients(loss: Loss, chunk_size: int) -> Callable[[Any, Any], jax.Array]:
    """Compile whether the gradient of every example is finite, shape (M,)."""

    @jax.jit
    def good_gradients(params: Any, data: Any) -> jax.Array:
        def one(example: Any) -> jax.Array:
            gradient = jax.grad(loss)(params, example)
            return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient)]))

        return jax.lax.map(one, data, batch_size=chunk_size)

    return good_gradients
