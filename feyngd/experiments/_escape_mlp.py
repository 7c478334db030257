"""A ReLU network: exits from a box by SGD against 1/η, B and k, and by SGLD against 1/D, where the start is no minimum.

All weights start near 0.1, as in the paper. The loss has a slope there, so that runs drift out of the box, and plain
descent takes about as many steps. Straight lines do not tell a drift from an escape; the law of the times does.
"""

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..companions import escape
from ..companions.escape import Escapes, Noise, NoiseAlignment
from ..errors import LandscapeError
from ..estimates import mean_and_stderr
from ..landscapes import Landscape
from ._escape_slopes import CLOSE, PAPER, SOURCE, has_slope, judged, same_runs, sweeps_figure
from ._experiment import Experiment, Finding, Outcome, Setting
from ._networks import images_for
from ._shift_sampling import CLASSES, COMPONENTS, components
from ._verdicts import all_agree

WIDTH, CENTRE, SPREAD, RADIUS = 10, 0.1, 0.01, 0.05
RATES, QUICK_RATES = (0.0016, 0.0012, 0.0008, 0.0006, 0.0004), (0.0016, 0.0012, 0.0008)
BATCHES, RATE, K = (1, 2, 4, 8), 0.001, 4.0  # k is a power of 4, so that θ/√k is not rounded
TEMPERATURES, SGLD_RATE = (8e-5, 6e-5, 4e-5, 3e-5, 2e-5), 0.02  # D
DESCENT, THEOREM = "plain descent", "theorem 3.2, C = H"
COLOURS = {DESCENT: "#0072B2", THEOREM: "#CC79A7"}
_LONGEST, _RARE = 10**5, 0.01


def run(setting: Setting) -> Outcome:
    """Simulate exits at several η, B, k and D, beside descent without noise, the theorem and the box formula."""
    for_start, for_rates, for_batches, for_d = jax.random.split(setting.key, 4)
    landscape, start, centre = network(setting, for_start)
    count = 30 if setting.quick else 100

    def exits(noise: Noise, rates: Any, key: jax.Array, k: float = 1.0, count: int = count) -> Escapes:
        narrow, begin = escape.rescale(landscape, start, k) if k != 1 else (landscape, start)
        until = escape.Box(jax.tree.map(lambda leaf: leaf / k**0.5, centre), RADIUS / k**0.5)
        options: dict[str, Any] = {"until": until, "runs": count, "max_steps": _LONGEST, "chunk_size": count}
        return escape.simulate(narrow, begin, noise, rates, progress=setting.progress, key=key, **options)

    full = escape.sgd(landscape.num_examples, sampling="without-replacement")  # all examples: no noise
    descent = RATE * float(exits(full, [RATE], for_rates, count=1).steps[0, 0])  # in time, the same for small η
    rates = np.array(QUICK_RATES if setting.quick else RATES)
    batches, temperatures = (np.array([] if setting.quick else given) for given in (BATCHES, TEMPERATURES))
    over_rates = exits(escape.sgd(1), rates, for_rates)
    in_steps = RADIUS**2 / rates - np.log(rates)
    sweeps = {"SGD, 1/η": (1 / rates, over_rates, _curves(over_rates, descent / rates, in_steps))}
    identity: list[Finding] = []
    if not setting.quick:
        over_batches = together([exits(escape.sgd(B), [RATE], for_batches) for B in BATCHES])
        over_d = together([exits(escape.sgld(D), [SGLD_RATE], for_d) for D in TEMPERATURES])
        exponents = RADIUS**2 / RATE * batches
        sweeps["SGD, B"] = batches, over_batches, _curves(over_batches, descent / RATE, exponents)
        sweeps["SGLD, 1/D"] = 1 / temperatures, over_d, _curves(over_d, descent / SGLD_RATE)
        squeezed = exits(escape.sgd(1), [RATE / K], for_batches, K)
        identity = [same_runs(squeezed.steps, over_batches.steps[:1], K)]
    slope, noise = np.asarray(_gradient(landscape, start)), escape.noise_against_hessian(landscape, start)
    findings = [is_minimum(slope, noise), by_box_formula(landscape, start, escape.sgd(1), rates, over_rates)]
    for name, (x, runs, curves) in sweeps.items():
        findings += of_sweep(name, x, runs, curves)
    findings += identity
    layers = f"{COMPONENTS}, {WIDTH}, {WIDTH}, {CLASSES} units, {noise.num_params} parameters"
    ours = {
        "problem": f"ReLU network of {layers}, on {COMPONENTS} components of {landscape.num_examples} images",
        "start": f"{CENTRE} + N(0, {SPREAD}²), one draw for all runs: of variance {SPREAD} it would be outside the box",
        "box": [CENTRE - RADIUS, CENTRE + RADIUS],
        "runs": count,
        "η": rates,
        "B": {"values": batches, "η": RATE},
        "D": {"values": temperatures, "η": SGLD_RATE},
        "k": K,
        "η · steps of plain descent": descent,
    }
    shown = {
        name: {"x": x, **dict(zip(("simulated", "stderr"), log_times(runs), strict=True)), "predicted": curves}
        for name, (x, runs, curves) in sweeps.items()
    }
    return Outcome(
        findings,
        {"paper": PAPER, "ours": ours, "sweeps": shown},
        sweeps_figure({name: (x, *log_times(runs), curves) for name, (x, runs, curves) in sweeps.items()}, COLOURS),
    )


