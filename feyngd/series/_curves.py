"""Coefficients after every number of steps: the series of a learning curve."""

import numpy as np

from .._arguments import check_order
from ..counting import counts_after_every_step, symbol_sizes
from ..diagrams import Diagram
from ..errors import ArgumentError
from ..optimizers import PLAIN, Optimizer, check_optimizer
from ..quantities import check_quantity
from ..spacetimes import Spacetime, check_spacetime
from ._measurements import measured_diagrams, measurements


def expand_curve(
    quantity: str, *, order: int, spacetime: Spacetime, optimizer: Optimizer = PLAIN, per_use_noise: bool = False
) -> dict[Diagram, np.ndarray]:
    """Return the coefficients of `expand`, in moments, after 0, 1, …, T steps, from one sum over time for each diagram.

    Args:
        quantity: "test_loss", "train_loss" or "gap", or a `measurement`.
        order: the highest power of η to keep.
        spacetime: the concrete spacetime of the whole run.
        optimizer: the optimizer, with numbers as parameters, measured at its iterates.
        per_use_noise: whether every use of a datapoint draws noise of its own, as in `expand`.

    Returns:
        For each diagram floats of shape (T + 1,), which include 1/|Aut| and (−1/B)^order.

    Raises:
        ArgumentError: the quantity is unknown, the order is not an integer ≥ 0, or the optimizer averages.
        SpacetimeError: the spacetime has symbols.

    Examples:
        >>> import feyngd as fd
        >>> curve = expand_curve("test_loss", order=1, spacetime=fd.Spacetime.sgd(3), optimizer=fd.momentum(0.5))
        >>> curve[fd.Diagram.parse("[a]")][1:].tolist()
        [-1.0, -2.5, -4.25]
    """
    check_quantity(quantity, measured=True)
    order = check_order(order)
    check_spacetime(spacetime, concrete="A learning curve is expanded")
    if check_optimizer(optimizer).average is not None:
        raise ArgumentError(
            f"A learning curve is measured at the iterates, and {optimizer} is measured at an average: leave the "
            "average out, or expand run by run."
        )
    found: dict[Diagram, np.ndarray] = {}
    sizes = symbol_sizes(spacetime)
    for diagram in measured_diagrams(order, cells=per_use_noise):
        counts = counts_after_every_step(diagram, spacetime, optimizer)
        if np.any(counts):
            for joint, factor in measurements(quantity, diagram, spacetime, "moment"):
                found[joint] = float(factor.as_expr(sizes)) * counts
    return found
