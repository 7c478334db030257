"""Re-summed series: chains of untied Hessians become propagators, and terms stay finite for large T at a minimum."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np
import sympy

from .._arguments import check_order
from ..counting import PropagatorForms, Ratio, count_ratio, propagated_count, resummed_count, symbol_sizes
from ..diagrams import EXPANDED, Diagram, check_number, tensor_expression
from ..errors import ArgumentError
from ..optimizers import PLAIN, Average, Optimizer, check_optimizer
from ..quantities import SERIES, check_quantity
from ..spacetimes import Spacetime, by_name, check_spacetime
from . import _json, _printing
from ._letters import KINDS, check_closed_form, definition, eigenvalues_of, letters_of, rate
from ._measurements import measured_diagrams, measurements, vanishes_at_minimum

FORMS = ("discrete", "integral")
_ORDER_OF_TERMS = {"discrete": "rev-lex", "integral": "none"}  # puts the 1 first in 1 − ηh and in 1 − e^(−ηTh)


class ResummedSeries(Mapping[Diagram, sympy.Expr]):
    """A re-summed series: `Σ_D η^order(D) · Σ_{i, j, …} series[D](h_i, h_j, …) · value(D)_{i j …}`.

    It runs over *irreducible* diagrams, in the cumulant basis. Every edge of a diagram carries an index of an
    eigenvector of the Hessian H of the mean loss at the starting point, with the eigenvalue h_i, h_j, …: the edge and
    all chains of untied Hessians in its place add up to the propagator: (1 − ηh)^(Δt−1) η for plain SGD, and in general
    η K(t, s) with K(t, s) = κ(t, s) − ηh Σ_{s<u<t} κ(t, u) K(u, s) for the kernel κ of the optimizer. The coefficient,
    a function of these eigenvalues, includes `1/|Aut|` and `(−1/B)^order`, not `η^order`. Up to order k of η the series
    with k edges agrees with the plain series, but near a minimum its terms stay finite as T grows.

    Coefficients are computed on demand. `series[D]` is a closed form in the symbols eta, h_i, h_j, … without
    assumptions, which holds where no eigenvalues coincide and none is zero; `series.closed_form(D)` is shorter, in
    x = 1 − ηh, as the series prints, and `series.stationary(D)` is what is left after many steps.
    `series.coefficient(D, …)` gives numbers for any eigenvalues, and for every optimizer and spacetime.

    Make one with `feyngd.resum`, or with `feyngd.expand(..., resummed=True)`.

    Args:
        quantity: "test_loss", "train_loss", "gap" or "displacement".
        order: the highest number of edges that is kept.
        spacetime: numbers or symbols.
        form: "discrete" is exact; in "integral" integrals take the place of sums over steps, so that (1 − ηh)^t becomes
            e^{−ηht}: the leading order of every term in η at fixed ηT, B and E.
        at_minimum: leave out the diagrams that vanish at a minimum of the mean loss.
        optimizer: plain SGD by default. With a metric M, H is M^½ H M^½, in the coordinates M^−½ θ.
        limit: the largest number of diagrams, with their roots alone, to visit; `None` for any.

    Raises:
        ArgumentError: the quantity or form is unknown, the order is not an integer ≥ 0, there are more than `limit`
            diagrams, or the integral form is asked of epochs with a rest, of cut ones, of known batches, or of an
            optimizer.

    References:
        Tenka, "A Space-Time Approach to Analyzing SGD", Theorem 2 (corrected: irreducible diagrams are those without
        an untied node of degree two).
    """

    basis = "cumulant"

    def __init__(
        self,
        quantity: str,
        order: int,
        spacetime: Spacetime,
        *,
        form: str = "discrete",
        at_minimum: bool = False,
        optimizer: Optimizer = PLAIN,
        limit: int | None = EXPANDED,
    ) -> None:
        check_quantity(quantity, SERIES)
        if form not in FORMS:
            raise ArgumentError(f"Unknown form {form!r}; known are {', '.join(map(repr, FORMS))}.")
        check_spacetime(spacetime)
        if form == "integral":
            _check_integral(spacetime, check_optimizer(optimizer))
        self.optimizer = check_optimizer(optimizer)
        self.quantity, self.order, self.spacetime, self.form = quantity, check_order(order), spacetime, form
        self._limit = limit
        check_number(self.order, False, limit, up_to=True)
        self.is_at_minimum = at_minimum
        self._closed_forms: dict[tuple, sympy.Expr] = {}

    # --- a mapping ----------------------------------------------------------------------------------------------------

    @cached_property
    def _factors(self) -> dict[Diagram, Ratio]:
        """What multiplies the sum over embeddings, for every diagram."""
        factors = {}
        for diagram in measured_diagrams(self.order):
            # Every term of the sum over embeddings is positive at h = 0, so the sum is zero only without embeddings.
            if not count_ratio(diagram, self.spacetime, basis="cumulant").numerator:
                continue
            for joint, factor in measurements(self.quantity, diagram, self.spacetime, "cumulant"):
                if joint.is_irreducible and not (self.is_at_minimum and vanishes_at_minimum(joint, self.quantity)):
                    factors[joint] = factor
        return dict(sorted(factors.items()))

    def __getitem__(self, diagram: Diagram) -> sympy.Expr:
        if not isinstance(diagram, Diagram):
            raise KeyError(f"A series is indexed by diagrams, got {diagram!r}; use Diagram.parse.")
        if diagram.order > self.order:
            raise KeyError(f"{diagram} has order {diagram.order}; this series stops at order {self.order}.")
        return self._written(diagram, "h", positive=False)

    def closed_form(self, diagram: Diagram, letters: str = "x") -> sympy.Expr:
        """Return a coefficient, times η^order, in letters for people and for SymPy.

        Args:
            diagram: the diagram.
            letters: "h": in eigenvalues, as `series[diagram]`, but with positive symbols eta, h_i, h_j, …; "x": in the
                factors x_i = 1 − ηh_i by which a step shrinks; "a": as "x", but with the powers x_i^t written as
                e^(−a_i t), a_i = −log x_i > 0, so that `sympy.limit` knows that they vanish. With momentum, the two
                factors of an edge are x_i and y_i, whose sum and product the printed series tells.

        Returns:
            A closed form, which holds where no eigenvalues coincide and none is zero.

        Raises:
            ArgumentError: the letters are unknown or do not fit the form, or there is no closed form.

        Examples:
            >>> import feyngd as fd
            >>> from sympy import limit, oo, symbols
            >>> N, T = symbols("N T", integer=True, positive=True)
            >>> gap = ResummedSeries("gap", 1, fd.Spacetime.gd(N, T))
            >>> gap.closed_form(fd.Diagram.parse("a[a]"))
            eta*(1 - x_i**T)/(N*(1 - x_i))
            >>> limit(gap.closed_form(fd.Diagram.parse("a[a]"), "a"), T, oo)
            eta/(N*(1 - x_i))
        """
        if letters not in KINDS:
            raise ArgumentError(f"Unknown letters {letters!r}; known are {', '.join(map(repr, KINDS))}.")
        return rate(True) ** diagram.order * self._written(diagram, letters)

    def stationary(self, diagram: Diagram) -> sympy.Expr:
        """Return what is left of a coefficient, times η^order, after many steps or epochs, in the letters x.

        It is the limit T → ∞ or E → ∞ for |x| < 1, at fixed N and B; in the integral form, in the letters h > 0.

        Raises:
            ArgumentError: the length of the run is a number, or there is no closed form.

        Examples:
            >>> import feyngd as fd
            >>> from sympy import symbols
            >>> N, B, T = symbols("N B T", integer=True, positive=True)
            >>> sgd = fd.Spacetime.sgd(N, B, T=T, sampling="with-replacement")
            >>> loss = ResummedSeries("test_loss", 2, sgd)
            >>> loss.stationary(fd.Diagram.parse("[a a]"))
            eta**2*(1/(2*N*(1 - x_i)*(1 - x_j)) + (N - 1)/(2*B*N*(-x_i*x_j + 1)))
        """
        letters = "x" if self.form == "discrete" else "h"
        return rate(True) ** diagram.order * self._written(diagram, letters, stationary=True)

    def _written(self, diagram: Diagram, kind: str, *, positive: bool = True, stationary: bool = False) -> sympy.Expr:
        check_closed_form(self.spacetime, self.optimizer, stationary)
        if diagram not in self._factors:
            return sympy.Integer(0)
        key = diagram, kind, positive, stationary
        if key not in self._closed_forms:
            letters = letters_of(kind, diagram, self.form, self.optimizer, positive=positive)
            if self.spacetime.explicit is None:
                forms = PropagatorForms(diagram, self.spacetime, self.form == "integral")
                self._closed_forms[key] = letters.write(forms, self._factors[diagram], stationary=stationary)
            else:
                self._closed_forms[key] = self._on_batches(diagram, [x for ((_, x),) in letters.edges])
        return self._closed_forms[key]

    def _on_batches(self, diagram: Diagram, factors: list[sympy.Expr]) -> sympy.Expr:
        """Return a coefficient for explicit batches: a polynomial in the x, where x = 1 − ηh in one in η and h."""
        symbols = sorted(set().union(*(x.free_symbols for x in factors)), key=str)
        numbers = [sympy.Poly(x, *symbols) for x in factors]
        total = propagated_count(diagram, self.spacetime, numbers, lambda x: sympy.Rational(x.numerator, x.denominator))
        factor = self._factors[diagram].as_expr(symbol_sizes(self.spacetime))
        return factor * (total.as_expr() if isinstance(total, sympy.Poly) else total)

    def __contains__(self, diagram: object) -> bool:
        return diagram in self._factors

    def __iter__(self) -> Iterator[Diagram]:
        return iter(self._factors)

    def __len__(self) -> int:
        return len(self._factors)

    def eigenvalues(self, diagram: Diagram) -> tuple[sympy.Symbol, ...]:
        """Return the symbols h_i, h_j, … of the edges above nodes 1, 2, … of a diagram."""
        return eigenvalues_of(diagram, positive=False)

    def coefficient(self, diagram: Diagram, eigenvalues: Sequence[Any], learning_rate: Any) -> Any:
        """Return a coefficient, times η^order, for given eigenvalues, which may coincide or be zero.

        Args:
            diagram: the diagram.
            eigenvalues: for the edge above every non-root node, in order, an eigenvalue of H or an array of them;
                arrays broadcast. Fractions give an exact fraction.
            learning_rate: η.

        Raises:
            ArgumentError: the number of eigenvalues is not that of the edges, the form is "integral", or the optimizer
                has symbols or does not fit the number of steps.
            SpacetimeError: the spacetime has symbols.

        Examples:
            >>> import feyngd as fd
            >>> long = ResummedSeries("test_loss", 2, fd.Spacetime.sgd(10**6), optimizer=fd.momentum(0.5))
            >>> print(f"{2 * long.coefficient(fd.Diagram.parse('[a a]'), [1, 1], 0.1):.6f}")  # η(1+β)/((1−β)(2(1+β)−η))
            0.103448
        """
        if len(eigenvalues) != diagram.order:
            raise ArgumentError(
                f"{diagram} has {diagram.order} edges, each with an eigenvalue; got {len(eigenvalues)} of them."
            )
        if self.form != "discrete":
            raise ArgumentError("Coefficients in numbers are those of form='discrete'; the integral form is symbolic.")
        self.spacetime.require_concrete("Coefficients are computed in numbers")
        if diagram not in self._factors:
            return Fraction(0)
        exact = self._factors[diagram].as_expr(symbol_sizes(self.spacetime))
        factor, numbers = Fraction(int(exact.p), int(exact.q)), [_number(h) for h in eigenvalues]
        rate, floats = _number(learning_rate), self.optimizer.in_floats()
        is_exact = all(isinstance(number, Fraction) for number in (*numbers, rate)) and not self._has_floats
        number, optimizer = (Fraction, self.optimizer) if is_exact else (float, floats)
        total = resummed_count(diagram, self.spacetime, optimizer, [rate * h for h in numbers], number)
        return total * number(factor) * rate**diagram.order

    @cached_property
    def _has_floats(self) -> bool:
        """Whether the optimizer has floats, so that its coefficients are not exact."""
        steps = min(int(self.spacetime.T), 1) if self.optimizer.is_constant else int(self.spacetime.T)
        kernel, average = self.optimizer.recurrence(steps), self.optimizer.average or Average()
        numbers = (*kernel.direct, *kernel.gain, *kernel.decay, *kernel.readout, average.ema, *(average.weights or ()))
        return any(isinstance(number, float) for number in numbers)

    # --- its relatives ------------------------------------------------------------------------------------------------

    def at_minimum(self) -> "ResummedSeries":
        """Return the series at a minimum of the mean loss: diagrams with an untied leaf, a gradient, are left out."""
        return self._again(at_minimum=True)

    def truncate(self, order: int) -> "ResummedSeries":
        """Return the series with fewer edges.

        Raises:
            ArgumentError: the order is not an integer from 0 to the series' order.
        """
        if check_order(order) > self.order:
            raise ArgumentError(f"The series stops at order {self.order}, got {order}: expand it further first.")
        return self._again(order=order)

    def subs(self, values: Mapping[sympy.Symbol | str, Any]) -> "ResummedSeries":
        """Return the series with symbols of the spacetime and the optimizer replaced by numbers or expressions.

        Args:
            values: what to put in place of the symbols of spacetime and optimizer, which are found by name.

        Raises:
            ArgumentError: a key is not such a symbol, two keys are the same symbol, or a parameter is not allowed.
            SpacetimeError: the new sizes do not make a spacetime.
        """
        of_spacetime = self.spacetime.symbols
        new = by_name(values, of_spacetime | self.optimizer.symbols, "series")
        spacetime = self.spacetime.subs({symbol: value for symbol, value in new.items() if symbol in of_spacetime})
        return self._again(spacetime=spacetime, optimizer=self.optimizer.subs(new))

    def _again(self, **changes: Any) -> "ResummedSeries":
        return ResummedSeries(**self._made_of | {"limit": self._limit} | changes)

    @property
    def _made_of(self) -> dict[str, Any]:
        return {
            "quantity": self.quantity,
            "order": self.order,
            "spacetime": self.spacetime,
            "form": self.form,
            "at_minimum": self.is_at_minimum,
            "optimizer": self.optimizer,
        }

    # --- ways out -----------------------------------------------------------------------------------------------------

    def latex(self, *, align: bool = False) -> str:
        """Return the series as LaTeX, without dollar signs; repeated indices are summed over eigenvectors of H.

        Args:
            align: whether to return an `align` environment with one term a line, and a last line with the letters x,
                and not one line.
        """
        terms = [
            _printing.signed(value, self._tensors(D, latex=True), order=_ORDER_OF_TERMS[self.form])
            for D, value in self._printed()
        ]
        meaning = "" if self.form == "integral" else definition(self.optimizer, latex=True)
        return _printing.joined(terms, align=align, last=meaning)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def _printed(self) -> list[tuple[Diagram, sympy.Expr]]:
        letters = "h" if self.form == "integral" else "x"
        found = [(diagram, self.closed_form(diagram, letters)) for diagram in self]
        return [(diagram, value) for diagram, value in found if value != 0]

    def _tensors(self, diagram: Diagram, *, latex: bool = False) -> str:
        return tensor_expression(diagram, latex=latex, indexed=True, open_root=self.quantity == "displacement")

    def __str__(self) -> str:
        where = " at a minimum" if self.is_at_minimum else ""
        how = "" if self.optimizer.is_plain else f", {self.optimizer}"
        meaning = "" if self.form == "integral" else f"{definition(self.optimizer, latex=False)}, "
        lines = [
            f"{self.quantity}{where}, re-summed to {self.order} edges, {self.form} time, {self.spacetime}{how}; "
            f"{meaning}h: eigenvalues of H"
        ]
        rows = [
            (str(D), self._tensors(D), sympy.sstr(value, order=_ORDER_OF_TERMS[self.form]))
            for D, value in self._printed()
        ]
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
        lines += [f"  {D.ljust(widths[0])}   {tensors.ljust(widths[1])}   {value}" for D, tensors, value in rows]
        return "\n".join(lines if rows else [*lines, "  0"])

    def __repr__(self) -> str:
        return f"<ResummedSeries {self.quantity}, {self.order} edges, {self.form}, {len(self)} diagrams>"

    def __reduce__(self) -> tuple:
        return _again_from, (self._made_of,)

    def __eq__(self, other: object) -> bool:
        return self._made_of == other._made_of if isinstance(other, ResummedSeries) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def to_json(self) -> str:
        """Return JSON text that `ResummedSeries.from_json` reads back: the arguments of the series, no coefficients.

        Raises:
            ArgumentError: the optimizer has a metric, or a function as its schedule.
        """
        return _json.dump_resummed(**self._made_of)

    @classmethod
    def from_json(cls, text: str) -> "ResummedSeries":
        """Read a series that `to_json` wrote. Nothing in the text is executed.

        Raises:
            ArgumentError: the text is not such a series.
        """
        return cls(**_json.load_resummed(text), limit=None)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the series to a file, as the text of `to_json`.

        Raises:
            OSError: the file cannot be written.
        """
        _json.write(path, self.to_json())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "ResummedSeries":
        """Read a series that `save` wrote. Nothing in the file is executed.

        Raises:
            ArgumentError: the file does not hold such a series.
            OSError: the file cannot be read.
        """
        return cls(**_json.load_resummed(*_json.read(path)), limit=None)


def _again_from(made_of: dict[str, Any]) -> ResummedSeries:
    return ResummedSeries(**made_of, limit=None)


def _check_integral(spacetime: Spacetime, optimizer: Optimizer) -> None:
    if spacetime.explicit is not None:
        raise ArgumentError("Explicit batches have no integral form: use form='discrete'.")
    if not spacetime.is_even or not optimizer.is_plain:
        raise ArgumentError(
            f"The integral form is that of plain SGD over whole epochs of full batches; got {spacetime}, {optimizer}. "
            "Use form='discrete', or SGD and sizes without drop_last."
        )


def _number(value: Any) -> Any:
    if isinstance(value, (int, Fraction)):
        return Fraction(value)
    return np.asarray(value, dtype=float)
