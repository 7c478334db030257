"""All that is known of one escape, over the noise: formulas, exact times and simulations together."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._learning_rates import check_learning_rates
from ...drawing import new_figure
from ...errors import ArgumentError, LandscapeError
from ...estimates import TruncationWarning, finite_or_none
from ...landscapes import Landscape
from ._escape_path import Leg
from ._escape_time import check_leg, escape_time
from ._escapes import Escapes
from ._noise import Noise, check_noise
from ._one_parameter import exact_time

_STYLES = {
    "first order": ("#999999", (0, (1, 1))),
    "next order": ("#0072B2", "solid"),
    "path": ("#56B4E9", (0, (3, 2))),
    "two temperatures": ("#CC79A7", (0, (5, 2))),
    "cumulants": ("#009E73", "solid"),
    "exact diffusion": ("#000000", (0, (1, 2))),
}


@dataclass(frozen=True, eq=False)
class Overview:
    """Mean escape times by several methods at several learning rates.

    Attributes:
        learning_rates: η, shape (R,).
        log_steps: the logarithm of the mean number of steps by each method's name, shape (R,) each.
        exponent: the exponent along the path, shape (R,), against which curves are drawn.
        simulated: real runs at the same rates, or `None`.
    """

    learning_rates: np.ndarray
    log_steps: dict[str, np.ndarray]
    exponent: np.ndarray
    simulated: Escapes | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        logs = {name: finite_or_none(values) for name, values in self.log_steps.items()}
        runs = None if self.simulated is None else self.simulated.to_dict()
        return {"learning_rates": self.learning_rates.tolist(), "log_steps": logs, "simulated": runs}

    def __str__(self) -> str:
        rows = [f"{name}: {', '.join(f'{value:.4f}' for value in logs)}" for name, logs in self.log_steps.items()]
        return "\n".join(["log of the mean number of steps", *rows])

    def plot(self, ax: Any = None) -> Any:
        """Plot the logarithm of the mean number of steps against 1/η; returns the axes."""
        if ax is None:
            ax = new_figure()[1][0, 0]
        across = 1 / self.learning_rates
        order = np.argsort(across)
        for name, logs in self.log_steps.items():
            colour, style = _STYLES[name]
            ax.plot(across[order], logs[order] / np.log(10), color=colour, linestyle=style, label=name)
        if self.simulated is not None:
            lower, upper = self.simulated.interval()
            good = self.simulated.count > 0
            middle = -np.log10((self.simulated.count / self.simulated.exposure)[good])
            ends = -np.log10(upper[good]), -np.log10(lower[good])
            errors = [middle - ends[0], ends[1] - middle]
            ax.errorbar(across[good], middle, yerr=errors, fmt="o", color="#E69F00", capsize=2, label="simulated")
        ax.set_xlabel("1/η")
        ax.set_ylabel("log₁₀ of the mean number of steps")
        ax.legend(frameon=False)
        return ax


def overview(
    landscape: Landscape,
    leg: Leg,
    noise: Noise,
    learning_rates: Sequence[float],
    *,
    simulated: Escapes | None = None,
    key: Any = None,
) -> Overview:
    """Return the mean escape times of all methods that apply, at several learning rates.

    For injected noise: first and next order. For SGD: along the path, two temperatures and all cumulants, where the
    population allows them. For one parameter the exact time of the diffusion too.

    Args:
        landscape: the loss and its data.
        leg: one of a path's `legs`.
        noise: made by `sgd`, `sgld` or their sum, with the model "measured".
        learning_rates: η.
        simulated: runs of `simulate` at the same rates.
        key: as `escape_time` needs it.

    Raises:
        ArgumentError: an argument is not allowed, or the simulated rates are others.
        LandscapeError: as `escape_time` does.
    """
    check_leg(leg)
    check_noise(noise)
    rates = check_learning_rates(learning_rates)
    if noise.batch_size is not None and noise.model != "measured":
        raise ArgumentError(
            f"An overview sets the models beside one another; got model={noise.model!r}. Give esc.sgd(B) without a "
            "model."
        )
    if simulated is not None and not isinstance(simulated, Escapes):
        raise ArgumentError(f"simulated is what esc.simulate returns; got {type(simulated).__name__}.")
    if simulated is not None and not np.array_equal(np.asarray(simulated.learning_rates), rates):
        raise ArgumentError("Simulated runs are at the learning rates of the overview; these are at others.")
    found: dict[str, np.ndarray] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # the curves show where they part
        along = escape_time(landscape, leg, noise, rates, key=key)
        if noise.batch_size is None:
            found["first order"] = escape_time(landscape, leg, noise, rates, order=1, key=key).log_steps
            found["next order"] = along.log_steps
        else:
            found["path"] = along.log_steps
            two = escape_time(landscape, leg, noise, rates, form="two-temperature", key=key)
            found["two temperatures"] = two.log_steps
            whole = Noise(noise.batch_size, "cumulants", None, noise.sampling, noise.isotropic)
            with suppress(LandscapeError):  # too few examples, or another sampling: the curve is left out
                found["cumulants"] = escape_time(landscape, leg, whole, rates, key=key).log_steps
        if np.size(leg.track[0]) == 1:
            ends = leg.minimum.params, leg.far.params
            found["exact diffusion"] = exact_time(landscape, *ends, noise, rates, log=True) - np.log(rates)
    return Overview(rates, found, along.exponent, simulated)
