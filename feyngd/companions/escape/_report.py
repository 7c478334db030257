"""What lies between two checkpoints: barriers on the path and on the straight line, in loss and in other measures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from ...drawing import new_figure
from ...errors import ArgumentError, LandscapeError
from ...landscapes import Landscape
from ...quantities import Measurement
from ._escape_path import EscapePath, vectors_of
from ._escape_time import escape_time
from ._noise import Noise
from ._result import EscapeTime, in_words
from ._surface import Surface

_SAME = 1e-6  # of the range of losses, by which those of a path may differ from its landscape's


@dataclass(frozen=True, eq=False)
class EscapeReport:
    """A path between two checkpoints beside the straight line between its ends, and the times to leave either.

    Attributes:
        path: the path, with its legs.
        shares: of the straight line, from 0 at the start to 1 at the end, shape (images,), odd in number.
        straight_loss: the mean loss there.
        measured: by name, each measurement on the images of the path, shape (images of the path,).
        straight_measured: by name, on the straight line, shape (images,).
        times: of every leg from the start to the end; empty without noise.
        times_back: of every leg from the end to the start.
    """

    path: EscapePath
    shares: np.ndarray
    straight_loss: np.ndarray
    measured: Mapping[str, np.ndarray]
    straight_measured: Mapping[str, np.ndarray]
    times: tuple[EscapeTime, ...] = ()
    times_back: tuple[EscapeTime, ...] = ()

    @property
    def barrier(self) -> float:
        """The highest loss on the path less that at the start."""
        return self.path.barrier

    @property
    def barrier_back(self) -> float:
        """The highest loss on the path less that at the end."""
        return self.path.barrier + float(self.path.loss[0] - self.path.loss[-1])

    @property
    def straight_barrier(self) -> float:
        """How far the loss on the straight line exceeds the mean of its ends, weighted by their distances, at most.

        It is what averaging two networks costs; 0 where their basin is convex.

        References:
            Frankle, Dziugaite, Roy and Carbin, "Linear mode connectivity and the lottery ticket hypothesis" (2020).
        """
        ends = self.straight_loss[0], self.straight_loss[-1]
        return float(np.max(self.straight_loss - (1 - self.shares) * ends[0] - self.shares * ends[1]))

    def __str__(self) -> str:
        rows = [
            f"path over {len(self.path.legs)} {'barrier' if len(self.path.legs) == 1 else 'barriers'}, the highest "
            f"{self.barrier:.4g} above the start and {self.barrier_back:.4g} above the end; on the straight line "
            f"{self.straight_barrier:.4g} above the mean of both"
        ]
        rows += [_row("loss", self.path.loss, self.straight_loss)]
        rows += [_row(name, values, self.straight_measured[name]) for name, values in self.measured.items()]
        for number, (forth, back) in enumerate(zip(self.times, self.times_back, strict=True)):
            for i, rate in enumerate(forth.learning_rates):
                doubt = "" if forth.converged[i] and back.converged[i] else "   not converged"
                rows.append(
                    f"leg {number + 1}, η = {rate:g}: {in_words(forth.log_steps[i])} forth, "
                    f"{in_words(back.log_steps[i])} back{doubt}"
                )
        return "\n".join(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        barriers = {name: getattr(self, name) for name in ("barrier", "barrier_back", "straight_barrier")}
        straight = {"shares": self.shares.tolist(), "loss": self.straight_loss.tolist()}
        return {
            **barriers,
            "path": self.path.to_dict(),
            "measured": {name: row.tolist() for name, row in self.measured.items()},
            "straight": {
                **straight,
                "measured": {name: row.tolist() for name, row in self.straight_measured.items()},
            },
            "times": [time.to_dict() for time in self.times],
            "times_back": [time.to_dict() for time in self.times_back],
        }

    def plot(self, axes: Any = None) -> Any:
        """Plot the loss and every measurement on the path and on the straight line.

        Args:
            axes: one for the loss and one for every measurement, as an array; new ones by default.

        Returns:
            The axes.
        """
        if axes is None:
            axes = new_figure(1 + len(self.measured), width=4.6)[1][0]
        axes = np.ravel(axes)
        straight = {"mean loss": self.straight_loss, **self.straight_measured}
        along = {"mean loss": self.path.loss, **self.measured}
        for ax, (name, values) in zip(axes, along.items(), strict=True):
            ax.plot(self.path.arc / self.path.arc[-1], values, color="#0072B2", label="path")
            ax.plot(self.shares, straight[name], color="#E69F00", linestyle=(0, (3, 2)), label="straight line")
            ax.set_xlabel("share of the way")
            ax.set_ylabel(name)
            ax.legend(frameon=False)
        return axes


def _row(name: str, values: np.ndarray, straight: np.ndarray) -> str:
    return (
        f"{name}: {values[0]:.4g} at the start, {values[-1]:.4g} at the end; {values.min():.4g} to {values.max():.4g} "
        f"on the path; {straight.min():.4g} to {straight.max():.4g} on the straight line, "
        f"{straight[len(straight) // 2]:.4g} halfway"
    )


def escape_report(
    landscape: Landscape,
    path: EscapePath,
    noise: Noise | None = None,
    learning_rates: ArrayLike | None = None,
    *,
    measurements: Sequence[Measurement] = (),
    **options: Any,
) -> EscapeReport:
    """Report what lies between two checkpoints: barriers in loss and in other measures, and the times to leave either.

    The path is that of least climb. The straight line between its ends, after the permutation that `find_path` may have
    matched, is what averaging the two networks takes for granted.

    Args:
        landscape: the loss and its data.
        path: found by `find_path`.
        noise: made by `sgd`, `sgld` or their sum; without it there are no times.
        learning_rates: η, one or more, with `noise`.
        measurements: made by `feyngd.measurement`, such as the accuracy of an example. Here they need not be smooth. By
            default they are averaged over the test data of the landscape, if it has any, else over its data.
        options: of `escape_time`.

    Raises:
        ArgumentError: an argument is not allowed, or the path is on another landscape.
        LandscapeError: as `escape_time` does; a measurement is not one finite real number.

    Warns:
        TruncationWarning: as `escape_time` does.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> import feyngd as fd
        >>> from feyngd.companions import escape as esc
        >>> from feyngd.landscapes import toys
        >>> well, start = toys.double_well()
        >>> path = esc.find_path(well, start, -start, key=jax.random.key(0))
        >>> right = fd.measurement("accuracy", lambda theta, x: jnp.where(theta + x > -0.5, 1.0, 0.0))
        >>> report = esc.escape_report(well, path, measurements=[right])
        >>> print(f"{report.straight_barrier:.4f} {report.measured['accuracy'].min():.4f}")
        0.2473 0.3333
    """
    if not isinstance(path, EscapePath):
        raise ArgumentError(f"A path is what esc.find_path(...) returns; got {type(path).__name__}.")
    if (noise is None) != (learning_rates is None):
        raise ArgumentError("Times need noise and learning_rates: give both, or neither.")
    names = _names(measurements)
    images = path.images
    surface = Surface(landscape, jax.tree.map(lambda leaf: leaf[0], images))
    vectors = vectors_of(surface, path)
    loss = surface.losses(vectors)
    if not np.allclose(loss, path.loss, rtol=0, atol=_SAME * max(float(np.ptp(path.loss)), 1e-300)):
        raise ArgumentError(
            f"The path is on another landscape: its losses differ from those here by up to "
            f"{np.abs(loss - path.loss).max():.3g}. Give the landscape that it was found on."
        )
    shares = np.linspace(0, 1, len(vectors) | 1)
    straight = vectors[0] + shares[:, None] * (vectors[-1] - vectors[0])
    on_path, on_line = (
        {name: _means(landscape, one, surface, points) for name, one in zip(names, measurements, strict=True)}
        for points in (vectors, straight)
    )
    times: list[list[EscapeTime]] = [[], []]
    if noise is not None and learning_rates is not None:
        for leg in path.legs:
            for found, way in zip(times, (leg, leg.reversed()), strict=True):
                found.append(escape_time(landscape, way, noise, learning_rates, **options))
    forth, back = map(tuple, times)
    return EscapeReport(path, shares, surface.losses(straight), on_path, on_line, forth, back)


def _names(measurements: Any) -> list[str]:
    given = list(measurements) if isinstance(measurements, list | tuple) else [measurements]
    if not all(isinstance(one, Measurement) for one in given):
        raise ArgumentError(
            f"measurements is a list of those that fd.measurement(name, function) makes; got {given!r}."
        )
    names = [str(one) for one in given]
    if len(set(names)) < len(names) or "loss" in names:
        raise ArgumentError(f"Measurements have names of their own, other than 'loss'; got {', '.join(names)}.")
    return names


def _means(landscape: Landscape, measurement: Measurement, surface: Surface, points: np.ndarray) -> np.ndarray:
    """Return the mean of a measurement over its examples, at points of shape (n, p)."""
    measured = landscape.measuring(measurement)
    images = surface.shaped(points, precise=False)
    found = jax.jit(lambda rows: jax.lax.map(measured.test_loss, rows))(images)
    values = np.asarray(found, dtype=float)
    if not np.all(np.isfinite(values)):
        raise LandscapeError(f"The measurement {str(measurement)!r} is not finite everywhere on the path.")
    return values
