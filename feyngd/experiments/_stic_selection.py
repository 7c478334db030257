"""Choosing the strength of a penalty by STIC, TIC or AIC, for tasks of estimating means from few noisy points.

The paper's text gives the family of tasks and its recommendation, and no more: one direction of curvature H, with the
start at the true minimum. There any penalty helps, so truths away from the start, in many directions, are added.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from scipy.stats import norm

from ..drawing import new_figure
from ..estimates import mean_and_stderr
from ..training import response
from ._experiment import Experiment, Finding, Outcome, Setting
from ._order_claims import resolved

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RATE, STEPS, COUNT = 0.1, 300, 10
PENALTIES = np.concatenate([[0.0], np.geomspace(1e-4, 10, 31)])  # descent with penalties above 2/η = 20 diverges
CURVATURES = np.geomspace(1e-4, 3, 10)
NEGLIGIBLE = 0.01  # curvatures up to a tenth of C/N
DIRECTIONS = np.geomspace(1, 1e-3, 100)
NOISES = np.geomspace(0.03, 1, 10)
CRITERIA = ("STIC", "TIC", "AIC")
_COLOURS = {"STIC": "#0072B2", "TIC": "#E69F00", "AIC": "#CC79A7"}
_MARKS = {"STIC": "o", "TIC": "s", "AIC": "^"}

Losses = Mapping[str, np.ndarray]  # excess test loss in every trial, by criterion and for the best penalty


@dataclass(frozen=True)
class Task:
    """Means in one or more directions, l = Σ_i ½ h_i (θ_i − θ*_i)² + S x·θ with x ~ N(0, 1), descended on from 0.

    Attributes:
        curvatures: h, shape (p,).
        noise: S, so that C = S².
        spread: the standard deviation of the truth θ*, drawn for every trial; at 0 the start is the true minimum.
    """

    curvatures: np.ndarray
    noise: float
    spread: float

    def draw(self, trials: int, key: jax.Array) -> tuple[np.ndarray, np.ndarray]:
        """Return truths, shape (trials, p), and training points x, shape (trials, N, p)."""
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        truth = self.spread * rng.normal(size=(trials, len(self.curvatures)))
        return truth, rng.normal(size=(trials, COUNT, len(self.curvatures)))

    def scores(self, truth: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, Losses]:
        """Return the excess test loss for every penalty and what each criterion minimizes, shape (trials, penalties).

        That is the training loss plus the criterion, at the end of penalized descent. The loss is quadratic, so that T
        steps are a power of one factor, and its noise is the same everywhere. AIC is the same for all penalties.
        """
        h, steepness = self.curvatures, self.curvatures + PENALTIES[:, None]
        pull = self.noise * points.mean(axis=1)
        theta = (h * truth - pull)[:, None] * response(RATE, STEPS, "discrete")(steepness)
        excess = np.sum(0.5 * h * (theta - truth[:, None]) ** 2, axis=2)
        train = excess + np.sum(pull[:, None] * theta, axis=2)
        stic, tic = self.gaps(points)
        return excess, {"STIC": train + stic, "TIC": train + tic, "AIC": train, "best": excess}

    def gaps(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gap of every penalty as STIC and as TIC estimate it, shape (trials, penalties)."""
        steepness = self.curvatures + PENALTIES[:, None]
        covariance = self.noise**2 * points.var(axis=1, ddof=1)
        stic, tic = response(RATE, STEPS, "discrete")(steepness), 1 / steepness
        return covariance @ stic.T / COUNT, covariance @ tic.T / COUNT

    def gap_claim(self, trials: int, key: jax.Array) -> Finding:
        """Judge whether STIC, which is exact on these losses, equals the gap on average, in the mean over penalties."""
        truth, points = self.draw(trials, key)
        excess, scores = self.scores(truth, points)
        gap, stic = (excess - scores["AIC"]).mean(axis=1), self.gaps(points)[0].mean(axis=1)
        (simulated, _), (predicted, _), (_, stderr) = (mean_and_stderr(one) for one in (gap, stic, gap - stic))
        claim = f"{len(self.curvatures)} directions, noise {self.noise:g}: STIC is the gap, in the mean over penalties"
        return resolved(claim, float(predicted), float(simulated), stderr=float(stderr))

    def chosen(self, trials: int, key: jax.Array) -> Losses:
        """Return the excess test loss with the penalty that each criterion chooses, shape (trials,)."""
        excess, scores = self.scores(*self.draw(trials, key))
        return {name: excess[np.arange(trials), np.argmin(score, axis=1)] for name, score in scores.items()}


def run(setting: Setting) -> Outcome:
    """Choose penalties in many trials of both kinds of tasks, and compare the criteria trial by trial."""
    trials = 200 if setting.quick else 1000
    keys = iter(jax.random.split(setting.key, len(CURVATURES) + len(NOISES)))
    with setting.progress.task(len(CURVATURES) + len(NOISES), "tasks") as task:
        single, many = {}, {}
        for h in CURVATURES:
            single[float(h)] = Task(np.array([h]), 1.0, 0.0).chosen(trials, next(keys))
            task.advance()
        for noise in NOISES:
            many[float(noise)] = Task(DIRECTIONS, float(noise), 1.0).chosen(trials, next(keys))
            task.advance()
    flat = {h: losses for h, losses in single.items() if h <= NEGLIGIBLE}
    findings = [
        _always_better(flat, "STIC", "AIC", "one direction, H below C/(10N): STIC chooses better than AIC"),
        _always_better(
            flat, "TIC", "STIC", "but TIC, which overstates the gap, better than STIC: there more is better"
        ),
        _sometimes_best(many, "many directions: STIC chooses better than both where the noise is moderate"),
        _never_worst([*single.values(), *many.values()], "STIC is nowhere the worst of the three"),
    ]
    largest = Task(DIRECTIONS, float(NOISES[-1]), 1.0)
    findings.append(largest.gap_claim(trials, jax.random.fold_in(setting.key, 1)))
    data = {
        "one direction, noise 1": _table("curvature", single),
        f"{len(DIRECTIONS)} directions, curvatures 1 to 0.001": _table("noise", many),
    }
    return Outcome(findings, data, _figure(single, many))


