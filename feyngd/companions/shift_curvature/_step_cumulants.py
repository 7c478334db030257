"""The cumulants of one step of SGD, as tensors."""

import math
from typing import Any

import numpy as np

from ..._arguments import check_integer
from ..._learning_rates import check_learning_rate
from ...derivatives import num_params
from ...diagrams import set_partitions
from ...errors import ArgumentError
from ...landscapes import Landscape, enter
from ._at_a_point import gradients_of

_MOST_NUMBERS = 2_000_000  # in a tensor, p^order


def step_cumulants(
    landscape: Landscape, params: Any, order: int, *, learning_rate: float, batch_size: int
) -> np.ndarray:
    """Return the joint cumulant of an order of the displacement of one step, shape (p,) * order.

    It is κ_k = (−η)^k B^(1−k) ω_k with the cumulants ω_k of the examples' gradients, for batches drawn with
    replacement. Its unit is that of θ to the power k.

    Args:
        landscape: the loss and its data of M examples, each as likely as the others.
        params: where the step starts, a pytree of p numbers in all.
        order: k ≥ 1; k = 1 is the mean step.
        learning_rate: η.
        batch_size: B.

    Raises:
        ArgumentError: an argument is invalid, or the tensor would have more than two million numbers.
        LandscapeError: loss or gradient are not finite.

    References:
        Bradley et al., equation 23 (corrected: cumulants, not logarithms of moments).
    """
    order, batch = check_integer("order", order, least=1), check_integer("batch_size", batch_size, least=1)
    rate = check_learning_rate(learning_rate)
    landscape, params = enter(landscape, params, forward=False)
    if (size := num_params(params)) ** order > _MOST_NUMBERS:
        raise ArgumentError(
            f"A cumulant of order {order} of {size} parameters has {float(size**order):.0e} numbers, the limit is "
            f"{_MOST_NUMBERS:.0e}: take a lower order or a smaller model."
        )
    landscape.validate(params)
    gradients = gradients_of(landscape, params)
    if order == 1:
        return -rate * gradients.mean(axis=0)
    gradients = gradients - gradients.mean(axis=0)  # changes no cumulant but the first, and leaves fewer products
    total = np.zeros((size,) * order)
    for blocks in set_partitions(range(order)):
        if all(len(block) > 1 for block in blocks):
            operands: list[Any] = []
            for block in blocks:
                operands += [_moment(gradients, len(block)), [*block]]
            factor = (-1) ** (len(blocks) - 1) * math.factorial(len(blocks) - 1)
            total += factor * np.einsum(*operands, [*range(order)])
    return (-rate) ** order * batch ** (1 - order) * total


def _moment(rows: np.ndarray, order: int) -> np.ndarray:
    """Return the mean over rows of their outer product with themselves, an order times."""
    half = rows
    for _ in range(order - 2):
        half = np.einsum("na,nb->nab", half, rows).reshape(len(rows), -1)
    return (half.T @ rows / len(rows)).reshape((rows.shape[1],) * order)
