"""The linear first-order optimizers: SGD with momentum, schedules, averages and learning rates of single parameters."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from numpy.typing import ArrayLike

from .._arguments import check_integer
from .._learning_rates import check_learning_rate
from ..errors import ArgumentError
from ._average import Average
from ._metric import Metric
from ._parameters import Number, as_number, is_symbolic, symbols_of
from ._recurrence import Recurrence, VectorRecurrence
from ._schedules import Multipliers, as_multipliers, over_steps
from ._steps_alike import stable_bound, step_matrix

_ALIKE = 1e-6  # of kernels that were measured, which are exact to fewer digits


@dataclass(frozen=True)
class Optimizer:
    """What SGD does with gradients: θ_t = θ_0 − η Σ_{s<t} κ(t, s) g_s, with a kernel κ that gradients do not change.

    The learning rate stays the symbol η; schedules are multipliers of it. Make one with `sgd`, `momentum`, `schedule`,
    `averaged`, `preconditioned` or `from_optax`.

    Attributes:
        beta: the share β of the velocity that a step keeps.
        nesterov: whether steps go by g + β u instead of u.
        dampening: the share d of a gradient that does not enter the velocity.
        classical: whether the learning rate multiplies gradients as they enter the velocity, and not the velocity.
        multipliers: of the learning rate, for every step, or a function of the step; `None` if they are all 1.
        average: at what average of the iterates the loss is measured; `None` for the last one.
        metric: multipliers of the learning rate for single parameters; `None` if they are all 1.
        measured: the kernel of an optimizer that is none of the above, which has a number of steps.
    """

    beta: Number = Fraction(0)
    nesterov: bool = False
    dampening: Number = Fraction(0)
    classical: bool = False
    multipliers: Multipliers | None = None
    average: Average | None = None
    metric: Metric | None = None
    measured: Recurrence | VectorRecurrence | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is SGD at a constant rate, measured at the last iterate; a metric does not count."""
        return replace(self, metric=None) == PLAIN

    @property
    def is_constant(self) -> bool:
        """Whether all steps are alike, so that κ(t, s) depends on t − s alone."""
        is_damped = bool(self.dampening != 0) and not self.classical  # all steps but the first
        return self.multipliers is None and self.measured is None and not is_damped

    @property
    def symbols(self) -> set[sympy.Symbol]:
        """The symbols in the parameters."""
        of_steps = () if self.multipliers is None or callable(self.multipliers) else self.multipliers
        average = self.average or Average()
        return symbols_of(self.beta, self.dampening, *of_steps, average.ema, *(average.weights or ()))

    def in_floats(self) -> "Optimizer":
        """Return the optimizer with floats in place of fractions.

        Raises:
            ArgumentError: a parameter is a symbol.
        """
        if self.symbols:
            names = ", ".join(sorted(map(str, self.symbols)))
            raise ArgumentError(f"{self} has the symbols {names}: replace them by numbers, with subs({{…}}).")
        multipliers = self.multipliers
        if isinstance(multipliers, tuple):
            multipliers = tuple(map(float, multipliers))
        average = None if self.average is None else self.average.in_floats()
        beta, dampening = float(self.beta), float(self.dampening)
        return replace(self, beta=beta, dampening=dampening, multipliers=multipliers, average=average)

    def subs(self, values: Mapping[Any, Any]) -> "Optimizer":
        """Return the optimizer with symbols replaced, by themselves or by name.

        Raises:
            ArgumentError: a new parameter is not allowed.
        """
        known = {symbol.name: symbol for symbol in self.symbols}
        new = {known[str(key)]: value for key, value in values.items() if str(key) in known}

        def filled(name: str, value: Any) -> Any:
            return as_number(name, value.subs(new)) if is_symbolic(value) else value

        multipliers, average = self.multipliers, self.average
        if isinstance(multipliers, tuple):
            multipliers = as_multipliers([filled("A multiplier", value) for value in multipliers])
        if average is not None:
            weights = None if average.weights is None else [filled("A weight", value) for value in average.weights]
            average = Average.make(filled("ema", average.ema), average.tail, weights)
        base = self
        if self.measured is None:
            base = momentum(
                filled("beta", self.beta),
                nesterov=self.nesterov,
                dampening=filled("dampening", self.dampening),
                classical=self.classical,
            )
        return replace(base, multipliers=multipliers, average=average, metric=self.metric, measured=self.measured)

    def over_steps(self, steps: int) -> "Optimizer":
        """Return the optimizer of runs of some steps, in which its schedule is a list of as many multipliers.

        Numbers have taken the place of a function, so that the result can be compared and kept in files. A measured
        kernel is cut there too.

        Args:
            steps: the number of steps, at most that of the schedule or of the measured kernel.

        Raises:
            ArgumentError: there are fewer steps than that, or the function gives what is not allowed.
        """
        multipliers, measured = self.multipliers, self.measured
        if multipliers is not None:
            is_longer = not callable(multipliers) and len(multipliers) > steps
            multipliers = multipliers[:steps] if is_longer else over_steps(multipliers, steps)  # type: ignore[index]
        if measured is not None:
            measured = self.realization(steps)
        return replace(self, multipliers=multipliers, measured=measured)

    def acts_like(self, other: "Optimizer", steps: int) -> bool:
        """Whether another optimizer does the same in runs of some steps, however it is written.

        Both have numbers for parameters. Kernels are compared by what they make of one list of random numbers.

        Args:
            other: the other optimizer.
            steps: the number of steps.
        """
        if self == other:
            return True
        if self.metric != other.metric:
            return False
        weights = np.random.default_rng(0).normal(size=steps).tolist()
        ours, theirs = (
            np.array([one.realization(steps).to_average(weights), one.to_end(steps)], dtype=float)
            for one in (self.in_floats(), other.in_floats())
        )
        return bool(np.abs(ours - theirs).max(initial=0) <= _ALIKE * np.abs(ours).max(initial=0))

    def recurrence(self, steps: int) -> Recurrence:
        """Return the kernel over a number of steps, as a recurrence with one memory.

        Raises:
            ArgumentError: the schedule, or the kernel that was measured, has another number of steps; or the optimizer
                keeps several memories of gradients, see `realization`.
        """
        found = self.realization(steps)
        if isinstance(found, VectorRecurrence):
            raise ArgumentError(
                f"The optimizer is {self} with {found.memories} memories of gradients, and placements are counted with "
                "one: simulate real runs with it, by simulate(..., optimizer=...), or use one momentum."
            )
        return found

    def realization(self, steps: int) -> Recurrence | VectorRecurrence:
        """Return the kernel over a number of steps, as a recurrence with as many memories as it needs.

        Raises:
            ArgumentError: the schedule, or the kernel that was measured, has another number of steps.
        """
        if self.measured is not None:
            if steps > self.measured.steps:
                raise ArgumentError(
                    f"The kernel was measured over {self.measured.steps} steps, and the run has T={steps}: call "
                    f"from_optax with steps={steps}."
                )
            parts = (self.measured.direct, self.measured.gain, self.measured.decay, self.measured.readout)
            return type(self.measured)(*(part[:steps] for part in parts))  # type: ignore[arg-type]
        one: Number = 1.0 if isinstance(self.beta, float) else Fraction(1)
        rates = (one,) * steps if self.multipliers is None else over_steps(self.multipliers, steps)
        keeps = [1 - self.dampening] * steps
        if steps and not self.classical:
            keeps[0] = one  # the velocity starts as the first gradient, undamped
        # u ← β u + into_t g_t, then θ ← θ − η out_t (own g_t + factor u), where own and factor are Nesterov's.
        into = [rate * keep if self.classical else keep for rate, keep in zip(rates, keeps, strict=True)]
        out = [one if self.classical else rate for rate in rates]
        own, factor = (one, self.beta) if self.nesterov else (0 * one, one)
        direct = tuple(o * factor * i + own * rate for rate, i, o in zip(rates, into, out, strict=True))
        gain = tuple(self.beta * i for i in into)  # the memory before a step is β u
        return Recurrence(direct, gain, (self.beta,) * steps, tuple(o * factor for o in out))

    def kernel(self, t: int, s: int) -> Any:
        """Return κ(t, s): how far the gradient of step s has moved the iterate before step t, in units of −η.

        Steps are numbered from 0, and the iterate before step t has seen t gradients.

        Args:
            t: a number of steps.
            s: a step; the kernel is zero unless s < t.

        Returns:
            An exact fraction, a float, or a SymPy expression if there are symbols.

        Raises:
            ArgumentError: t or s is not an integer ≥ 0, or a schedule has no such steps.

        Examples:
            >>> momentum(Fraction(1, 2)).kernel(3, 0)
            Fraction(7, 4)
        """
        t, s = check_integer("t", t, least=0), check_integer("s", s, least=0)
        if s >= t:
            return Fraction(0)
        length = len(self.multipliers) if isinstance(self.multipliers, tuple) else t
        if self.measured is not None:
            length = self.measured.steps
        if t > length:
            raise ArgumentError(
                f"The kernel is known up to t={length}, the number of steps of the schedule; got t={t}."
            )
        value = self.realization(max(length, t)).kernel(t, s)
        return sympy.expand(value) if is_symbolic(value) else value

    def companion(self, eta_h: ArrayLike) -> np.ndarray:
        """Return what a step does to (θ, ηu) along an eigenvector of the Hessian, u being PyTorch's velocity.

        With a = 0, b = 1 for heavy ball and a = 1, b = β for Nesterov's momentum it is
        [[1 − (a + b)ηh, −bβ], [ηh, β]]. Averages play no part.

        Args:
            eta_h: ηh, the learning rate times the curvature; a number or an array.

        Returns:
            Shape (..., 2, 2).

        Raises:
            ArgumentError: the optimizer has symbols, a metric, or steps that differ.

        Examples:
            >>> momentum(0.5).companion(0.25)
            array([[ 0.75, -0.5 ],
                   [ 0.25,  0.5 ]])
        """
        return step_matrix(self, eta_h)

    def max_curvature(self, eta: float) -> float:
        """Return the curvature below which steps are stable at a learning rate η, such as 2(1 + β)/η for heavy ball.

        Args:
            eta: η.

        Raises:
            ArgumentError: η is not positive and finite, or the optimizer has symbols, a metric, or steps that differ.

        Examples:
            >>> momentum(0.5).max_curvature(0.1)
            30.0
        """
        return stable_bound(self) / check_learning_rate(eta)

    def to_end(self, steps: int) -> list[Number]:
        """Return what the gradient of every step has moved the point of measurement by: κ(T, s), or Σ_t w_t κ(t, s)."""
        weights: Iterable[Number] = [0] * (steps - 1) + [1] * min(steps, 1)
        if self.average is not None:
            weights = self.average.over_steps(steps)
        return self.realization(steps).to_average(weights)

    def exponentials(self) -> list[tuple[Number, Number]] | None:
        """Return pairs (c, x) such that κ(t, s) = Σ c x^(t−s−1); `None` unless all steps are alike."""
        if not self.is_constant:
            return None
        keeps = 1 - self.dampening
        if self.beta == 0:
            return [(keeps, Fraction(1))]
        # Σ_{k<Δ} β^k = 1/(1 − β) − β/(1 − β) β^(Δ−1); Nesterov's steps take β of it and the gradient itself.
        lasting, decaying = keeps / (1 - self.beta), -keeps * self.beta / (1 - self.beta)
        if self.nesterov:
            lasting, decaying = lasting * self.beta + 1, decaying * self.beta
        return [(lasting, Fraction(1)), (decaying, self.beta)]

    def __str__(self) -> str:
        words = []
        if self.measured is not None:
            words.append(f"a kernel measured over {self.measured.steps} steps")
        elif self.beta != 0:
            words.append(f"{'Nesterov' if self.nesterov else 'momentum'} β={self.beta}")
            words += ["classical"] if self.classical else []
        else:
            words.append("SGD")
        words += [f"dampening {self.dampening}"] if self.dampening != 0 else []
        if self.multipliers is not None:
            words.append("scheduled" if callable(self.multipliers) else f"schedule of {len(self.multipliers)} steps")
        words += [str(self.average)] if self.average is not None else []
        words += ["preconditioned"] if self.metric is not None else []
        return ", ".join(words)


