"""All that can be said of one landscape: both minima, their shift, whether it is sampling, and fluctuations."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax

from ..._keys import check_key
from ...drawing import new_figure
from ...errors import LandscapeError
from ...landscapes import Landscape
from .._numbers import check_temperature
from ._line import Fit
from ._local_settings import check_sampling
from ._local_steady_state import LocalSteadyState, local_steady_state
from ._shift import Shift, shift
from ._shift_test import ShiftTest, shift_test

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# z from which a shift counts as more than sampling: at a nominal 5 % about 10 % of equal distributions are rejected.
DIFFERENT = 4.0


@dataclass(frozen=True, eq=False)
class ShiftReport:
    """What lies between train and test minimum, and around the train minimum.

    Attributes:
        shift: both minima and what lies between them.
        fit: parabolas fitted to both losses along the line; `None` without a shift.
        test: the shift beside what sampling alone makes of it; `None` without a shift, or if that was refused.
        local: fluctuations around the train minimum; `None` without a temperature, or if that was refused.
        refused: for what was refused, why.
        penalty: α.
    """

    shift: Shift
    fit: Fit | None
    test: ShiftTest | None
    local: LocalSteadyState | None
    refused: dict[str, str]
    penalty: float

    def __str__(self) -> str:
        found = self.shift
        lines = []
        for name, end in (("train", found.train), ("test", found.test)):
            kind = "strict" if end.is_strict else "not strict"
            lines.append(
                f"{name + ' minimum':<24} loss {end.loss:.6g}, |gradient| {end.gradient_norm:.1e}, {kind}: "
                f"lowest curvature {end.lowest_curvature.figure}"
            )
        rows = [
            ("shift |s|", f"{found.magnitude:.4g}"),
            ("shift-curvature ½sᵀCs", f"{found.shift_curvature:.4g}"),
            ("rise V(θtr) − V(θte)", f"{found.rise:.4g}"),
        ]
        if self.fit is not None:
            rows.append(("curvature along s", f"train {found.curvature_train:.4g}, test {found.curvature_test:.4g}"))
            rows.append(("reflected fit c", f"train {self.fit.train:.4g}, test {self.fit.test:.4g}"))
        if self.test is not None:
            rows.append(("expected by sampling", f"{self.test.expected.figure}, spread {self.test.spread:.2g}"))
            rows.append(("z", _verdict(self.test)))
        if self.local is not None:
            rows += [
                (f"at T = {self.local.temperature:g}", ""),
                ("  train loss", f"+{self.local.train_excess.figure}"),
                ("  test loss, covariance", f"{self.local.covariance_curvature.value + 0.0:+.4g}"),
                ("  test loss, bias", f"{self.local.bias_term.value + 0.0:+.4g}"),
                ("  test loss", self.local.test_loss.figure),
            ]
        lines += [f"{name:<24} {text}".rstrip() for name, text in rows]
        return "\n".join([*lines, *(str(row) for row in self.failing)])

    @property
    def failing(self) -> list[Any]:
        """The assumptions of all parts that do not hold."""
        parts = (self.shift, self.test, self.local)
        return [row for part in parts if part is not None for row in part.assumptions.failing]

    def to_dict(self) -> dict[str, Any]:
        """Return everything, with the line through both minima, as plain values for JSON."""
        parts = {"shift": self.shift, "fit": self.fit, "test": self.test, "local": self.local}
        found = {name: None if part is None else part.to_dict() for name, part in parts.items()}
        line = self.shift.line().to_dict() if self.shift.magnitude else None
        return {"penalty": self.penalty, **found, "line": line, "refused": self.refused}

    def figure(self) -> "Figure":
        """Draw losses along the line, the reflected fits and the test of the shift."""
        drawn: list[Any] = [self.shift.line()] if self.shift.magnitude else []
        drawn += [part for part in (self.fit, self.test, self.local) if part is not None]
        figure, (axes,) = new_figure(max(len(drawn), 1), width=4.8)
        for part, ax in zip(drawn, axes, strict=False):
            part.plot(ax)
        return figure


def shift_report(
    landscape: Landscape,
    params: Any,
    *,
    temperature: float | None = None,
    penalty: float = 0.0,
    method: str = "auto",
    num_samples: int = 16,
    max_steps: int = 64,
    key: Any,
) -> ShiftReport:
    """Find the minima of train and test loss near a start, and say what their shift and fluctuations cost.

    `shift`, `shift_test` and, at a temperature, `local_steady_state` from one search. Where one of the latter two is
    refused, as at a minimum that is flat along a direction with noise, the rest is reported with the reason.

    Args:
        landscape: in the conditional reading.
        params: where the search for the train minimum starts.
        temperature: T = η/B of the runs; without it fluctuations are left out.
        penalty: α, of both losses in `shift`; fluctuations are those of the test loss without it.
        method: "auto", "dense" or "krylov".
        num_samples: of random combinations of gradients without matrices.
        max_steps: the most Hessian-vector products for each.
        key: a JAX random key.

    Raises:
        ArgumentError: the reading has no test data of its own, or an argument is invalid.
        LandscapeError: loss or gradient are not finite, or descent runs away.

    Warns:
        PrecisionWarning: a search ended above its tolerance.
        TruncationWarning: third derivatives matter, or the training data are interpolated.
    """
    if temperature is not None:
        check_temperature(temperature)
    check_sampling(method, num_samples, max_steps)
    check_key(key, "The lowest curvature is looked for from random starts")
    keys = jax.random.split(key, 3)
    found = shift(landscape, params, penalty=penalty, key=keys[0])
    settings: dict[str, Any] = {"penalty": penalty, "method": method, "num_samples": num_samples}
    settings["max_steps"] = max_steps
    tested, local, refused = None, None, {}
    try:
        if found.magnitude:
            tested = shift_test(landscape, params, found=found, **settings, key=keys[1])
    except LandscapeError as error:
        refused["test"] = str(error)
    try:
        if temperature is not None:
            local = local_steady_state(landscape, found.train.params, temperature=temperature, **settings, key=keys[2])
    except LandscapeError as error:
        refused["local"] = str(error)
    fit = found.symmetrised() if found.magnitude else None
    return ShiftReport(found, fit, tested, local, refused, penalty)


def _verdict(tested: ShiftTest) -> str:
    if tested.z is None:
        return "none: the training data are interpolated"
    word = "another distribution" if tested.z > DIFFERENT else "no more than sampling"
    return f"{tested.z:.2f}: {word} (a difference counts from {DIFFERENT:g})"
