"""The steady state at many temperatures, and the one with the lowest test loss."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from ...drawing import new_axes
from ...errors import ArgumentError, LandscapeError
from .._assumptions import Assumptions
from .._numbers import check_temperature
from ._diffusion import Diffusion
from ._steady_state import steady_state

_EXACT = 1e-4  # relative, of the temperature of the optimum


@dataclass(frozen=True, eq=False)
class Sweep:
    """Steady states at R temperatures.

    Attributes:
        temperatures: T, shape (R,).
        train_losses: E[U], shape (R,).
        losses: E[V], the expected test losses, shape (R,).
        weights: of the K basins, shape (R, K).
        laplace_weights: the same to leading order.
        optimum: the temperature between the first and the last with the lowest test loss, and that loss; `None` if the
            lowest is at an end, so that it may lie outside.
        assumptions: of the steady state at each temperature.
    """

    temperatures: np.ndarray
    train_losses: np.ndarray
    losses: np.ndarray
    weights: np.ndarray
    laplace_weights: np.ndarray
    optimum: tuple[float, float] | None
    assumptions: tuple[Assumptions, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the sweep as lists of numbers, for JSON."""
        names = ("temperatures", "train_losses", "losses", "weights", "laplace_weights")
        return {name: getattr(self, name).tolist() for name in names} | {
            "optimum": self.optimum,
            "assumptions": [each.to_dict() for each in self.assumptions],
        }

    def __str__(self) -> str:
        lines = ["T            train loss   test loss    weights of basins"]
        for i, rate in enumerate(self.temperatures):
            weights = ", ".join(f"{weight:.4g}" for weight in self.weights[i])
            lines.append(f"{rate:<12.4g} {self.train_losses[i]:<12.6g} {self.losses[i]:<12.6g} {weights}")
        lines += [
            f"T = {rate:.4g}: {row}"
            for rate, rows in zip(self.temperatures, self.assumptions, strict=False)
            for row in rows.failing
        ]
        best = (
            "the lowest test loss is at an end: go further"
            if self.optimum is None
            else (f"lowest test loss {self.optimum[1]:.6g} at T = {self.optimum[0]:.4g}")
        )
        return "\n".join([*lines, best])

    def plot(self, ax: Any = None) -> Any:
        """Draw both losses against the temperature, and return the Matplotlib axes."""
        ax = new_axes(ax)
        ax.plot(self.temperatures, self.losses, label="test loss")
        ax.plot(self.temperatures, self.train_losses, "--", label="train loss")
        if self.optimum is not None:
            ax.plot(*self.optimum, "o", color="C0", label=f"lowest, T = {self.optimum[0]:.3g}")
        ax.set(xscale="log", xlabel="temperature T = η/B", ylabel="expected loss")
        ax.legend()
        return ax


def temperature_sweep(diffusion: Diffusion, temperatures: ArrayLike, *, box: ArrayLike) -> Sweep:
    """Return the steady state at every temperature, and the temperature with the lowest test loss.

    Args:
        diffusion: in p ≤ 3 dimensions.
        temperatures: T, increasing, at least two.
        box: as in `steady_state`.

    Raises:
        ArgumentError: the temperatures are not positive and increasing, or an argument is invalid.
        LandscapeError: a steady state does not exist or its basins change in number with the temperature.

    References:
        Bradley et al., figures 4 and 6.
    """
    rates = np.asarray(temperatures, dtype=float)
    if rates.ndim != 1 or len(rates) < 2 or not (np.diff(rates) > 0).all():
        raise ArgumentError(f"Give two or more temperatures in increasing order; got {temperatures!r}.")
    for rate in rates:
        check_temperature(float(rate))
    states = [steady_state(diffusion, float(rate), box=box) for rate in rates]
    counts = [len(state.modes) for state in states]
    if len({*counts}) > 1:
        changed = int(np.flatnonzero(np.diff(counts))[0])
        raise LandscapeError(
            f"The potential has {counts[changed]} basins at T = {rates[changed]:.4g} and {counts[changed + 1]} at "
            f"{rates[changed + 1]:.4g}, so that weights cannot be compared: sweep each range for itself."
        )
    losses = np.array([state.test_loss for state in states])
    best = int(np.argmin(losses))
    optimum = None
    if 0 < best < len(rates) - 1:
        found = optimize.minimize_scalar(
            lambda log_rate: steady_state(diffusion, float(np.exp(log_rate)), box=box).test_loss,
            bounds=(np.log(rates[best - 1]), np.log(rates[best + 1])),
            method="bounded",
            options={"xatol": _EXACT},
        )
        optimum = (float(np.exp(found.x)), float(found.fun))
        if losses[best] < optimum[1]:
            optimum = (float(rates[best]), float(losses[best]))
    return Sweep(
        rates,
        np.array([state.train_loss for state in states]),
        losses,
        np.array([state.weights for state in states]),
        np.array([state.laplace_weights for state in states]),
        optimum,
        tuple(state.assumptions for state in states),
    )
