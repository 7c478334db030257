"""Does curvature of the weight space regularize? SGD along geodesics of spheres and hyperbolic planes.

Tenka's Conjecture 1 says that for small η the generalization gap decreases as sectional curvature grows. Here spaces of
constant curvature K have the same losses in normal coordinates of the start.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from ..drawing import new_figure
from ..estimates import mean_and_stderr
from ..landscapes import Landscape
from ..simulation import simulate
from ..spacetimes import Spacetime
from ._curved_statistics import ALIGNED, SPREAD, Kinds, exact_change, third_order
from ._experiment import Experiment, Finding, Outcome, Setting
from ._geodesic_steps import geodesic_update
from ._order_claims import resolved

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COUNT = 2
QUANTITIES = {"gap": "gap", "test_loss": "test loss"}


@dataclass(frozen=True)
class Case:
    """Losses and epochs, and how curvature enters there.

    Attributes:
        name: in words.
        kinds: gradients and Hessians at the start.
        epochs: E, of `COUNT` points.
        leading: the first power of η with K.
        rates: learning rates of the simulations.
        colour: in the figure.
    """

    name: str
    kinds: Kinds
    epochs: int
    leading: int
    rates: tuple[float, ...]
    colour: str

    @property
    def spacetime(self) -> Spacetime:
        """The runs."""
        return Spacetime.sgd(COUNT, 1, self.epochs)


CASES = (
    Case("two epochs, spread gradients", SPREAD, 2, 3, (0.01, 0.02, 0.04), "#0072B2"),
    Case("one epoch, spread gradients", SPREAD, 1, 4, (0.03, 0.06, 0.09), "#009E73"),
    Case("one epoch, aligned gradients", ALIGNED, 1, 4, (0.03, 0.06, 0.09), "#E69F00"),
)


@dataclass(frozen=True)
class Simulated:
    """What one unit of K adds to the gap, over the leading power of η: half the difference of K = 1 and K = −1.

    Attributes:
        values: at every learning rate; runs share training sets and orders over rates and K.
        stderrs: their standard errors.
        limit: at η → 0, by a polynomial in η through the values of every run.
        stderr: its standard error.
        cut: how much it changes without the largest learning rate.
    """

    values: np.ndarray
    stderrs: np.ndarray
    limit: float
    stderr: float
    cut: float


def run(setting: Setting) -> Outcome:
    """Compare the coefficients with K by formula, by enumeration in fractions, and by runs with exact geodesics."""
    sizes = [(2, 2)] if setting.quick else [(2, 1), (2, 2), (3, 2), (2, 3)]
    runs = 100_000 if setting.quick else 400_000
    findings, checked = [], []
    for count, epochs in sizes:
        formula = third_order(SPREAD, count, epochs)
        exact = {
            quantity: exact_change(quantity, SPREAD, Spacetime.sgd(count, 1, epochs), 3) for quantity in QUANTITIES
        }
        findings += [
            _formula(count, epochs, quantity, formula[quantity], exact[quantity][3]) for quantity in QUANTITIES
        ]
        checked += list(exact.values())
    findings.insert(0, _early(checked))
    keys = jax.random.split(setting.key, len(CASES))
    data: dict[str, Any] = {}
    exact_gaps, simulated = [], []
    with jax.enable_x64(True), setting.progress.task(len(CASES), "cases in curved space") as task:
        for case, key in zip(CASES, keys, strict=True):
            exact_gap = [float(value) for value in exact_change("gap", case.kinds, case.spacetime, 4)]
            ours = _simulated(case, runs, key)
            findings.append(_runs(case, exact_gap[case.leading], ours))
            exact_gaps.append(exact_gap)
            simulated.append(ours)
            task.advance()
    findings += [
        _conjecture(case, gap[case.leading], ours) for case, gap, ours in zip(CASES, exact_gaps, simulated, strict=True)
    ]
    verdicts = {True: "holds", False: "fails", None: "undecided at this order"}
    for case, gap, ours, finding in zip(CASES, exact_gaps, simulated, findings[-len(CASES) :], strict=True):
        data[case.name] = {
            "conjecture": verdicts[finding.holds],
            "first power of η with K": case.leading,
            "exact coefficients of K": gap,
            "learning rates": case.rates,
            "simulated": vars(ours),
        }
    return Outcome(findings, data, _figure(exact_gaps, simulated))


def _loss(x: jax.Array, example: tuple[jax.Array, ...]) -> jax.Array:
    gradient, hessian, *_ = example
    return gradient @ x + x @ hessian @ x / 2


def _update(x: jax.Array, example: tuple[jax.Array, ...]) -> jax.Array:
    return geodesic_update(x, jax.grad(_loss)(x, example), *example[2:])


def curved_landscape(kinds: Kinds, curvature: float, rate: float) -> Landscape:
    """Return losses in normal coordinates with steps along geodesics; every example carries K and η.

    Args:
        kinds: gradients and Hessians at the start.
        curvature: K.
        rate: the learning rate η that the landscape is for.
    """
    gradients = np.array([gradient for gradient, _ in kinds], dtype=float)
    hessians = np.array([[[a, b], [b, c]] for _, (a, b, c) in kinds], dtype=float)
    constant = np.ones(len(kinds))
    return Landscape(_loss, (gradients, hessians, curvature * constant, rate * constant), update=_update)


def _simulated(case: Case, runs: int, key: jax.Array) -> Simulated:
    rows = []
    for rate in case.rates:
        above, below = (
            simulate(
                curved_landscape(case.kinds, curvature, rate),
                jnp.zeros(2),
                case.spacetime,
                [rate],
                quantity="gap",
                runs=runs,
                chunk_size=10_000,
                key=key,
            ).samples.ravel()
            for curvature in (1.0, -1.0)
        )
        rows.append((above - below) / (2 * rate**case.leading))
    values, stderrs = mean_and_stderr(np.array(rows).T)
    limit, stderr = mean_and_stderr(_at_zero(case.rates) @ np.array(rows))
    return Simulated(
        values, stderrs, float(limit), float(stderr), float(limit - _at_zero(case.rates[:-1]) @ values[:-1])
    )


def _at_zero(rates: tuple[float, ...]) -> np.ndarray:
    """Return the weights with which values at the rates make up that of their polynomial at zero."""
    return np.array([math.prod(other / (other - rate) for other in rates if other != rate) for rate in rates])


def _early(checked: list[Any]) -> Finding:
    largest = max(abs(value) for coefficients in checked for value in coefficients[:3])
    numbers = {"largest change": float(largest), "of": float(3 * len(checked))}
    return Finding("to order η² curvature changes neither gap nor test loss, in fractions", largest == 0, numbers)


def _formula(count: int, epochs: int, quantity: str, formula: Any, exact: Any) -> Finding:
    claim = f"what K adds to η³ in the {QUANTITIES[quantity]} is the formula's, N = {count}, E = {epochs}, in fractions"
    return Finding(claim, bool(formula == exact), {"prediction": float(formula), "enumeration": float(exact)})


def _runs(case: Case, exact: float, ours: Simulated) -> Finding:
    claim = f"{case.name}: what K adds to the gap at η^{case.leading} is that of runs along geodesics"
    return resolved(claim, exact, ours.limit, stderr=ours.stderr, within=abs(ours.cut))


def _conjecture(case: Case, exact: float, ours: Simulated) -> Finding:
    """Judge Conjecture 1 by the first coefficient with K, where the runs have its sign beyond their errors."""
    seen = exact * ours.limit > 0 and abs(ours.limit) > 3 * ours.stderr + abs(ours.cut)
    claim = f"Conjecture 1, {case.name}: the gap decreases as K grows, at η^{case.leading}, the first power with K"
    numbers = {"exact": exact, "simulated": ours.limit, "stderr": ours.stderr, "cut of the fit": ours.cut}
    return Finding(claim, exact < 0 if seen else None, numbers)


def _figure(exact: list[list[float]], simulated: list[Simulated]) -> "Figure":
    figure, (axes,) = new_figure(2)
    titles = ("Two epochs: K enters at η³ and lowers the gap", "One epoch: K enters at η⁴, with either sign")
    for case, coefficients, ours in zip(CASES, exact, simulated, strict=True):
        ax = axes[case.leading - 3]
        rates = np.linspace(0, 1.1 * max(case.rates), 50)
        line = sum(coefficients[power] * rates ** (power - case.leading) for power in range(case.leading, 5))
        ax.plot(rates, line, color=case.colour, lw=1.3, label=case.name)
        style: dict[str, Any] = {"color": case.colour, "ms": 5, "zorder": 3}
        ax.errorbar(case.rates, ours.values, 2 * ours.stderrs, fmt="o", **style)
        ax.errorbar([0], ours.limit, 2 * ours.stderr, fmt="s", mfc="white", **style)
    for ax, title, power in zip(axes, titles, "³⁴", strict=True):
        ax.axhline(0, color="#bbbbbb", lw=0.8, zorder=0)
        ax.set_xlabel("learning rate η")
        ax.set_ylabel(f"change of the gap per unit of K, over η{power}")
        ax.set_title(f"{title}\nlines: exact to η⁴; dots: runs, 2 s.e.; squares: runs, η → 0", fontsize=9)
        ax.legend(fontsize=8, loc="center right")
    return figure


EXPERIMENT = Experiment(
    "curved-space",
    "whether curvature of the weight space lowers the gap, by formula, enumeration and runs along geodesics",
    "Tenka, section 7.2, conjecture 1",
    run,
)
