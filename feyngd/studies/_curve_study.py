"""A study of learning curves: predictions for several batch sizes and training sets, simulations over them, on disk."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import jax
import numpy as np

from .._arguments import check_integer
from .._files import check_writable, replace_file, write_json
from .._keys import check_key
from ..anchoring import Anchored, AnchoredPrediction, anchor
from ..drawing import PALETTE, require_matplotlib
from ..errors import ArgumentError
from ..landscapes import Landscape
from ..progress import Progress
from ..simulation import simulate
from ..spacetimes import Spacetime

_LOOKS = 3  # numbers of epochs at which a learning curve is simulated, at most


@dataclass(frozen=True)
class Curve:
    """A predicted learning curve and simulations at a few steps.

    Attributes:
        prediction: the curve.
        times: the steps that were simulated, shape (L,).
        mean: the simulated test loss there, shape (L,).
        stderr: its standard error.
    """

    prediction: AnchoredPrediction
    times: np.ndarray
    mean: np.ndarray
    stderr: np.ndarray

    @property
    def difference(self) -> np.ndarray:
        """Prediction minus simulation at the simulated steps."""
        return self.prediction.mean[self.times] - self.mean

    @property
    def allowed(self) -> np.ndarray:
        """Three combined standard errors plus the truncation figure."""
        stderr = np.hypot(self.prediction.stderr[self.times], self.stderr)
        return 3 * stderr + self.prediction.truncation[self.times]

    @property
    def agrees(self) -> bool:
        """Whether none differs where the expansion is small; where it is small nowhere this says nothing: `tested`."""
        small = self.prediction.converged[self.times]
        return bool(np.all((np.abs(self.difference) <= self.allowed) | ~small))

    @property
    def tested(self) -> bool:
        """Whether the expansion is small at any of the simulated steps."""
        return bool(self.prediction.converged[self.times].any())

    def __str__(self) -> str:
        P = self.prediction
        rows = [f"{P.spacetime}: noiseless {P.noiseless[-1]:.5f}"]
        columns = (self.times, P.mean[self.times], P.stderr[self.times], P.truncation[self.times])
        small = P.converged[self.times]
        for t, mean, stderr, cut, simulated, error, good in zip(*columns, self.mean, self.stderr, small, strict=True):
            rows.append(
                f"  t = {t:<5d} {mean:.5f} ± {stderr:.1g} (sampling) ± {cut:.1g} (truncation)   "
                f"simulated {simulated:.5f} ± {error:.1g}{'' if good else '   not converged'}"
            )
        return "\n".join(rows)


def anchor_study(
    landscape: Landscape,
    params: Any,
    spacetimes: Sequence[Spacetime],
    learning_rate: float,
    out: str | os.PathLike[str],
    *,
    runs: int = 200,
    num_samples: int = 64,
    report: Callable[[str], None] = lambda text: None,
    progress: Progress | None = None,
    about: dict[str, Any] | None = None,
    key: jax.Array,
) -> list[Curve]:
    """Predict learning curves from one anchored computation, simulate them, and write `anchor.json` and `anchor.png`.

    The files are replaced in one move after every curve, so that an interrupted study leaves what was finished.

    Args:
        landscape: the loss and the data.
        params: the start, a pytree of floating-point arrays.
        spacetimes: reshuffled, with one number of steps in all.
        learning_rate: η.
        out: the folder to write to; made if it is not there.
        runs: the number of simulated runs of every curve.
        num_samples: as in `anchor`.
        report: called with a text for every curve that is finished.
        progress: shows progress; silent by default.
        about: anything to note in the JSON file.
        key: a JAX random key.

    Returns:
        One curve for each spacetime.

    Raises:
        ArgumentError: `out` cannot be written to, or the spacetimes differ in their steps; before anything is computed.
        FeynGDError: matplotlib is missing, likewise; or what `anchor` and `simulate` raise.
    """
    folder = check_writable(out)
    require_matplotlib()
    check_integer("runs", runs, least=2)
    check_key(key, "Signs, training sets and batches are drawn at random")
    steps = {int(spacetime.T) for spacetime in spacetimes}
    if len(steps) != 1:
        raise ArgumentError(f"The spacetimes of a study have one number of steps; got {sorted(steps)}.")
    lengths = sorted({int(s.N) // int(s.B) for s in spacetimes if int(s.N) // int(s.B) < max(steps)})
    for_path, *keys = jax.random.split(key, 1 + len(spacetimes))
    anchored = anchor(
        landscape,
        params,
        steps=steps.pop(),
        learning_rate=learning_rate,
        epoch_lengths=lengths,
        num_samples=num_samples,
        progress=progress,
        key=for_path,
    )
    curves: list[Curve] = []
    for spacetime, one in zip(spacetimes, keys, strict=True):
        curves.append(_simulated(anchored, spacetime, learning_rate, runs, progress, one))
        record = {"about": about or {}, "learning_rate": learning_rate, "complete": len(curves) == len(spacetimes)}
        write_json(folder / "anchor.json", {**record, "curves": [_record(curve) for curve in curves]})
        _write_figure(folder, curves)
        report(str(curves[-1]))
    return curves


def _simulated(
    anchored: Anchored, spacetime: Spacetime, rate: float, runs: int, progress: Progress | None, key: jax.Array
) -> Curve:
    epochs = int(spacetime.T * spacetime.B / spacetime.N)
    looks = sorted({max(1, round(epochs * (k + 1) / _LOOKS)) for k in range(_LOOKS)})
    found = []
    for look in looks:
        shorter = Spacetime.sgd(spacetime.N, spacetime.B, look, sampling=spacetime.sampling)
        simulation = simulate(anchored.landscape, anchored.params, shorter, rate, runs=runs, progress=progress, key=key)
        found.append((int(shorter.T), float(simulation.mean[0]), float(simulation.stderr[0])))
    times, mean, stderr = (np.array(column) for column in zip(*found, strict=True))
    return Curve(anchored.predict(spacetime), times, mean, stderr)


def _record(curve: Curve) -> dict[str, Any]:
    simulated = {"times": curve.times.tolist(), "mean": curve.mean.tolist(), "stderr": curve.stderr.tolist()}
    return {
        "prediction": curve.prediction.to_dict(),
        "simulation": simulated,
        "agrees": curve.agrees,
        "tested": curve.tested,
    }


def _write_figure(folder: Any, curves: Sequence[Curve]) -> None:
    """Draw the curves of every training-set size above, and what noise contributes at the smallest batch below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sizes = sorted({int(curve.prediction.spacetime.N) for curve in curves})
    figure = Figure(figsize=(5.6 * len(sizes), 7.6), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(sizes), squeeze=False, sharex=True)
    for (above, below), size in zip(axes.T, sizes, strict=True):
        own = sorted(
            (curve for curve in curves if size == curve.prediction.spacetime.N), key=lambda c: c.prediction.spacetime.B
        )
        first = own[0].prediction
        above.plot(first.times, first.noiseless, color=PALETTE[0], lw=1.4, ls="--", label="noiseless")
        for curve, colour in zip(own, PALETTE[1:], strict=False):
            curve.prediction.plot(above, label=f"B = {curve.prediction.spacetime.B}", colour=colour)
            above.errorbar(curve.times, curve.mean, 2 * curve.stderr, fmt="o", ms=4, color=colour, capsize=2.5)
        above.set_yscale("log")
        above.set_title(f"N = {size} training points; points: simulated", fontsize=10)
        above.legend(frameon=False, fontsize=8)
        first.plot_contributions(below)
        above.set_xlabel("")
    drawn = BytesIO()
    figure.savefig(drawn, format="png")
    replace_file(folder / "anchor.png", drawn.getvalue())