PLAIN = Optimizer()


def sgd() -> Optimizer:
    """Return plain SGD: θ ← θ − η g.

    Examples:
        >>> sgd().kernel(3, 1)
        Fraction(1, 1)
    """
    return PLAIN


def momentum(beta: Any, *, nesterov: bool = False, dampening: Any = 0, classical: bool = False) -> Optimizer:
    """Return SGD with momentum.

    As in PyTorch and optax, u ← β u + g and θ ← θ − η u. In the classical convention u ← β u − η g and θ ← θ + u,
    which is the same at a constant η. Nesterov's steps go by g + β u with the new u. Dampening d replaces g by
    (1 − d) g as it enters u; as in PyTorch, the first gradient is not damped, unless in the classical convention.

    Args:
        beta: β, from 0 to below 1; a number or a SymPy expression.
        nesterov: whether steps look ahead.
        dampening: d, from 0 to below 1.
        classical: whether the learning rate multiplies g as it enters u, which matters for schedules.

    Raises:
        ArgumentError: β or d is outside its range, or Nesterov's steps are damped.

    Examples:
        >>> from sympy import symbols
        >>> momentum(symbols("beta")).kernel(3, 0)
        beta**2 + beta + 1
    """
    share, damped = as_number("beta", beta), as_number("dampening", dampening)
    if not is_symbolic(share) and not 0 <= share < 1:
        raise ArgumentError(
            f"beta is the share of the velocity that a step keeps, 0 ≤ β < 1; got {share}. At 1 nothing forgets."
        )
    if not is_symbolic(damped) and not 0 <= damped < 1:
        raise ArgumentError(f"dampening is the share of a gradient that is left out, 0 ≤ d < 1; got {damped}.")
    for name, value in (("nesterov", nesterov), ("classical", classical)):
        if not isinstance(value, bool):
            raise ArgumentError(
                f"{name} is True or False; got {value!r}. Conventions are those of PyTorch or classical."
            )
    if nesterov and damped != 0:
        raise ArgumentError("Nesterov's momentum has no dampening: give dampening=0, as PyTorch asks for too.")
    if share == 0:
        nesterov = False  # there is no velocity to look ahead with
        classical = classical and damped != 0  # where the conventions differ in the first gradient alone
    return Optimizer(beta=share, nesterov=nesterov, dampening=damped, classical=classical)


