"""Re-summed series: chains of untied Hessians become propagators, and terms stay finite for large T at a minimum."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cached_property
from os import PathLike
from typing import Any

import numpy as np
import sympy

from .._arguments import check_order
from ..counting import PropagatorForms, Ratio, count_ratio, propagated_count, symbol_sizes
from ..diagrams import EXPANDED, Diagram, check_number, edge_index, tensor_expression
from ..errors import ArgumentError
from ..quantities import SERIES, check_quantity
from ..spacetimes import Spacetime, by_name, check_spacetime
from . import _json
from ._measurements import measured_diagrams, measurements
from ._series import ETA

FORMS = ("discrete", "integral")
_ORDER_OF_TERMS = {"discrete": "rev-lex", "integral": "none"}  # puts the 1 first in 1 − ηh and in 1 − e^(−ηTh)


class ResummedSeries(Mapping[Diagram, sympy.Expr]):
    """A re-summed series: `Σ_D η^order(D) · Σ_{i, j, …} series[D](h_i, h_j, …) · value(D)_{i j …}`.

    It runs over *irreducible* diagrams, in the cumulant basis. Every edge of a diagram carries an index of an
    eigenvector of the Hessian H of the mean loss at the starting point, with the eigenvalue h_i, h_j, …: the edge and
    all chains of untied Hessians in its place add up to the propagator (1 − ηh)^(Δt−1) η. The coefficient, a function
    of these eigenvalues, includes `1/|Aut|` and `(−1/B)^order`, not `η^order`. Up to order k of η the series with k
    edges agrees with the plain series, but near a minimum its terms stay finite as T grows.

    Coefficients are computed on demand. `series[D]` is a closed form in the symbols eta, h_i, h_j, … without
    assumptions, which holds where no eigenvalues coincide and none is zero. `series.coefficient(D, …)` gives numbers
    for any eigenvalues.

    Make one with `feyngd.resum`, or with `feyngd.expand(..., resummed=True)`.

    Args:
        quantity: "test_loss", "train_loss", "gap" or "displacement".
        order: the highest number of edges that is kept.
        spacetime: numbers or symbols.
        form: "discrete" is exact; in "integral" integrals take the place of sums over steps, so that (1 − ηh)^t becomes
            e^{−ηht}: the leading order of every term in η at fixed ηT, B and E.
        at_minimum: leave out the diagrams that vanish at a minimum of the mean loss.
        limit: the largest number of diagrams, with their roots alone, to visit; `None` for any.

    Raises:
        ArgumentError: the quantity or form is unknown, the order is not an integer ≥ 0, there are more than `limit`
            diagrams, or epochs have a rest or are cut.

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
        limit: int | None = EXPANDED,
    ) -> None:
        check_quantity(quantity, SERIES)
        if form not in FORMS:
            raise ArgumentError(f"Unknown form {form!r}; known are {', '.join(map(repr, FORMS))}.")
        check_spacetime(spacetime)
        if not spacetime.is_even:
            raise ArgumentError(
                f"Re-summed series run over whole epochs of full batches; got {spacetime}. Give E, and B that divides "
                "N; or explicit batches, by Spacetime.from_batches(spacetime.batches(rng), N)."
            )
        if spacetime.explicit is not None and form == "integral":
            raise ArgumentError("Explicit batches have no integral form: use form='discrete'.")
        self.quantity, self.order, self.spacetime, self.form = quantity, check_order(order), spacetime, form
        self._limit = limit
        check_number(self.order, False, limit, up_to=True)
        self.is_at_minimum = at_minimum
        self._closed_forms: dict[Diagram, sympy.Expr] = {}

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
                if joint.is_irreducible and not (self.is_at_minimum and _vanishes_at_minimum(joint, self.quantity)):
                    factors[joint] = factor
        return dict(sorted(factors.items()))

    def __getitem__(self, diagram: Diagram) -> sympy.Expr:
        if not isinstance(diagram, Diagram):
            raise KeyError(f"A series is indexed by diagrams, got {diagram!r}; use Diagram.parse.")
        if diagram.order > self.order:
            raise KeyError(f"{diagram} has order {diagram.order}; this series stops at order {self.order}.")
        if diagram not in self._factors:
            return sympy.Integer(0)
        if diagram not in self._closed_forms:
            factor = self._factors[diagram].as_expr(symbol_sizes(self.spacetime))
            self._closed_forms[diagram] = factor * self._sum_over_embeddings(diagram)
        return self._closed_forms[diagram]

    def _sum_over_embeddings(self, diagram: Diagram) -> sympy.Expr:
        eigenvalues = self.eigenvalues(diagram)
        if self.spacetime.explicit is None:
            return PropagatorForms(diagram, self.spacetime, self.form == "integral").total(eigenvalues, ETA)
        factors = [sympy.Poly(1 - ETA * h, ETA, *eigenvalues) for h in eigenvalues]
        total = propagated_count(diagram, self.spacetime, factors, lambda x: sympy.Rational(x.numerator, x.denominator))
        return total.as_expr() if isinstance(total, sympy.Poly) else total

    def __contains__(self, diagram: object) -> bool:
        return diagram in self._factors

    def __iter__(self) -> Iterator[Diagram]:
        return iter(self._factors)

    def __len__(self) -> int:
        return len(self._factors)

    def eigenvalues(self, diagram: Diagram) -> tuple[sympy.Symbol, ...]:
        """Return the symbols h_i, h_j, … of the edges above nodes 1, 2, … of a diagram."""
        return tuple(sympy.Symbol(f"h_{edge_index(v)}") for v in range(1, diagram.order + 1))

    def coefficient(self, diagram: Diagram, eigenvalues: Sequence[Any], learning_rate: Any) -> Any:
        """Return a coefficient, times η^order, for given eigenvalues, which may coincide or be zero.

        Args:
            diagram: the diagram.
            eigenvalues: for the edge above every non-root node, in order, an eigenvalue of H or an array of them;
                arrays broadcast. Fractions give an exact fraction.
            learning_rate: η.

        Raises:
            ArgumentError: the number of eigenvalues is not that of the edges, or the form is "integral".
            SpacetimeError: the spacetime has symbols.
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
        number = Fraction if all(isinstance(h, Fraction) for h in (*numbers, _number(learning_rate))) else float
        factors = [1 - _number(learning_rate) * h for h in numbers]
        total = propagated_count(diagram, self.spacetime, factors, number)
        return total * number(factor) * _number(learning_rate) ** diagram.order

    # --- its relatives ------------------------------------------------------------------------------------------------

    def at_minimum(self) -> "ResummedSeries":
        """Return the series at a minimum of the mean loss: diagrams with an untied leaf, a gradient, are left out."""
        return ResummedSeries(
            self.quantity, self.order, self.spacetime, form=self.form, at_minimum=True, limit=self._limit
        )

    def truncate(self, order: int) -> "ResummedSeries":
        """Return the series with fewer edges.

        Raises:
            ArgumentError: the order is not an integer from 0 to the series' order.
        """
        if check_order(order) > self.order:
            raise ArgumentError(f"The series stops at order {self.order}, got {order}: expand it further first.")
        return self._again(order, self.spacetime)

    def subs(self, values: Mapping[sympy.Symbol | str, Any]) -> "ResummedSeries":
        """Return the series on the spacetime with symbols replaced by numbers or expressions.

        Args:
            values: what to put in place of the spacetime's symbols, which are found by name.

        Raises:
            ArgumentError: a key is not a symbol of the spacetime, or two keys are the same symbol.
            SpacetimeError: the new sizes do not make a spacetime.
        """
        spacetime = self.spacetime.subs(by_name(values, self.spacetime.symbols, "spacetime of this series"))
        return self._again(self.order, spacetime)

    def _again(self, order: int, spacetime: Spacetime) -> "ResummedSeries":
        return ResummedSeries(
            self.quantity, order, spacetime, form=self.form, at_minimum=self.is_at_minimum, limit=self._limit
        )

    # --- ways out -----------------------------------------------------------------------------------------------------

    def latex(self) -> str:
        """Return the series as LaTeX, without dollar signs; repeated indices are summed over eigenvectors of H."""
        written = []
        for diagram in self:
            if (coefficient := self[diagram]) != 0:
                tensors = self._tensors(diagram, latex=True)
                written.append(
                    r"\left("
                    + sympy.latex(coefficient * ETA**diagram.order, order=_ORDER_OF_TERMS[self.form])
                    + r"\right) "
                    + tensors
                )
        return " + ".join(written) or "0"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def _tensors(self, diagram: Diagram, *, latex: bool = False) -> str:
        return tensor_expression(diagram, latex=latex, indexed=True, open_root=self.quantity == "displacement")

    def __str__(self) -> str:
        where = " at a minimum" if self.is_at_minimum else ""
        lines = [
            f"{self.quantity}{where}, re-summed to {self.order} edges, {self.form} time, {self.spacetime}; "
            "h: eigenvalues of H"
        ]
        rows = [
            (str(D), self._tensors(D), sympy.sstr(self[D] * ETA**D.order, order=_ORDER_OF_TERMS[self.form]))
            for D in self
            if self[D] != 0
        ]
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
        lines += [f"  {D.ljust(widths[0])}   {tensors.ljust(widths[1])}   {value}" for D, tensors, value in rows]
        return "\n".join(lines if rows else [*lines, "  0"])

    def __repr__(self) -> str:
        return f"<ResummedSeries {self.quantity}, {self.order} edges, {self.form}, {len(self)} diagrams>"

    def __reduce__(self) -> tuple:
        return _load_text, (self.to_json(),)

    def __eq__(self, other: object) -> bool:
        return self.to_json() == other.to_json() if isinstance(other, ResummedSeries) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def to_json(self) -> str:
        """Return JSON text that `ResummedSeries.from_json` reads back: the arguments of the series, no coefficients."""
        return _json.dump_resummed(
            quantity=self.quantity,
            order=self.order,
            form=self.form,
            at_minimum=self.is_at_minimum,
            spacetime=self.spacetime,
        )

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


def _load_text(text: str) -> ResummedSeries:
    return ResummedSeries.from_json(text)


def _vanishes_at_minimum(diagram: Diagram, quantity: str) -> bool:
    """Whether a diagram has the mean gradient as a factor: an untied node of degree one."""
    for node in range(diagram.order + 1):
        degree = len(diagram.children[node]) + (node > 0)
        is_measurement = node == 0 and quantity == "displacement"
        if degree == 1 and not is_measurement and diagram.labels.count(diagram.labels[node]) == 1:
            return True
    return False


def _number(value: Any) -> Any:
    if isinstance(value, (int, Fraction)):
        return Fraction(value)
    return np.asarray(value, dtype=float)
