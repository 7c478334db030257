"""What every public call that takes a landscape and parameters does before it starts."""

from typing import Any

import jax
import jax.numpy as jnp

from ..derivatives import FrozenLoss, Loss, noted
from ..errors import ArgumentError, LandscapeError
from ..kinks import Kink
from ._landscape import Landscape
from ._noise import several_uses
from .checks import (
    check_depends_on_key,
    check_depends_on_params,
    check_forward_mode,
    check_no_constant_key,
    check_reverse_mode,
    param_arrays,
)
from .smoothness import find_kinks, warn_of_kinks

_USES = 64  # of few examples with noise, among which some use may show a kink that others do not


def check_landscape(landscape: Any) -> None:
    """Raise `ArgumentError` unless it is a `Landscape`."""
    if not isinstance(landscape, Landscape):
        raise ArgumentError(f"A Landscape is made as fd.Landscape(loss, data); got {type(landscape).__name__}.")


def enter(
    landscape: Any, params: Any, *, forward: bool = True, update: bool = False, noise: bool = False
) -> tuple[Landscape, Any]:
    """Check a landscape and parameters, and freeze the loss as it is now.

    Args:
        landscape: what was given as a landscape.
        params: what was given as parameters.
        forward: whether derivatives are taken in forward mode, along directions; only plain gradients are not.
        update: whether the caller honours an update that is no gradient.
        noise: whether the caller draws noise anew at every use of an example.

    Returns:
        The landscape with its loss frozen, and the parameters as JAX arrays that no one else can write to.

    Raises:
        ArgumentError: `landscape` is not a `Landscape`, or has an update or noise that the caller does not honour.
        LandscapeError: the parameters are invalid, the loss cannot be traced or differentiated, does not depend on the
            parameters, or draws its random numbers from one constant key.
    """
    check_landscape(landscape)
    if landscape.update is not None and not update:
        raise ArgumentError(
            "This call follows gradients, and the landscape has an update of its own: evaluate, plan, predict and "
            "simulate take it. Leave update out if you mean the gradient of the loss."
        )
    if landscape.per_use_noise and not noise:
        raise ArgumentError(
            "This call uses every example as it is, and the landscape draws noise anew at every use: evaluate, plan, "
            "predict and simulate take it. Otherwise put a key beside every example, (x, jax.random.split(key, M)), "
            "which keeps its noise, and leave per_use_noise out."
        )
    params = param_arrays(params)
    frozen = landscape.frozen(params)
    leaves = len(jax.tree.leaves(params))
    _check_function(frozen.loss, leaves, forward, per_use_noise=frozen.per_use_noise)
    if frozen.per_use_noise:
        noted(frozen.loss, "key", lambda: check_depends_on_key(frozen.loss.jaxpr))
    if frozen.measured is not None:
        try:
            _check_function(frozen.measured, leaves, forward)
        except LandscapeError as error:
            raise LandscapeError(
                f"A measurement is read like a loss of its own, which this one is not. {error}"
            ) from error
    if frozen.update is not None:
        _check_update(frozen.update, leaves, forward)
    return frozen, params


def _check_update(update: Any, leaves: int, forward: bool) -> None:
    try:
        noted(update, "no constant key", lambda: check_no_constant_key(update.jaxpr))
        if forward:
            noted(update, "reverse", lambda: check_reverse_mode(update.jaxpr, leaves))
            noted(update, "forward", lambda: check_forward_mode(update.jaxpr, leaves))
    except LandscapeError as error:
        raise LandscapeError(f"An update is read like a loss, which this one is not. {error}") from error


def _check_function(loss: Any, leaves: int, forward: bool, *, per_use_noise: bool = False) -> None:
    assert isinstance(loss, FrozenLoss)
    noted(loss, "entered", lambda: check_depends_on_params(loss.jaxpr, leaves))
    noted(loss, "no constant key", lambda: check_no_constant_key(loss.jaxpr, per_use_noise=per_use_noise))
    noted(loss, "reverse", lambda: check_reverse_mode(loss.jaxpr, leaves))
    if forward:
        noted(loss, "forward", lambda: check_forward_mode(loss.jaxpr, leaves))


def _in_sum(update: FrozenLoss) -> Loss:
    """Return a combination of all entries of an update, in which none cancels another."""

    def total(params: Any, example: Any) -> Any:
        entries = update(params, example)
        return jnp.dot(jnp.cos(jnp.arange(entries.size, dtype=entries.dtype)), entries)

    return total


def kinks_at(landscape: Landscape, params: Any, *, stacklevel: int = 3) -> tuple[Kink, ...]:
    """Return the kinks of a frozen landscape's loss and measurement within reach of the parameters, and warn of them.

    Results that use derivatives carry them: they are never called converged.

    Args:
        landscape: as `enter` returns it.
        params: likewise.
        stacklevel: how many callers up the warning belongs to: 2 is the caller of this function.
    """
    loss = landscape.loss
    assert isinstance(loss, FrozenLoss)
    data = several_uses(landscape.data, _USES) if landscape.per_use_noise else landscape.data
    found = find_kinks(loss, params, data, jaxpr=loss.jaxpr)
    if isinstance(landscape.measured, FrozenLoss):
        found += find_kinks(landscape.measured, params, landscape.test_data, jaxpr=landscape.measured.jaxpr)
    if isinstance(landscape.update, FrozenLoss):
        found += find_kinks(_in_sum(landscape.update), params, landscape.data)
    warn_of_kinks(found, stacklevel=stacklevel)
    return found
