"""Is a run stationary yet? Both sides of an identity, accumulated in any training loop."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy import stats

from ...errors import ArgumentError
from .._numbers import check_number
from ._linear_step import linear_step

_BLOCKS = 16  # of steps between two powers of 2
_LEAST = 8  # fewer blocks decide nothing
_FIRST = 16  # steps
_MEMORIES = 4.0  # of the velocity, 1/(1 − β) steps: shorter stretches show an oscillation, not a state
_CHANCE = 0.01  # of a false alarm


class MonitorState(NamedTuple):
    """What a monitor has seen so far: plain arrays and numbers, never changed in place.

    Steps are judged in stretches from one power of 2 to the next, each from an origin of its own.

    Attributes:
        origin: the parameters at the start of the running stretch.
        steps: how many were seen.
        sides: sums of left and right side by block of the running stretch, shape (2, 16).
        before: those of the stretch before.
    """

    origin: Any
    steps: int
    sides: np.ndarray
    before: np.ndarray


class StationarityReport(NamedTuple):
    """A verdict on the latest steps, at least a third of all.

    Attributes:
        verdict: "still drifting", "stationary", or "too early" where neither can be said.
        left: mean of the left side: negative while θ moves away along −g, equal to the right once it is stationary.
        right: mean of the right side.
        gap: left less right, over the right.
        stderr: the gap's standard error from means over blocks; NaN with too few.
        steps: how many were seen.
    """

    verdict: str
    left: float
    right: float
    gap: float
    stderr: float
    steps: int

    @property
    def is_stationary(self) -> bool:
        """Whether the verdict is "stationary"."""
        return self.verdict == "stationary"

    def __str__(self) -> str:
        return f"{self.verdict} after {self.steps} steps: gap {self.gap:.2g} ± {self.stderr:.1g}"


class StationarityMonitor:
    """Says in a training loop whether a run still drifts: when to lower η, or to start averaging.

    For steps −η(ag + bu) after u ← βu + g, in every stationary state, for any loss and from any origin:
    E[θ·g](a + b/(1 − β)) = E|δ|²/(2η) − bβ/(1 − β) E[δ·u]. With heavy ball that is E[θ·g] = (1 + β)E|δ|²/(2η). The
    gradient g includes λθ. Two dot products a step; parameters are pytrees, or arrays of NumPy, JAX, or PyTorch as
    NumPy. `init`, `update` and `report` are pure functions; `update` takes concrete arrays, `terms` may be compiled.

    While θ drifts, it moves away from where it was along −g, and the left side is negative. In a stationary run it is
    not, and both sides are equal once the run has forgotten its start. With the batch's own gradients the sum of the
    difference is a bounded quantity at the end less that at the beginning, so that it shows drift alone; with gradients
    of other batches it also shows how batches of an epoch are tied.

    Args:
        optimizer: `momentum(0.9)` or another linear one of constant rate.
        learning_rate: η.
        weight_decay: λ, if the loop's gradients do not include it.

    Raises:
        ArgumentError: the optimizer is not linear in gradients or has steps that differ, or a number is not allowed.

    References:
        Kunin et al., appendix G.3, as an identity that holds for any loss; the project's own.

    Examples:
        >>> import numpy as np
        >>> import feyngd as fd
        >>> monitor = StationarityMonitor(fd.sgd(), 0.1)
        >>> theta = np.array([5.0])
        >>> state = monitor.init(theta)
        >>> for _ in range(32):
        ...     gradient = np.array([1.0])  # a slope that does not end
        ...     state = monitor.update(state, theta, gradient, -0.1 * gradient)
        ...     theta = theta - 0.1 * gradient
        >>> monitor.report(state).verdict
        'still drifting'
    """

    def __init__(self, optimizer: Any, learning_rate: float, weight_decay: float = 0.0) -> None:
        self._step = linear_step(optimizer, learning_rate)
        self._decay = check_number("weight_decay", weight_decay, least=0)

    def init(self, params: Any) -> MonitorState:
        """Return the state before the first step.

        Args:
            params: the parameters.
        """
        zeros = np.zeros((2, _BLOCKS))
        return MonitorState(jax.tree.map(_copied, params), 0, zeros, zeros)

    def terms(self, origin: Any, params: Any, gradient: Any, change: Any) -> tuple[Any, Any]:
        """Return both sides for one step, as scalars of the arrays' own kind; may be compiled.

        Args:
            origin: `state.origin`.
            params: θ before the step.
            gradient: g there, without weight decay.
            change: δ, what the step adds to θ.
        """
        step = self._step
        _check_alike(params, origin=origin, gradient=gradient, change=change)
        if self._decay:
            gradient = jax.tree.map(lambda g, theta: g + self._decay * theta, gradient, params)
        away = jax.tree.map(lambda theta, start: theta - start, params, origin)
        left, square, power = _dot(away, gradient), _dot(change, change), _dot(change, gradient)
        # u = −(δ/η + a g)/b after the step, so that no memory of the optimizer is needed.
        share = step.beta / (1 - step.beta)
        right = square / (2 * step.eta) + share * (square / step.eta + step.a * power)
        return left * (step.a + step.b / (1 - step.beta)), right

    def update(self, state: MonitorState, params: Any, gradient: Any, change: Any) -> MonitorState:
        """Return the state after a step.

        Args:
            state: the state before.
            params: θ before the step.
            gradient: g there, without weight decay.
            change: δ, what the step adds to θ, such as the updates of optax.

        Raises:
            ArgumentError: structures or shapes differ, or a value is not finite or not concrete.
        """
        _check_state(state)
        state = self.moved(state, params)
        try:
            left, right = (float(side) for side in self.terms(state.origin, params, gradient, change))
        except jax.errors.ConcretizationTypeError as error:
            raise ArgumentError("update takes concrete arrays: in jax.jit ask terms(…), then moved and add.") from error
        return self.add(state, left, right)

    def moved(self, state: MonitorState, params: Any) -> MonitorState:
        """Return the state before a step, with its origin moved to the parameters where a stretch begins."""
        if state.steps < _FIRST or state.steps & (state.steps - 1):
            return state
        return MonitorState(jax.tree.map(_copied, params), state.steps, 0 * state.sides, state.sides)

    def add(self, state: MonitorState, left: float, right: float) -> MonitorState:
        """Return the state after a step whose `terms` are known.

        Raises:
            ArgumentError: a side is not finite: the run has left the finite numbers.
        """
        if not (math.isfinite(left) and math.isfinite(right)):
            raise ArgumentError(
                f"Step {state.steps} is not finite: its sides are {left} and {right}. The run has diverged: lower η."
            )
        first, width = _stretch(state.steps)
        sides = state.sides.copy()
        sides[:, (state.steps - first) // width] += left, right
        return MonitorState(state.origin, state.steps + 1, sides, state.before)

    def report(self, state: MonitorState) -> StationarityReport:
        """Return the verdict on the running stretch, or on the one before if it has just begun."""
        _check_state(state)
        first, width = _stretch(max(state.steps - 1, 0))
        full = (state.steps - first) // width
        sides = state.sides[:, :full] / width
        if full < _LEAST and first:
            width = max(width // 2, 1)
            sides = state.before / width
        if sides.shape[1] < _LEAST or not np.any(sides):
            return StationarityReport("too early", math.nan, math.nan, math.nan, math.nan, state.steps)
        left, right = (float(side.mean()) for side in sides)
        count = sides.shape[1]
        errors = [float(each.std(ddof=1)) / count**0.5 for each in (sides[0], sides[0] - sides[1])]
        scale = right or math.nan
        # A stationary run has E left ≥ 0: how far it forgets where it started.
        drifts = left < -float(stats.t.isf(_CHANCE, count - 1)) * errors[0]
        apart = abs(left - right) > max(float(stats.t.isf(_CHANCE / 2, count - 1)) * errors[1], 1e-9 * abs(left))
        is_short = count * width * (1 - self._step.beta) < _MEMORIES
        verdict = "still drifting" if drifts else "too early" if apart or is_short else "stationary"
        return StationarityReport(verdict, left, right, (left - right) / scale, abs(errors[1] / scale), state.steps)


def _stretch(count: int) -> tuple[int, int]:
    """Return where the stretch of a step begins, and how many steps a block of it has."""
    if count < _FIRST:
        return 0, _FIRST // _BLOCKS
    first = 1 << (count.bit_length() - 1)
    return first, first // _BLOCKS


def _check_state(state: Any) -> None:
    if not isinstance(state, MonitorState):
        raise ArgumentError(f"The state is what init and update return; got {type(state).__name__}.")


def _check_alike(params: Any, **others: Any) -> None:
    """Raise `ArgumentError` unless all are pytrees like the parameters: broadcasting would count a term twice."""

    def form(tree: Any) -> tuple[Any, list[tuple[int, ...]]]:
        leaves, structure = jax.tree.flatten(tree)
        return structure, [np.shape(leaf) for leaf in leaves]

    expected = form(params)
    for name, other in others.items():
        if (found := form(other)) != expected:
            raise ArgumentError(
                f"Parameters, gradient and change are of one structure and shape; params are {expected[0]} of "
                f"{expected[1]}, and {name} is {found[0]} of {found[1]}."
            )


def _copied(leaf: Any) -> Any:
    """Return an array that later steps cannot write to."""
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def _dot(one: Any, other: Any) -> Any:
    """Return the dot product of two pytrees."""
    return sum(jax.tree.leaves(jax.tree.map(lambda x, y: (x * y).sum() if hasattr(x, "sum") else x * y, one, other)))
