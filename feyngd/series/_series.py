"""The series: a mapping from diagrams to exact coefficients."""

from collections.abc import Iterator, Mapping
from typing import Any

import sympy

from ..diagrams import Diagram, check_basis, check_order, tensor_expression
from ..errors import ArgumentError
from ..spacetimes import Spacetime
from . import _json, _printing

ETA = sympy.Symbol("eta", positive=True)


class Series(Mapping[Diagram, sympy.Expr]):
    """A power series in the learning rate η: `Σ_D series[D] · η^order(D) · value(D)`.

    The coefficient of a diagram includes `1/|Aut|` and `(−1/B)^order`, not `η^order`. Iteration runs over the diagrams
    with a non-zero coefficient, by order; indexing by any other diagram within the order gives 0.

    Make one with `feyngd.expand`, or from your own coefficients.

    Args:
        coefficients: for each diagram a SymPy expression or number.
        quantity: what the series is of; free text for your own.
        order: the highest power of η that is kept; terms above it are an error, not dropped.
        basis: "moment" or "cumulant": what the values of the diagrams are.
        spacetime: where the coefficients come from, if anywhere.

    Raises:
        ArgumentError: a key is not a diagram, or its order exceeds `order`.
    """

    def __init__(
        self,
        coefficients: Mapping[Diagram, Any],
        *,
        quantity: str,
        order: int,
        basis: str = "moment",
        spacetime: Spacetime | None = None,
    ) -> None:
        order = check_order(order)
        check_basis(basis)
        self.quantity, self.order, self.basis, self.spacetime = quantity, order, basis, spacetime
        for diagram in coefficients:
            if not isinstance(diagram, Diagram):
                raise ArgumentError(f"A series maps diagrams to coefficients; {diagram!r} is not a Diagram.")
            if diagram.order > order:
                raise ArgumentError(f"{diagram} has order {diagram.order}, above the series' order {order}: raise it.")
        terms = {diagram: _number(value) for diagram, value in coefficients.items()}
        # Closed forms hold for enough points only; sums of series remember all their numbers of points.
        self._points = set() if spacetime is None else {spacetime.N}
        self._terms = {diagram: terms[diagram] for diagram in sorted(terms) if terms[diagram] != 0}

    # --- a mapping ----------------------------------------------------------------------------------------------------

    def __getitem__(self, diagram: Diagram) -> sympy.Expr:
        if not isinstance(diagram, Diagram):
            raise KeyError(f"A series is indexed by diagrams, got {diagram!r}; use Diagram.parse.")
        if diagram.order > self.order:
            raise KeyError(f"{diagram} has order {diagram.order}; this series stops at order {self.order}.")
        return self._terms.get(diagram, sympy.Integer(0))

    def __contains__(self, diagram: object) -> bool:
        return diagram in self._terms

    def __iter__(self) -> Iterator[Diagram]:
        return iter(self._terms)

    def __len__(self) -> int:
        return len(self._terms)

    def of_order(self, order: int) -> dict[Diagram, sympy.Expr]:
        """Return the terms of one power of η.

        Raises:
            ArgumentError: the order is not an integer from 0 to the series' order.
        """
        self._check_within(order)
        return {diagram: value for diagram, value in self.items() if diagram.order == order}

    @property
    def symbols(self) -> set[sympy.Symbol]:
        """The symbols in the coefficients."""
        return set().union(*(value.free_symbols for value in self._terms.values()))

    # --- arithmetic ---------------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Series):
            return NotImplemented
        if (self.basis, self.order) != (other.basis, other.order):
            return False
        return all(sympy.cancel(self[diagram] - other[diagram]) == 0 for diagram in {*self, *other})

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: "Series") -> "Series":
        return self._combine(other, 1)

    def __sub__(self, other: "Series") -> "Series":
        return self._combine(other, -1)

    def __neg__(self) -> "Series":
        return self * -1

    def __mul__(self, factor: Any) -> "Series":
        if isinstance(factor, Series):
            return NotImplemented
        factor = _number(factor)
        return self._like({diagram: sympy.cancel(value * factor) for diagram, value in self.items()})

    __rmul__ = __mul__

    def __radd__(self, zero: int) -> "Series":
        return self if zero == 0 else NotImplemented  # so that sum() works

    def __truediv__(self, factor: Any) -> "Series":
        if isinstance(factor, Series):
            return NotImplemented
        if factor == 0:
            raise ArgumentError("A series cannot be divided by 0.")
        return self * (1 / _number(factor))

    def _combine(self, other: "Series", sign: int) -> "Series":
        if not isinstance(other, Series):
            return NotImplemented
        if self.basis != other.basis:
            raise ArgumentError(f"One series is in {self.basis}s, the other in {other.basis}s: use in_basis first.")
        if self.order != other.order:
            raise ArgumentError(
                f"One series goes to order {self.order}, the other to {other.order}: "
                f"use truncate({min(self.order, other.order)})."
            )
        terms = {diagram: sympy.cancel(self[diagram] + sign * other[diagram]) for diagram in {*self, *other}}
        combined = Series(
            terms,
            quantity=f"{self.quantity} {'+' if sign > 0 else '-'} {other.quantity}",
            order=self.order,
            basis=self.basis,
            spacetime=self.spacetime if self.spacetime == other.spacetime else None,
        )
        combined._points = self._points | other._points
        return combined

    def _like(self, terms: Mapping[Diagram, Any], **changed: Any) -> "Series":
        kept = {"quantity": self.quantity, "order": self.order, "basis": self.basis, "spacetime": self.spacetime}
        series = Series(terms, **{**kept, **changed})
        series._points = series._points or self._points
        return series

    def truncate(self, order: int) -> "Series":
        """Return the series to a lower order.

        Raises:
            ArgumentError: the order is not an integer from 0 to the series' order.
        """
        self._check_within(order)
        return self._like({diagram: value for diagram, value in self.items() if diagram.order <= order}, order=order)

    def _check_within(self, order: int) -> None:
        check_order(order)
        if order > self.order:
            raise ArgumentError(f"The series stops at order {self.order}, got {order}: expand it further first.")

    def subs(self, values: Mapping[sympy.Symbol, Any]) -> "Series":
        """Replace symbols such as N or B by numbers or expressions, all at once.

        Closed forms hold for N of at least the number of non-root parts; below that, expand on the concrete spacetime.

        Raises:
            ArgumentError: a key is not a symbol, or only shares its name with one of the series' symbols; N becomes a
                number below that; or a coefficient is no longer finite.
            SpacetimeError: the new sizes do not make a spacetime, as with B that does not divide N.
        """
        self._check_symbols(values)
        spacetime = None if self.spacetime is None else self.spacetime.subs(values)
        needed = max((len(diagram.untie_root().parts) - 1 for diagram in self), default=0)
        # Keys are symbols, so that this is `subs` with simultaneous=True, some fifty times faster.
        new = {symbol: sympy.sympify(value) for symbol, value in values.items()}
        replaced = {points: points.xreplace(new) for points in self._points}
        for points, number in replaced.items():
            if not points.is_Integer and number.is_Integer and number < needed:
                raise ArgumentError(
                    f"The closed forms of this series hold for {points} ≥ {needed}, got {points}={number}: "
                    "expand it on that spacetime instead."
                )
        terms = {}
        for diagram, value in self.items():
            terms[diagram] = value.xreplace(new)
            if not terms[diagram].is_finite and terms[diagram].is_number:
                raise ArgumentError(f"The coefficient {value} of {diagram} is not finite at {dict(values)}.")
        series = self._like(terms, spacetime=spacetime)
        series._points = set(replaced.values())
        return series

    def _check_symbols(self, values: Mapping[sympy.Symbol, Any]) -> None:
        known = self.symbols | (self.spacetime.symbols if self.spacetime else set())
        for key in values:
            if not isinstance(key, sympy.Symbol):
                raise ArgumentError(
                    f"Symbols are replaced, got the key {key!r}; the series has {sorted(known, key=str)}."
                )
            if key not in known and key.name in {symbol.name for symbol in known}:
                raise ArgumentError(
                    f"The series has a symbol {key.name} with other assumptions than the one given: use its own, "
                    "made as Symbol(…, integer=True, positive=True)."
                )

    def in_basis(self, basis: str) -> "Series":
        """Return the same series in the moment or the cumulant basis.

        A joint moment is the sum over refinements of products of joint cumulants, and a cumulant the same sum with
        Möbius weights, so coefficients flow from every diagram to its refinements.

        Raises:
            ArgumentError: the basis is unknown.
        """
        check_basis(basis)
        if basis == self.basis:
            return self
        terms: dict[Diagram, sympy.Expr] = {}
        for diagram, value in self.items():
            for finer, moebius in diagram.refinements():
                weight = moebius if basis == "moment" else 1
                terms[finer] = terms.get(finer, sympy.Integer(0)) + weight * value
        return self._like({diagram: sympy.cancel(value) for diagram, value in terms.items()}, basis=basis)

    # --- ways out -----------------------------------------------------------------------------------------------------

    def to_sympy(self, values: Mapping[Diagram, Any] | None = None, *, eta: sympy.Symbol = ETA) -> sympy.Expr:
        """Return the series as one SymPy expression, a polynomial in η.

        Args:
            values: the value of each diagram; without it values are symbols named by their tensor expression, such as
                `tr(HC)`, so that diagrams with equal values come together.
            eta: the symbol of the learning rate.

        Raises:
            ArgumentError: `values` lacks a diagram of the series.
        """
        total = sympy.Integer(0)
        for diagram, coefficient in self.items():
            if values is None:
                value: Any = sympy.Symbol(self._name(diagram), real=True)
            elif diagram in values:
                value = sympy.sympify(values[diagram])
            else:
                raise ArgumentError(f"No value is given for {diagram}; give one for every diagram of the series.")
            total += coefficient * eta**diagram.order * value
        return total

    def _name(self, diagram: Diagram) -> str:
        return tensor_expression(diagram, basis=self.basis, open_root=self.quantity == "displacement")

    def latex(self) -> str:
        """Return the series as LaTeX, without dollar signs: one line of tensor expressions, collected by value."""
        return _printing.latex(self)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def __str__(self) -> str:
        return _printing.text(self)

    def __repr__(self) -> str:
        return f"<Series {self.quantity}, order {self.order}, {self.basis} basis, {len(self)} diagrams>"

    def to_json(self) -> str:
        """Return the series as JSON text that `Series.from_json` reads back exactly.

        Raises:
            ArgumentError: a coefficient is not a rational function with rational coefficients.
        """
        return _json.dump(self)

    @classmethod
    def from_json(cls, text: str) -> "Series":
        """Read a series that `to_json` wrote. Nothing in the text is executed.

        Raises:
            ArgumentError: the text is not such a series.
        """
        return cls(**_json.load(text))


def _number(value: Any) -> sympy.Expr:
    """Return a coefficient as a SymPy expression."""
    number = None if value is None or isinstance(value, (str, bool)) else sympy.sympify(value)
    if not isinstance(number, sympy.Expr) or number.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
        raise ArgumentError(f"A coefficient is a finite number or SymPy expression, got {value!r}.")
    return number
