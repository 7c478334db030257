"""A study of learning curves: predictions for several batch sizes and training sets, simulations over them, on disk."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .._arguments import check_integer
from .._files import check_writable, replace_file, write_json
from .._keys import check_key
from .._mesh import check_mesh, is_writer
from ..anchoring import Anchored, AnchoredPrediction, anchor
from ..drawing import PALETTE, drawn, new_figure, require_matplotlib
from ..errors import ArgumentError
from ..landscapes import Landscape
from ..prediction import Comparison, compare
from ..progress import Progress
from ..simulation import simulate
from ..spacetimes import Spacetime

_LOOKS = 3  # steps at which a learning curve is simulated, at most


@dataclass(frozen=True)
class Curve:
    """A predicted learning curve and simulations at a few steps.

    Attributes:
        comparison: the prediction next to the simulations.
    """

    comparison: Comparison

    @property
    def prediction(self) -> AnchoredPrediction:
        """The predicted learning curve."""
        predicted = self.comparison.prediction
        assert isinstance(predicted, AnchoredPrediction)
        return predicted

    @property
    def times(self) -> np.ndarray:
        """The steps that were simulated, shape (L,)."""
        return self.comparison.simulation.points

    @property
    def mean(self) -> np.ndarray:
        """The simulated loss there, shape (L,)."""
        return self.comparison.simulation.mean

    @property
    def stderr(self) -> np.ndarray:
        """The standard error of `mean`."""
        return self.comparison.simulation.stderr

    @property
    def difference(self) -> np.ndarray:
        """Prediction minus simulation at the simulated steps."""
        return self.comparison.difference

    @property
    def allowed(self) -> np.ndarray:
        """Three combined standard errors plus the truncation figure."""
        return self.comparison.allowed

    @property
    def agrees(self) -> bool:
        """Whether they agree wherever the expansion is small; see `tested` for whether it is small anywhere."""
        return self.comparison.verdict != "DIFFERS"

    @property
    def tested(self) -> bool:
        """Whether the expansion is small at any of the simulated steps."""
        return bool(self.comparison.converged.any())

    def __str__(self) -> str:
        P = self.prediction.select(self.times)
        rows = [f"{P.spacetime}: noiseless {self.prediction.noiseless[-1]:.5f}"]
        columns = (self.times, P.mean, P.stderr, P.truncation, self.mean, self.stderr, P.converged)
        for t, mean, stderr, cut, simulated, error, good in zip(*columns, strict=True):
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
    mesh: jax.sharding.Mesh | None = None,
    report: Callable[[str], None] = lambda text: None,
    progress: Progress | None = None,
    about: dict[str, Any] | None = None,
    key: jax.Array,
) -> list[Curve]:
    """Predict learning curves from one anchored computation, simulate them, and write `anchor.json` and `anchor.png`.

    The files are replaced in one move after every curve, so that an interrupted study leaves what was finished. Of
    several processes that share a mesh, the first one writes and reports.

    Args:
        landscape: the loss and the data.
        params: the start, a pytree of floating-point arrays.
        spacetimes: all with the same number of steps; it may end inside epochs, and these may end with a smaller batch.
        learning_rate: η.
        out: the folder to write to; made if it is not there.
        runs: the number of simulated runs of every curve.
        num_samples: as in `anchor`.
        mesh: devices to share draws, examples and runs among.
        report: called with a text for every curve that is finished.
        progress: shows progress; silent by default.
        about: anything to note in the JSON file.
        key: a JAX random key.

    Returns:
        One curve for each spacetime.

    Raises:
        ArgumentError: `out` cannot be written to, or the spacetimes are none or differ in their steps; before anything
            is computed.
        FeynGDError: matplotlib is missing, likewise; or what `anchor` and `simulate` raise.
    """
    check_mesh(mesh)
    folder = check_writable(out) if is_writer(mesh) else Path(out)
    require_matplotlib()
    check_integer("runs", runs, least=2)
    check_key(key, "Signs, training sets and batches are drawn at random")
    steps = {int(spacetime.T) for spacetime in spacetimes}
    if len(steps) != 1:
        raise ArgumentError(f"The spacetimes of a study have one number of steps; got {sorted(steps)}.")
    for_path, *keys = jax.random.split(key, 1 + len(spacetimes))
    anchored = anchor(
        landscape,
        params,
        steps=steps.pop(),
        learning_rate=learning_rate,
        spacetimes=spacetimes,
        num_samples=num_samples,
        mesh=mesh,
        progress=progress,
        key=for_path,
    )
    curves: list[Curve] = []
    for spacetime, one in zip(spacetimes, keys, strict=True):
        options = {"runs": runs, "mesh": mesh, "progress": progress, "key": one}
        curves.append(_simulated(anchored, spacetime, learning_rate, options))
        if not is_writer(mesh):
            continue
        record = {"about": about or {}, "learning_rate": learning_rate, "complete": len(curves) == len(spacetimes)}
        write_json(folder / "anchor.json", {**record, "curves": [_record(curve) for curve in curves]})
        _write_figure(folder, curves)
        report(str(curves[-1]))
    return curves


def _simulated(anchored: Anchored, spacetime: Spacetime, rate: float, options: dict[str, Any]) -> Curve:
    looks = _looks(spacetime)
    runs = simulate(anchored.landscape, anchored.params, spacetime, rate, times=looks, **options)
    return Curve(compare(anchored.predict(spacetime), runs))


def _looks(spacetime: Spacetime) -> list[int]:
    """Return steps at about equal distances, the last one included: ends of epochs, where there are as many."""
    steps, length = int(spacetime.T), int(spacetime.epoch_steps)
    unit = length if steps >= _LOOKS * length else 1
    return sorted(
        {min(steps, max(1, round(steps * (k + 1) / _LOOKS / unit)) * unit) for k in range(_LOOKS - 1)} | {steps}
    )


def _record(curve: Curve) -> dict[str, Any]:
    simulated = {"times": curve.times.tolist(), "mean": curve.mean.tolist(), "stderr": curve.stderr.tolist()}
    return {
        "prediction": curve.prediction.to_dict(),
        "simulation": simulated,
        "agrees": curve.agrees,
        "tested": curve.tested,
    }


def _write_figure(folder: Path, curves: Sequence[Curve]) -> None:
    """Draw the curves of every training-set size above, and what noise contributes at the smallest batch below."""
    sizes = sorted({int(curve.prediction.spacetime.N) for curve in curves})
    figure, axes = new_figure(len(sizes), rows=2, width=5.6, height=3.8, sharex=True)
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
    replace_file(folder / "anchor.png", drawn(figure, "png"))
