"""The spread of the test examples' losses against their mean, late in runs at several temperatures: figure 7."""

from typing import Any

import jax

from ..companions.data_averaging import Ensemble, LossSpread, ensemble, loss_spread
from ..drawing import new_figure
from ..spacetimes import Spacetime
from ._averaging import SOURCE, WEIGHT_DECAY, mlp_on_images, parameters
from ._experiment import Experiment, Finding, Outcome, Setting

B, RECORDS = 8, 100
TEMPERATURES = (0.0016, 0.004, 0.01, 0.025, 0.06)
QUICK_TEMPERATURES = (0.006, 0.06)


def run(setting: Setting) -> Outcome:
    """Take σ_l and the test loss at 20 late records of runs at every temperature, for split and overlapping sets."""
    landscape, network, N = mlp_on_images(setting)
    datasets, epochs = (4, 16) if setting.quick else (12, 40)
    temperatures = QUICK_TEMPERATURES if setting.quick else TEMPERATURES
    spacetime = Spacetime.sgd(N, B, epochs, drop_last=None if N % B == 0 else False)
    options: dict[str, Any] = {
        "datasets": datasets,
        "weight_decay": WEIGHT_DECAY,
        "records": RECORDS,
        "progress": setting.progress,
    }
    found: dict[str, LossSpread] = {}
    for drawing in ("split", "overlap"):
        runs: list[Ensemble] = []
        for number, T in enumerate(temperatures):
            key = jax.random.fold_in(setting.key, number)
            runs.append(ensemble(landscape, network.init, spacetime, T * B, drawing=drawing, key=key, **options))
        found[drawing] = loss_spread(runs)
    findings = [_rises(drawing, one) for drawing, one in found.items()]
    figure, (axes,) = new_figure(2)
    for ax, (drawing, one) in zip(axes, found.items(), strict=True):
        one.plot(ax)
        ax.set_title(f"{drawing}, T = {temperatures[0]:g} to {temperatures[-1]:g}, N = {N}", fontsize=10)
    ours = {"batch size": B, "epochs": epochs, "training sets": datasets, "temperatures": temperatures}
    data = {**parameters(setting, **ours), **{drawing: one.to_dict() for drawing, one in found.items()}}
    return Outcome(findings, data, figure)


def _rises(drawing: str, one: LossSpread) -> Finding:
    low, high = one.slope.interval(0.9973)
    holds = True if low > 0 else False if high < 0 else None
    numbers = {"slope": one.slope.value, "from": low, "to": high, "intercept": one.intercept.value}
    return Finding(f"{drawing}: losses of test examples spread more where their mean is higher", holds, numbers)


EXPERIMENT = Experiment(
    "averaging-loss-spread",
    "how far the losses of test examples spread, against their mean",
    f"{SOURCE}, section 3.2.1, figure 7",
    run,
)
