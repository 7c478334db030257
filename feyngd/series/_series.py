"""The series: a mapping from diagrams to exact coefficients."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from os import PathLike
from typing import Any

import sympy

from .._arguments import check_basis, check_order
from ..diagrams import CellDiagram, Diagram, tensor_expression
from ..errors import ArgumentError
from ..optimizers import PLAIN, Optimizer, check_optimizer
from ..quantities import Measurement, name_sum
from ..spacetimes import Spacetime, as_expression, by_name
from . import _json, _printing

ETA = sympy.Symbol("eta")  # without assumptions, so that symbols("eta") and the name are the same symbol


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
        spacetime: the spacetime of the coefficients, if there is one.
        optimizer: the optimizer of the coefficients.
        reading: "population", or "conditional" if the values are those of a given training set.

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
        optimizer: Optimizer = PLAIN,
        reading: str = "population",
    ) -> None:
        order = check_order(order)
        check_basis(basis)
        self.quantity, self.order, self.basis, self.spacetime = quantity, order, basis, spacetime
        self.optimizer, self.reading = check_optimizer(optimizer), reading
        for diagram in coefficients:
            if not isinstance(diagram, Diagram):
                raise ArgumentError(f"A series maps diagrams to coefficients; {diagram!r} is not a Diagram.")
            if diagram.order > order:
                raise ArgumentError(f"{diagram} has order {diagram.order}, above the series' order {order}: raise it.")
        if len({isinstance(diagram, CellDiagram) for diagram in coefficients}) > 1:
            raise ArgumentError("Some diagrams have cells and others none: a series has diagrams of one kind.")
        terms = {diagram: _number(value) for diagram, value in coefficients.items()}
        # Closed forms hold only for enough points; a sum of series remembers the N of every summand.
        self._points = set() if spacetime is None else {spacetime.N}
        self._terms = {diagram: terms[diagram] for diagram in sorted(terms) if terms[diagram] != 0}

    # --- a mapping ----------------------------------------------------------------------------------------------------

    def __getitem__(self, diagram: Diagram) -> sympy.Expr:
        if not isinstance(diagram, Diagram):
            raise KeyError(f"A series is indexed by diagrams, got {diagram!r}; use Diagram.parse.")
        if diagram.order > self.order:
            raise KeyError(f"{diagram} has order {diagram.order}; this series stops at order {self.order}.")
        if isinstance(diagram, CellDiagram) is not self.has_cells and self._terms:
            raise KeyError(
                f"{diagram!r} has {'no ' if self.has_cells else ''}cells, unlike the diagrams of this series: "
                f"use {'CellDiagram' if self.has_cells else 'Diagram'}.parse."
            )
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

    @property
    def has_cells(self) -> bool:
        """Whether noise is drawn anew at every use of a datapoint: every diagram is a `CellDiagram`."""
        return isinstance(next(iter(self._terms), None), CellDiagram)

    @property
    def is_vector(self) -> bool:
        """Whether the series is a displacement, or sums and differences of displacements."""
        return set(re.split(r" [+-] ", self.quantity)) == {"displacement"}

    # --- arithmetic ---------------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Series):
            return NotImplemented
        if (self.basis, self.order) != (other.basis, other.order):
            return False
        if self.has_cells != other.has_cells and self and other:
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
        if self.has_cells != other.has_cells and self and other:
            raise ArgumentError("One series has noise drawn anew at every use, the other has not: they have no sum.")
        if self.reading != other.reading:
            raise ArgumentError(f"One series is in the {self.reading} reading, the other in the {other.reading} one.")
        if self.is_vector != other.is_vector:
            raise ArgumentError(
                f"A displacement is a vector and a loss a number: {self.quantity} and {other.quantity} have no sum."
            )
        quantity = name_sum(self.quantity, other.quantity, sign)
        if self.order != other.order:
            raise ArgumentError(
                f"One series goes to order {self.order}, the other to {other.order}: "
                f"use truncate({min(self.order, other.order)})."
            )
        terms = {diagram: sympy.cancel(self[diagram] + sign * other[diagram]) for diagram in {*self, *other}}
        combined = Series(
            terms,
            quantity=quantity,
            order=self.order,
            basis=self.basis,
            spacetime=self.spacetime if self.spacetime == other.spacetime else None,
            optimizer=self.optimizer if self.optimizer == other.optimizer else PLAIN,
            reading=self.reading,
        )
        combined._points = self._points | other._points
        return combined

    def _like(self, terms: Mapping[Diagram, Any], **changed: Any) -> "Series":
        kept = {
            name: getattr(self, name) for name in ("quantity", "order", "basis", "spacetime", "optimizer", "reading")
        }
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

    def subs(self, values: Mapping[sympy.Symbol | str, Any]) -> "Series":
        """Replace symbols such as N or B by numbers or expressions, all at once.

        Closed forms hold for N of at least the number of non-root parts; below that, expand on the concrete spacetime.

        Args:
            values: what to put in place of the series' symbols. They are found by name: "N", or any symbol named N, is
                the series' own N.

        Raises:
            ArgumentError: a key is not a symbol of the series, or two keys are the same symbol; N becomes a number
                below that; or a coefficient is no longer finite.
            SpacetimeError: the new sizes do not make a spacetime, as with B that does not divide N.
        """
        known = self.symbols | (self.spacetime.symbols if self.spacetime else set())
        # Keys are symbols, so this is `subs` with simultaneous=True, but about fifty times faster.
        new = {symbol: _replacement(value) for symbol, value in by_name(values, known, "series").items()}
        spacetime = None
        if self.spacetime is not None:
            spacetime = self.spacetime.subs({s: new[s] for s in self.spacetime.symbols & new.keys()})
        needed = max((len(diagram.untie_root().parts) - 1 for diagram in self), default=0)
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
        series = self._like(terms, spacetime=spacetime, optimizer=self.optimizer.subs(new))
        series._points = set(replaced.values())
        return series

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

    def to_sympy(self, values: Mapping[Diagram, Any] | None = None, *, eta: sympy.Symbol | str = ETA) -> sympy.Expr:
        """Return the series as one SymPy expression, a polynomial in η.

        All symbols but those of the spacetime are without assumptions, so that η and the values can be named:
        `x.subs({"eta": 0.1, "GG": 2})`, `x.subs(symbols("eta"), 0.1)`, `lambdify(symbols("eta GG l"), x)`. SymPy
        prints all of them in LaTeX as they read, and `sympify` reads them back.

        Args:
            values: the value of each diagram; without it values are the symbols of `value_symbol`, such as `tr_HC` for
                tr(HC), so that diagrams with equal values come together.
            eta: the symbol of the learning rate, or its name.

        Raises:
            ArgumentError: `values` lacks a diagram of the series; or two different symbols would have one name, as with
                a spacetime whose number of points is called eta.

        Examples:
            >>> import feyngd as fd
            >>> x = fd.expand("gap", order=1, spacetime=fd.Spacetime.sgd(10, 2), basis="cumulant").to_sympy()
            >>> x, x.subs({"eta": 0.1, "tr_C": 3})
            (eta*tr_C/2, 0.150000000000000)
        """
        if isinstance(eta, str):
            eta = sympy.Symbol(eta)
        if not isinstance(eta, sympy.Symbol):
            raise ArgumentError(f"eta is a SymPy symbol or its name, such as 'eta'; got {eta!r}.")
        total, named = sympy.Integer(0), {eta}
        for diagram, coefficient in self.items():
            if values is None:
                value: Any = self.value_symbol(diagram)
                named.add(value)
            elif diagram in values:
                value = _number(values[diagram])
            else:
                raise ArgumentError(f"No value is given for {diagram}; give one for every diagram of the series.")
            total += coefficient * eta**diagram.order * value
        names = Counter(symbol.name for symbol in named | self.symbols)
        if twice := sorted(name for name, count in names.items() if count > 1):
            raise ArgumentError(
                f"Two different symbols would be called {', '.join(twice)}: rename the series' own symbols with "
                "subs({…}), or the learning rate with eta=…."
            )
        return total

    def value_symbol(self, diagram: Diagram) -> sympy.Symbol:
        """Return the symbol of the value of a diagram in `to_sympy`.

        Its name is the tensor expression without brackets and commas, an underscore between its pieces: `GHG`, `tr_HC`
        for tr(HC), `kappa_hij_gj_Gi` for κ[h_ij, g_j] G_i, `C_jk_Gi_Jijk` for C_jk G_i J_ijk, `E_gi_gi` for E[g_i g_i].
        Capital letters after κ or E are factors outside the brackets.

        Examples:
            >>> import feyngd as fd
            >>> series = fd.expand("gap", order=2, spacetime=fd.Spacetime.sgd(4), basis="cumulant")
            >>> series.value_symbol(fd.Diagram.parse("a[a]"))
            tr_C
        """
        first, *others = self._tensors(diagram).replace("κ", "kappa").replace("⟨", "w_").split(" ")
        pieces = re.split(r"\W+", " ".join([first, *(other.replace("_", "") for other in others)]))
        if "[" in first:  # a letter with indices right after κ or E
            pieces = [piece.replace("_", "") for piece in pieces]
        return sympy.Symbol("_".join(piece for piece in pieces if piece))

    def _tensors(self, diagram: Diagram, *, latex: bool = False) -> str:
        root = "s" if isinstance(self.quantity, Measurement) else None
        return tensor_expression(diagram, basis=self.basis, latex=latex, open_root=self.is_vector, root=root)

    def latex(self, *, align: bool = False) -> str:
        """Return the series as LaTeX, without dollar signs: tensor expressions, collected by value.

        Args:
            align: whether to return an `align` environment with one term a line, and not one line.
        """
        return _printing.latex(self, partial(self._tensors, latex=True), self.order, align=align)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def __str__(self) -> str:
        where = "" if self.spacetime is None else f", {self.spacetime}"
        how = "" if self.optimizer.is_plain else f", {self.optimizer}"
        given = "" if self.reading == "population" else f", {self.reading} reading"
        heading = f"{self.quantity} to order η^{self.order}, {self.basis} basis{where}{how}{given}"
        return _printing.text(self, self._tensors, heading)

    def __repr__(self) -> str:
        return f"<Series {self.quantity}, order {self.order}, {self.basis} basis, {len(self)} diagrams>"

    def to_json(self) -> str:
        """Return the series as JSON text that `Series.from_json` reads back exactly.

        Raises:
            ArgumentError: two symbols share a name, a coefficient has functions that cannot be written, or the
                optimizer a metric; the message says which.
        """
        names = ("quantity", "order", "basis", "spacetime", "optimizer", "reading")
        return _json.dump(self, **{name: getattr(self, name) for name in names})

    @classmethod
    def from_json(cls, text: str) -> "Series":
        """Read a series that `to_json` wrote. Nothing in the text is executed.

        Raises:
            ArgumentError: the text is not such a series.
        """
        return cls(**_json.load(text))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the series to a file, as the text of `to_json`.

        Raises:
            ArgumentError: as in `to_json`.
            OSError: the file cannot be written.

        Examples:
            >>> import feyngd as fd, tempfile, pathlib
            >>> path = pathlib.Path(tempfile.mkdtemp()) / "gap.json"
            >>> gap = fd.expand("gap", order=2, spacetime=fd.Spacetime.sgd(4))
            >>> gap.save(path)
            >>> fd.Series.load(path) == gap
            True
        """
        _json.write(path, self.to_json())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Series":
        """Read a series that `save` wrote, exactly. Nothing in the file is executed.

        Raises:
            ArgumentError: the file does not hold such a series.
            OSError: the file cannot be read.
        """
        return cls(**_json.load(*_json.read(path)))


def _replacement(value: Any) -> sympy.Expr:
    """Return what stands in the place of a symbol."""
    new = None if value is None or isinstance(value, (str, bool)) else as_expression(value)
    if not isinstance(new, sympy.Expr):
        raise ArgumentError(f"A symbol is replaced by a number or a SymPy expression, got {value!r}.")
    return new


def _number(value: Any) -> sympy.Expr:
    """Return a coefficient as a SymPy expression."""
    number = None if value is None or isinstance(value, (str, bool)) else as_expression(value)
    if not isinstance(number, sympy.Expr) or number.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
        raise ArgumentError(f"A coefficient is a finite number or SymPy expression, got {value!r}.")
    return number
