"""Losses with one to three basins in one dimension: which basin holds SGD, and what that does to the test loss.

The captions of the paper's figures give minima, weights and widths, but no formula. Normalised Gaussians are the one
reading that fits all of them; the confinement, one shift for all basins and the range of temperatures are ours.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ..companions.shift_curvature import FIGURES, Diffusion, SteadyState, basins, steady_state, temperature_sweep
from ..drawing import new_figure
from ._experiment import Experiment, Finding, Outcome, Setting
from ._verdicts import all_agree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BOX = [(-24.0, 24.0)]  # doubled where the density reaches beyond
# A temperature at which basins are exchanged in a short time, and how long the runs are, in the time of the process.
SIMULATED = {"left": (0.03, 400.0), "right": (0.03, 400.0), "one basin": (0.06, 4.0), "three basins": (0.1, 40.0)}
_STEP = 0.05  # of the time 1/C in the narrowest basin
_LOOKS = 12
_BLUE, _ORANGE = "#0072B2", "#E69F00"
_COLOURS = ("#0072B2", "#D55E00", "#009E73")
_ROUNDING = 1e-9  # of quadrature, in the exact weights


@dataclass(frozen=True)
class Simulated:
    """Runs that started in the predicted density: is it still theirs?

    Attributes:
        temperature: T.
        weights: the share of time in every basin with its standard error, shape (K, 2).
        test_loss: the mean with its standard error, shape (2,).
        moved: the share of runs that ended in another basin than they started in.
    """

    temperature: float
    weights: np.ndarray
    test_loss: np.ndarray
    moved: float


def run(setting: Setting) -> Outcome:
    """Sweep the temperature for each of the four losses, exactly and by Laplace's method, and simulate one each."""
    temperatures = np.geomspace(0.002, 0.15, 4 if setting.quick else 16)
    names = ("left", "one basin") if setting.quick else tuple(FIGURES)
    findings, data, found = [], {}, {}
    keys = jax.random.split(setting.key, len(names))
    with setting.progress.task(len(names), "losses") as task:
        for name, key in zip(names, keys, strict=True):
            given: dict[str, Any] = dict(FIGURES[name])
            diffusion = basins(**given)
            states = [steady_state(diffusion, float(rate), box=BOX) for rate in temperatures]
            best = _optimum(diffusion, temperatures, states)
            temperature, duration = SIMULATED[name]
            settled = steady_state(diffusion, temperature, box=BOX)
            runs = _simulated(settled, duration / (10 if setting.quick else 1), 400, key)
            findings += [*_claims(name, states, best), *_kept(name, settled, runs)]
            data[name] = {"minima, weights, widths, shift, as printed": given} | _numbers(states, best, settled, runs)
            found[name] = (states, runs)
            task.advance()
    return Outcome(findings, data, _figure(temperatures, found))


def _optimum(diffusion: Diffusion, temperatures: np.ndarray, states: list[SteadyState]) -> tuple[float, float] | None:
    """Return the temperature of the lowest test loss and that loss; `None` if it is at an end."""
    lowest = int(np.argmin([state.test_loss for state in states]))
    if not 0 < lowest < len(states) - 1:
        return None
    return temperature_sweep(diffusion, temperatures[lowest - 1 : lowest + 2], box=BOX).optimum


def _claims(name: str, states: list[SteadyState], best: tuple[float, float] | None) -> list[Finding]:
    """Judge what the paper says of one figure, and its equation 6."""
    train, test = (np.array([getattr(state, f"{side}_loss") for state in states]) for side in ("train", "test"))
    ends = {"lowest temperature": float(test[0]), "highest": float(test[-1])}
    rising = bool((np.diff(train) > 0).all())
    found = [
        Finding(f"{name}: the train loss rises with the temperature", rising, {"least rise": np.diff(train).min()})
    ]
    if name in ("left", "three basins"):
        numbers = ends | ({} if best is None else {"optimal T": best[0], "test loss there": best[1]})
        claim = f"{name}: the test loss falls to an optimum inside, and rises again"
        found.append(Finding(claim, best is not None and best[1] < test.min() + _ROUNDING, numbers))
    else:
        claim = f"{name}: the test loss only rises with the temperature"
        found.append(Finding(claim, bool((np.diff(test) > 0).all()), ends))
    wide = states[-1].weights[-1] - states[0].weights[-1]
    if name in ("left", "three basins"):
        claim = f"{name}: the widest basin gains weight from the lowest temperature to the highest"
        found.append(Finding(claim, bool(wide > 0), {"gain": float(wide)}))
    off = np.array([np.abs(state.weights - state.laplace_weights).max() for state in states])
    allowed = np.array([np.abs(state.laplace_correction).max() for state in states])
    worst = int(np.argmax(off / allowed))
    numbers = {"worst at T": states[worst].temperature, "difference": float(off[worst]), "next order": allowed[worst]}
    claim = f"{name}: weights by equation 6 are exact up to the next order"
    found.append(Finding(claim, bool((off <= allowed + _ROUNDING).all()), numbers))
    return [*found, _quadratic(name, states[0])]


def _quadratic(name: str, state: SteadyState) -> Finding:
    """Judge equation 8 where the temperature is lowest: is a shift's cost ½sᵀCs?"""
    printed, direct = (state.mixture(form).weighted["total"] for form in ("paper", "direct"))
    numbers = {"T": state.temperature, "equation 4": printed, "direct": direct, "exact": state.test_loss}
    off, cost = abs(printed - state.test_loss), state.test_loss - state.train_loss
    claim = f"{name}: with ½sᵀCs for the shift the test loss is off by less than half of what the shift costs"
    return Finding(claim, bool(off < cost / 2), numbers)


