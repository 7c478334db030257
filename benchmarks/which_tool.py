"""What each tool costs, for docs/which-tool.md: `taskset -c 0 python benchmarks/which_tool.py [section ...]`.

The sections are ranges, series, path, minimum and symbolic; each prints a table or a few lines. Costs are in g, one
gradient of the mean loss over all 1,797 digits, measured in the same process. Both are processor time of one core, so
that other work on the machine matters less. "First" calls compile; "again" is the least of two more.
"""

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from measuring import fastest_gradient, machine
from near_minimum import trained
from problems import problem
from sympy import symbols
from targets import up_to

import feyngd as fd
from feyngd.landscapes import Landscape

STEPS, RATE = 160, 0.2  # the MLP's loss falls from 2.48 to 0.27
LENGTHS = (10, 40)
REPEATS = 100  # gradients that are timed together
PROBED = 64  # simulated runs that tell the time and the spread of more of them
RUNS = (
    fd.Spacetime.sgd(200, 5, 4),
    fd.Spacetime.sgd(400, 10, 4),
    fd.Spacetime.sgd(3200, 80, 4),
    fd.Spacetime.sgd(1600, 40, T=STEPS, sampling="with-replacement"),
    fd.Spacetime.gd(1600, STEPS),
)


def spent(function: Callable[[], Any]) -> float:
    """Return the processor seconds of one call, of all threads."""
    start = time.process_time()
    function()
    return time.process_time() - start


def unit(landscape: Landscape, params: Any) -> float:
    """Return the processor seconds of one gradient over all data."""
    gradient = fastest_gradient(landscape, params)
    return min(spent(lambda: [gradient() for _ in range(REPEATS)]) for _ in range(5)) / REPEATS


def times(function: Callable[[], Any], g: float) -> tuple[float, float]:
    """Return what the first call costs, and the least of two more, in gradients."""
    return spent(function) / g, min(spent(function) for _ in range(2)) / g


def few_pairings(landscape: Landscape, params: Any) -> fd.Values:
    """Return all values of order ≤ 3 from two pairings, without the check of rounding."""
    options = {"estimator": "pairing", "replicates": 2, "check_dtype": False, "key": jax.random.key(0)}
    return fd.evaluate(up_to(3), landscape, params, **options)


def ranges() -> None:
    """Print up to which learning rate the plain series of order 3 has converged."""
    spacetimes = fd.Spacetime.sgd(10), fd.Spacetime.sgd(100), fd.Spacetime.sgd(100, 10, 2), fd.Spacetime.sgd(400, 10, 4)
    print("| network | " + " | ".join(f"N={s.N}, B={s.B}, T={s.T}" for s in spacetimes) + " |")
    print("|---|" + "---|" * len(spacetimes))
    for name in ("logistic", "mlp", "convnet"):
        landscape, params = problem(name)
        options = {"estimator": "pairing", "check_dtype": False, "key": jax.random.key(0)}
        values = fd.evaluate(up_to(3), landscape, params, **options)
        found = [fd.predict(landscape, params, one, [1e-6], values=values).valid_up_to for one in spacetimes]
        print(f"| {name} | " + " | ".join(f"{edge:.2g}" for edge in found) + " |", flush=True)


def series() -> None:
    """Print what the plain series costs, and simulating the change of the loss and SGD less descent."""
    landscape, params = problem("mlp")
    g = unit(landscape, params)
    sgd, gd = fd.Spacetime.sgd(100), fd.Spacetime.gd(100, 100)

    def predicted() -> fd.Prediction:
        return fd.predict(landscape, params, sgd, [1e-3], key=jax.random.key(0))

    first, again = times(predicted, g)
    print(f"1 g is {1000 * g:.3g} ms of processor time. Default predict: first {first:,.0f} g, again {again:,.0f} g.")
    first, again = times(lambda: few_pairings(landscape, params), g)
    print(f"Two pairings, no check of rounding: first {first:,.0f} g, again {again:,.0f} g.")
    values = few_pairings(landscape, params)
    ours, theirs = (fd.predict(landscape, params, one, [1e-6], values=values) for one in (sgd, gd))
    rate = 0.9 * min(ours.valid_up_to, theirs.valid_up_to)
    change = ours.at(rate)[0] - ours.at(0.0)[0]
    sampling = ours.at(rate)[1] / abs(change)
    print(f"At η = {rate:.3g} the change is {change:.4f}; sampling {sampling:.2%} of it, ", end="")
    (cut,) = fd.predict(landscape, params, sgd, [rate], values=values).truncation
    print(f"truncation {cut / abs(change):.2%}.")

    def simulated(spacetime: fd.Spacetime, seed: int) -> fd.Simulation:
        options = {"runs": 512, "chunk_size": 64, "key": jax.random.key(seed)}
        return fd.simulate(landscape, params, spacetime, rate, **options)

    taken = [times(lambda s=s: simulated(s, 1), g)[1] / 512 for s in (sgd, gd)]
    ends = [simulated(s, 1).samples[0] for s in (sgd, gd)]
    apart = (ours.coefficients - theirs.coefficients).mean(axis=0) @ rate ** np.arange(4)
    one = (ends[0].std() / (0.01 * change)) ** 2 * taken[0]
    other = ((ends[0] - ends[1]).std() / (0.1 * apart)) ** 2 * sum(taken)
    print(f"One simulated run: {taken[0]:.3g} g (SGD), {taken[1]:.3g} g (descent). ", end="")
    print(f"The change to 1 %: {one:,.0f} g. SGD less descent ({apart:.2g}) to 10 %: {other:,.0f} g.", flush=True)