def advantage(losses: Losses, one: str, other: str) -> tuple[float, float]:
    """Return by how much a criterion's loss is below another's, the mean of paired differences, and its error."""
    mean, stderr = mean_and_stderr(losses[other] - losses[one])
    return float(mean), float(stderr)


def _always_better(tasks: Mapping[float, Losses], one: str, other: str, claim: str) -> Finding:
    """Judge whether one criterion is better in every task, by three standard errors of the paired differences."""
    scores = [mean / stderr for mean, stderr in (advantage(losses, one, other) for losses in tasks.values())]
    first = advantage(next(iter(tasks.values())), one, other)
    numbers = {
        "least advantage in standard errors": min(scores),
        "advantage at the first": first[0],
        "stderr": first[1],
    }
    return Finding(claim, min(scores) > 3, numbers)


def _sometimes_best(tasks: Mapping[float, Losses], claim: str) -> Finding:
    """Judge whether STIC beats both others in some task, by three standard errors, more in view of the choice."""
    worst = {}
    for noise, losses in tasks.items():
        pairs = [advantage(losses, "STIC", other) for other in CRITERIA[1:]]
        worst[noise] = min(mean / stderr if stderr else 0.0 for mean, stderr in pairs)
    noise = max(worst, key=lambda key: worst[key])
    numbers = {"noise": noise, "advantage in standard errors": worst[noise]}
    for other in CRITERIA[1:]:
        numbers[f"{other} − STIC"], numbers[f"± ({other})"] = advantage(tasks[noise], "STIC", other)
    return Finding(claim, bool(worst[noise] > norm.isf(norm.sf(3) / len(tasks))), numbers)


def _never_worst(tasks: list[Losses], claim: str) -> Finding:
    """Judge whether STIC is never worse than both others by three standard errors, more for many tasks."""
    scores = []
    for losses in tasks:
        pairs = [advantage(losses, "STIC", other) for other in CRITERIA[1:]]
        scores.append(max(mean / stderr if stderr else 0.0 for mean, stderr in pairs))
    allowed = -float(norm.isf(norm.sf(3) / len(tasks)))
    numbers = {"least advantage over the worse of both, in standard errors": min(scores), "allowed": allowed}
    return Finding(claim, bool(min(scores) >= allowed), numbers)


def _table(name: str, tasks: Mapping[float, Losses]) -> dict[str, Any]:
    """Return means and standard errors, also of the paired differences to STIC."""
    table: dict[str, Any] = {name: list(tasks)}
    for criterion in (*CRITERIA, "best"):
        table[criterion] = [mean_and_stderr(losses[criterion]) for losses in tasks.values()]
    for criterion in CRITERIA[1:]:
        table[f"{criterion} − STIC"] = [advantage(losses, "STIC", criterion) for losses in tasks.values()]
    return table


def _figure(single: Mapping[float, Losses], many: Mapping[float, Losses]) -> "Figure":
    figure, ((left, right),) = new_figure(2)
    for name in CRITERIA:
        style = {"fmt": f"{_MARKS[name]}-", "ms": 4, "lw": 1.2, "color": _COLOURS[name], "label": name}
        means, errors = np.array([mean_and_stderr(losses[name]) for losses in single.values()]).T
        left.errorbar(list(single), means, 2 * errors, **style)
        ratios, errors = np.array([_over_best(losses, name) for losses in many.values()]).T
        right.errorbar(list(many), ratios, 2 * errors, **style)
    left.axvspan(min(single) / 1.3, NEGLIGIBLE, color="#999999", alpha=0.2, lw=0, label="H below C/(10N)")
    left.set_xlim(left=min(single) / 1.3)
    left.set_yscale("log")
    left.set_xlabel("curvature H")
    left.set_ylabel("excess test loss")
    left.set_title(f"One direction, C/N = {1 / COUNT:g}, start at the true minimum", fontsize=10)
    right.axhline(1, color="#777777", ls=":", label="best penalty in every trial")
    right.set_ylim(0.95, 2)
    right.set_xlabel("noise S, C = S²")
    right.set_ylabel("excess test loss / that of the best penalties")
    right.set_title(f"{len(DIRECTIONS)} directions, H = 1 … 0.001, truth N(0, 1), N = {COUNT}", fontsize=10)
    for axes in (left, right):
        axes.set_xscale("log")
        axes.legend(fontsize=8)
    return figure


def _over_best(losses: Losses, name: str) -> tuple[float, float]:
    """Return the ratio of mean losses of a criterion and of the best penalties, and its error by the delta method."""
    best = losses["best"].mean()
    ratio = losses[name].mean() / best
    return float(ratio), float(mean_and_stderr(losses[name] - ratio * losses["best"])[1] / best)


EXPERIMENT = Experiment(
    "stic-selection",
    "choosing a penalty by STIC, TIC and AIC from few noisy points",
    "Tenka, section 5.5",
    run,
)
