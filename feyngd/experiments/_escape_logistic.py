"""Logistic regression with random labels: exits from a box by SGD against 1/η, B and k, and by SGLD against 1/D.

Every input carries both labels, and inputs are whitened. So 0 is the minimum, and C = H = I there, as theorem 3.2 asks.
The walls of the box are no saddles: the theorem is read as the paper reads it, with the wall for a saddle.
"""

import math
import warnings
from typing import Any

import jax
import numpy as np

from ..companions import escape
from ..companions.escape import Escapes, Noise
from ..estimates import TruncationWarning
from ..landscapes import Landscape
from ._escape_slopes import PAPER, SOURCE, joined, judged, log_steps, same_runs, sweeps_figure
from ._experiment import Experiment, Outcome, Setting

RADIUS = 0.1
EXPONENTS, QUICK_EXPONENTS = (3.5, 4.0, 4.5, 5.0, 5.5), (3.0, 3.75, 4.5)  # Br²/η for SGD, r²/2D for SGLD
BATCHES, QUICK_BATCHES, RATE, K = (2, 3, 4), (), 0.0075, 2.0
SGLD_RATE = 0.02
_INPUTS, _SIZE, _LONGEST = 200, 4, 10**6
COLOURS = {"box formula": "#0072B2", "the theorem, walls as saddles": "#CC79A7"}


def run(setting: Setting) -> Outcome:
    """Simulate exits at several η, B, k and D, and set the box formula and the printed theorems beside them."""
    for_data, for_rates, for_batches, for_d = jax.random.split(setting.key, 4)
    landscape, start = regression(for_data)
    exponents = np.array(QUICK_EXPONENTS if setting.quick else EXPONENTS)
    batches: tuple[int, ...] = QUICK_BATCHES if setting.quick else BATCHES
    rates, temperatures = RADIUS**2 / exponents, RADIUS**2 / (2 * exponents)
    runs = _exits(landscape, start, escape.sgd(1), rates, setting, for_rates)
    squeezed = _exits(*escape.rescale(landscape, start, K), escape.sgd(1), rates / K, setting, for_rates, K)
    by_batch = [_exits(landscape, start, escape.sgd(b), np.array([RATE]), setting, for_batches) for b in batches]
    by_d = [_exits(landscape, start, escape.sgld(D), np.array([SGLD_RATE]), setting, for_d) for D in temperatures]
    over_rates = _boxed(landscape, start, escape.sgd(1), rates)
    over_batches = [_boxed(landscape, start, escape.sgd(b), np.array([RATE]))[0] for b in batches]
    over_d = [_boxed(landscape, start, escape.sgld(D), np.array([SGLD_RATE]))[0] for D in temperatures]
    sweeps = {
        "SGD, 1/η": (1 / rates, *log_steps(runs), _curves(over_rates, exponents, rates)),
        "SGLD, 1/D": (1 / temperatures, *joined(by_d), _curves(over_d, exponents, SGLD_RATE)),
    }
    if batches:
        over_b = _curves(over_batches, RADIUS**2 / RATE * np.array(batches), RATE)
        sweeps["SGD, B"] = (np.array(batches), *joined(by_batch), over_b)
    findings = [finding for name, sweep in sweeps.items() for finding in judged(name, *sweep)]
    findings.append(same_runs(squeezed.steps, runs.steps, K))
    problem = f"{_SIZE} parameters, {_INPUTS} whitened normal inputs of variance 4, each with both labels; start 0"
    data = {
        "paper": PAPER,
        "ours": {"problem": problem, "radius": RADIUS, "runs": runs.steps.shape[1], "η of SGLD": SGLD_RATE, "k": K},
        "η": rates,
        "B": {"values": batches, "η": RATE},
        "D": temperatures,
        "sweeps": {
            name: {"x": x, "simulated": y, "stderr": stderr, "predicted": curves}
            for name, (x, y, stderr, curves) in sweeps.items()
        },
    }
    return Outcome(findings, data, sweeps_figure(sweeps, COLOURS))


def regression(key: jax.Array) -> tuple[Landscape, np.ndarray]:
    """Return logistic regression with both labels at every input, and its minimum 0, where C = H = I."""
    inputs = np.asarray(jax.random.normal(key, (_INPUTS, _SIZE)), dtype=float)
    values, vectors = np.linalg.eigh(inputs.T @ inputs / _INPUTS)
    white = 2 * inputs @ (vectors / np.sqrt(values)) @ vectors.T
    return Landscape(_loss, np.concatenate([white, -white])), np.zeros(_SIZE)


def _loss(params: Any, signed: Any) -> Any:
    """The logistic loss of one input times its label, ±1."""
    return jax.nn.softplus(-signed @ params)


def _curves(box: Any, exponents: np.ndarray, rates: Any) -> dict[str, np.ndarray]:
    """Return predictions by name; the theorem has H_a = |H_b| = 1 here, so that its time is 2π e^exponent."""
    return dict(zip(COLOURS, (np.asarray(box), exponents + math.log(2 * math.pi) - np.log(rates)), strict=True))


def _boxed(landscape: Landscape, start: np.ndarray, noise: Noise, rates: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TruncationWarning)  # exits are frequent, so that runs can be awaited
        return escape.box_exit_time(landscape, start, RADIUS, noise, rates).log_steps


def _exits(
    landscape: Landscape, start: Any, noise: Noise, rates: np.ndarray, setting: Setting, key: jax.Array, k: float = 1.0
) -> Escapes:
    """Return runs from 0 until a parameter is 0.1/√k away."""
    until, count = escape.Box(start, RADIUS / k**0.5), 60 if setting.quick else 200
    options: dict[str, Any] = {"until": until, "runs": count, "max_steps": _LONGEST, "chunk_size": count, "key": key}
    return escape.simulate(landscape, start, noise, rates, progress=setting.progress, **options)


EXPERIMENT = Experiment(
    "escape-logistic",
    "exits from a box of logistic regression with random labels, by SGD and by SGLD",
    f"{SOURCE}, section 4 and appendix D, figures 10 to 13",
    run,
)