def path() -> None:
    """Print what anchoring costs, and what simulating single runs to the same error would."""
    landscape, params = problem("mlp")
    g = unit(landscape, params)

    def anchored() -> fd.Anchored:
        options = {"steps": STEPS, "learning_rate": RATE, "epoch_lengths": LENGTHS, "key": jax.random.key(1)}
        return fd.anchor(landscape, params, **options)

    kept: list[fd.Anchored] = []
    first, again = spent(anchored) / g, spent(lambda: kept.append(anchored())) / g
    print(f"1 g is {1000 * g:.3g} ms of processor time. anchor: first {first:,.0f} g, again {again:,.0f} g.")
    (made,) = kept
    each = spent(lambda: [made.predict(spacetime) for spacetime in RUNS]) / len(RUNS)
    print(f"predict: {each / g:.2g} g each.\n")
    print("| run | effect | sampling | truncation | simulated to the same error, g | anchored / simulated |")
    print("|---|---|---|---|---|---|")
    for spacetime in RUNS:
        ours = made.predict(spacetime)

        def simulated(seed: int, spacetime: fd.Spacetime = spacetime) -> fd.Simulation:
            options = {"runs": PROBED, "chunk_size": 16, "key": jax.random.key(seed)}
            return fd.simulate(landscape, params, spacetime, RATE, **options)

        run, (_, cost) = simulated(2), times(lambda: simulated(3), g)
        needed = (run.stderr[0] / ours.stderr[-1]) ** 2 * cost
        effect = ours.mean[-1] - ours.noiseless[-1]
        print(
            f"| {spacetime} | {effect:.5f} | {ours.stderr[-1] / effect:.1%} | {ours.truncation[-1] / effect:.0%} | "
            f"{needed:,.0f} | {again / needed:.2g} |",
            flush=True,
        )


def minimum() -> None:
    """Print what a re-summed prediction costs at a minimum of logistic regression, and simulating it."""
    landscape, params = trained("logistic")
    g = unit(landscape, params)

    def near() -> fd.NearMinimum:
        return fd.near_minimum(landscape, params, key=jax.random.key(1))

    first, again = times(near, g)
    print(f"1 g is {1000 * g:.3g} ms of processor time. near_minimum: first {first:,.0f} g, again {again:,.0f} g.")
    made, spacetime = near(), fd.Spacetime.sgd(1000, 50, 20)
    rate = 0.2 / made.point.curvatures[1]
    predict = times(lambda: made.predict(spacetime, rate), g)
    prediction = made.predict(spacetime, rate)
    effect = prediction.mean[0] - made.start
    run = fd.simulate(landscape, params, spacetime, rate, runs=PROBED, key=jax.random.key(2))
    _, cost = times(lambda: fd.simulate(landscape, params, spacetime, rate, runs=PROBED, key=jax.random.key(3)), g)
    print(f"predict: first {predict[0]:,.0f} g, again {predict[1]:,.0f} g. The effect is {effect:.5f}, ", end="")
    print(f"sampling {prediction.stderr[0] / effect:.2%}, truncation {prediction.truncation[0] / effect:.1%}; ", end="")
    print(f"simulated to 1 %: {(run.stderr[0] / (0.01 * effect)) ** 2 * cost:,.0f} g.", flush=True)


def symbolic() -> None:
    """Print the seconds of closed forms and of a check, which need no network."""
    N, B, E = symbols("N B E", integer=True, positive=True)
    for order in (2, 3, 4):
        seconds = spent(lambda: fd.expand("gap", order=order, spacetime=fd.Spacetime.sgd(N, B, E)))  # noqa: B023
        print(f"expand, order {order}, symbols N, B, E: {seconds:.2g} s")

    def check() -> int:
        formula: Callable[[Any], Any] = lambda s: s.eta * s.T / s.N * s.C.trace()  # noqa: E731
        return fd.testing.check_identity("gap", formula, spacetime=fd.Spacetime.sgd(N=3), order=1)

    print(f"check_identity, order 1, N = 3, 30 landscapes: {spent(check):.2g} s")


SECTIONS = {
    "ranges": ranges,
    "series": series,
    "path": path,
    "minimum": jax.enable_x64(True)(minimum),
    "symbolic": symbolic,
}


def main(chosen: list[str]) -> None:
    """Run sections, all by default."""
    if unknown := set(chosen) - set(SECTIONS):
        raise SystemExit(f"Unknown sections: {', '.join(sorted(unknown))}. There are: {', '.join(SECTIONS)}.")
    warnings.simplefilter("ignore")
    print(machine())
    for name in chosen or SECTIONS:
        print(f"\n## {name}\n")
        print(f"\n({spent(SECTIONS[name]):.0f} s of processor time)", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
