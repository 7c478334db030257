"""Losses and accuracies along the line through the train and the test minimum, at a low and a high temperature."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ..companions.shift_curvature import Fit, Line, Shift
from ..drawing import new_figure
from ._experiment import Experiment, Finding, Outcome, Setting
from ._shift_networks import HIDDEN, OURS, PAPER, network, shifts, split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPERATURES = (0.003, 0.05)
_COLOURS = ("#0072B2", "#D55E00")  # low and high, as in the paper
_WITHIN = 0.25  # of the curvature by the Hessian: how far a fit may be off

Lines = list[tuple[float, Shift, Line, Fit, tuple[np.ndarray, np.ndarray]]]


def run(setting: Setting) -> Outcome:
    """Train at both temperatures, and take losses, accuracies and reflected fits along the lines."""
    name = next(iter(HIDDEN))
    with jax.enable_x64(True):
        landscape, start = split(name, setting)
        model, _ = network(name, np.shape(setting.images[0])[1:])

        def correct(params: Any, example: Any) -> jax.Array:
            return jnp.argmax(model.apply(params, example[0])) == example[1]

        found: Lines = []
        for temperature, trained in shifts(landscape, start, TEMPERATURES, 1, setting).items():
            one = trained[0]
            along = one.line(31 if setting.quick else 101)
            found.append((temperature, one, along, one.symmetrised(), along.accuracies(correct)))
    findings = [finding for row in found for finding in _claims(row[0], row[1], row[3])]
    findings.append(_ordered(found))
    data: dict[str, Any] = {"the paper's parameters": PAPER, "ours": OURS}
    for temperature, one, along, fit, accuracies in found:
        data[f"T = {temperature:g}"] = {
            **one.to_dict(),
            "line": along.to_dict(),
            "fit": fit.to_dict(),
            "accuracies": dict(zip(("train", "test"), accuracies, strict=True)),
        }
    return Outcome(findings, data, _figure(found))


def _claims(temperature: float, one: Shift, fit: Fit) -> list[Finding]:
    """Judge equation 3, and the fits against the Hessian."""
    left = abs(one.remainder) / one.rise
    numbers = {"rise": one.rise, "½sᵀCs": one.shift_curvature, "left out, as a share": left}
    found = [Finding(f"T = {temperature:g}: ½sᵀCs is the rise of the test loss within 10 %", left < 0.1, numbers)]
    for side, c, exact in (("train", fit.train, one.curvature_train), ("test", fit.test, one.curvature_test)):
        numbers = {"fit": c, "sᵀCs/|s|²": exact}
        claim = f"T = {temperature:g}: the reflected fit of the {side} loss is its curvature within 25 %"
        found.append(Finding(claim, abs(c / exact - 1) < _WITHIN, numbers))
    return found


def _ordered(found: Lines) -> Finding:
    """Judge whether both fitted curvatures are higher at the lower temperature, as the paper's figure shows."""
    (_, _, _, low, _), (_, _, _, high, _) = found
    numbers = {
        "train, low T": low.train,
        "train, high T": high.train,
        "test, low T": low.test,
        "test, high T": high.test,
    }
    claim = "both curvatures are higher at the lower temperature, for this seed as in the paper's figure"
    return Finding(claim, low.train > high.train and low.test > high.test, numbers)


def _figure(found: Lines) -> "Figure":
    figure, ((left, middle, right),) = new_figure(3, width=4.8)
    for (temperature, one, along, _, accuracies), colour in zip(found, _COLOURS, strict=True):
        for side, losses, shares, style in (
            ("train", along.train_losses, accuracies[0], "-"),
            ("test", along.test_losses, accuracies[1], "--"),
        ):
            label = f"{side}, T = {temperature:g}"
            left.plot(along.r, shares, style, color=colour, label=label)
            middle.plot(along.r, losses, style, color=colour, label=label)
        for ax in (left, middle):
            ax.axvline(one.magnitude, color=colour, ls=":", lw=0.8)
    for ax, label in ((left, "accuracy"), (middle, "loss")):
        ax.axvline(0, color="#777777", ls=":", lw=0.8)
        ax.set(xlabel="r: train minimum at 0, test minima dotted", ylabel=label)
        ax.legend(fontsize=7)
    found[0][3].plot(right)
    right.set_title(f"reflected, T = {found[0][0]:g}", fontsize=10)
    right.legend(fontsize=7)
    return figure


EXPERIMENT = Experiment(
    "shift-curvature-line",
    "losses and accuracies on the line through the train and the test minimum of a network",
    "Bradley et al., section 3, figure 1",
    run,
)
