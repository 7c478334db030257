"""What was recorded of real runs, and what it says: displacement, exponent, frequency, curvature, stationarity."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..._arguments import check_integer
from ...drawing import new_axes
from ...errors import ArgumentError
from ...estimates import Estimate
from ._limit import Limit
from ._linear_step import LinearStep
from ._settings import check_steps


@dataclass(frozen=True)
class Row:
    """One number of a comparison.

    Attributes:
        name: what it is.
        predicted, simulated: both numbers.
        stderr: of their difference; NaN with a single run.
    """

    name: str
    predicted: float
    simulated: float
    stderr: float

    @property
    def deviation(self) -> float:
        """How many standard errors apart they are."""
        return abs(self.predicted - self.simulated) / self.stderr if self.stderr else float("nan")

    def __str__(self) -> str:
        return f"{self.name}: predicted {self.predicted:.4g}, simulated {self.simulated:.4g} ± {self.stderr:.1g}"


class Comparison(tuple[Row, ...]):
    """Predicted and simulated numbers side by side."""

    __slots__ = ()

    def agree(self, relative: float = 0.0) -> bool:
        """Whether all are within three standard errors and a fraction of the prediction."""
        return all(abs(row.predicted - row.simulated) <= 3 * row.stderr + relative * abs(row.predicted) for row in self)

    def __str__(self) -> str:
        return "\n".join(
            f"{row.name}: predicted {row.predicted:.4g}, simulated {row.simulated:.4g} ± {row.stderr:.1g}"
            for row in self
        )


@dataclass(frozen=True, eq=False)
class Recorded:
    """Records of runs. The base of `Trajectories`.

    Attributes:
        steps: after how many steps records were made, counted from the first record's origin, shape (records,).
        displacement: |θ − θ_0|², shape (runs, records), θ_0 being where recording began.
        distance: |θ − θ*|² from the point that was given, shape (runs, records).
        speed: |δ|², the mean over the steps since the record before, shape (runs, records); `None` from checkpoints
            that lie several steps apart.
        positions: θ − θ* along directions, shape (runs, records, k).
        velocities: δ/η of the last step along directions, likewise; `None` from checkpoints.
        every: steps between records.
        step: η, β and the form of the momentum; `None` where it was not said.
        sides: left and right of the identity of `StationarityMonitor`, means since the record before, shape
            (2, runs, records); `None` from checkpoints.
    """

    steps: np.ndarray
    displacement: np.ndarray
    distance: np.ndarray
    speed: np.ndarray | None
    positions: np.ndarray
    velocities: np.ndarray | None
    every: int
    step: LinearStep | None = None
    sides: np.ndarray | None = field(default=None, repr=False)
    directions: np.ndarray | None = field(default=None, repr=False)

    @property
    def runs(self) -> int:
        """The number of runs."""
        return len(self.displacement)

    @property
    def late(self) -> slice:
        """The second half of the records, which averages over time are taken from."""
        return slice(len(self.steps) // 2, None)

    def mean_displacement(self, window: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Return steps and the mean over runs of |θ − θ_0|², within a window of steps."""
        held = self._held(window)
        return self.steps[held], self.displacement[:, held].mean(axis=0)

    def fit_exponent(self, window: Any = None) -> Estimate:
        """Return the slope of log E|Δ_k|² on log k, with its error by leaving out runs; `None` with one run.

        Args:
            window: the first and the last k; all records by default.

        Raises:
            ArgumentError: the window holds fewer than 3 records.
        """
        held = self._held(window) & (self.steps > 0)
        if held.sum() < 3:
            raise ArgumentError(f"A window holds at least 3 records; {window!r} has {held.sum()} of {len(self.steps)}.")
        log_steps = np.log(self.steps[held])

        def slope(displacement: np.ndarray) -> float:
            return float(np.polyfit(log_steps, np.log(displacement.mean(axis=0)), 1)[0])

        return _jackknife(slope, self.displacement[:, held])

    def mean_speed(self) -> Estimate:
        """Return E|δ|² over the second half of the records.

        Raises:
            ArgumentError: steps were not recorded.
        """
        if self.speed is None:
            raise ArgumentError("Checkpoints several steps apart do not show single steps: record every step.")
        return _over_runs(self.speed[:, self.late].mean(axis=1))

    def position_variance(self) -> Estimate:
        """Return E|θ − θ*|² over the second half of the records."""
        return _over_runs(self.distance[:, self.late].mean(axis=1))

    def dominant_frequency(self, i: int) -> float:
        """Return the frequency at the peak of the spectrum along a direction, in radians per step.

        It is that of velocities where they were recorded, else of positions less their line in time. What is faster
        than one turn in two records is folded.

        Args:
            i: the direction.

        Raises:
            ArgumentError: there is no such direction, or there are fewer than 8 records.
        """
        signal = self._along(self.positions if self.velocities is None else self.velocities, i)
        count = signal.shape[1]
        if count < 8:
            raise ArgumentError(f"A spectrum needs at least 8 records; there are {count}.")
        time = np.arange(count) - (count - 1) / 2
        signal = signal - signal.mean(axis=1, keepdims=True)
        if self.velocities is None:
            signal = signal - (signal @ time / (time @ time))[:, None] * time
        power = np.mean(np.abs(np.fft.rfft(signal * np.hanning(count), axis=1)) ** 2, axis=0)
        peak = int(power[1:].argmax()) + 1
        shift = 0.0
        if 1 < peak < len(power) - 1:  # a parabola through three logarithms
            low, middle, high = np.log(np.maximum(power[peak - 1 : peak + 2], np.finfo(float).tiny))
            bottom = low - 2 * middle + high
            shift = 0.5 * (low - high) / bottom if bottom else 0.0
        return float(2 * np.pi * (peak + shift) / count / self.every)

    def local_curvature(self, i: int) -> Estimate:
        """Return h = (1 + β)E δ²/(2η Var θ) along a direction, from the second half of the records.

        That is exact for heavy ball and independent batches on a quadratic loss, and takes no Hessian.

        Raises:
            ArgumentError: there is no such direction, velocities were not recorded, or it is not heavy ball.
        """
        if self.step is None or self.velocities is None or not self.step.is_heavy_ball:
            raise ArgumentError("The curvature follows from positions and velocities of heavy ball, and from η and β.")
        share = (1 + self.step.beta) * self.step.eta / 2
        position = self._along(self.positions, i)[:, self.late]
        velocity = self._along(self.velocities, i)[:, self.late]

        def curvature(both: np.ndarray) -> float:
            return share * float(np.mean(both[..., 1] ** 2) / np.var(both[..., 0]))

        return _jackknife(curvature, np.stack([position, velocity], axis=-1))

    def stationarity(self) -> Estimate:
        """Return left/right − 1 of the identity E[θ·g] = (1 + β)E|δ|²/(2η), over the second half: 0 if stationary.

        Nesterov's momentum has its own, see `StationarityMonitor`.

        Raises:
            ArgumentError: gradients were not recorded.
        """
        if self.sides is None:
            raise ArgumentError("Checkpoints hold no gradients: use StationarityMonitor in the training loop.")
        sides = np.moveaxis(self.sides[..., self.late].mean(axis=-1), 0, -1)

        def gap(both: np.ndarray) -> float:
            left, right = both.mean(axis=0)
            return float(left / right - 1)

        return _jackknife(gap, sides)

    def compare(self, limit: Limit) -> Comparison:
        """Set speed, variances and displacement beside those of a limit.

        Speed and variances are from the second half of the records. Runs are compared as stationary ones: give them
        time, by `burn_in`. Errors of both sides are combined.

        Args:
            limit: of the same settings.
        """
        rows = []
        pairs = [("position_variance", limit.position_variance(), self.position_variance())]
        if self.speed is not None:
            pairs.insert(0, ("speed", limit.speed(), self.mean_speed()))
        for name, predicted, simulated in pairs:
            rows.append(_row(name, predicted.value, predicted.stderr, simulated))
        lags = self.steps[np.unique(np.geomspace(1, len(self.steps), 4).astype(int) - 1)]
        lags = lags[lags > 0]
        curve = limit.displacement(lags)
        for i, lag in enumerate(lags):
            stderr = None if curve.stderr is None else float(curve.stderr[i])
            moved = _over_runs(self.displacement[:, np.flatnonzero(self.steps == lag)[0]])
            rows.append(_row(f"displacement({lag})", float(curve.mean[i]), stderr, moved))
        return Comparison(rows)

    def plot_phase(self, i: int, ax: Any = None, run: int = 0, most: int = 1000) -> Any:
        """Plot velocity against position along a direction, for the last records of one run, and return the axes."""
        if self.velocities is None:
            raise ArgumentError("Velocities were not recorded: phase space needs them.")
        ax = new_axes(ax)
        last = slice(-check_integer("most", most, least=1), None)
        position, velocity = (self._along(part, i)[run, last] for part in (self.positions, self.velocities))
        ax.plot(position, velocity, color="#bbbbbb", lw=0.6, zorder=1)
        points = ax.scatter(position, velocity, c=self.steps[last], s=6, cmap="viridis", zorder=2)
        ax.figure.colorbar(points, ax=ax, label="step")
        ax.set_xlabel(f"position along direction {i}")
        ax.set_ylabel("velocity δ/η")
        ax.locator_params(axis="x", nbins=5)
        return ax

    def plot_displacement(self, ax: Any = None) -> Any:
        """Plot the mean of |θ − θ_0|² with two standard errors on logarithmic axes, and return the axes."""
        ax = new_axes(ax)
        held = self.steps > 0
        mean = self.displacement[:, held].mean(axis=0)
        (line,) = ax.loglog(self.steps[held], mean, label="runs")
        if self.runs > 1:
            error = self.displacement[:, held].std(axis=0, ddof=1) / self.runs**0.5
            ax.fill_between(
                self.steps[held],
                np.maximum(mean - 2 * error, mean / 10),
                mean + 2 * error,
                color=line.get_color(),
                alpha=0.25,
                lw=0,
            )
        ax.set_xlabel("steps")
        ax.set_ylabel("mean squared displacement")
        return ax

    def _held(self, window: Any) -> np.ndarray:
        if window is None:
            return np.ones(len(self.steps), dtype=bool)
        given = check_steps(window, "The steps of a window")
        if len(given) != 2:
            raise ArgumentError(f"A window is a pair of steps, the first and the last; got {window!r}.")
        return (self.steps >= given[0]) & (self.steps <= given[1])

    def _along(self, records: np.ndarray, i: int) -> np.ndarray:
        index = check_integer("i", i, least=0)
        if index >= records.shape[2]:
            raise ArgumentError(f"There are {records.shape[2]} directions, from 0 on; got i={index}.")
        return records[:, :, index]


def _over_runs(values: np.ndarray) -> Estimate:
    if len(values) == 1:
        return Estimate(float(values[0]), None, 1, "runs")
    return Estimate.from_replicates(values, "runs")


def _row(name: str, predicted: float, stderr: float | None, simulated: Estimate) -> Row:
    error = float("nan") if simulated.stderr is None else float(np.hypot(stderr or 0.0, simulated.stderr))
    return Row(name, predicted, simulated.value, error)


def _jackknife(function: Callable[[np.ndarray], float], rows: np.ndarray) -> Estimate:
    """Return a function of all runs, with its standard error from leaving out one run at a time."""
    value, count = function(rows), len(rows)
    if count == 1:
        return Estimate(value, None, 1, "runs")
    left = np.array([function(np.delete(rows, i, axis=0)) for i in range(count)])
    stderr = float(np.sqrt((count - 1) * np.mean((left - left.mean()) ** 2)))
    return Estimate(value, stderr, count, "runs")
