"""`feyngd demo`: what feyngd is for, in three figures on digits, each with the call that makes it."""

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

from .._version import __version__
from ._ending import leaves
from ._options import Parser, add_digits, add_seed_and_quiet, bars, check_seed

_EXAMPLE = """example:
  $ feyngd demo
      logistic regression on scikit-learn's digits. series.png: the test loss after ten steps at every learning rate,
      against real runs. curves.png: whole training runs with four batch sizes, from one computation. advice.png: what
      to change about one of them. Tables here, numbers in demo.json, all in ./demo
"""

_MODEL = "logistic"

# The first figure.
_RATES = (0.003, 0.006, 0.009, 0.012, 0.015, 0.018, 0.021)
_RUNS_OF_SERIES = 400

# The second: runs of one length with several batch sizes. They are simulated at those of the steps that end an epoch.
_POINTS, _STEPS, _RATE = 1600, 160, 0.5
_BATCHES = (20, 40, 80, 160)
_LOOKS = (20, 40, 80, 160)
_RUNS_OF_CURVES = 64
_WITHIN = 0.1  # of what noise does: small beside the distances of the curves

# The third: the run that is planned, half as long, so that all changes of it are within the steps of the second.
_PLANNED: dict[str, Any] = {"N": _POINTS, "B": 40, "T": _STEPS // 2}


def add_demo(program: Parser, name: str) -> None:
    """Add the command to the program."""
    parser = program.add_command(name, _run, "show what feyngd is for, in three figures on digits", _EXAMPLE)
    parser.add_argument("--out", default="demo", metavar="FOLDER", help="where the files go (default ./demo)")
    add_digits(parser)
    add_seed_and_quiet(parser)


def _run(options: argparse.Namespace) -> int:
    import jax

    from .._files import check_writable
    from ..drawing import require_matplotlib
    from ..landscapes import digits_landscape

    check_seed(options)
    folder = check_writable(options.out)
    require_matplotlib()
    leaves(options, folder)
    for_params, *keys = jax.random.split(jax.random.key(options.seed), 5)
    landscape, params = digits_landscape(_MODEL, options.limit, key=for_params)
    about = {"version": __version__, "model": _MODEL, "data": "digits", "seed": options.seed}
    demo = _Demo(folder, landscape, params, bars(options), about)
    demo.series(*keys[:2])
    demo.advice(demo.curves(*keys[2:]))
    return 0


class _Demo:
    """Makes the figures one after the other, and writes each when it is finished."""

    def __init__(self, folder: Path, landscape: Any, params: Any, progress: Any, about: dict[str, Any]) -> None:
        self._folder, self._progress = folder, progress
        self._problem = landscape, params
        self._record: dict[str, Any] = {"about": about, "complete": False}
        self._started = time.perf_counter()

    def series(self, for_values: Any, for_runs: Any) -> None:
        """Set the series against real runs, in one epoch over ten points and in two."""
        from ..drawing import new_figure
        from ..estimates import TruncationWarning
        from ..prediction import compare, predict
        from ..simulation import simulate
        from ..spacetimes import Spacetime

        figure, (axes,) = new_figure(2, width=5.6, height=4.3)
        comparisons = []
        for spacetime, ax in zip((Spacetime.sgd(N=10, B=1), Spacetime.sgd(N=10, B=2, E=2)), axes, strict=True):
            given: Any = (*self._problem, spacetime, _RATES)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TruncationWarning)  # table and figure show it
                prediction = predict(*given, progress=self._progress, key=for_values)
            options: dict[str, Any] = {"runs": _RUNS_OF_SERIES, "control": True, "progress": self._progress}
            comparison = compare(prediction, simulate(*given, **options, key=for_runs))
            comparison.plot(ax).locator_params(axis="x", nbins=5)
            comparisons.append(comparison)
        self._record["series"] = [comparison.to_dict() for comparison in comparisons]
        calls = (
            "prediction = fd.predict(landscape, params, fd.Spacetime.sgd(N=10, B=1), rates, key=key)",
            "fd.compare(prediction, fd.simulate(landscape, params, spacetime, rates, control=True, key=other))",
        )
        self._finish("series", figure, calls, comparisons)

    def curves(self, for_noise: Any, for_runs: Any) -> Any:
        """Predict whole runs from one computation, and simulate them at a few steps; return the computation."""
        from ..anchoring import anchor
        from ..drawing import PALETTE, new_figure
        from ..prediction import compare
        from ..simulation import simulate
        from ..spacetimes import Spacetime

        runs = [Spacetime.sgd(_POINTS, B, T=_STEPS) for B in _BATCHES]
        fixed = Spacetime.sgd(**_PLANNED, sampling="fixed")  # one of the changes of the third figure
        options: dict[str, Any] = {"learning_rate": _RATE, "spacetimes": [*runs, fixed], "within": _WITHIN}
        anchored = anchor(*self._problem, **options, progress=self._progress, key=for_noise)
        figure, ((whole, added),) = new_figure(2, width=5.6, height=4.3)
        whole.plot(anchored.test_loss, color=PALETTE[0], lw=1.4, ls="--", label="no noise")
        options = {"runs": _RUNS_OF_CURVES, "progress": self._progress, "key": for_runs}
        comparisons, curves = [], [anchored.predict(run) for run in runs]
        for run, prediction, colour in zip(runs, curves, PALETTE[1:], strict=False):
            looks = [Spacetime.sgd(_POINTS, run.B, T=steps) for steps in _LOOKS if steps % int(run.N / run.B) == 0]
            comparison = compare(prediction, [simulate(*self._problem, look, _RATE, **options) for look in looks])
            prediction.plot(whole, label=f"B = {run.B}", colour=colour)
            _draw_noise(added, prediction, colour)
            seen = comparison.simulation
            bars_of = {"yerr": 2 * seen.stderr, "fmt": "o", "ms": 4, "color": colour, "capsize": 2.5}
            whole.errorbar(seen.points, seen.mean, **bars_of)
            added.errorbar(seen.points, seen.mean - prediction.noiseless[seen.points], **bars_of)
            comparisons.append(comparison)
        whole.set_yscale("log")
        whole.set_title(f"{_POINTS} training points, learning rate {_RATE}", fontsize=10)
        whole.legend(frameon=False, fontsize=9)
        added.set_title(f"what noise adds; points: {_RUNS_OF_CURVES} runs of SGD each", fontsize=10)
        ends = [float(curve.noise[1:].min()) for curve in curves], [float(curve.noise.max()) for curve in curves]
        added.set(yscale="log", xlabel="step t", ylabel="added to the loss without noise")
        added.set_ylim(max(min(ends[0]) / 2, 1e-6), 2 * max(ends[1]))
        self._record["curves"] = [comparison.to_dict() for comparison in comparisons]
        calls = (
            f"anchored = fd.anchor(landscape, params, spacetimes=[*runs, fixed], learning_rate={_RATE}, "
            f"within={_WITHIN}, key=key)",
            "curves = [anchored.predict(run) for run in runs]",
        )
        self._finish("curves", figure, calls, comparisons)
        return anchored

    def advice(self, anchored: Any) -> None:
        """Rank what to change about a run, from the computation that is there."""
        from ..anchoring import advise
        from ..drawing import new_figure
        from ..spacetimes import Spacetime

        table = advise(anchored, Spacetime.sgd(**_PLANNED))
        figure, ((ax,),) = new_figure(width=7.6, height=4.0)
        table.plot(ax)
        self._record["advice"], self._record["complete"] = table.to_dict(), True
        calls = ("advice = fd.advise(anchored, fd.Spacetime.sgd(N={N}, B={B}, T={T}))".format(**_PLANNED),)
        self._finish("advice", figure, calls, [table])

    def _finish(self, name: str, figure: Any, calls: tuple[str, ...], results: list[Any]) -> None:
        """Write a figure and the numbers so far, and print the results with the calls that made them."""
        from .._files import replace_file, write_json
        from ..drawing import drawn

        path = self._folder / f"{name}.png"
        replace_file(path, drawn(figure, "png"))
        write_json(self._folder / "demo.json", self._record)
        for line in calls:
            print(f">>> {line}")
        for result in results:
            print(f"\n{result}")
        print(f"\nwritten after {time.perf_counter() - self._started:.0f} s: {path}\n", flush=True)


def _draw_noise(ax: Any, prediction: Any, colour: str) -> None:
    """Draw what noise adds to the path, with two standard errors and the truncation figure as bands."""
    times, noise, sampling = prediction.times, prediction.noise, 2 * prediction.stderr
    reach = sampling + prediction.truncation
    ax.plot(times, noise, color=colour, lw=1.8, zorder=3)
    ax.fill_between(times, noise - reach, noise + reach, color=colour, alpha=0.12, lw=0, zorder=2)
    ax.fill_between(times, noise - sampling, noise + sampling, color=colour, alpha=0.3, lw=0, zorder=2)
