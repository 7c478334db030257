"""The shift between the minima of train and test loss, what it costs, and losses along the line through both."""

import warnings
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from scipy.sparse import linalg

from ...derivatives import num_params
from ...errors import ArgumentError
from ...estimates import TruncationWarning
from ...landscapes import Landscape, enter
from ...minima import MeanLoss, Minimum, minimum
from ...spectra import DENSE
from .._assumptions import Assumption, Assumptions
from .._numbers import check_number
from ._line import Fit, Line, check_reach, fitted, line

PROJECTIONS = ("hessian", None)

_RANGE = 1e-8  # of the largest curvature, above which a direction is in the range of the Hessian
_LARGE = 0.5  # of the shift-curvature: a remainder worth a warning


@dataclass(frozen=True, eq=False)
class Shift:
    """Train and test minimum, θtr and θte, and what lies between them; losses and curvatures with the penalty.

    Attributes:
        train: the minimum of U that descent from the start leads to.
        test: the minimum of V that descent from θtr leads to.
        vector: s = θte − θtr, with the structure of the parameters; its projection, if one was asked for.
        magnitude: |s|, in the unit of the parameters.
        shift_curvature: ½sᵀCs with the Hessian C of V at θte, in the unit of the loss.
        rise: V(θtr) − V(θte), which the shift costs in full.
        remainder: rise − ½sᵀCs, third derivatives and beyond.
        curvature_train: sᵀ∇²U(θtr)s/|s|²; NaN without a shift.
        curvature_test: sᵀ∇²V(θte)s/|s|²; NaN without a shift.
        newton: ½∇Vᵀ(∇²V)⁻¹∇V at θtr: the rise without a search for θte, up to third derivatives. NaN where conjugate
            gradients meet a curvature that is not positive.
        rank: of the Hessian that the shift was projected on; `None` without projection.
    """

    train: Minimum
    test: Minimum
    vector: Any
    magnitude: float
    shift_curvature: float
    rise: float
    remainder: float
    curvature_train: float
    curvature_test: float
    newton: float
    rank: int | None
    landscape: Landscape = field(repr=False)
    surfaces: tuple[MeanLoss, MeanLoss] = field(repr=False)
    ends: tuple[np.ndarray, np.ndarray] = field(repr=False)

    @property
    def assumptions(self) -> Assumptions:
        """What the quadratic picture assumes, as measured; `failing` in it are those that do not hold."""
        rest = abs(self.remainder / self.shift_curvature) if self.shift_curvature else float(bool(self.remainder))
        meaning = "|rise − ½sᵀCs| over ½sᵀCs: else third derivatives matter as much; use rise"
        rows = [Assumption.judged("quadratic between the minima", rest, most=_LARGE, meaning=meaning)]
        for name, end in (("train", self.train), ("test", self.test)):
            meaning = "1 if its lowest curvature is above 0: else the search ended at a saddle or on a flat piece"
            rows.append(Assumption.judged(f"strict {name} minimum", float(end.is_strict), least=1, meaning=meaning))
        return Assumptions(rows)

    def __str__(self) -> str:
        lines = [f"|s| = {self.magnitude:.4g}, ½sᵀCs = {self.shift_curvature:.4g}, rise {self.rise:.4g}"]
        if self.magnitude:
            lines.append(f"curvature along s: train {self.curvature_train:.4g}, test {self.curvature_test:.4g}")
        return "\n".join([*lines, *map(str, self.assumptions.failing)])

    def plot(self, ax: Any = None) -> Any:
        """Draw both losses along the line through the minima, and return the Matplotlib axes."""
        return self.line().plot(ax)

    def line(self, num: int = 101, reach: float = 1.5) -> Line:
        """Return losses and accuracies on the line through both minima.

        Args:
            num: how many points, at least 3.
            reach: how far it goes beyond both, in lengths of s from their middle: 0.5 ends at the minima.

        Raises:
            ArgumentError: too few points, a reach that is not above 0, or no shift.
        """
        count, far = check_reach(num, reach, self.magnitude)
        return line(self.landscape, self.surfaces, self.ends, count, far)

    def symmetrised(self, num: int = 51, reach: float = 1.0) -> Fit:
        """Return curvatures c of fits f = ½cr² on one side of each minimum, as the paper draws its figure 1.

        V is taken from θte toward θtr, U from θtr away from θte. For losses that are not quadratic the curvature is
        biased: ½c|s|² is no substitute for the rise.

        Args:
            num: how many points on [0, reach·|s|], at least 3.
            reach: how far they go, in lengths of s.

        Raises:
            ArgumentError: too few points, a reach that is not above 0, or no shift.

        References:
            Bradley et al., appendix F: c = 2Σr²f/Σr⁴.
        """
        count, far = check_reach(num, reach, self.magnitude)
        return fitted(self.surfaces, self.ends, count, far)

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers, for JSON; NaN is `None`."""
        names = ("magnitude", "shift_curvature", "rise", "remainder", "curvature_train", "curvature_test", "newton")
        numbers = {name: getattr(self, name) for name in names}
        ends = {
            name: {key: value for key, value in end.to_dict().items() if key != "params"}
            for name, end in (("train", self.train), ("test", self.test))
        }
        about = {"rank": self.rank, "assumptions": self.assumptions.to_dict()}
        return {name: value if np.isfinite(value) else None for name, value in numbers.items()} | ends | about


def shift(
    landscape: Landscape,
    params: Any,
    *,
    penalty: float = 0.0,
    penalise_test: bool = True,
    project: str | None = None,
    tolerance: float = 1e-6,
    max_steps: int = 500,
    key: Any,
) -> Shift:
    """Find the minima of train and test loss near a start, and what the shift between them costs.

    Args:
        landscape: in the conditional reading, with test data other than the data.
        params: where the search for the train minimum starts.
        penalty: α: α|θ|²/2 is part of the train loss.
        penalise_test: whether it is part of the test loss too, as in the paper.
        project: "hessian" projects s on the range of the test loss's Hessian, up to 1,500 parameters. ½sᵀCs is the same
            without; along flat directions s has a length that means nothing.
        tolerance: the gradient's norm at which to stop.
        max_steps: the most steps of each search.
        key: a JAX random key.

    Raises:
        ArgumentError: the reading has no test data of its own, or an argument is invalid.
        LandscapeError: loss or gradient are not finite, or descent runs away.

    Warns:
        PrecisionWarning: a search ended above the tolerance.
        TruncationWarning: the remainder is more than half of the shift-curvature.

    References:
        Bradley et al., equations 1 to 3; 12 and 13 for the projection (corrected: on the range of the Hessian, not on
        the span of gradients, which is {0} at interpolation).

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> import feyngd as fd
        >>> data, test = jnp.array([0.0, 1.0]), jnp.array([1.0, 1.5])
        >>> split = fd.Landscape(lambda theta, x: (theta - x) ** 2, data, test, reading="conditional")
        >>> found = shift(split, jnp.array(0.2), key=jax.random.key(0))
        >>> print(f"{found.shift_curvature:.4f} {found.rise:.4f}")
        0.5625 0.5625
    """
    if project not in PROJECTIONS:
        raise ArgumentError(f"Unknown projection {project!r}; known are 'hessian' and None.")
    alpha = check_number("penalty", penalty, least=0)
    landscape, params = enter(landscape, params)
    if landscape.test_data is None:
        raise ArgumentError(
            f"A shift needs separate test data, reading='conditional'; this landscape has the {landscape.reading} "
            "reading. For what sampling alone makes of it use expected_shift."
        )
    if project and (size := num_params(params)) > DENSE:
        raise ArgumentError(f"Projections are computed up to {DENSE} parameters, got {size}: leave project out.")
    keys = jax.random.split(key) if key is not None else (None, None)
    settings: dict[str, Any] = {"tolerance": tolerance, "max_steps": max_steps}
    test_penalty = alpha if penalise_test else 0.0
    train = minimum(landscape, params, penalty=alpha, key=keys[0], **settings)
    same = alpha == test_penalty and _same_data(landscape)
    test = train if same else minimum(landscape, train.params, of="test", penalty=test_penalty, key=keys[1], **settings)
    surfaces = (MeanLoss(landscape, params, "train", alpha), MeanLoss(landscape, params, "test", test_penalty))
    ends = tuple(MeanLoss(landscape, end.params).start for end in (train, test))
    s, rank = ends[1] - ends[0], None
    if project:
        values, axes = np.linalg.eigh(surfaces[1].hessian(ends[1]))
        kept = axes[:, np.abs(values) > _RANGE * np.abs(values).max()]
        s, rank = kept @ (kept.T @ s), kept.shape[1]
    length = float(np.linalg.norm(s))
    forms = [float(s @ surface.products(end, s[None])[0]) for surface, end in zip(surfaces, ends, strict=True)]
    rise = surfaces[1](ends[0])[0] - surfaces[1](ends[1])[0]
    curvatures = [form / length**2 if length else float("nan") for form in forms]
    remainder = rise - forms[1] / 2
    if abs(remainder) > _LARGE * abs(forms[1] / 2):
        warnings.warn(
            f"The test loss rises by {rise:.4g} from its minimum to the train minimum, of which the shift-curvature "
            f"is {forms[1] / 2:.4g}: third derivatives matter more than half as much, so that a quadratic picture of "
            "the shift fails. Use rise.",
            TruncationWarning,
            stacklevel=2,
        )
    return Shift(
        train=train,
        test=test,
        vector=surfaces[0].shaped(s),
        magnitude=length,
        shift_curvature=forms[1] / 2,
        rise=rise,
        remainder=remainder,
        curvature_train=curvatures[0],
        curvature_test=curvatures[1],
        newton=newton_rise(surfaces[1], ends[0]),
        rank=rank,
        landscape=landscape,
        surfaces=surfaces,
        ends=(ends[0], ends[1]),
    )


def newton_rise(surface: MeanLoss, theta: np.ndarray) -> float:
    """Return ½∇Vᵀ(∇²V)⁻¹∇V at a point by conjugate gradients; NaN where the Hessian is not positive along them."""
    gradient = surface(theta)[1]

    def product(x: np.ndarray) -> np.ndarray:
        return surface.products(theta, x[None])[0]

    operator = linalg.LinearOperator((len(theta),) * 2, matvec=product, dtype=float)
    found, _ = linalg.cg(operator, gradient, rtol=max(1e-9, 10 * surface.eps), maxiter=2 * len(theta) + 100)
    is_positive = float(found @ product(found)) >= 0 and float(found @ gradient) >= 0
    return float(found @ gradient) / 2 if is_positive else float("nan")


def _same_data(landscape: Landscape) -> bool:
    """Whether train and test data are equal."""
    pairs = zip(jax.tree.leaves(landscape.data), jax.tree.leaves(landscape.test_data), strict=True)
    return all(one.shape == other.shape and bool(np.array_equal(one, other)) for one, other in pairs)
