"""What surrounds GDC in an optimizer: masked parameters, and accumulation of gradients."""

import inspect
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ..derivatives import Loss
from ..errors import ArgumentError

_CURES = (
    "Accumulation is not needed for memory: GDC goes through a batch `chunk_size` examples at a time and keeps no more "
    "than a copy of it, and gdc_gradient(loss, params, batch, learning_rate=…) returns the gradient with the penalty."
)


class GDCState(NamedTuple):
    """The state of `gdc`.

    Attributes:
        step: how often `update` was called so far, a scalar integer array.
    """

    step: jax.Array


def with_constants(loss: Loss, params: Any, all_params: Any, batch: Any) -> Loss:
    """Return the loss as a function of the parameters that optax lets GDC see, the others being constants.

    Args:
        loss: the loss as a function of all parameters.
        params: the parameters; those hidden are an `optax.MaskedNode`.
        all_params: all of them, if some are hidden.
        batch: the examples, which must not be hidden.

    Raises:
        ArgumentError: parameters are hidden and not given, or optax hid some of what was given.
    """
    if not _holds_masks(params):
        return loss
    if _holds_masks(all_params) or _holds_masks(batch):
        raise ArgumentError(
            "optax masked `all_params` or `batch` too, which look like the parameters: build optax.masked or "
            "optax.partition with mask_compatible_extra_args=False, its default."
        )
    if all_params is None:
        raise ArgumentError(
            "GDC sees a part of the parameters only, inside optax.masked or optax.partition, and the loss needs them "
            "all: call update(gradients, state, params, batch=batch, all_params=params). The others are constants to "
            "it, so it penalises the covariance of the gradient by the parameters that it sees."
        )
    try:
        _merged(params, all_params)
    except (ValueError, TypeError) as error:
        raise ArgumentError(
            f"all_params is not like the parameters: got {jax.tree.structure(all_params)} beside "
            f"{jax.tree.structure(params)}. Call update(gradients, state, params, batch=batch, all_params=params)."
        ) from error
    return lambda seen, example: loss(_merged(seen, all_params), example)


def _merged(seen: Any, everything: Any) -> Any:
    return jax.tree.map(lambda one, other: other if _is_mask(one) else one, seen, everything, is_leaf=_is_mask)


def _holds_masks(tree: Any) -> bool:
    return any(_is_mask(leaf) for leaf in jax.tree.leaves(tree, is_leaf=_is_mask))


def _is_mask(leaf: Any) -> bool:
    import optax

    return isinstance(leaf, optax.MaskedNode)


def check_gradients(gradients: Any, params: Any) -> None:
    """Raise unless both are what the loss takes: gradients like the parameters, as nothing is to be broadcast.

    Raises:
        ArgumentError: structure or shapes differ, or both were made vectors.
    """
    if any(frame.f_code.co_qualname.startswith("flatten.") for frame in _optax_frames()):
        raise ArgumentError(
            "optax.flatten hands on the parameters as one vector, which is not what the loss takes. Put GDC outside "
            "of it: optax.chain(gdc(…), optax.flatten(…))."
        )
    leaves, others = jax.tree.leaves(gradients), []
    try:
        jax.tree.map(lambda _, other: others.append(other), gradients, params)
        if not jax.tree_util.all_leaves(others):
            raise ValueError("some are trees")
    except (ValueError, TypeError) as error:
        raise ArgumentError(
            f"The gradients are not like the parameters: got {jax.tree.structure(gradients)} beside "
            f"{jax.tree.structure(params)}. Call update(gradients, state, params, batch=batch)."
        ) from error
    shapes = [jnp.shape(leaf) for leaf in leaves], [jnp.shape(leaf) for leaf in others]
    if shapes[0] != shapes[1]:
        raise ArgumentError(
            f"The gradients have the shapes {shapes[0]} and the parameters {shapes[1]}: GDC adds to the gradient of "
            "the mean loss, not to those of single examples. Put it after what averages them."
        )


def check_accumulation(size: int, batch_size: int | None) -> None:
    """Raise if optax accumulates gradients around GDC in a way that spoils the penalty.

    The arguments that optax passes to a transformation do not show it. The functions of optax that are running do: they
    hold the states of all that they call.

    Args:
        size: the number of examples in this call.
        batch_size: the number of examples of a step, if the user has said so.

    Raises:
        ArgumentError: the penalty would not be that of a step's batch.
    """
    import optax

    found: set[type] = set()
    for frame in _optax_frames():
        for value in list(frame.f_locals.values()):
            if isinstance(value, optax.MultiSteps):
                _check_inside(value, size, batch_size)
                found.add(optax.MultiStepsState)
                continue
            kinds = [type(state) for state in _states(value)]
            found |= set(kinds)
            if optax.MultiStepsState in kinds and GDCState in kinds[kinds.index(optax.MultiStepsState) :]:
                raise ArgumentError(
                    "optax.MultiSteps before GDC returns zeros in all calls but one of a step, and GDC would add to "
                    f"them. Put GDC before it. {_CURES}"
                )
    if optax.ApplyEvery in found:
        raise ArgumentError(
            "optax.apply_every adds up what several calls of update return, each with the penalty of its own batch, "
            f"which is not that of all of them. {_CURES}"
        )
    if optax.MultiStepsState in found and batch_size is None:
        raise ArgumentError(
            "optax.MultiSteps accumulates gradients, and each call shows GDC the examples of that call only, whose "
            f"penalty is not that of the step's batch. {_CURES} Or say how many examples a step has, "
            "gdc(…, batch_size=B): put GDC before it, optax.chain(gdc(…, batch_size=B), "
            "optax.MultiSteps(…).gradient_transformation()), which is right on average over random parts; or, inside "
            "of it, give every call the whole batch of B examples as batch=."
        )


def _states(value: Any) -> list[Any]:
    """Return the states of GDC and of accumulating transformations in a value, in their order."""
    import optax

    kinds = (optax.MultiStepsState, optax.ApplyEvery, GDCState)
    try:
        leaves = jax.tree.leaves(value, is_leaf=lambda node: isinstance(node, kinds))
    except (TypeError, ValueError):  # no pytree, such as a dictionary with keys that cannot be sorted
        return []
    return [leaf for leaf in leaves if isinstance(leaf, kinds)]


def _check_inside(multi_steps: Any, size: int, batch_size: int | None) -> None:
    if not getattr(multi_steps, "_use_grad_mean", True):
        raise ArgumentError(
            "optax.MultiSteps(…, use_grad_mean=False) hands on a sum of gradients, where GDC adds the penalty's "
            "gradient to a mean. Leave use_grad_mean at its default, True, and scale the learning rate."
        )
    if batch_size is not None and size != batch_size:
        raise ArgumentError(
            f"Inside optax.MultiSteps only the last of several calls counts, and it shows GDC {size} examples, not the "
            f"batch_size={batch_size} of the step. Give every call the whole batch as batch=, or put GDC before "
            f"MultiSteps: optax.chain(gdc(…, batch_size={batch_size}), optax.MultiSteps(…).gradient_transformation()). "
            f"{_CURES}"
        )


def _optax_frames() -> Iterator[FrameType]:
    frame = inspect.currentframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == "optax":
            yield frame
        frame = frame.f_back
