"""Exact values of diagrams on polynomial landscapes, to compare series with the oracle."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import factorial, prod
from typing import Any

import numpy as np

from .._arguments import check_basis
from ..diagrams import CellDiagram, Diagram, Forest, set_partitions, value_representative
from ..errors import ArgumentError
from ..series import Series
from ._polynomials import NoisyLandscape, Polynomial, PolynomialLandscape, differentiate


class ExactValues:
    """The values of diagrams at one point of a polynomial landscape, in rational arithmetic.

    Args:
        landscape: the population of polynomial losses; for diagrams with cells one that draws noise at every use.
        theta: the point, rational coordinates.
        measured: what the root carries the derivatives of in place of the loss, as the mean over the polynomials of a
            landscape: a measurement of your own.

    Where the landscape has updates, nodes carry the derivatives of these, each with the component that points to its
    parent, and the root those of the loss.

    Raises:
        LandscapeError: θ has the wrong number of coordinates, or the measurement has.
    """

    def __init__(
        self,
        landscape: PolynomialLandscape | NoisyLandscape,
        theta: Sequence[Any],
        *,
        measured: PolynomialLandscape | None = None,
    ) -> None:
        self._noisy = landscape if isinstance(landscape, NoisyLandscape) else None
        self.landscape = landscape.flat if isinstance(landscape, NoisyLandscape) else landscape
        self.theta = landscape.check_point(theta)
        self._measured = None if measured is None else measured.mean
        if measured is not None:
            measured.check_point(theta)
        self._directed = self.landscape.updates is not None or measured is not None
        self._moments: dict[Diagram, Fraction] = {}
        self._derivative = lru_cache(maxsize=None)(self._compute_derivative)
        self._update_derivative = lru_cache(maxsize=None)(self._compute_update_derivative)

    def __repr__(self) -> str:
        return f"<ExactValues at θ = ({', '.join(map(str, self.theta))}) of {len(self.landscape.losses)} losses>"

    def moment(self, diagram: Diagram) -> Fraction:
        """Return the moment value: the mean over one independent datapoint for each part of the contraction.

        With cells it is the mean over independent noise for each cell too.
        """
        if isinstance(diagram, Forest):
            return self._moment_of_forest(diagram)
        if isinstance(diagram, CellDiagram) or self._noisy is not None:
            return self._moment_with_noise(diagram)
        shape = diagram if self._directed else value_representative(diagram)
        if shape not in self._moments:
            total, kinds = Fraction(0), range(len(self.landscape.losses))
            for assigned in product(kinds, repeat=len(shape.parts)):
                weight = Fraction(1)
                for kind in assigned:
                    weight *= self.landscape.weights[kind]
                total += weight * self._contract(shape, 0, [assigned[label] for label in shape.labels]).item()
            self._moments[shape] = total
        return self._moments[shape]

    def _moment_of_forest(self, forest: Forest) -> Fraction:
        if forest not in self._moments:
            total = Fraction(0)
            for weight, assigned in self._assignments(forest):
                one, other = (self._below(forest, root, assigned) for root in forest.roots)
                total += weight * one.item() * other.item()
            self._moments[forest] = total
        return self._moments[forest]

    def matrix(self, forest: Forest, basis: str) -> tuple[tuple[Fraction, ...], ...]:
        """Return the value of a forest whose roots are free indices, as for the covariance: its symmetric part.

        Raises:
            ArgumentError: the basis is unknown, or the roots do not have one edge and a part of their own each.
        """
        check_basis(basis)
        if forest.is_root_tied or any(len(forest.children[root]) != 1 for root in forest.roots):
            raise ArgumentError(f"To be free indices, the roots of {forest} must have one edge and be alone each.")
        total: Any = np.full((self.landscape.dimensions,) * 2, Fraction(0), dtype=object)
        finer = forest.refinements() if basis == "cumulant" else iter([(forest, 1)])
        for moment, factor in finer:
            assert isinstance(moment, Forest)
            for weight, assigned in self._assignments(moment):
                one, other = (self._below(moment, moment.children[root][0], assigned) for root in moment.roots)
                pair = np.multiply.outer(one, other)
                total = total + factor * weight * (pair + pair.T) / 2
        return tuple(map(tuple, total.tolist()))

    def _assignments(self, forest: Forest) -> Iterator[tuple[Fraction, list[int]]]:
        """Iterate over the kinds of the nodes of a forest, with their probabilities; that of node 0 does not matter."""
        for kinds in product(range(len(self.landscape.losses)), repeat=len(forest.parts) - 1):
            weight = Fraction(1)
            for kind in kinds:
                weight *= self.landscape.weights[kind]
            yield weight, [0, *(kinds[label - 1] for label in forest.labels[1:])]

    def _below(self, forest: Forest, node: int, kinds: Sequence[int]) -> np.ndarray:
        """Contract the derivatives of a node and of all nodes below it; the index of the edge above it stays free."""
        below = [self._below(forest, child, kinds) for child in forest.children[node]]
        tensor = self._derivative(kinds[node], len(below) + (node not in forest.roots))
        for vector in below:
            tensor = np.asarray(np.tensordot(vector, tensor, axes=(0, 0)), dtype=object)
        return tensor

    def _moment_with_noise(self, diagram: Diagram) -> Fraction:
        if self._noisy is None or not isinstance(diagram, CellDiagram):
            raise ArgumentError(
                f"Diagrams with cells have values on a NoisyLandscape, and no others have; got {diagram!r} on a "
                f"{'NoisyLandscape' if self._noisy else 'PolynomialLandscape'}."
            )
        if diagram not in self._moments:
            total, numbers = Fraction(0), self._noisy.numbers
            part_of = dict(zip(diagram.cells, diagram.labels, strict=True))
            for kinds in product(range(len(numbers)), repeat=len(diagram.parts)):
                weight = Fraction(1)
                for kind in kinds:
                    weight *= self._noisy.means.weights[kind]
                choices = [numbers[kinds[part_of[cell]]] for cell in range(len(part_of))]
                for used in product(*choices):
                    share = weight / prod(map(len, choices))
                    total += share * self._contract(diagram, 0, [used[cell] for cell in diagram.cells]).item()
            self._moments[diagram] = total
        return self._moments[diagram]

    def cumulant(self, diagram: Diagram) -> Fraction:
        """Return the cumulant value: joint cumulants over each part in place of joint moments."""
        return sum((weight * self.moment(finer) for finer, weight in diagram.refinements()), Fraction(0))

    def value(self, diagram: Diagram, basis: str) -> Fraction:
        """Return the value in a basis, "moment" or "cumulant".

        Raises:
            ArgumentError: the basis is unknown.
        """
        check_basis(basis)
        return self.cumulant(diagram) if basis == "cumulant" else self.moment(diagram)

    def vector(self, diagram: Diagram, basis: str) -> tuple[Fraction, ...]:
        """Return the value of a diagram whose root is a free index instead of a loss, as for the displacement.

        Raises:
            ArgumentError: the basis is unknown, or the root does not have one edge and a part of its own.
        """
        check_basis(basis)
        if len(diagram.children[0]) != 1 or diagram.is_root_tied:
            raise ArgumentError(
                f"To be a free index, the root of {diagram} must have one edge and be alone in its part."
            )
        finer = diagram.refinements() if basis == "cumulant" else iter([(diagram, 1)])
        total = np.full(self.landscape.dimensions, Fraction(0), dtype=object)
        kinds = range(len(self.landscape.losses))
        for moment, factor in finer:
            for assigned in product(kinds, repeat=len(moment.parts)):
                weight = Fraction(factor, len(kinds))  # the root's own datapoint does not matter
                for kind in assigned[1:]:
                    weight *= self.landscape.weights[kind]
                total = total + weight * self._contract(moment, 1, [assigned[label] for label in moment.labels])
        return tuple(total.tolist())

    def tensor(self, *ranks: int) -> np.ndarray:
        """Return the joint cumulant of one datapoint's derivatives of these ranks, an array of fractions.

        `tensor(1)` is G, `tensor(2)` H, `tensor(1, 1)` C, `tensor(1, 1, 1)` S.
        """
        kinds = range(len(self.landscape.losses))

        def joint_moment(block: Sequence[int]) -> np.ndarray:
            total: Any = Fraction(0)
            for kind in kinds:
                outer = np.array(self.landscape.weights[kind], dtype=object)
                for i in block:
                    outer = np.multiply.outer(outer, self._derivative(kind, ranks[i]))
                total = total + outer
            return np.asarray(total, dtype=object)

        starts = np.cumsum([0, *ranks])
        result: Any = Fraction(0)
        for blocks in set_partitions(range(len(ranks))):
            term = np.array(Fraction((-1) ** (len(blocks) - 1) * factorial(len(blocks) - 1)), dtype=object)
            for block in blocks:
                term = np.multiply.outer(term, joint_moment(block))
            axes = [axis for block in blocks for i in block for axis in range(starts[i], starts[i + 1])]
            result = result + np.transpose(term, np.argsort(axes)) if axes else result + term
        return np.asarray(result, dtype=object)

    def sum(self, series: Series) -> tuple[Fraction, ...]:
        """Return the coefficients of η⁰ … η^order of a series with numbers for coefficients.

        Raises:
            ArgumentError: a coefficient still has symbols.
        """
        if series.symbols:
            raise ArgumentError(f"The series has the symbols {series.symbols}: replace them with numbers by subs.")
        total = [Fraction(0)] * (series.order + 1)
        for diagram, coefficient in series.items():
            total[diagram.order] += Fraction(int(coefficient.p), int(coefficient.q)) * self.value(diagram, series.basis)
        return tuple(total)

    def _contract(self, diagram: Diagram, node: int, kinds: Sequence[int]) -> np.ndarray:
        """Contract the derivatives of a node and of all nodes below it; the index of the edge above it stays free.

        Args:
            diagram: the diagram.
            node: the node.
            kinds: the kind of datapoint of every node of the diagram.
        """
        tensors: dict[int, np.ndarray] = {}
        for below in range(diagram.order, node - 1, -1):  # children follow parents
            rank = len(diagram.children[below]) + (below != 0)
            if below == 0 and self._measured is not None:
                tensor = self._derivatives(self._measured, rank)
            elif below == 0 or self.landscape.updates is None:
                tensor = self._derivative(kinds[below], rank)
            else:  # the component comes last, and stays for the edge above
                tensor = self._update_derivative(kinds[below], rank - 1)
            for child in diagram.children[below]:
                tensor = np.tensordot(tensors.pop(child), tensor, axes=(0, 0))
            tensors[below] = np.asarray(tensor, dtype=object)
        return tensors[node]

    def _compute_derivative(self, kind: int, rank: int) -> np.ndarray:
        return self._derivatives(self.landscape.losses[kind], rank)

    def _compute_update_derivative(self, kind: int, rank: int) -> np.ndarray:
        assert self.landscape.updates is not None
        return np.stack([self._derivatives(part, rank) for part in self.landscape.updates[kind]], axis=-1)

    def _derivatives(self, polynomial: Polynomial, rank: int) -> np.ndarray:
        size = self.landscape.dimensions
        tensor = np.empty((size,) * rank, dtype=object)
        for index in np.ndindex(*tensor.shape):
            partial = polynomial
            for coordinate in index:
                partial = differentiate(partial, coordinate)
            tensor[index] = self._at_point(partial)
        return tensor

    def _at_point(self, polynomial: Polynomial) -> Fraction:
        total = Fraction(0)
        for exponents, value in polynomial.items():
            for coordinate, power in zip(self.theta, exponents, strict=True):
                value *= coordinate**power
            total += value
        return total
