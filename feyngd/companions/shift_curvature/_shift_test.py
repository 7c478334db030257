"""Whether a shift is more than sampling: is the test set from another distribution than the training set?"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import jax

from ...drawing import new_axes
from ...errors import ArgumentError
from ...estimates import Estimate, TruncationWarning
from ...landscapes import Landscape
from .._assumptions import Assumption, Assumptions
from ._expected_shift import sampling_shift
from ._local_settings import AtMinimum
from ._shift import Shift, shift

_INTERPOLATED = 0.5  # of the test data's noise, below which the training data's says little


@dataclass(frozen=True)
class ShiftTest:
    """A shift-curvature beside what sampling alone makes of it, in the unit of the loss.

    Attributes:
        observed: ½sᵀCs between the two minima.
        expected: its mean for sets drawn from one distribution.
        spread: its standard deviation between draws.
        ratio: observed over expected.
        z: (observed − expected)/spread; `None` where the training data are interpolated, so that their noise at θtr
            is not that of the distribution.
        noises: tr D at θtr on the training and on the test data, in (loss/θ)².
    """

    observed: float
    expected: Estimate
    spread: float
    ratio: float
    z: float | None
    noises: tuple[float, float]

    @property
    def assumptions(self) -> Assumptions:
        """What the expectation assumes, as measured; `failing` in it are those that do not hold."""
        train, test = self.noises
        meaning = "tr D on the training data over that on the test data: lower, the model interpolates"
        share = train / test if test else math.inf if train else 0.0
        return Assumptions([Assumption.judged("no interpolation", share, least=_INTERPOLATED, meaning=meaning)])

    def to_dict(self) -> dict[str, Any]:
        """Return the test as numbers, for JSON; what is not finite is `None`."""
        expected = {"value": self.expected.value, "stderr": self.expected.stderr}
        finite = {name: x if x is not None and math.isfinite(x) else None for name, x in self._numbers.items()}
        about = {"noises": list(self.noises), "assumptions": self.assumptions.to_dict()}
        return finite | {"expected": expected} | about

    @property
    def _numbers(self) -> dict[str, float | None]:
        return {name: getattr(self, name) for name in ("observed", "spread", "ratio", "z")}

    def __str__(self) -> str:
        score = "no z: the training data are interpolated" if self.z is None else f"z = {self.z:.2f}"
        return f"observed {self.observed:.4g}, expected {self.expected.figure}, spread {self.spread:.2g}: {score}"

    def plot(self, ax: Any = None) -> Any:
        """Draw the observed shift-curvature beside what sampling makes of it, and return the Matplotlib axes."""
        ax = new_axes(ax)
        sampled = {"color": "C0", "capsize": 4}
        for width, reach in ((1.5, 2), (5, 1)):
            ax.errorbar(self.expected.value, 1, xerr=reach * self.spread, fmt="o", elinewidth=width, **sampled)
        ax.plot(self.observed, 0, "o", color="C1")
        ax.set_yticks([0, 1], ["observed", "expected\nby sampling,\n± 1 and\n2 spreads"])
        ax.set(ylim=(-0.6, 1.6), xlabel="shift-curvature, unit of the loss")
        ax.set_title("interpolated: no z" if self.z is None else f"z = {self.z:.2f}")
        return ax


def shift_test(
    landscape: Landscape,
    params: Any,
    *,
    penalty: float = 0.0,
    method: str = "auto",
    num_samples: int = 16,
    max_steps: int = 64,
    found: Shift | None = None,
    key: Any,
) -> ShiftTest:
    """Compare the observed shift-curvature with what sampling alone makes of it.

    It is a screen: the distribution is not normal, and at a nominal 5 % it rejects about 10 % of equal distributions.
    Take z above 4 for a difference.

    Args:
        landscape: in the conditional reading.
        params: where the search for the train minimum starts.
        penalty: α, of both losses.
        method: "auto", "dense" or "krylov", for what sampling makes.
        num_samples: of random combinations of gradients without matrices.
        max_steps: the most Hessian-vector products for each.
        found: what `shift` has found already with the same landscape and penalty; else it is looked for.
        key: a JAX random key.

    Raises:
        ArgumentError: the reading has no test data of its own, they are the data, or an argument is invalid.
        LandscapeError: no minimum is found, or a curvature is not positive along a direction with noise.

    Warns:
        TruncationWarning: at θtr the training data's noise is less than half of the test data's.

    References:
        The project's own, in place of the 25 trainings of Bradley et al., figure 5.
    """
    for_shift, for_noise = jax.random.split(key) if key is not None else (None, None)
    if found is None:
        found = shift(landscape, params, penalty=penalty, key=for_shift)
    if not found.magnitude:
        raise ArgumentError(
            "Train and test data are the same, so that there is no shift to test: give other test data."
        )
    settings: dict[str, Any] = {"method": method, "num_samples": num_samples, "max_steps": max_steps, "key": for_noise}
    point = AtMinimum(landscape, found.train.params, penalty=penalty, **settings)
    sampled = sampling_shift(point, landscape.num_test_examples)
    train, test = point.noise.trace(), point.noise.trace("test")
    z = (found.shift_curvature - sampled.mean.value) / sampled.spread if sampled.spread else None
    if not train or train < _INTERPOLATED * test:
        warnings.warn(
            f"At the train minimum tr D is {train:.3g} on the training data and {test:.3g} on the test data: the model "
            "interpolates, and what sampling makes cannot be told from the training data. Give a penalty, fewer "
            "parameters or more data.",
            TruncationWarning,
            stacklevel=2,
        )
        z = None
    expected = sampled.mean
    ratio = found.shift_curvature / expected.value if expected.value else math.inf
    return ShiftTest(found.shift_curvature, expected, sampled.spread, ratio, z, (train, test))
