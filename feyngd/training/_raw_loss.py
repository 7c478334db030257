"""A loss as a plain function of arrays that may be traced: what is checked before second derivatives are taken."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..derivatives import FrozenLoss, Loss, frozen_loss
from ..errors import ArgumentError, FeynGDError, LandscapeError
from ..landscapes import Landscape

_KEEP_ELSEWHERE = (
    "parameters are a pytree of floating-point arrays. Keep functions, text and settings outside of it and put them "
    "back in the loss: in equinox eqx.partition(model, eqx.is_inexact_array) and eqx.combine, in flax's nnx nnx.split "
    "and nnx.merge."
)


class RawLoss:
    """A loss, parameters and examples, checked by tracing one example.

    It is traced again in every call, by functions made in that call, so that neither this library nor the caller's own
    `jax.jit` uses an old version of it.

    Args:
        loss: `loss(params, example)`.
        params: the parameters.
        data: examples that share their leading axis.

    Attributes:
        function: the loss, as a function made here.
        params: the parameters.
        data: the examples, as JAX arrays.
        size: how many there are.

    Raises:
        ArgumentError: the loss is not a function.
        LandscapeError: the parameters are not floating-point arrays, the data not arrays with one leading axis, or the
            loss fails on one example or is not a real number.
    """

    def __init__(self, loss: Loss, params: Any, data: Any) -> None:
        check_loss(loss)
        _check_parameters(params)
        with jax.ensure_compile_time_eval():  # NumPy arrays are looked into, which is possible in jit only like this
            examples = Landscape(loss, data)
        self._given = loss
        self.function: Loss = lambda p, example: loss(p, example)
        self.params, self.data, self.size = params, examples.data, examples.num_examples
        self._example = examples.example(0)
        _check_value(self._traced(self.function))

    def frozen(self) -> FrozenLoss | None:
        """Return the loss as it is now with the programs compiled from it; `None` where all is traced anyway.

        That is inside a transformation of JAX, which parameters, data or numbers that the loss closes over belong to.
        """
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((self.params, self.data))):
            return None
        traced = jax.make_jaxpr(lambda p, example: self.function(p, example))(self.params, self._example)
        frozen = frozen_loss(self._given, traced, self._given)
        return frozen if frozen.fingerprint else None

    def check_forward_mode(self) -> None:
        """Raise unless the loss can be differentiated in forward mode, twice in all; no example is run.

        Raises:
            LandscapeError: it has a derivative of its own for reverse mode alone.
        """

        def product(params: Any, example: Any) -> Any:
            return jax.grad(lambda p: jax.jvp(lambda q: self.function(q, example), (p,), (params,))[1])(params)

        self._traced(product)

    def _traced(self, function: Callable[[Any, Any], Any]) -> Any:
        """Return the shape of what a new function of parameters and one example returns, or say why it fails."""
        try:
            return jax.eval_shape(function, self.params, self._example)
        except FeynGDError:
            raise
        except Exception as error:
            if any(name in str(error) for name in ("custom_vjp", "custom_lin")):  # eagerly, and while tracing
                raise LandscapeError(
                    "The loss has a derivative of its own by jax.custom_vjp, which has no forward mode, and second "
                    "derivatives are taken by it. Define the derivative by jax.custom_jvp, or use the plain formula "
                    "and let JAX differentiate it."
                ) from error
            first_line = str(error).strip().partition("\n")[0]
            raise LandscapeError(
                f"The loss fails on one example, with {type(error).__name__}: {first_line} "
                f"It is called as loss(params, example) with params of {_shapes(self.params)} and an example, without "
                f"the leading axis of the batch, of {_shapes(self._example)}."
            ) from error


def check_loss(loss: Any) -> None:
    """Raise unless the loss is a function."""
    if not callable(loss):
        raise ArgumentError(f"The loss must be a function loss(params, example); got {type(loss).__name__}.")


def _check_parameters(params: Any) -> None:
    """Raise unless all leaves are floating-point numbers or arrays, traced or not; there must be one."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise LandscapeError(f"The parameters {params!r} hold no numbers; {_KEEP_ELSEWHERE}")
    for path, leaf in leaves:
        where = "params" + jax.tree_util.keystr(path)
        try:
            dtype = None if isinstance(leaf, str) or callable(leaf) else jnp.result_type(leaf)
        except TypeError:
            dtype = None
        if dtype is None:
            raise LandscapeError(f"{where} is {type(leaf).__name__}, not an array; {_KEEP_ELSEWHERE}")
        if not jnp.issubdtype(dtype, jnp.floating):
            raise LandscapeError(f"{where} has dtype {dtype}, which has no derivative; {_KEEP_ELSEWHERE}")


def _check_value(value: Any) -> None:
    if not isinstance(value, jax.ShapeDtypeStruct) or value.shape or not jnp.issubdtype(value.dtype, jnp.floating):
        found = " and ".join(_shape(leaf) for leaf in jax.tree.leaves(value)) or "nothing"
        raise LandscapeError(
            f"The loss of one example is one real number, float[]; it returned {found}. Return no auxiliary outputs, "
            "and no vector: `loss` gets one example, not the batch."
        )


def _shapes(tree: Any) -> str:
    return ", ".join(_shape(leaf) for leaf in jax.tree.leaves(tree))


def _shape(leaf: Any) -> str:
    return f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}"