def _kept(name: str, settled: SteadyState, runs: Simulated) -> list[Finding]:
    """Judge whether runs stay in the density, by the time in each basin and by the test loss."""
    found = all_agree(
        f"{name}: simulated runs keep the density at T = {runs.temperature:g}, weights and test loss",
        [*settled.weights[:-1], settled.test_loss],
        [*runs.weights[:-1, 0], runs.test_loss[0]],
        [*runs.weights[:-1, 1], runs.test_loss[1]],
    )
    return [Finding(found.claim, found.holds, {**found.numbers, "share of runs that changed basin": runs.moved})]


def _simulated(state: SteadyState, duration: float, runs: int, key: jax.Array) -> Simulated:
    """Run dθ = −U' dt + √T dW from points drawn from the density."""
    diffusion, temperature = state.diffusion, state.temperature
    sharpest = float(diffusion.at("hessian", state.modes).max())
    steps = int(np.ceil(duration * sharpest / _STEP / _LOOKS))
    step = duration / (steps * _LOOKS)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    start = rng.choice(state.density.grid.points[:, 0], runs, p=state.density.mass)
    slope = jax.vmap(jax.grad(lambda theta: diffusion.loss(theta[None])))

    def move(theta: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
        return theta - step * slope(theta) + (step * temperature) ** 0.5 * jax.random.normal(key, theta.shape), None

    def block(theta: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        theta, _ = jax.lax.scan(move, theta, jax.random.split(key, steps))
        return theta, theta

    with jax.enable_x64(True):
        paths = np.asarray(
            jax.jit(lambda theta, keys: jax.lax.scan(block, theta, keys)[1])(
                jnp.asarray(start), jax.random.split(key, _LOOKS)
            )
        )
    ends = state.density.grid.points[np.flatnonzero(np.diff(state.labels)), 0]  # of the basins
    places = np.searchsorted(ends, paths)
    losses = diffusion.at("test_loss", paths.reshape(-1, 1)).reshape(paths.shape).mean(axis=0)
    shares = np.array([(places == k).mean(axis=0) for k in range(len(state.modes))])
    errors = np.concatenate([shares, losses[None]]).std(axis=1, ddof=1) / runs**0.5
    weights = np.stack([shares.mean(axis=1), errors[:-1]], axis=1)
    moved = float(np.mean(places[-1] != np.searchsorted(ends, start)))
    return Simulated(temperature, weights, np.array([losses.mean(), errors[-1]]), moved)


def _numbers(
    states: list[SteadyState], best: tuple[float, float] | None, settled: SteadyState, runs: Simulated
) -> dict[str, Any]:
    return {
        "temperatures": [state.temperature for state in states],
        "train loss": [state.train_loss for state in states],
        "test loss": [state.test_loss for state in states],
        "weights": [state.weights for state in states],
        "weights by equation 6": [state.laplace_weights for state in states],
        "next order of equation 6": [state.laplace_correction for state in states],
        "optimum": best,
        "simulated": {
            "temperature": runs.temperature,
            "weights": settled.weights,
            "weights, simulated": runs.weights,
            "test loss": settled.test_loss,
            "test loss, simulated": runs.test_loss,
        },
    }


def _figure(temperatures: np.ndarray, found: dict[str, tuple[list[SteadyState], Simulated]]) -> "Figure":
    figure, axes = new_figure(len(found), 3, width=3.6, height=2.8)
    for column, (name, (states, runs)) in enumerate(found.items()):
        _draw(axes[:, column], temperatures, states, runs)
        axes[0, column].set_title(f"figure {4 if name in ('left', 'right') else 6}, {name}")
    for ax, label in zip(axes[:, 0], ("loss", "weight of basin (dotted: equation 6)", "expected loss"), strict=True):
        ax.set_ylabel(label, fontsize=8)
    return figure


def _draw(axes: Any, temperatures: np.ndarray, states: list[SteadyState], runs: Simulated) -> None:
    top, middle, bottom = axes
    theta = np.linspace(-2, 2, 801)[:, None]
    for side, name, style, colour in (("train", "loss", "-", _BLUE), ("test", "test_loss", "--", _ORANGE)):
        top.plot(theta[:, 0], states[0].diffusion.at(name, theta), style, color=colour, label=f"{side} loss")
        losses = [getattr(state, f"{side}_loss") for state in states]
        bottom.plot(temperatures, losses, style, color=colour, label=f"{side} loss")
    at = runs.temperature
    for k, (mode, colour) in enumerate(zip(states[0].modes[:, 0], _COLOURS, strict=False)):
        middle.plot(temperatures, [s.weights[k] for s in states], color=colour, label=f"θ ≈ {mode + 0.0:.0f}")
        middle.plot(temperatures, [s.laplace_weights[k] for s in states], ":", color=colour)
        middle.errorbar(at, runs.weights[k, 0], 2 * runs.weights[k, 1], fmt="o", ms=4, color=colour)
    loss, error = runs.test_loss
    bottom.errorbar(at, loss, 2 * error, fmt="o", ms=4, color=_ORANGE, label="simulated, 2 s.e.")
    top.set_xlabel("θ")
    for ax in (middle, bottom):
        ax.set(xscale="log", xlabel="temperature T")
    middle.set_ylim(-0.05, 1.05)
    for ax, place in zip(axes, ("lower left", "best", "best"), strict=True):
        ax.legend(fontsize=6, loc=place)


EXPERIMENT = Experiment(
    "shift-basins",
    "weights of basins and the test loss against the temperature, with its optimum",
    "Bradley et al., section 3.1, figures 4 and 6",
    run,
)