def schedule(multipliers: Iterable[Any] | Callable[[int], Any], optimizer: Optimizer = PLAIN) -> Optimizer:
    """Return an optimizer whose learning rate changes: η times a multiplier at every step.

    Args:
        multipliers: at least 0, one for every step; or a function of the step, from 0 on, such as a schedule of optax.
        optimizer: what it is a schedule of.

    Raises:
        ArgumentError: a multiplier is negative or not finite, all are zero, or the optimizer has a schedule already.

    Examples:
        >>> schedule([0, Fraction(1, 2), 1]).kernel(3, 1)
        Fraction(1, 2)
    """
    base = check_optimizer(optimizer)
    if base.multipliers is not None or base.measured is not None:
        raise ArgumentError(f"{base} has a schedule already: give one schedule, with the products of the multipliers.")
    return replace(base, multipliers=as_multipliers(multipliers))


def averaged(optimizer: Optimizer, *, ema: Any = None, tail: Any = None, weights: Any = None) -> Optimizer:
    """Return an optimizer whose loss is measured at an average of its iterates.

    That is the loss of the average, and not the average of losses.

    Args:
        optimizer: what runs; averaging does not change its path.
        ema: ρ of the exponential moving average w ← ρ w + (1 − ρ) θ after every step, which starts at θ_0.
        tail: the number of last iterates whose mean is taken; "all" for the mean of θ_1 … θ_T (Polyak).
        weights: those of θ_1 … θ_T, or of θ_0 … θ_T, which sum to 1.

    Raises:
        ArgumentError: not exactly one of the three is given, or it is not allowed; or the optimizer averages already.

    Examples:
        >>> averaged(sgd(), tail=2).to_end(3)
        [Fraction(1, 1), Fraction(1, 1), Fraction(1, 2)]
    """
    base = check_optimizer(optimizer)
    if base.average is not None:
        raise ArgumentError(f"{base} averages already: give the weights of the whole average.")
    return replace(base, average=Average.make(ema, tail, weights))


def preconditioned(optimizer: Optimizer, metric: Any) -> Optimizer:
    """Return an optimizer with learning rates of single parameters: η times a multiplier for each.

    Args:
        optimizer: what it is a preconditioner of.
        metric: a pytree of multipliers ≥ 0 of the structure of the parameters, each a number or an array that
            broadcasts to the parameter's shape; 0 freezes.

    Raises:
        ArgumentError: a multiplier is negative or not finite, all are zero, or the optimizer has a metric already.
    """
    base = check_optimizer(optimizer)
    if base.metric is not None:
        raise ArgumentError(f"{base} has a metric already: give one, with the products of the multipliers.")
    return replace(base, metric=Metric(metric))


def check_optimizer(optimizer: Any) -> Optimizer:
    """Return the optimizer, or raise `ArgumentError` if it is none."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    hint = ""
    if hasattr(optimizer, "init") and hasattr(optimizer, "update"):
        hint = " An optax transformation becomes one by from_optax(tx, steps=T), if it is linear in the gradients."
    raise ArgumentError(
        "An optimizer is made by sgd, momentum, schedule, averaged, preconditioned or from_optax; got "
        f"{optimizer!r}.{hint}"
    )
