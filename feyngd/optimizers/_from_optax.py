"""Kernels of optax transformations, read off their answers to single gradients."""

from typing import Any

import numpy as np

from .._arguments import check_integer
from ..errors import ArgumentError
from ._optimizer import Optimizer
from ._realization import realized
from ._recurrence import Recurrence

_WITHIN = 1e-9  # of the largest entry: how far answers in double precision may be from a linear one
_SCALES = (1e-8, 1e8)  # gradients as small and as large as these must give answers in proportion


def from_optax(tx: Any, *, steps: int) -> Optimizer:
    """Return the optimizer that an optax transformation is, if it is linear in the gradients.

    The kernel is read off the updates that follow a single gradient at every step. Superposition, scaling, and that
    neither the parameters nor other coordinates matter, are checked on random gradients. The transformation's learning
    rate is part of the kernel: with `optax.sgd(0.1)` a learning rate η of 1 is the transformation's own.

    Args:
        tx: an `optax.GradientTransformation`.
        steps: the number of steps of the runs, over which the kernel is measured.

    Raises:
        ArgumentError: it is no transformation, or not linear in the gradients, or keeps more than 16 memories of them;
            the message gives the reason.

    A transformation with several memories, such as two momenta in a chain, can be simulated. Series count placements
    with one memory so far.

    Examples:
        >>> import optax
        >>> opt = from_optax(optax.sgd(1.0, momentum=0.5), steps=3)
        >>> [round(opt.kernel(3, s), 6) for s in range(3)]
        [1.75, 1.5, 1.0]
    """
    steps = check_integer("steps", steps, least=1)
    if not (callable(getattr(tx, "init", None)) and callable(getattr(tx, "update", None))):
        raise ArgumentError(f"tx is an optax.GradientTransformation, with init and update; got {tx!r}.")
    import jax

    with jax.enable_x64(True):
        updates = _updates_of(tx, steps)
        responses = _impulse_responses(updates, steps)
        _check_linear(updates, responses, steps)
    return Optimizer(measured=_as_recurrence(responses) or realized(responses))


def _updates_of(tx: Any, steps: int) -> Any:
    """Return a function from gradients, shape (runs, steps, 2), to the updates −Δθ, of the same shape."""
    import jax
    import jax.numpy as jnp

    def updates(gradients: Any, start: Any) -> Any:
        def one(gradients: Any) -> Any:
            def step(carry: Any, gradient: Any) -> Any:
                params, state = carry
                update, state = tx.update(gradient, state, params)
                return (params + update, state), -update

            return jax.lax.scan(step, (start, tx.init(start)), gradients)[1]

        return jax.vmap(one)(gradients)

    compiled = jax.jit(updates)

    def run(gradients: np.ndarray, start: float = 0.5) -> np.ndarray:
        try:
            found = compiled(jnp.asarray(gradients, dtype=float), jnp.full(2, start, dtype=float))
        except Exception as error:
            raise ArgumentError(
                "The transformation does not run on a vector of two parameters by tx.update(g, state, params), so its "
                f"kernel cannot be measured: {type(error).__name__}: {str(error).splitlines()[0][:200]}"
            ) from error
        return np.asarray(found, dtype=float)

    return run


def _impulse_responses(updates: Any, steps: int) -> np.ndarray:
    """Return c[u, s], the update of step u that a unit gradient of step s gives; the other coordinate must not move."""
    impulses = np.zeros((steps, steps, 2))
    impulses[np.arange(steps), np.arange(steps), 0] = 1.0
    found = updates(impulses)
    silence = updates(np.zeros((1, steps, 2)))[0]
    if np.any(np.abs(silence) > 0):
        step = int(np.argmax(np.abs(silence).max(axis=1) > 0))
        raise ArgumentError(
            f"The transformation moves without a gradient, from step {step} on: decoupled weight decay or noise. "
            "Weight decay as a change of the loss, l + ½ λ |θ|², has a kernel; put the penalty into the loss."
        )
    if not np.all(np.isfinite(found)):
        raise ArgumentError("The transformation answers a unit gradient with numbers that are not finite.")
    if np.any(found[..., 1] != 0):
        raise ArgumentError(
            "The transformation mixes coordinates: a gradient of one parameter moves another. Kernels are one for all."
        )
    return found[..., 0].T


def _check_linear(updates: Any, responses: np.ndarray, steps: int) -> None:
    """Raise `ArgumentError` unless random gradients of all sizes give the sums of the responses to single ones."""
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], size=(4, steps, 2)) * rng.uniform(0.5, 2, size=(4, steps, 2))
    size = max(np.abs(responses).max(), 1e-300)
    for scale in (1.0, *_SCALES):
        for start in (0.5, -3.0):
            found = updates(scale * signs, start) / scale
            expected = np.einsum("us,rsc->ruc", responses, signs)
            if not np.all(np.abs(found - expected) <= _WITHIN * steps * size):
                raise ArgumentError(
                    "The transformation is not linear in the gradients: "
                    + (
                        "its updates are not the sums of those that follow single gradients."
                        if scale == 1
                        else f"with gradients {scale:g} times as large its updates are not {scale:g} times as large."
                    )
                    + " Adam, clipping, sign and normalised updates have no kernel κ(t, s). Whole runs with them are "
                    "simulated, or anchored on the noiseless path."
                )


def _as_recurrence(responses: np.ndarray) -> Recurrence | None:
    """Return the recurrence with one memory whose updates these are; `None` if there is none.

    With gain 1, the entry next to the diagonal is the readout, and neighbouring columns below it differ by the decay.
    """
    steps = len(responses)
    below = [responses[s + 1 :, s] for s in range(steps)]
    scale = np.abs(responses).max()
    readout, decay = np.zeros(steps), np.zeros(steps)
    for s in range(steps - 1):
        readout[s + 1] = responses[s + 1, s]
        if s + 2 < steps:
            mine, next_one = below[s][1:], below[s + 1]
            if (square := next_one @ next_one) > (1e-12 * scale) ** 2:
                decay[s + 1] = mine @ next_one / square
    gain = np.array([float(np.any(np.abs(column) > 1e-14 * scale)) for column in below])
    found = Recurrence(*(tuple(map(float, part)) for part in (np.diag(responses), gain, decay, readout)))
    rebuilt = np.diag(np.array(found.direct, dtype=float))
    for s in range(steps):
        memory = found.gain[s]
        for u in range(s + 1, steps):
            rebuilt[u, s] = memory * found.readout[u]
            memory *= found.decay[u]
    return found if np.all(np.abs(rebuilt - responses) <= 1e-7 * scale) else None
