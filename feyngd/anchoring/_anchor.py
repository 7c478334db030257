"""One computation along the noiseless path that predicts SGD for every N, B, E and sampling."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from .._arguments import check_integer
from .._keys import check_key
from .._learning_rates import check_learning_rates
from .._mesh import Devices, check_mesh
from ..derivatives import CHUNK
from ..errors import ArgumentError, SpacetimeError
from ..landscapes import Landscape, Origin, check_landscape, check_reading, check_updates_kept, enter, kinks_at
from ..progress import Progress, check_progress
from ..spacetimes import Spacetime, check_spacetime
from ._anchored import CONTROL, CURVATURE, NOISE, Anchored
from ._as_needed import plan_draws
from ._goals import Goal
from ._noise_weights import RUN, STEP, Ties, served
from .path import (
    PILOTS,
    ControlVariates,
    Draws,
    DrawsAlongPath,
    NoiselessPath,
    columns,
    controlled,
    plan_memory,
)

READINGS = ("population", "conditional")


class InterruptedWarning(UserWarning):
    """A computation was interrupted, and what was finished is kept."""


def anchor(
    landscape: Landscape,
    params: Any,
    *,
    steps: int | None = None,
    learning_rate: float | Sequence[float],
    epoch_lengths: Sequence[int] = (),
    fixed_order: bool = False,
    spacetimes: Sequence[Spacetime] = (),
    within: float | Goal | None = None,
    num_samples: int = 64,
    noise_examples: int = NOISE,
    curvature_examples: int = CURVATURE,
    control_directions: int = CONTROL,
    truncation_samples: int = 8,
    chunk_size: int = CHUNK,
    mesh: jax.sharding.Mesh | None = None,
    progress: Progress | None = None,
    key: jax.Array,
) -> Anchored:
    """Run gradient descent on the mean loss once, with what noise does along it: every N, B, E and sampling at once.

    The plain series ends where training begins to matter. Here batch losses are l + ε (l_batch − l), and the expected
    loss after every step is expanded in ε instead of η: order ε⁰ is the noiseless path, order ε² a sum of a few
    functionals of it, weighted by what sampling does to pairs of steps.

    Args:
        landscape: the loss and the data, in the population or the conditional reading.
        params: the start, a pytree of floating-point arrays; nothing needs to be small there.
        steps: the number of steps T; by default those of the longest of the spacetimes.
        learning_rate: η, or one for every step, of which some may be zero.
        epoch_lengths: the numbers of steps of an epoch, N/B, for which several reshuffled epochs are to be predicted.
        fixed_order: whether to anchor for several epochs in one fixed order too.
        spacetimes: runs that are to be predicted: what they need is anchored, beside what else is given.
        within: draw only until what noise adds to the test loss at the end of all these runs has a standard error of
            less than this share of it, such as 0.05. The number of draws, at most `num_samples`, comes from 8 or 16
            others, which are thrown away. `None` for `num_samples` draws.
        num_samples: the number of draws of signs behind every functional, at least 2. In each draw the noise of single
            steps is drawn twice. If training sets are random, noise shared by the whole run dominates the error, so it
            is drawn six times.
        noise_examples: how many random examples make the noise of a step in every draw, at least 2. Those with larger
            gradients along the path are drawn more often, and count less.
        curvature_examples: how many random examples stand for all in every Hessian, at least 2. With fewer the mean
            stays as it is and standard errors grow; the path itself takes all examples.
        control_directions: in how many directions of the noise Hessians are those of all examples. These directions
            also give control variates of known mean: subtracting them is unbiased and cuts the standard error. 0 for
            none. They are kept for all steps, fewer where the memory is small, and at most half of what is tried.
        truncation_samples: the number of draws for the third and fourth derivatives behind the truncation figure, or 0
            for none: then it is NaN, and nothing is called converged. Two standard errors are part of the figure. Few
            draws give only an order of magnitude and may miss skewness in the first T/truncation_samples steps.
        chunk_size: how many examples are differentiated together.
        mesh: the devices that share draws and examples, a `jax.sharding.Mesh`; any number of either is allowed. The
            draws are those of one device.
        progress: shows progress; silent by default.
        key: a JAX random key.

    Returns:
        An `Anchored`, whose `predict(N=…, B=…, E=…, sampling=…)` takes microseconds. After a KeyboardInterrupt it has
        the draws that were finished, and warns; without any the interrupt goes on.

    Raises:
        ArgumentError: an option is invalid, the reading is "unbiased", or the memory is too small.
        SpacetimeError: a spacetime has symbols, more steps than are anchored, or weights that no functional serves.
        LandscapeError: the loss, data or parameters are invalid, parameters have less than single precision, in which
            updates are lost, or the path diverges.

    References:
        theory: "Anchored on the noiseless path".
    """
    check_landscape(landscape)
    check_anchored_reading(landscape)
    steps, ties = what_to_anchor(landscape, steps, epoch_lengths, fixed_order, spacetimes)
    rates = _check(steps, learning_rate, chunk_size, key)
    goal = Goal.of(within, spacetimes)
    check_mesh(mesh)
    progress = check_progress(progress)
    check_integer("num_samples", num_samples, least=2)
    check_integer("truncation_samples", truncation_samples, least=0)
    check_integer("control_directions", control_directions, least=0)
    sizes = tuple(
        check_integer(name, size, least=2)
        for name, size in (("noise_examples", noise_examples), ("curvature_examples", curvature_examples))
    )
    given = landscape
    landscape, params = enter(landscape, params)
    check_updates_kept(params, "What is anchored")
    landscape.validate(params)
    kinks, origin = kinks_at(landscape, params), Origin.of(landscape, params)
    drawn = len(columns(ties, landscape.reading))
    # Of the directions that pilots span, the half of smaller curvature is an accident of the pilots' draws.
    pilots = PILOTS * drawn
    devices = Devices(mesh)
    memory = plan_memory(params, drawn, len(ties), steps, min(control_directions, pilots // 2), pilots, devices)
    path = NoiselessPath(landscape, params, rates, chunk_size, sizes[0], sizes[1], devices)
    path.check_path()
    for_second, for_higher, for_pilots = jax.random.split(key, 3)

    def assembled(groups: list[DrawsAlongPath], controls: ControlVariates, *higher: Any) -> Anchored:
        own = _functionals(groups, controls, ties, landscape.reading)
        third, fourth = higher or ({}, {})
        q, m = sizes
        return Anchored(given, params, rates, *own, third, fourth, chunk_size, q, m, kinks, origin, landscape)

    controls, count, together = plan_draws(
        path, ties, memory.directions, num_samples, memory.draws, goal, assembled, for_pilots, progress
    )
    groups = _draws(path, ties, count, together, controls, for_second, progress)
    together = min(truncation_samples, memory.higher_draws)
    third, fourth = _higher_orders(path, ties, truncation_samples, together, for_higher, progress)
    return assembled(groups, controls, third, fourth)


def _functionals(
    groups: list[DrawsAlongPath], controls: ControlVariates, ties: list[Ties], reading: str
) -> tuple[np.ndarray, np.ndarray, dict[Ties, np.ndarray], dict[Ties, np.ndarray], np.ndarray]:
    """Return `train_loss`, `test_loss`, `second`, `train_second` and `influence` of an `Anchored`."""
    draws = Draws(*(np.concatenate(parts) for parts in zip(*(group.draws for group in groups), strict=True)))
    test = controlled(draws.test, draws.test_controls, controls.test)
    train = controlled(draws.train, draws.train_controls, controls.train)
    influence = controlled(draws.influence, draws.influence_controls, controls.influence)
    return (
        groups[0].train_path,
        groups[0].test_path,
        {each: test[:, i] for i, each in enumerate(ties)},
        {each: train[:, i] for i, each in enumerate(ties)},
        influence[:, ties.index(RUN)] if reading == "population" else np.zeros_like(test[:, 0]),
    )


def _draws(
    path: NoiselessPath,
    ties: list[Ties],
    num_samples: int,
    together: int,
    controls: ControlVariates,
    key: jax.Array,
    progress: Progress,
) -> list[DrawsAlongPath]:
    """Draw in groups of one size, so that all is compiled once; an interruption keeps those that are finished."""
    groups: list[DrawsAlongPath] = []
    try:
        with progress.task(num_samples, "noise along the path") as task:
            for first in range(0, num_samples, together):
                keys = jax.random.split(jax.random.fold_in(key, first), together)
                group = path.second_order(ties, keys, controls)
                count = min(together, num_samples - first)
                groups.append(replace(group, draws=Draws(*(part[:count] for part in group.draws))))
                task.advance(count)
    except KeyboardInterrupt:
        if not groups:
            raise
        warnings.warn(
            f"Interrupted after {len(groups) * together} of {num_samples} draws of noise: they are kept, and standard "
            "errors are the larger ones of fewer draws.",
            InterruptedWarning,
            stacklevel=3,
        )
    return groups


def _higher_orders(
    path: NoiselessPath, ties: list[Ties], count: int, together: int, key: jax.Array, progress: Progress
) -> tuple[dict[Ties, np.ndarray], dict[Ties, np.ndarray]]:
    """Return third and fourth derivatives, which an interruption leaves unknown."""
    if not count:
        return {}, {}
    try:
        with progress.task(1, "next orders of the noise") as task:
            third, fourth = path.higher_orders(ties, count, together, key)
            task.advance()
    except KeyboardInterrupt:
        warnings.warn(
            "Interrupted before the truncation figure was known: it is NaN; all draws of noise are kept.",
            InterruptedWarning,
            stacklevel=3,
        )
        third = fourth = np.full((len(ties), 1, path.steps + 1), np.nan)
    return dict(zip(ties, third, strict=True)), dict(zip(ties, fourth, strict=True))


def what_to_anchor(
    landscape: Landscape, steps: Any, epoch_lengths: Any, fixed_order: bool, spacetimes: Sequence[Spacetime]
) -> tuple[int, list[Ties]]:
    """Return the number of steps and the equivalences of steps to anchor; those of one epoch are those of the run.

    Raises:
        ArgumentError: there are neither steps nor spacetimes, or one of them is invalid.
        SpacetimeError: a spacetime cannot be predicted.
    """
    if isinstance(epoch_lengths, int):
        raise ArgumentError(f"epoch_lengths is a list of numbers of steps, such as [40]; got {epoch_lengths!r}.")
    lengths = dict.fromkeys(check_integer("epoch_lengths", length, least=1) for length in epoch_lengths)
    ties = [STEP, RUN] + [Ties("epoch", length) for length in lengths]
    if fixed_order and landscape.reading == "population":
        ties += [Ties("place", length) for length in lengths]
    longest = 0
    for spacetime in spacetimes:
        check_spacetime(spacetime)
        spacetime.require_concrete("Runs to be predicted have numbers")
        needed = served(spacetime, landscape.reading, int(spacetime.T))
        check_reading(landscape, spacetime)
        ties += [each for each in needed if each not in ties]
        longest = max(longest, int(spacetime.T))
    if steps is None and not longest:
        raise ArgumentError("Give the number of steps, or the spacetimes that are to be predicted.")
    steps = longest if steps is None else check_integer("steps", steps, least=1)
    if longest > steps:
        raise SpacetimeError(f"A run to be predicted makes {longest} steps, and steps={steps}: leave steps out.")
    return steps, ties


def check_anchored_reading(landscape: Landscape) -> None:
    """Raise `ArgumentError` for a reading in which runs are not anchored."""
    if landscape.reading not in READINGS:
        raise ArgumentError(
            f"anchor takes the readings {' and '.join(map(repr, READINGS))}; got {landscape.reading!r}."
        )


def _check(steps: int, learning_rate: Any, chunk_size: Any, key: Any) -> np.ndarray:
    """Check the options and return the learning rate of every step."""
    check_integer("chunk_size", chunk_size, least=1)
    check_key(key, "Signs of examples are drawn at random")
    rates = check_learning_rates(learning_rate, schedule=True)
    if len(rates) not in (1, steps):
        raise ArgumentError(f"Give one learning rate, or one for each of {steps} steps; got {len(rates)} of them.")
    return np.broadcast_to(rates, steps)