def network(setting: Setting, key: jax.Array) -> tuple[Landscape, Any, Any]:
    """Return the landscape of a ReLU network with three layers of weights, the start, and the centre of the box."""
    images, labels = images_for(setting)
    sizes = (COMPONENTS, WIDTH, WIDTH, CLASSES)
    shapes = [((below, above), (above,)) for below, above in pairwise(sizes)]
    keys = jax.random.split(key, (len(shapes), 2))
    start = [
        tuple(CENTRE + SPREAD * jax.random.normal(one, shape) for one, shape in zip(pair, layer, strict=True))
        for pair, layer in zip(keys, shapes, strict=True)
    ]
    data = components(np.asarray(images, dtype=float)), np.asarray(labels)
    return Landscape(_loss, data), start, jax.tree.map(lambda leaf: jnp.full_like(leaf, CENTRE), start)


def _loss(params: Any, example: Any) -> jax.Array:
    """The cross-entropy of an image's label."""
    units = example[0]
    for weights, bias in params[:-1]:
        units = jax.nn.relu(units @ weights + bias)
    logits = units @ params[-1][0] + params[-1][1]
    return jax.nn.logsumexp(logits) - logits[example[1]]


def together(parts: list[Escapes]) -> Escapes:
    """Return runs at one rate each as one set, a row each."""
    return Escapes(np.concatenate([part.steps for part in parts]), np.concatenate([part.escaped for part in parts]))


def log_times(runs: Escapes) -> tuple[np.ndarray, np.ndarray]:
    """Return the logarithm of the mean steps and its standard error, from their spread: times need not be exponential.

    It is NaN where a run did not leave.
    """
    mean, stderr = mean_and_stderr(np.where(runs.escaped, runs.steps, np.nan), axis=1)
    return np.log(mean), stderr / mean


def is_minimum(slope: np.ndarray, noise: NoiseAlignment) -> Finding:
    """Judge whether the start is a minimum, which every escape time asks for: no gradient, no negative curvature."""
    length, typical = float(np.linalg.norm(slope)), float(np.sqrt(noise.variances.sum() + slope @ slope))
    lowest, highest = float(noise.curvatures.min()), float(noise.curvatures.max())
    numbers = {"length of the gradient": length, "of one example": typical, "lowest h": lowest, "highest h": highest}
    claim = "the start, 0.1 + N(0, 0.01²), is a minimum; if it is not, exits are drift and no escapes"
    return Finding(claim, bool(length <= 1e-3 * typical and lowest > 0), numbers)


def of_sweep(name: str, x: np.ndarray, runs: Escapes, curves: dict[str, np.ndarray]) -> list[Finding]:
    """Judge a sweep: a line, slopes of predictions that have any, the steps of descent, and the law of the times."""
    y, stderr = log_times(runs)
    sloping = {label: curve for label, curve in curves.items() if np.ptp(curve) > 0}
    return [*judged(name, x, y, stderr, sloping), is_descent(name, y, stderr, curves[DESCENT]), is_rare(name, runs)]


def is_descent(sweep: str, y: np.ndarray, stderr: np.ndarray, descent: np.ndarray) -> Finding:
    """Judge whether descent without any noise takes as many steps as the runs, to a tenth, at all places of a sweep."""
    return all_agree(f"{sweep}: exits take the steps of plain descent, to a tenth", descent, y, stderr, CLOSE)


def is_rare(sweep: str, runs: Escapes) -> Finding:
    """Judge whether times are exponential, as those of escapes are, from the p-values of all places of a sweep."""
    values, relative = runs.exponential, runs.steps.std(axis=1) / runs.steps.mean(axis=1)
    least = float(values.min())
    holds = bool(least >= _RARE / len(values)) if np.isfinite(least) else None
    numbers = {"least p": least, "spread over mean, at least": float(relative.min()), "at most": float(relative.max())}
    return Finding(f"{sweep}: times are exponential, as those of escapes are", holds, numbers)


def by_box_formula(landscape: Landscape, start: Any, noise: Noise, rates: np.ndarray, runs: Escapes) -> Finding:
    """Judge the slope of the box formula; where it refuses, the finding says why and is undecided."""
    try:
        boxed = escape.box_exit_time(landscape, start, RADIUS, noise, rates).log_steps
    except LandscapeError as error:
        reason = str(error).partition(". ")[0]
        shares = escape.noise_against_hessian(landscape, start, basis="coordinates").misalignment
        return Finding(f"the box formula refuses. {reason}", None, {"share of C off its diagonal": shares})
    return has_slope("SGD, 1/η: box formula has the slope", 1 / rates, *log_times(runs), boxed)


def _gradient(landscape: Landscape, params: Any) -> jax.Array:
    """The gradient of the mean loss, as one vector."""
    slopes = jax.grad(lambda at: jnp.mean(jax.vmap(landscape.loss, (None, 0))(at, landscape.data)))(params)
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(slopes)])


def _curves(runs: Escapes, descent: Any, theorem: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Return predictions by name; the theorem, which knows no height without a minimum, begins at the first point."""
    y, _ = log_times(runs)
    curves = {DESCENT: np.broadcast_to(np.log(descent), y.shape)}
    return curves if theorem is None else {**curves, THEOREM: theorem - theorem[0] + y[0]}


EXPERIMENT = Experiment(
    "escape-mlp",
    "exits from a box of a ReLU network that starts at no minimum, by SGD and by SGLD",
    f"{SOURCE}, section 4 and appendix D, figures 10 to 13",
    run,
)
