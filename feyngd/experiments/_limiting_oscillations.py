"""Oscillations: the mean along the top eigenvector in two regimes of damping, and peaks of spectra. Figures 2 and 5."""

from typing import Any

import jax
import numpy as np

from ..companions import limiting
from ..drawing import new_figure
from ..landscapes import Landscape
from ..optimizers import momentum
from ._experiment import Experiment, Finding, Outcome, Setting
from ._limiting import BATCH, BETA, DECAY, OURS, PAPER, RATE, SOURCE, problem, runs_of, settled
from ._shift_sampling import components
from ._verdicts import all_agree

_REGRESSION_RATE = 0.001
_SHOWN = 6  # directions whose spectra are compared


def _regression_loss(theta: Any, example: Any) -> Any:
    x, y = example
    return jax.numpy.sum((theta.reshape(y.shape[0], -1) @ x - y) ** 2) / 2


def run(setting: Setting) -> Outcome:
    """Follow one-hot regression from zero with β = 0.9 and 0.99; find the peaks of settled runs' spectra."""
    steps, runs = (400, 16) if setting.quick else (4000, 48)
    for_runs, for_means = jax.random.split(setting.key)
    with jax.enable_x64(True):
        given = problem(setting)
        limit = given.basin.limit(RATE, BATCH, optimizer=momentum(BETA), weight_decay=DECAY)
        found = runs_of(given, steps, runs, for_runs, burn_in=settled())
        paths = {beta: _path(setting, beta, runs, for_means) for beta in (0.9, 0.99)}
    omega = np.linspace(0, np.pi, 4097)
    spectra = limit.spectrum(omega)
    expected = omega[spectra.argmax(axis=0)][:_SHOWN]
    peaks = np.array([found.dominant_frequency(i) for i in range(_SHOWN)])
    allowed = np.array([_width(omega, spectra[:, i]) for i in range(_SHOWN)])
    findings = [
        Finding(
            "velocities along the sharpest directions have the predicted peak, within half the width of the peak",
            bool(np.all(np.abs(peaks - expected) <= allowed)),
            {"largest deviation over half a width": float(np.max(np.abs(peaks - expected) / allowed))},
        )
    ]
    for beta, (_, exact, equation, mean, errors, regime) in paths.items():
        findings.append(all_agree(f"β = {beta:g}: the mean along q_1 is the exact one ({regime})", exact, mean, errors))
        off = float(np.max(np.abs(equation - exact)) / np.max(np.abs(exact)))
        findings.append(
            Finding(f"β = {beta:g}: the paper's equation is within 5 % of it", off < 0.05, {"largest difference": off})
        )
    data = {
        "the paper's parameters": PAPER,
        "ours": OURS,
        "peaks, predicted": expected,
        "peaks, measured": peaks,
        "means": {f"{beta:g}": [part.tolist() for part in path[:5]] for beta, path in paths.items()},
    }
    return Outcome(findings, data, _figure(paths, omega, spectra, found))


def _width(omega: np.ndarray, spectrum: np.ndarray) -> float:
    """Return half the width of a peak at half its height."""
    high = omega[spectrum >= spectrum.max() / 2]
    return float(high[-1] - high[0]) / 2 + omega[1]


def _path(setting: Setting, beta: float, runs: int, key: jax.Array) -> Any:
    """Return steps, and along the top eigenvector the exact mean, that of the equation, and that of runs."""
    images, labels = setting.images
    features = components(np.asarray(images, dtype=float))[:300]
    features = np.hstack([features, np.ones((len(features), 1))])
    targets = np.eye(10)[np.asarray(labels)[: len(features)]]
    theta = jax.numpy.zeros(10 * features.shape[1])
    landscape = Landscape(_regression_loss, (features, targets))
    hessian = np.kron(np.eye(10), features.T @ features / len(features))
    solved = np.linalg.lstsq(features, targets, rcond=None)[0].T.ravel()
    basin = limiting.Basin.from_matrices(hessian, np.zeros_like(hessian), minimum=solved)
    top = basin.vectors[np.abs(basin.vectors[:10] @ solved).argmax()]
    count = 300 if setting.quick else 1000
    at = np.unique(np.linspace(1, count, 60).astype(int))
    options = {"optimizer": momentum(beta), "directions": top, "key": key}
    found = limiting.trajectories(landscape, theta, _REGRESSION_RATE, 32, count, runs=runs, **options)
    rows = found.positions[:, at - 1, 0]
    curves = []
    for time in ("discrete", "continuous"):
        limit = basin.limit(_REGRESSION_RATE, 32, optimizer=momentum(beta), time=time)
        zero = np.zeros_like(solved)
        curves.append(np.array([top @ limit.mean(zero, zero, int(k))[0] for k in at]))
    h = float(top @ hessian @ top)
    zeta = (1 - beta) / np.sqrt(2 * _REGRESSION_RATE * (1 + beta) * h)
    regime = "underdamped" if zeta < 1 else "overdamped"
    return at, *curves, rows.mean(axis=0), rows.std(axis=0, ddof=1) / runs**0.5, regime


def _figure(paths: Any, omega: np.ndarray, spectra: np.ndarray, found: Any) -> Any:
    figure, grid = new_figure(2, width=5.0)
    left, right = grid[0]
    for (beta, (at, exact, equation, mean, errors, regime)), color in zip(
        paths.items(), ("#0072B2", "#E69F00"), strict=True
    ):
        left.errorbar(at, mean, 2 * errors, fmt="o", ms=3, color=color, label=f"runs, β = {beta:g}, {regime}")
        left.plot(at, exact, color="black", lw=1, label="exact mean" if beta == 0.9 else None)
        left.plot(at, equation, "--", color="#999999", lw=1, label="paper's equation" if beta == 0.9 else None)
    left.set(xlabel="steps", ylabel="position along the top eigenvector", title="one-hot regression from zero")
    left.legend(fontsize=8)
    for i, color in ((0, "#0072B2"), (_SHOWN - 1, "#009E73")):
        signal = found.velocities[:, :, i] * RATE
        count = signal.shape[1]
        window = np.hanning(count)
        power = np.mean(np.abs(np.fft.rfft(signal * window, axis=1)) ** 2, axis=0) / np.sum(window**2)
        frequency = 2 * np.pi * np.fft.rfftfreq(count)
        right.loglog(frequency[1:], power[1:], color=color, lw=0.5, alpha=0.6)
        right.loglog(omega[1:], spectra[1:, i], color=color, lw=1.8, label=f"predicted, $q_{{{i + 1}}}$")
    right.set(xlabel="frequency (radians a step)", ylabel="spectral density of steps", title="settled runs")
    right.legend(fontsize=8)
    return figure


EXPERIMENT = Experiment(
    "limiting-oscillations",
    "the mean in two regimes of damping, and the peaks of velocity spectra",
    f"{SOURCE}, sections 3 and 4, figures 2 and 5",
    run,
)
